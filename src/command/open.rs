//! `zbackup open`: unlock, import and mount the disk, to look at it.

use openzfs::Libzfs;

use super::health;
use super::session::{After, with_disk};
use super::{App, Preparation};
use crate::cli::Command;
use crate::config::Device;
use crate::disk::{Imported, mount};
use crate::error::{Error, Phase};
use crate::next::next;
use crate::report::Report;
use crate::terminal::Approval;

/// The disk's copies are to hold what the host has, see the roll-back in `plan`.
fn writes_are_undone() -> String {
    next!(
        "writes-are-undone",
        "a volume of the disk that is written to now is a conflict for the next `zbackup usb`: what was written \
         is undone by --force VOLUME, and kept beside the new copy by --keep-both VOLUME"
    )
}

/// Runs the verb. Without `--rw` the pool is imported read-only too: such a disk can be pulled out
/// without `zbackup close`.
pub(super) fn run(app: App, report: &mut Report) -> Result<(), Error> {
    let Command::Open { rw } = app.cli.command else {
        unreachable!("the verb is open")
    };
    let prepared = Preparation::make(app, report)?;
    let found = prepared.disk(app, report)?;
    with_disk(
        app,
        &prepared,
        &found,
        !rw,
        report,
        &|_| (),
        |disk, report, _| {
            health::tell_of_disk(&prepared.zfs, found.device, disk.pool(), report);
            mount(app, &prepared.zfs, found.device, disk, rw, report)?;
            if rw && !app.cli.options.dry_run {
                report.warnings.push(writes_are_undone());
            }
            Ok(if app.cli.options.dry_run {
                After::Close
            } else {
                After::KeepOpen
            })
        },
    )
}

/// Mounts the disk's volumes if its section has a mount-point.
pub(super) fn mount(
    app: App,
    zfs: &Libzfs,
    device: &Device,
    disk: &mut Imported,
    writable: bool,
    report: &mut Report,
) -> Result<(), Error> {
    if app.cli.options.dry_run {
        return Ok(());
    }
    let Some(mount_point) = device.mount_point.as_deref() else {
        let section = &device.section;
        let why = format!("Nothing of the disk is mounted: [{section}] has no mount-point");
        app.terminal.say(&why);
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
    app.terminal.say(&next!(
        "opened",
        "The disk is open below {}; `zbackup close` ends that.",
        mount_point.display()
    ));
    Ok(())
}
