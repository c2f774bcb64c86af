//! `zbackup open`: unlock, import and mount the disk for looking at it.

use super::session::{After, with_disk};
use super::{App, Preparation};
use crate::cli::Command;
use crate::config::Device;
use crate::disk::{Imported, mount};
use crate::error::{Error, Phase};
use crate::report::Report;
use crate::terminal::Approval;
use crate::zfs::Libzfs;

/// The disk's copies are to be what the host has, see the roll back in `plan`.
const WRITES_ARE_UNDONE: &str = "what is written to the disk's volumes now is undone by the next \
    `zbackup usb`";

/// Runs the verb. Without `--rw` the pool is imported read-only too: such a disk survives being
/// pulled out without `zbackup close`.
pub(super) fn run(app: App, report: &mut Report) -> Result<(), Error> {
    let Command::Open { rw } = app.cli.command else {
        unreachable!("the verb is open")
    };
    let prepared = Preparation::make(app, report)?;
    let (device, partition) = prepared.disk(app, report)?;
    with_disk(
        app,
        &prepared,
        (device, partition),
        !rw,
        report,
        &|_| (),
        |disk, report| {
            mount(app, &prepared.zfs, device, disk, rw, report)?;
            if rw && !app.cli.options.dry_run {
                report.warnings.push(WRITES_ARE_UNDONE.into());
            }
            Ok(if app.cli.options.dry_run {
                After::Close
            } else {
                After::KeepOpen
            })
        },
    )
}

/// Mounts the disk's volumes where its section has a mount-point.
pub(super) fn mount(
    app: App,
    zfs: &Libzfs,
    device: &Device,
    disk: &mut Imported,
    writable: bool,
    report: &mut Report,
) -> Result<(), Error> {
    let Some(mount_point) = device
        .mount_point
        .as_deref()
        .filter(|_| !app.cli.options.dry_run)
    else {
        return Ok(());
    };
    let step = format!(
        "mount the volumes of {} below {}",
        disk.pool(),
        mount_point.display()
    );
    if app.terminal.approve(&step) == Approval::No {
        return Err(Error::declined(Phase::Mount, &step));
    }
    let warnings = mount::mount_volumes(zfs, disk, mount_point, writable).map_err(|error| {
        Error::new(
            Phase::Mount,
            format!("the disk's volumes cannot be mounted: {error}"),
        )
    })?;
    report.warnings.extend(warnings);
    app.terminal.say(&format!(
        "The disk is open below {}; `zbackup close` ends that.",
        mount_point.display()
    ));
    Ok(())
}
