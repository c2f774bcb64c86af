//! `zbackup usb`: the host's volumes onto the disk.

use super::App;
use super::carry::{Errand, carry};
use crate::cli::Command;
use crate::error::Error;
use crate::plan::Direction;
use crate::report::Report;

/// Runs the verb.
pub(super) fn run(app: App, report: &mut Report) -> Result<(), Error> {
    let Command::Usb {
        volumes,
        ways_out,
        keep_open,
    } = &app.cli.command
    else {
        unreachable!("the verb is usb")
    };
    let errand = Errand {
        direction: Direction::ToDisk,
        requested: volumes,
        ways_out,
        keep_open: *keep_open,
    };
    carry(app, errand, report)
}
