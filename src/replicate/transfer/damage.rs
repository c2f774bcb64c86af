//! The explanation of a stream that ended because of damaged data: the files, and what to do.

use openzfs::{Damage, DatasetName};

use crate::inventory::health::{destroy_commands, words};
use crate::next::next;
use crate::plan::{Direction, VolumePlan};
use crate::replicate::Replication;
use crate::text::shell_word;

/// How many damaged objects are looked at, and how many of these are named.
const MOST_DAMAGES: usize = 1000;
const MOST_NAMED: usize = 5;

/// The side of a stream that could not read or write its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::replicate) enum StreamEnd {
    /// The sending side.
    Source,
    /// The receiving side.
    Target,
}

impl StreamEnd {
    /// Which side has failed in that call.
    pub fn of(error: &openzfs::Error) -> Self {
        if error.call.starts_with("lzc_send") {
            Self::Source
        } else {
            Self::Target
        }
    }
}

/// What ZFS knows of the damage that ended this volume's stream, and what to do.
pub(in crate::replicate) fn explain(
    run: &Replication,
    volume: &VolumePlan,
    end: StreamEnd,
) -> String {
    let (side, dataset) = match end {
        StreamEnd::Source => (run.source, &volume.source),
        StreamEnd::Target => (run.target, &volume.target),
    };
    let damages = run.zfs.damages(&side.pool, MOST_DAMAGES);
    let damages: Vec<Damage> = damages
        .unwrap_or_default()
        .into_iter()
        .filter(|damage| is_in(damage, dataset))
        .collect();
    let place = match (run.plan.direction, end) {
        (Direction::ToDisk, StreamEnd::Source) | (Direction::ToHost, StreamEnd::Target) => {
            Place::Host
        }
        _ => Place::Disk,
    };
    way_on(place, end, dataset, &damages)
}

fn is_in(damage: &Damage, dataset: &DatasetName) -> bool {
    let of = damage.dataset.split('@').next();
    of == Some(dataset.as_str())
}

/// Where the damage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Host,
    Disk,
}

fn way_on(place: Place, end: StreamEnd, dataset: &DatasetName, damages: &[Damage]) -> String {
    let pool = shell_word(&dataset.pool());
    let mut named: Vec<_> = damages.iter().take(MOST_NAMED).map(words).collect();
    if damages.len() > MOST_NAMED {
        named.push(format!("{} more", damages.len() - MOST_NAMED));
    }
    let named = if named.is_empty() {
        format!("ZFS names no file of {dataset}")
    } else {
        named.join(", ")
    };
    match (place, end) {
        (Place::Host, StreamEnd::Source) => next!(
            "damaged-host",
            "Damaged on this host: {named}. The copy on the disk is as it was. Bring the file back from \
             another copy, or delete it; {}then run the same command again (`zpool status -v {pool}` lists all damage)",
            destroy(damages)
        ),
        (Place::Disk, StreamEnd::Source) => next!(
            "damaged-copy",
            "The copy on the disk is damaged: {named}. This host is as it was. Bring this volume from another \
             disk; what can still be read of it is there after `zbackup open`"
        ),
        (Place::Disk, StreamEnd::Target) => next!(
            "disk-failed",
            "The disk failed while it was written to ({named}); the snapshots that it had are not \
             changed. Scrub it (zbackup open --rw && zpool scrub -w {pool} && zpool status -v {pool}; zbackup close), \
             and if that finds damage, use another disk"
        ),
        (Place::Host, StreamEnd::Target) => next!(
            "host-failed",
            "This host's pool failed while it was written to ({named}); the disk is as it was. \
             `zpool scrub -w {pool}`, then `zpool status -v {pool}` tells what is damaged. If that is \
             {dataset} or a snapshot of it: `zfs rename {} {}`, then the same command again brings all of \
             it anew",
            shell_word(dataset),
            shell_word(&format!("{dataset}-kept-damaged"))
        ),
    }
}

/// How to destroy the snapshots that are damaged.
fn destroy(damages: &[Damage]) -> String {
    destroy_commands(damages)
        .map(|commands| format!("destroy what holds the damage ({commands}); "))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damage(dataset: &str) -> Damage {
        Damage {
            dataset: dataset.into(),
            file: "/a".into(),
        }
    }

    #[test]
    fn damage_belongs_to_a_dataset_and_its_snapshots_only() {
        let home = DatasetName::new("tank/home").unwrap();
        assert!(is_in(&damage("tank/home"), &home));
        assert!(is_in(&damage("tank/home@a"), &home));
        for other in ["tank/home/vic", "tank/home2@a", "tank", "<metadata>"] {
            assert!(!is_in(&damage(other), &home), "{other}");
        }
    }

    #[test]
    fn the_way_on_names_file_and_snapshot() {
        let home = DatasetName::new("tank/home").unwrap();
        let damages = [damage("tank/home@a"), damage("tank/home")];
        let text = way_on(Place::Host, StreamEnd::Source, &home, &damages);
        assert!(
            text.contains("/a in tank/home@a, /a in tank/home."),
            "{text}"
        );
        assert!(text.contains("(zfs destroy tank/home@a); then"), "{text}");
        let text = way_on(Place::Disk, StreamEnd::Target, &home, &[]);
        assert!(text.contains("names no file of tank/home"), "{text}");
        let spaced = DatasetName::new("tank/my data").unwrap();
        let damages = [damage("tank/my data@a")];
        let text = way_on(Place::Host, StreamEnd::Source, &spaced, &damages);
        assert!(
            text.contains("(zfs destroy 'tank/my data@a'); then"),
            "{text}"
        );
        let text = way_on(Place::Host, StreamEnd::Target, &spaced, &[]);
        let rename = "`zfs rename 'tank/my data' 'tank/my data-kept-damaged'`";
        assert!(text.contains(rename), "{text}");
    }
}
