//! `zbackup close`: unmount, export and lock a disk that was left open, and check that it is free.

use std::sync::Mutex;

use super::session::{lost_report, watching};
use super::{App, Preparation};
use crate::disk::close::{self, Leftovers};
use crate::error::Error;
use crate::report::Report;

/// Runs the verb. Closing a disk that is closed already only checks it again.
pub(super) fn run(app: App, report: &mut Report) -> Result<(), Error> {
    let prepared = Preparation::make(app, report)?;
    let (device, partition) = prepared.disk(app, report)?;
    if app.cli.options.dry_run {
        report.disk_state = Leftovers::look(&prepared.zfs, &partition)?.state();
        return Ok(());
    }
    let lost = Mutex::new(lost_report(report));
    let closing = watching(app, &prepared, (device, &partition), &lost, || {
        close::close_leftovers(prepared.keeper(app), &partition)
    })?;
    report.disk_state = closing.state;
    report.safe_to_unplug = closing.safe_to_unplug;
    closing.error.map_or(Ok(()), Err)
}
