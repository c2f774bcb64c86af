//! `zbackup forget`: a disk will not come back, and nothing needs to be kept for it any longer.

use std::collections::BTreeSet;

use openzfs::{BookmarkName, Libzfs, Lzc, PoolName, as_many_as_go};

use super::{App, Preparation};
use crate::cli::Command;
use crate::config::{Config, PoolSelector};
use crate::error::{Error, Exit, Phase};
use crate::human::count;
use crate::inventory::{DISK_PROPERTY_PREFIX, KnownDisks};
use crate::model::ledger::Peer;
use crate::next::next;
use crate::report::Report;
use crate::terminal::Terminal;
use crate::text::{Text, shell_word};

/// Runs the verb. Only the host's pool is looked at and changed: the disk need not exist any more.
pub(super) fn run(app: App, report: &mut Report) -> Result<(), Error> {
    let Command::Forget { disk, force } = &app.cli.command else {
        unreachable!("the verb is forget")
    };
    let prepared = Preparation::make(app, report)?;
    let (_, host_pool) = prepared.host(report)?;
    let pool = &host_pool.name;
    let known = KnownDisks::read(&prepared.zfs, pool).map_err(failed)?;
    let peer = which(&prepared.config, &known, pool, disk)?;
    let bookmarks: Vec<BookmarkName> = peer.map_or(Vec::new(), |peer| bookmarks_of(&known, peer));
    let recorded = peer.filter(|peer| known.records.contains_key(peer));
    report.forgotten = Some(Vec::new());
    let what = what_goes(&known, pool, disk, peer, &bookmarks);
    if app.cli.options.dry_run || (bookmarks.is_empty() && recorded.is_none()) {
        report.forgotten = Some(bookmarks.clone());
        return print(app.terminal, what, &bookmarks);
    }
    if bookmarks.is_empty() {
        print(app.terminal, what, &[])?;
    } else {
        ask(app.terminal, disk, *force, what, &bookmarks)?;
        let lzc = Lzc::open().map_err(failed)?;
        let gone = as_many_as_go(
            bookmarks,
            |name| vec![name.as_str()],
            |names| lzc.destroy_bookmarks(names),
        );
        report.forgotten = Some(gone.done);
        if !gone.failed.is_empty() {
            let lines = gone
                .failed
                .iter()
                .map(|(name, why)| format!("  {name}: {why}"));
            let mut message = Text::from("not all bookmarks could be removed:");
            message.append(Text::lines(lines));
            return Err(Error::new(Phase::Ledger, message)
                .next(next!("forget-again", "Run the same command again.")));
        }
    }
    recorded.map_or(Ok(()), |peer| {
        remove_record(&prepared.zfs, pool, peer)?;
        if twins_of(&known, peer).is_empty() {
            remove_record(&prepared.zfs, pool, peer.any_part())?;
        }
        Ok(())
    })
}

/// The disk that was named; `None` if it is configured but was never here.
fn which(
    config: &Config,
    known: &KnownDisks,
    pool: &PoolName,
    disk: &str,
) -> Result<Option<Peer>, Error> {
    let configured = config.devices.iter().find(|device| device.section == disk);
    let partuuid = configured.map(|device| device.partuuid.to_string());
    let mut found: BTreeSet<Peer> = known
        .records
        .iter()
        .filter(|(_, record)| record.section == disk || Some(&record.partuuid) == partuuid.as_ref())
        .map(|(peer, _)| *peer)
        .collect();
    if let Some(device) = configured {
        let of_device = |pool| Peer::disk(pool, device.partuuid.as_str());
        found.extend(all(known).filter(|peer| *peer == of_device(peer.pool)));
        if let PoolSelector::Guid(guid) = &device.pool {
            found.insert(of_device(*guid));
        }
    }
    if let Ok(named) = disk.parse::<Peer>() {
        let of_pool = all(known).filter(|peer| {
            peer.pool == named.pool && (named == named.any_part() || named == *peer)
        });
        found = of_pool.collect();
        // A name without a partition means one of those with a partition, if there are any.
        if found.len() > 1 {
            found.remove(&named.any_part());
        }
        found.extend(found.is_empty().then_some(named));
    }
    match (found.len(), configured) {
        (0, None) => Err(unclear(format!("{pool} knows no disk {disk:?}"), known)),
        (0 | 1, _) => Ok(found.pop_first()),
        _ => Err(unclear(
            format!("{pool} knows several disks as {disk:?}"),
            known,
        )),
    }
}

/// All known disks, by record or by bookmark.
fn all(known: &KnownDisks) -> impl Iterator<Item = Peer> {
    known.records.keys().chain(known.bookmarks.keys()).copied()
}

