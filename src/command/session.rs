//! The part of every verb that has the disk open, so that no way out forgets to close it.

use std::sync::{Mutex, PoisonError};

use super::panic::catch;
use super::{App, Preparation};
use crate::config::Device;
use crate::disk::open::{Opening, open};
use crate::disk::watch::{Stop, Watch};
use crate::disk::{Closing, Imported, Partition, close};
use crate::error::{Error, Phase};
use crate::name::Guid;
use crate::replicate::taken_down;
use crate::report::{DiskState, Report};

/// What becomes of an open disk when the work is done.
pub(super) enum After {
    /// Export, lock, check.
    Close,
    /// Leave it as it is.
    KeepOpen,
}

/// Opens the disk, does `work` on it, and closes it again whatever `work` returns.
///
/// `meanwhile` hears the guid of the disk's pool right before the import, which takes its time.
/// The report gets the disk's pool and the state that it was left in. A step that the user
/// declined ends the run with exit 3. A panic is an error like others: on its way here the guards
/// have closed what was open.
pub(super) fn with_disk<'a>(
    app: App<'a>,
    prepared: &'a Preparation,
    found: (&Device, Partition),
    readonly: bool,
    report: &mut Report,
    meanwhile: &dyn Fn(Guid),
    work: impl FnOnce(&mut Imported<'a>, &mut Report) -> Result<After, Error>,
) -> Result<(), Error> {
    let (device, partition) = found;
    let keeper = prepared.keeper(app);
    let opening = Opening {
        device,
        readonly,
        force_import: app.cli.options.force_import,
        dry_run: app.cli.options.dry_run,
    };
    let after_panic = |error, report: &mut Report| {
        ended(Err(error), close::check(keeper.zfs, &partition), report)
    };
    let lost = Mutex::new(lost_report(report));
    watching(app, prepared, (device, &partition), &lost, || {
        let mut imported = match catch(|| open(keeper, partition.clone(), &opening, meanwhile)) {
            Ok(Ok(imported)) => imported,
            Ok(Err(closing)) => return ended(Ok(()), *closing, report),
            Err(panic) => return after_panic(panic, report),
        };
        if let Some(disk) = &mut report.disk {
            disk.pool = Some(imported.pool().clone());
            disk.guid = Some(imported.guid());
        }
        *lost.lock().unwrap_or_else(PoisonError::into_inner) = lost_report(report);
        let result = catch(|| work(&mut imported, report)).unwrap_or_else(Err);
        let result = match (result, app.interrupt.caught()) {
            // Whoever ends the run by a signal wants the disk closed.
            (Ok(After::KeepOpen), Some(signal)) => Err(Error::interrupted(Phase::Close, signal)),
            (result, _) => result,
        };
        let closing = catch(|| match &result {
            Ok(After::KeepOpen) => close::keep_open(imported),
            Ok(After::Close) | Err(_) => close::close(keeper, imported),
        });
        match closing {
            Ok(closing) => ended(result.map(|_| ()), closing, report),
            Err(panic) => after_panic(panic, report),
        }
    })?
}

/// Does `work` on the disk while a thread of its own looks out for a cable that is pulled. Where the
/// disk is lost for good, `lost` is the report and the process ends.
///
/// # Errors
/// Where there is no such thread: nothing is done then.
pub(super) fn watching<T>(
    app: App,
    prepared: &Preparation,
    disk: (&Device, &Partition),
    lost: &Mutex<Report>,
    work: impl FnOnce() -> T,
) -> Result<T, Error> {
    let lock = &prepared.lock;
    let watch = Watch {
        watched: &prepared.watched,
        partition: disk.1,
        device: disk.0,
        terminal: app.terminal,
        interrupt: app.interrupt,
        give_up: &|error| {
            // The next zbackup is to bring the disk back while this process still waits for it.
            lock.release();
            give_up(
                app,
                &lost.lock().unwrap_or_else(PoisonError::into_inner),
                &error,
            );
        },
    };
    let stop = Stop::default();
    std::thread::scope(|scope| {
        let _watching = watch.start(scope, &stop)?;
        Ok(work())
    })
}

/// What will be reported where the disk does not come back.
pub(super) fn lost_report(report: &Report) -> Report {
    Report {
        disk_state: DiskState::Lost,
        ..report.clone()
    }
}

/// Reports that the disk is lost and ends the process from whatever thread this is. What it has
/// unmounted stays so: its threads may still be receiving into that.
fn give_up(app: App, lost: &Report, error: &Error) {
    let mut report = lost.clone();
    let unmounted = taken_down().into_iter().map(|(path, name)| {
        let path = path.display();
        format!("{path} ({name}) was unmounted for this run and still is: zfs mount {name}")
    });
    report.warnings.extend(unmounted);
    report.end(Some(error));
    if let Err(error) = app.terminal.show_report(&report) {
        log::error!("the report could not be written: {error}");
    }
    std::process::exit(i32::from(report.exit_code));
}

/// Writes the disk's state into the report and joins what went wrong while closing to the first error.
fn ended(result: Result<(), Error>, closing: Closing, report: &mut Report) -> Result<(), Error> {
    report.disk_state = closing.state;
    report.safe_to_unplug = closing.safe_to_unplug;
    match (result, closing.error) {
        (Ok(()), None) => Ok(()),
        (Ok(()), Some(error)) => Err(error),
        (Err(error), None) => Err(error),
        (Err(mut error), Some(later)) => {
            error.join(&later);
            Err(error)
        }
    }
}
