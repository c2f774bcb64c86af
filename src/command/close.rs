//! `zbackup close`: unmount, export and lock a disk that was left open, and check that it is free.

use super::{App, Preparation};
use crate::disk::close;
use crate::error::Error;
use crate::report::{DiskState, Report};

/// Runs the verb. Closing a disk that is closed already only checks it again.
pub(super) fn run(app: App, report: &mut Report) -> Result<(), Error> {
    let prepared = Preparation::make(app, report)?;
    let (_, partition) = prepared.disk(app, report)?;
    if app.cli.options.dry_run {
        return Ok(());
    }
    // Until it is known to be closed.
    report.disk_state = DiskState::Imported;
    close::put_away_leftovers(prepared.keeper(app), &partition)?;
    let closing = close::check(&prepared.zfs, &partition);
    report.disk_state = closing.state;
    report.safe_to_unplug = closing.safe_to_unplug;
    closing.error.map_or(Ok(()), Err)
}