/// Other disks with the same pool: copies block by block.
fn twins_of(known: &KnownDisks, peer: Peer) -> BTreeSet<Peer> {
    all(known)
        .filter(|other| other.pool == peer.pool && !peer.may_be(*other))
        .collect()
}

/// Its bookmarks, and those without a partition unless they may be a twin's.
fn bookmarks_of(known: &KnownDisks, peer: Peer) -> Vec<BookmarkName> {
    let own = known.bookmarks.get(&peer).into_iter().flatten();
    let told_by_pool = known.bookmarks.get(&peer.any_part()).into_iter().flatten();
    let shared =
        told_by_pool.filter(|_| peer != peer.any_part() && twins_of(known, peer).is_empty());
    own.chain(shared).cloned().collect()
}

/// The error for an unclear name: the disk has to be named by one of the known guids.
fn unclear(message: String, known: &KnownDisks) -> Error {
    let peers: BTreeSet<Peer> = all(known).collect();
    let lines: Vec<_> = peers
        .into_iter()
        .map(|peer| format!("  {}", describe(known, peer)))
        .collect();
    let next = if lines.is_empty() {
        "It knows no disk at all: there is nothing to forget.".into()
    } else {
        let heading = next!(
            "forget-by-guid",
            "Name the disk by what stands first in its line. These are known:"
        );
        let mut next = Text::from(heading);
        next.append(Text::lines(lines));
        next
    };
    Error::new(Phase::Arguments, message)
        .next(next)
        .exit(Exit::Usage)
}

fn describe(known: &KnownDisks, peer: Peer) -> String {
    let bookmarks = bookmarks_of(known, peer).len();
    let bookmarks = count(bookmarks, "bookmark");
    match known.records.get(&peer) {
        Some(record) => format!(
            "{peer}: {} (pool {}), last here {}, {bookmarks}",
            record.section, record.pool, record.when
        ),
        None => format!("{peer}: {bookmarks}"),
    }
}

fn what_goes(
    known: &KnownDisks,
    pool: &PoolName,
    disk: &str,
    peer: Option<Peer>,
    bookmarks: &[BookmarkName],
) -> Text {
    let remembered = peer.filter(|peer| known.records.contains_key(peer));
    match (peer, remembered) {
        (Some(peer), Some(_)) if bookmarks.is_empty() => {
            format!("{pool} has only the record of {}", describe(known, peer)).into()
        }
        (Some(peer), _) if !bookmarks.is_empty() => Text::lines([
            &format!(
                "{pool} will not know any more where this disk is, and would send to it in full:"
            ),
            &describe(known, peer),
        ]),
        _ => format!("{pool} remembers nothing of {disk}: there is nothing to forget").into(),
    }
}

fn print(terminal: &Terminal, mut what: Text, bookmarks: &[BookmarkName]) -> Result<(), Error> {
    let list = bookmarks.iter().map(|bookmark| format!("  {bookmark}"));
    what.append(Text::lines(list));
    terminal.print(&what).map_err(|error| {
        let message = format!("the bookmarks cannot be shown: {error}");
        Error::new(Phase::Ledger, message)
    })
}

/// Asks, or requires `--force` if nobody can be asked.
fn ask(
    terminal: &Terminal,
    disk: &str,
    force: bool,
    what: Text,
    bookmarks: &[BookmarkName],
) -> Result<(), Error> {
    if !terminal.can_ask() && !force {
        let word = shell_word(disk);
        let message = format!(
            "forgetting {disk} destroys {}, and there is no terminal to ask on",
            count(bookmarks.len(), "bookmark")
        );
        return Err(Error::new(Phase::Arguments, message)
            .next(Text::lines([
                next!(
                    "forget-look",
                    "To see them: zbackup --dry-run forget {word}"
                ),
                next!(
                    "forget-force",
                    "To do it without a question: zbackup forget --force {word}"
                ),
            ]))
            .exit(Exit::Usage));
    }
    let victims: Vec<_> = bookmarks.iter().map(ToString::to_string).collect();
    if terminal.approve_destruction(what, &victims) {
        Ok(())
    } else {
        Err(Error::declined(Phase::Disk, &format!("forget {disk}")))
    }
}

fn remove_record(zfs: &Libzfs, pool: &PoolName, peer: Peer) -> Result<(), Error> {
    let Some(mut root) = zfs.dataset(&pool.root()).map_err(failed)? else {
        return Ok(());
    };
    root.inherit_property(&format!("{DISK_PROPERTY_PREFIX}{peer}"))
        .map_err(failed)
}

fn failed(error: openzfs::Error) -> Error {
    Error::new(Phase::Ledger, error.to_string())
}
