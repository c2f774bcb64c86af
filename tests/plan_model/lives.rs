//! Lives that once went wrong, each with what it was that did.

use zbackup::plan::Direction;

use super::deeds::{Deed, Run};
use super::{HOSTS, World};

fn usb(host: usize, disk: usize) -> Run {
    Run {
        direction: Direction::ToDisk,
        host,
        disk,
        force: false,
        keep_both: false,
        intermediate: false,
        keep: [1, 1],
        break_at: None,
    }
}

fn os(disk: usize, host: usize) -> Run {
    Run {
        direction: Direction::ToHost,
        ..usb(host, disk)
    }
}

fn write(host: usize) -> Deed {
    Deed::Write { host, block: 0 }
}

impl Run {
    fn keep_both(self) -> Self {
        Self {
            keep_both: true,
            ..self
        }
    }

    fn intermediate(self) -> Self {
        Self {
            intermediate: true,
            ..self
        }
    }

    fn keep(self, source: usize, target: usize) -> Self {
        Self {
            keep: [source, target],
            ..self
        }
    }

    fn break_at(self, step: usize) -> Self {
        Self {
            break_at: Some(step),
            ..self
        }
    }
}

/// Every deed is checked, and so are the ways out at the end.
fn live(deeds: impl IntoIterator<Item = Deed>) {
    let mut world = World::new();
    for deed in deeds {
        world.act(&deed);
    }
    world.check_ways_out();
}

/// Two disks bring two snapshots without data to one host, in the order that a third does not have.
#[test]
fn what_came_in_another_order_is_not_brought_again() {
    let runs = [
        os(0, 1).keep_both().intermediate(),
        usb(1, 1).intermediate().keep(1, 2),
        os(1, 0).keep(1, 2),
        os(0, 0),
        os(1, 0),
    ];
    let first = [Deed::Run(usb(0, 0)), Deed::Snapshot { pool: HOSTS }];
    live(first.into_iter().chain(runs.map(Deed::Run)));
}

/// There the host's bookmark is all that tells that it has had the one: the ledger must not drop it.
#[test]
fn nor_is_what_is_pruned_since() {
    live([
        Deed::Snapshot { pool: 0 },
        Deed::Run(usb(0, 2)),
        Deed::Snapshot { pool: 0 },
        Deed::Run(usb(0, 0).intermediate().keep(2, 1)),
        Deed::Run(usb(0, 2).intermediate().break_at(2)),
        Deed::RollBack { host: 0, index: 2 },
        Deed::Run(usb(0, 2)),
        Deed::Run(os(0, 0).keep(1, 2)),
        Deed::Run(usb(0, 0)),
        Deed::Run(os(2, 0)),
    ]);
}

/// A run that brings several snapshots breaks off after the first: that is what the disk goes on
/// from, so the host needs its bookmark, whatever its runs to another disk remove.
#[test]
fn what_has_arrived_half_way_is_a_base() {
    live([
        write(0),
        Deed::Run(usb(0, 0)),
        write(0),
        Deed::Run(usb(0, 2)),
        Deed::Run(os(2, 1).keep_both()),
        write(0),
        Deed::Run(usb(0, 0).intermediate().break_at(1)),
        Deed::Run(usb(0, 2)),
        Deed::Run(usb(1, 0)),
        write(0),
    ]);
    live([
        Deed::Run(usb(0, 1)),
        Deed::Run(usb(1, 1).keep_both()),
        Deed::DeleteAll { host: 1 },
        Deed::Run(usb(1, 0)),
        write(1),
        Deed::Run(usb(1, 1).intermediate().break_at(1)),
        write(1),
        Deed::Run(usb(1, 0).break_at(0)),
        Deed::Run(os(1, 1)),
        write(1),
        Deed::Run(usb(1, 0)),
    ]);
}

/// What the disk's bookmark names is the only link, and the host has no bookmark of it.
#[test]
fn who_is_ahead_of_a_bookmark_still_is_after_retention() {
    live([
        Deed::Run(usb(0, 1)),
        write(0),
        Deed::Run(usb(0, 1).keep(1, 2)),
        Deed::Delete {
            pool: HOSTS + 1,
            index: 1,
        },
        Deed::DeleteMarks { pool: 0 },
        write(0),
        Deed::Run(usb(0, 0).break_at(0)),
        Deed::Run(os(1, 0)),
    ]);
}

/// Another tool takes the host back behind what both disks hold, and writes: neither disk's bookmark is
/// a base any more, also after a run to the other one.
#[test]
fn what_was_undone_is_nobodys_base() {
    let taken_back = Deed::ReceiveOver {
        pool: 0,
        index: 0,
        block: 1,
    };
    let begin = |run: Run| {
        [
            Deed::Snapshot { pool: 0 },
            write(0),
            Deed::Run(run),
            write(0),
        ]
    };
    let first = begin(usb(0, 0)).into_iter().chain(begin(usb(0, 1)));
    let then = [
        taken_back,
        Deed::Run(usb(0, 0)),
        Deed::Run(usb(0, 0).keep_both()),
        write(0),
        Deed::Run(usb(0, 1)),
        Deed::DeleteAll { host: 0 },
        Deed::Run(usb(0, 0)),
    ];
    live(first.chain(then));
}

/// The disk says that somebody's snapshot is zbackup's own.
#[test]
fn a_forged_mark_costs_the_host_nothing() {
    live([
        Deed::Snapshot { pool: 0 },
        write(0),
        Deed::Run(usb(0, 0).intermediate()),
        Deed::Forge { disk: 0, index: 0 },
        write(0),
        Deed::Run(usb(0, 0)),
        Deed::Run(os(0, 1).keep_both().intermediate()),
        Deed::Run(os(0, 1)),
    ]);
}
