//! The part of every verb that has the disk open, so that no way out forgets to close it.

use super::App;
use super::panic::catch;
use crate::config::Device;
use crate::disk::open::{Keeper, NotOpened, Opening, Refusal, open};
use crate::disk::watch::{Stop, Watch};
use crate::disk::{Closing, Imported, Partition, close};
use crate::error::{Error, Exit, Phase};
use crate::name::Guid;
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
    app: App,
    keeper: Keeper<'a>,
    found: (&Device, Partition),
    readonly: bool,
    report: &mut Report,
    meanwhile: &dyn Fn(Guid),
    work: impl FnOnce(&mut Imported<'a>, &mut Report) -> Result<After, Error>,
) -> Result<(), Error> {
    let (device, partition) = found;
    let opening = Opening {
        device,
        readonly,
        force_import: app.cli.options.force_import,
    };
    let after_panic = {
        let partition = partition.clone();
        move |error, report: &mut Report| {
            ended(Err(error), close::check(keeper.zfs, &partition), report)
        }
    };
    let mut imported = match catch(|| open(keeper, partition, &opening, meanwhile)) {
        Ok(Ok(imported)) => imported,
        Err(panic) => return after_panic(panic, report),
        Ok(Err(not_opened)) => {
            let NotOpened { why, closing } = *not_opened;
            let error = match why {
                Refusal::Failed(error) => error,
                Refusal::Declined(step) => declined(&step),
            };
            return ended(Err(error), closing, report);
        }
    };
    if let Some(disk) = &mut report.disk {
        disk.pool = Some(imported.pool().clone());
        disk.guid = Some(imported.guid());
    }
    let (pool, partition) = (imported.pool().clone(), imported.partition().clone());
    let lost = lost_report(report);
    let watch = Watch {
        pool: &pool,
        partition: &partition,
        device,
        terminal: app.terminal,
        interrupt: app.interrupt,
        give_up: &|error| give_up(app, &lost, &error),
    };
    let stop = Stop::default();
    std::thread::scope(|scope| {
        let _watching = watch.start(scope, &stop);
        let result = catch(|| work(&mut imported, report)).unwrap_or_else(Err);
        let closing = catch(|| match &result {
            Ok(After::KeepOpen) => close::keep_open(imported),
            Ok(After::Close) | Err(_) => close::close(keeper, imported),
        });
        match closing {
            Ok(closing) => ended(result.map(|_| ()), closing, report),
            Err(panic) => after_panic(panic, report),
        }
    })
}

/// What will be reported where the disk does not come back.
fn lost_report(report: &Report) -> Report {
    Report {
        disk_state: DiskState::Lost,
        ..report.clone()
    }
}

/// Reports that the disk is lost and ends the process from whatever thread this is.
fn give_up(app: App, lost: &Report, error: &Error) {
    let mut report = lost.clone();
    report.end(Some(error));
    if let Err(error) = app.terminal.show_report(&report) {
        log::error!("the report could not be written: {error}");
    }
    std::process::exit(i32::from(report.exit_code));
}

/// A step that the user declined.
pub(super) fn declined(step: &str) -> Error {
    Error::new(Phase::Disk, format!("declined: {step}")).exit(Exit::Partial)
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
