//! `zbackup usb`: the host's volumes onto the disk.

use super::App;
use super::carry::{RunRequest, carry};
use crate::cli::Command;
use crate::error::Error;
use crate::plan::Direction;
use crate::report::Report;

/// Runs the verb.
pub(super) fn run(app: App, report: &mut Report) -> Result<(), Error> {
    let Command::Usb {
        volumes,
        conflict_options,
        keep_open,
    } = &app.cli.command
    else {
        unreachable!("the verb is usb")
    };
    let request = RunRequest {
        direction: Direction::ToDisk,
        requested: volumes,
        conflict_options,
        keep_open: *keep_open,
    };
    carry(app, request, report)
}
