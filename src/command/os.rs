//! `zbackup os`: the disk's newer snapshots onto this host.

use super::App;
use super::carry::{RunRequest, carry};
use crate::cli::Command;
use crate::error::Error;
use crate::plan::Direction;
use crate::report::Report;

/// Runs the verb.
pub(super) fn run(app: App, report: &mut Report) -> Result<(), Error> {
    let Command::Os {
        volumes,
        conflict_options,
        keep_open,
    } = &app.cli.command
    else {
        unreachable!("the verb is os")
    };
    let request = RunRequest {
        direction: Direction::ToHost,
        requested: volumes,
        conflict_options,
        keep_open: *keep_open,
    };
    carry(app, request, report)
}
