//! `zbackup usb`: the host's volumes onto the disk.

use super::carry::Carry;
use super::session::{After, with_disk};
use super::{App, Preparation};
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
    let prepared = Preparation::make(app, report)?;
    let (host, host_pool) = prepared.host(report)?;
    let (device, partition) = prepared.disk(app, report)?;
    with_disk(
        app,
        prepared.keeper(app),
        (device, partition),
        app.cli.options.dry_run,
        report,
        |disk, report| {
            let carry = Carry {
                app,
                zfs: &prepared.zfs,
                direction: Direction::ToDisk,
                host,
                host_pool: &host_pool,
                device,
                requested: volumes,
                ways_out,
            };
            carry.run(disk, report)?;
            if !keep_open {
                return Ok(After::Close);
            }
            super::open::mount(app, &prepared.zfs, device, disk, false, report)?;
            Ok(After::KeepOpen)
        },
    )
}
