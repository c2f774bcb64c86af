//! `zbackup close`: unmount, export and lock a disk that was left open, and check that it is free.

use super::last_word::LastWord;
use super::session::watching;
use super::{App, Preparation};
use crate::disk::close::{self, Leftovers};
use crate::error::Error;
use crate::report::Report;

/// Runs the verb. Closing a disk that is closed already only checks it again.
pub(super) fn run(app: App, report: &mut Report) -> Result<(), Error> {
    let prepared = Preparation::make(app, report)?;
    let disk = prepared.disk(app, report)?;
    if app.cli.options.dry_run {
        report.disk_state = Leftovers::look(&prepared.zfs, &disk.partition)?.state();
        return Ok(());
    }
    let last_word = LastWord::new(report);
    let closing = watching(app, &prepared, &disk, &last_word, || {
        close::close_leftovers(prepared.context(app), &disk.partition)
    })?;
    report.disk_state = closing.state;
    report.safe_to_unplug = closing.safe_to_unplug;
    closing.error.map_or(Ok(()), Err)
}
