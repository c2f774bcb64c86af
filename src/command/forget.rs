//! `zbackup forget`: a disk will not come back, and nothing has to wait for it any longer.

use std::collections::BTreeSet;

use super::{App, Preparation};
use crate::cli::Command;
use crate::config::{Config, PoolSelector};
use crate::error::{Error, Exit, Phase};
use crate::human::count;
use crate::inventory::{DISK_PROPERTY_PREFIX, KnownDisks};
use crate::name::{BookmarkName, Guid, PoolName};
use crate::report::Report;
use crate::terminal::Terminal;
use crate::zfs::{Libzfs, Lzc};

/// Runs the verb. Only the host's pool is looked at and changed: the disk need not exist any more.
pub(super) fn run(app: App, report: &mut Report) -> Result<(), Error> {
    let Command::Forget { disk, force } = &app.cli.command else {
        unreachable!("the verb is forget")
    };
    let prepared = Preparation::make(app, report)?;
    let (_, host_pool) = prepared.host(report)?;
    let pool = &host_pool.name;
    let known = KnownDisks::read(&prepared.zfs, pool).map_err(failed)?;
    let guid = which(&prepared.config, &known, pool, disk)?;
    let bookmarks = guid
        .and_then(|guid| known.bookmarks.get(&guid).cloned())
        .unwrap_or_default();
    let recorded = guid.filter(|guid| known.records.contains_key(guid));
    report.forgotten = Some(Vec::new());
    let what = what_goes(&known, pool, disk, guid, &bookmarks);
    if app.cli.options.dry_run || (bookmarks.is_empty() && recorded.is_none()) {
        report.forgotten = Some(bookmarks.clone());
        return print(app.terminal, &what, &bookmarks);
    }
    if bookmarks.is_empty() {
        print(app.terminal, &what, &[])?;
    } else {
        ask(app.terminal, disk, *force, &what, &bookmarks)?;
        let lzc = Lzc::open().map_err(failed)?;
        lzc.destroy_bookmarks(&bookmarks)
            .map_err(|error| failed(error.into()))?;
        report.forgotten = Some(bookmarks);
    }
    recorded.map_or(Ok(()), |guid| remove_record(&prepared.zfs, pool, guid))
}

/// The guid of the disk's pool; `None` where the disk is configured, but was never here.
fn which(
    config: &Config,
    known: &KnownDisks,
    pool: &PoolName,
    disk: &str,
) -> Result<Option<Guid>, Error> {
    if let Ok(guid) = disk.parse() {
        return Ok(Some(guid));
    }
    let configured = config.devices.iter().find(|device| device.section == disk);
    let partuuid = configured.map(|device| device.partuuid.to_string());
    let mut guids: BTreeSet<Guid> = known
        .records
        .iter()
        .filter(|(_, record)| record.section == disk || Some(&record.partuuid) == partuuid.as_ref())
        .map(|(guid, _)| *guid)
        .collect();
    if let Some(PoolSelector::Guid(guid)) = configured.map(|device| &device.pool) {
        guids.insert(*guid);
    }
    match (guids.len(), configured) {
        (0, None) => Err(unclear(format!("{pool} knows no disk {disk:?}"), known)),
        (0 | 1, _) => Ok(guids.pop_first()),
        _ => Err(unclear(
            format!("{pool} knows several disks as {disk:?}"),
            known,
        )),
    }
}

/// The disk has to be named in another way: by one of the guids that are known.
fn unclear(message: String, known: &KnownDisks) -> Error {
    let guids: BTreeSet<&Guid> = known.records.keys().chain(known.bookmarks.keys()).collect();
    let lines: Vec<_> = guids
        .into_iter()
        .map(|guid| format!("  {}", describe(known, *guid)))
        .collect();
    let next = if lines.is_empty() {
        "It knows no disk at all: there is nothing to forget.".into()
    } else {
        let lines = lines.join("\n");
        format!("Name the disk by the guid of its pool. These are known:\n{lines}")
    };
    Error::new(Phase::Arguments, message)
        .next(next)
        .exit(Exit::Usage)
}

fn describe(known: &KnownDisks, guid: Guid) -> String {
    let bookmarks = known.bookmarks.get(&guid).map_or(0, Vec::len);
    let bookmarks = count(bookmarks, "bookmark");
    match known.records.get(&guid) {
        Some(record) => format!(
            "{guid}: {} (pool {}), last here {}, {bookmarks}",
            record.section, record.pool, record.when
        ),
        None => format!("{guid}: {bookmarks}"),
    }
}

fn what_goes(
    known: &KnownDisks,
    pool: &PoolName,
    disk: &str,
    guid: Option<Guid>,
    bookmarks: &[BookmarkName],
) -> String {
    let remembered = guid.filter(|guid| known.records.contains_key(guid));
    match (guid, remembered) {
        (Some(guid), Some(_)) if bookmarks.is_empty() => {
            format!("{pool} has only the record of {}", describe(known, guid))
        }
        (Some(guid), _) if !bookmarks.is_empty() => format!(
            "{pool} will not know any more where this disk is, and would send to it in full:\n{}",
            describe(known, guid)
        ),
        _ => format!("{pool} remembers nothing of {disk}: there is nothing to forget"),
    }
}

fn print(terminal: &Terminal, what: &str, bookmarks: &[BookmarkName]) -> Result<(), Error> {
    let list = bookmarks.iter().map(|bookmark| format!("  {bookmark}\n"));
    terminal
        .print(&format!("{what}\n{}", list.collect::<String>()))
        .map_err(|error| {
            let message = format!("the bookmarks cannot be shown: {error}");
            Error::new(Phase::Ledger, message)
        })
}

/// Asks, or insists on `--force` where nobody can be asked.
fn ask(
    terminal: &Terminal,
    disk: &str,
    force: bool,
    what: &str,
    bookmarks: &[BookmarkName],
) -> Result<(), Error> {
    if !terminal.can_ask() && !force {
        let message = format!(
            "forgetting {disk} destroys {}, and there is no terminal to ask on",
            count(bookmarks.len(), "bookmark")
        );
        return Err(Error::new(Phase::Arguments, message)
            .next(format!(
                "To see them: zbackup --dry-run forget '{disk}'\n\
                 To do it without a question: zbackup forget --force '{disk}'"
            ))
            .exit(Exit::Usage));
    }
    let victims: Vec<_> = bookmarks.iter().map(ToString::to_string).collect();
    if terminal.approve_destruction(what, &victims) {
        Ok(())
    } else {
        Err(Error::declined(Phase::Disk, &format!("forget {disk}")))
    }
}

fn remove_record(zfs: &Libzfs, pool: &PoolName, guid: Guid) -> Result<(), Error> {
    let Some(mut root) = zfs.dataset(&pool.root()).map_err(failed)? else {
        return Ok(());
    };
    root.inherit_property(&format!("{DISK_PROPERTY_PREFIX}{guid}"))
        .map_err(failed)
}

fn failed(error: crate::zfs::Error) -> Error {
    Error::new(Phase::Ledger, error.to_string())
}
