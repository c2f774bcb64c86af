//! The part of every verb that has the disk open, so that the disk is closed however the verb ends.

use openzfs::Guid;

use super::last_word::LastWord;
use super::panic::catch;
use super::{App, Preparation};
use crate::cli::Command;
use crate::disk::open::{Opening, open};
use crate::disk::watch::{Stop, Watch};
use crate::disk::{Closing, FoundDisk, Imported, close};
use crate::error::{Error, Phase};
use crate::next::next;
use crate::replicate::taken_down;
use crate::report::Report;
use crate::text::shell_word;

/// What to do with an open disk when the work is done.
pub(super) enum After {
    /// Export, lock, check.
    Close,
    /// Leave it as it is.
    KeepOpen,
}

/// Opens the disk, does `work` on it, and closes it again whatever `work` returns.
///
/// `meanwhile` is called with the guid of the disk's pool right before the import, which takes time.
/// The report gets the disk's pool and the state that it was left in. A step that the user
/// declined ends the run with exit 3. A panic is an error like any other: while it unwound, the
/// guards have closed what was open.
pub(super) fn with_disk<'a>(
    app: App<'a>,
    prepared: &'a Preparation,
    disk: &FoundDisk,
    readonly: bool,
    report: &mut Report,
    meanwhile: &dyn Fn(Guid),
    work: impl FnOnce(&mut Imported<'a>, &mut Report, &LastWord) -> Result<After, Error>,
) -> Result<(), Error> {
    let context = prepared.context(app);
    let opening = Opening {
        disk,
        readonly,
        force_import: app.cli.options.force_import,
        dry_run: app.cli.options.dry_run,
        // Opening a disk to look at it, or to repair it, is no run.
        needs_whole_pool: disk.device.refuses_degraded
            && !matches!(app.cli.command, Command::Open { .. }),
    };
    let after_panic = |error, report: &mut Report| {
        ended(
            Err(error),
            close::check(context.zfs, &disk.partition),
            report,
        )
    };
    let last_word = LastWord::new(report);
    watching(app, prepared, disk, &last_word, || {
        let mut imported = match catch(|| open(context, &opening, meanwhile)) {
            Ok(Ok(imported)) => imported,
            Ok(Err(closing)) => return ended(Ok(()), *closing, report),
            Err(panic) => return after_panic(panic, report),
        };
        if let Some(told) = &mut report.disk {
            told.pool = Some(imported.pool().clone());
            told.guid = Some(imported.guid());
        }
        last_word.update(report);
        let result = match catch(|| work(&mut imported, report, &last_word)) {
            Ok(result) => {
                last_word.update(report);
                result
            }
            Err(panic) => {
                report.volumes = last_word.volumes();
                Err(panic)
            }
        };
        let result = match (result, app.interrupt.caught()) {
            // A user who ends the run by a signal wants the disk closed.
            (Ok(After::KeepOpen), Some(signal)) => Err(Error::interrupted(Phase::Close, signal)),
            (result, _) => result,
        };
        let closing = catch(|| match &result {
            Ok(After::KeepOpen) => close::keep_open(imported),
            Ok(After::Close) | Err(_) => close::close(context, imported),
        });
        match closing {
            Ok(closing) => ended(result.map(|_| ()), closing, report),
            Err(panic) => after_panic(panic, report),
        }
    })?
}

/// Does `work` on the disk while another thread watches for a pulled cable. If the disk is lost for
/// good, that is reported with what is known by then, and the process ends.
///
/// # Errors
/// If that thread cannot be started: then nothing is done.
pub(super) fn watching<T>(
    app: App,
    prepared: &Preparation,
    disk: &FoundDisk,
    last_word: &LastWord,
    work: impl FnOnce() -> T,
) -> Result<T, Error> {
    let lock = &prepared.lock;
    let watch = Watch {
        watched: &prepared.watched,
        disk,
        terminal: app.terminal,
        interrupt: app.interrupt,
        give_up: &|error| {
            // Another zbackup must be able to bring the disk back while this process still waits for it.
            lock.release();
            give_up(app, last_word.when_lost(), &error);
        },
    };
    let stop = Stop::default();
    std::thread::scope(|scope| {
        let _watching = watch.start(scope, &stop)?;
        Ok(work())
    })
}

/// Reports that the disk is lost, and ends the process from any thread. What it has unmounted stays
/// unmounted: its threads may still be receiving into it.
fn give_up(app: App, mut report: Report, error: &Error) {
    let unmounted = taken_down().into_iter().map(|(path, name)| {
        let path = path.display();
        next!(
            "lost-unmounted",
            "{path} ({name}) was unmounted for this run and still is: zfs mount {}",
            shell_word(&name)
        )
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
