//! A bug of zbackup's own is an error like others, so that it leaves no disk open.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, Phase, words_of_panic};
use crate::next::next;

/// Turns a panic into an error. Where it came from is on standard error already.
pub(super) fn catch<T>(work: impl FnOnce() -> T) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let why = words_of_panic(panic.as_ref());
        Error::new(Phase::Disk, format!("zbackup has a bug and stopped: {why}")).next(next!(
            "bug",
            "Please report it, with all that stands above. Then run the same command again."
        ))
    })
}
