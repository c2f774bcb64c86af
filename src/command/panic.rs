//! Treats a bug in zbackup as an error like any other, so that it leaves no disk open.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, Phase, words_of_panic};
use crate::next::next;

/// Turns a panic into an error. Its place in the code was already printed on standard error.
pub(super) fn catch<T>(work: impl FnOnce() -> T) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let why = words_of_panic(panic.as_ref());
        Error::new(Phase::Disk, format!("zbackup has a bug and stopped: {why}")).next(next!(
            "bug",
            "Please report it, with all that stands above. Then run the same command again."
        ))
    })
}
