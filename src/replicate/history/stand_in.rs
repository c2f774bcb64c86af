//! Bookmarks for absent disks, in place of snapshots that are destroyed.
//!
//! The ledger has a bookmark for each disk that was here. It can be lost: a promoted clone that
//! takes its origin's place has the snapshots, while the bookmarks stay with the origin.

use std::collections::{BTreeMap, BTreeSet};

use openzfs::{DatasetName, Snapshot, SnapshotName};

use crate::inventory::last_visits;
use crate::model::Side;
use crate::model::ledger::{self, Peer};
use crate::replicate::Outcomes;
use crate::replicate::Replication;
use crate::replicate::batch::{self, Pair};

/// On the host, bookmarks the snapshot that was the newest when an absent disk was last here, if it is
/// among the `old` ones. Returns those that can be destroyed: a snapshot that gets no bookmark stays.
pub(in crate::replicate) fn for_absent_disks(
    run: &Replication,
    outcomes: &mut Outcomes,
    side: &Side,
    mut old: Vec<SnapshotName>,
) -> Vec<SnapshotName> {
    let mut stays: BTreeMap<SnapshotName, String> = BTreeMap::new();
    let mut create: Vec<Pair> = Vec::new();
    for (peer, base) in bases(run, side, &old) {
        match ledger::bookmark_name(&base.name.dataset(), peer, base.createtxg) {
            Ok(bookmark) => create.push((bookmark, base.name.clone())),
            Err(error) => {
                stays.insert(base.name.clone(), error.to_string());
            }
        }
    }
    let made = batch::bookmark(run.zfs, create);
    for (bookmark, _) in made.done {
        log::info!("made {bookmark} for a disk that is not here");
    }
    let failed = made.failed.into_iter();
    stays.extend(failed.map(|((_, snapshot), why)| (snapshot, why)));
    for (snapshot, why) in &stays {
        outcomes.warn(format!(
            "{snapshot} stays for a disk that is not here: {why}"
        ));
    }
    old.retain(|name| !stays.contains_key(name));
    old
}

/// The host's `old` snapshots that may be the base of an absent disk.
fn bases<'a>(
    run: &Replication<'a>,
    side: &'a Side,
    old: &[SnapshotName],
) -> Vec<(Peer, &'a Snapshot)> {
    let (host, disk) = run.host_and_disk();
    if side.pool_guid != host.pool_guid {
        return Vec::new();
    }
    let this = run.as_peer(disk);
    let mut visits = last_visits(host);
    visits.retain(|(peer, _)| *peer != this);
    let datasets: BTreeSet<DatasetName> = old.iter().map(SnapshotName::dataset).collect();
    let mut bases = Vec::new();
    for dataset in datasets.iter().filter_map(|name| side.dataset(name)) {
        for (peer, seconds) in &visits {
            let base = ledger::unbookmarked_base(dataset, *peer, *seconds);
            let base = base.filter(|base| old.contains(&base.name));
            bases.extend(base.map(|base| (*peer, base)));
        }
    }
    bases
}
