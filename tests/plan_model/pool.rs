//! A pool with one volume, as slow and obvious as can be.
//!
//! A volume is a few blocks, each with a value and the transaction group of its birth. As in ZFS, an
//! increment holds the blocks that were born after its base, whatever they were before: a wrong base
//! makes a wrong copy, and the values show it. Whatever the kernel would refuse panics here.

use std::collections::{BTreeMap, BTreeSet};

use openzfs::{
    Bookmark, Createtxg, DatasetKind, DatasetName, Guid, PoolName, ResumeState, Snapshot,
};

use super::HOSTS;
use zbackup::model::ledger::Peer;
use zbackup::model::marks::{CHECKED_PROPERTY, CREATED_PROPERTY, RECEIVING_PROPERTY};
use zbackup::model::{Dataset, Features, Side};

/// How the pools are called, hosts first …
pub const NAMES: [&str; 5] = ["tank", "rpool", "red", "green", "blue"];
/// … and after somebody has imported them under another name.
const NAMES_AGAIN: [&str; 5] = [
    "tank-again",
    "rpool-again",
    "red-again",
    "green-again",
    "blue-again",
];

/// Guids of pools, hosts first.
pub const FIRST_GUID: u64 = 101;

/// How much a model volume holds.
pub const BLOCKS: usize = 3;

/// One block: its value and its birth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    pub value: u64,
    pub birth: u64,
}

pub type Content = [Block; BLOCKS];

#[derive(Debug, Clone)]
pub struct Snap {
    pub short: String,
    pub guid: u64,
    pub txg: u64,
    pub content: Content,
    pub own: bool,
    /// Somebody holds it: it cannot be destroyed.
    pub held: bool,
    /// zbackup made or received it here, whatever its mark says.
    pub managed: bool,
}

#[derive(Debug, Clone)]
pub struct Mark {
    pub short: String,
    pub guid: u64,
    pub txg: u64,
    /// A forced receive took the volume back behind what it stands for.
    pub undone: bool,
    /// Nothing has happened since that leaves this in doubt, should all snapshots be destroyed.
    pub tellable: bool,
}

/// An interrupted receive.
#[derive(Debug, Clone)]
pub struct Partial {
    pub to_guid: u64,
    pub to_name: String,
    pub from_guid: Option<u64>,
}

#[derive(Debug, Clone)]
pub struct Volume {
    pub snaps: Vec<Snap>,
    pub marks: Vec<Mark>,
    pub live: Content,
    pub partial: Option<Partial>,
    /// What zbackup noted last before it received here.
    pub record: String,
    /// Up to where a run of zbackup has destroyed the marks that are undone.
    pub checked: Option<u64>,
    /// Holds nothing but a first receive that broke off.
    pub incomplete: bool,
}

#[derive(Debug, Clone)]
pub struct Pool {
    pub name: &'static str,
    /// Disks that were copied block by block share it.
    pub guid: u64,
    /// A disk's partition.
    pub partuuid: Option<String>,
    pub txg: u64,
    pub volume: Option<Volume>,
    /// The log: when something was received into the volume.
    pub received_at: Vec<u64>,
    /// What is older than this has been overwritten in the log.
    pub log_from: u64,
    /// Nothing more fits, by a quota or because the pool is full.
    pub is_full: bool,
    /// The volume has a child dataset.
    pub has_child: bool,
    /// Other datasets by name: what was renamed aside, with all that it holds.
    pub others: BTreeMap<String, Volume>,
}

/// What a send ioctl writes.
pub struct Stream {
    pub from_guid: Option<u64>,
    pub to: Snap,
    pub blocks: Vec<(usize, u64)>,
}

impl Volume {
    /// Without history, and with nothing in it.
    pub fn empty() -> Self {
        Self {
            snaps: vec![],
            marks: vec![],
            live: [Block { value: 0, birth: 1 }; BLOCKS],
            partial: None,
            record: String::new(),
            checked: None,
            incomplete: false,
        }
    }

    pub fn values(content: &Content) -> [u64; BLOCKS] {
        content.map(|block| block.value)
    }

    pub fn find(&self, guid: u64) -> Option<usize> {
        self.snaps.iter().position(|snap| snap.guid == guid)
    }

    /// Writes the blocks born after `from` (`None`: all of them) that `to` holds.
    pub fn send(&self, from: Option<(u64, u64)>, to_short: &str) -> Stream {
        let to = self.snaps.iter().find(|snap| snap.short == to_short);
        let to = to.unwrap_or_else(|| panic!("send: no snapshot {to_short}"));
        let after = from.map_or(0, |(_, txg)| txg);
        assert!(from.is_none() || after < to.txg, "send: base is not older");
        let born_after = |(_, block): &(usize, &Block)| block.birth > after;
        Stream {
            from_guid: from.map(|(guid, _)| guid),
            to: to.clone(),
            blocks: (to.content.iter().enumerate())
                .filter(born_after)
                .map(|(index, block)| (index, block.value))
                .collect(),
        }
    }
}

impl Pool {
    pub fn new(name: &'static str, guid: u64) -> Self {
        Self {
            name,
            guid,
            partuuid: (guid > FIRST_GUID + HOSTS as u64 - 1).then(|| format!("{guid:010x}")),
            txg: 1,
            volume: None,
            received_at: vec![],
            log_from: 0,
            is_full: false,
            has_child: false,
            others: BTreeMap::new(),
        }
    }

    /// It is exported and imported under another name.
    pub fn rename(&mut self) {
        let index = usize::try_from(self.guid - FIRST_GUID).expect("a few pools");
        let old = self.name;
        self.name = match old.strip_suffix("-again") {
            Some(_) => NAMES[index],
            None => NAMES_AGAIN[index],
        };
        let others = std::mem::take(&mut self.others).into_iter();
        let renamed = |name: String| name.replacen(old, self.name, 1);
        self.others = others.map(|(name, one)| (renamed(name), one)).collect();
    }

    pub fn is_host(&self) -> bool {
        self.partuuid.is_none()
    }

    /// As the ledgers of other pools call it.
    pub fn peer(&self) -> Peer {
        match &self.partuuid {
            None => Peer::host(Guid(self.guid)),
            Some(partuuid) => Peer::disk(Guid(self.guid), partuuid),
        }
    }

    /// Becomes another disk's copy, block by block, on its own partition.
    pub fn copy_from(&mut self, other: &Self) {
        let partuuid = self.partuuid.take();
        *self = Self {
            partuuid,
            ..other.clone()
        };
    }

    pub fn next_txg(&mut self) -> u64 {
        self.txg += 1;
        self.txg
    }

    pub fn write(&mut self, block: usize, value: u64) {
        let birth = self.next_txg();
        if let Some(volume) = &mut self.volume {
            volume.live[block] = Block { value, birth };
        }
    }

    pub fn snapshot(&mut self, short: &str, guid: u64, own: bool) {
        let txg = self.next_txg();
        let volume = self.volume.as_mut().expect("snapshot: no volume");
        let taken = volume.snaps.iter().any(|snap| snap.short == short);
        assert!(!taken, "snapshot: {short} exists");
        volume.snaps.push(Snap {
            short: short.into(),
            guid,
            txg,
            content: volume.live,
            own,
            held: false,
            managed: own,
        });
    }

    /// Somebody clones a snapshot, promotes the clone and gives it the volume's name: what is older
    /// moves to it, bookmarks too.
    pub fn go_back_by_clone(&mut self, index: usize) {
        let txg = self.next_txg();
        let volume = self.volume.as_mut().expect("clone: no volume");
        let newer = volume.snaps.split_off(index + 1);
        let to = &volume.snaps[index];
        volume.marks.retain(|mark| mark.txg <= to.txg);
        volume.live = to.content;
        // A clone has properties of its own.
        (volume.partial, volume.checked) = (None, None);
        let old = Volume {
            snaps: newer,
            ..Volume::empty()
        };
        self.others.insert(format!("{}/old-{txg}", self.name), old);
        self.note_what_is_tellable();
    }

    /// The log's oldest entries are overwritten.
    pub fn forget_log(&mut self) {
        self.log_from = self.next_txg();
        for mark in self.volume.iter_mut().flat_map(|volume| &mut volume.marks) {
            mark.tellable = false;
        }
    }

    /// Another tool's `zfs receive -F` of an increment from one of the snapshots.
    pub fn receive_over(&mut self, index: usize, to: Snap, blocks: Vec<(usize, u64)>) {
        let Some(volume) = &mut self.volume else {
            return;
        };
        let Some(base) = volume.snaps.get(index) else {
            return;
        };
        if volume.partial.is_some() || volume.snaps[index + 1..].iter().any(|snap| snap.held) {
            return;
        }
        let stream = Stream {
            from_guid: Some(base.guid),
            to,
            blocks,
        };
        self.receive_increment(&stream, true, false);
    }

    /// `zfs rollback -r`: newer snapshots and bookmarks go.
    pub fn roll_back(&mut self, index: usize) {
        self.next_txg();
        let volume = self.volume.as_mut().expect("rollback: no volume");
        volume.snaps.truncate(index + 1);
        let to = &volume.snaps[index];
        volume.marks.retain(|mark| mark.txg <= to.txg);
        volume.live = to.content;
        self.note_what_is_tellable();
    }

    /// A receive of a full stream into a new dataset.
    pub fn receive_full(&mut self, stream: &Stream) {
        let txg = self.next_txg();
        let is_resumed = self.volume.as_ref().is_some_and(|old| {
            old.incomplete
                && old
                    .partial
                    .as_ref()
                    .is_some_and(|p| p.to_guid == stream.to.guid)
        });
        assert!(self.volume.is_none() || is_resumed, "receive: EEXIST");
        assert_eq!(stream.from_guid, None);
        let mut live = [Block {
            value: 0,
            birth: txg,
        }; BLOCKS];
        for (index, value) in &stream.blocks {
            live[*index] = Block {
                value: *value,
                birth: txg,
            };
        }
        self.volume = Some(Volume {
            snaps: vec![Snap {
                txg,
                content: live,
                own: false,
                held: false,
                managed: false,
                ..stream.to.clone()
            }],
            marks: vec![],
            live,
            partial: None,
            record: String::new(),
            checked: None,
            incomplete: false,
        });
    }

    /// A receive of an increment; returns the guids that `force` destroyed, oldest first.
    pub fn receive_increment(&mut self, stream: &Stream, force: bool, resumes: bool) -> Vec<u64> {
        let txg = self.next_txg();
        let volume = self.volume.as_mut().expect("receive: ENOENT");
        assert_eq!(
            volume.partial.is_some(),
            resumes,
            "receive: EBUSY or no state"
        );
        let taken = volume
            .snaps
            .iter()
            .any(|snap| snap.short == stream.to.short);
        assert!(!taken, "receive: EEXIST");
        let base = volume
            .find(stream.from_guid.unwrap())
            .expect("receive: ENODEV");
        let after = volume.snaps[base].txg;
        let modified = volume.live.iter().any(|block| block.birth > after);
        assert!(force || !modified, "receive: ETXTBSY");
        let mut destroyed = vec![];
        if force {
            let newer = &volume.snaps[base + 1..];
            assert!(!newer.iter().any(|snap| snap.held), "receive: EBUSY");
            destroyed = newer.iter().map(|snap| snap.guid).collect();
            volume.snaps.truncate(base + 1);
            volume.live = volume.snaps[base].content;
            // The kernel keeps bookmarks of what it undoes.
            for mark in &mut volume.marks {
                mark.undone |= mark.txg > after;
            }
        }
        for (index, value) in &stream.blocks {
            volume.live[*index] = Block {
                value: *value,
                birth: txg,
            };
        }
        volume.snaps.push(Snap {
            txg,
            content: volume.live,
            own: false,
            held: false,
            managed: false,
            ..stream.to.clone()
        });
        volume.partial = None;
        // Until a run has come to its end and bookmarked it.
        volume
            .marks
            .iter_mut()
            .for_each(|mark| mark.tellable = false);
        self.received_at.push(txg);
        destroyed
    }

    /// What `zfs bookmark` makes.
    pub fn bookmark(&mut self, short: &str, guid: u64) {
        let volume = self.volume.as_mut().expect("bookmark: no volume");
        let snap = &volume.snaps[volume.find(guid).expect("bookmark: ENOENT")];
        let txg = snap.txg;
        let taken = volume.marks.iter().any(|mark| mark.short == short);
        assert!(!taken, "bookmark: EEXIST");
        volume.marks.push(Mark {
            short: short.into(),
            guid,
            txg,
            undone: false,
            tellable: false,
        });
        volume.marks.sort_by_key(|mark| mark.txg);
        let tellable = self.is_tellable(txg);
        let marks = self.volume.iter_mut().flat_map(|volume| &mut volume.marks);
        let made = marks.filter(|mark| mark.guid == guid);
        made.for_each(|mark| mark.tellable |= tellable);
    }

    /// A receive of somebody else's stream that is interrupted.
    pub fn receive_foreign(&mut self, to_guid: u64) {
        let Some(volume) = &mut self.volume else {
            return;
        };
        if volume.partial.is_none()
            && let Some(newest) = volume.snaps.last()
        {
            volume.partial = Some(Partial {
                to_guid,
                to_name: format!("foreign/home@{to_guid}"),
                from_guid: Some(newest.guid),
            });
        }
    }

    /// An interrupted receive.
    pub fn receive_partly(&mut self, stream: &Stream) {
        let partial = Some(Partial {
            to_guid: stream.to.guid,
            to_name: format!("elsewhere/home@{}", stream.to.short),
            from_guid: stream.from_guid,
        });
        match &mut self.volume {
            Some(volume) => volume.partial = partial,
            None => {
                self.volume = Some(Volume {
                    snaps: vec![],
                    marks: vec![],
                    live: [Block { value: 0, birth: 0 }; BLOCKS],
                    partial,
                    record: String::new(),
                    checked: None,
                    incomplete: true,
                });
            }
        }
    }

    /// All snapshots, wherever they are now.
    pub fn guids(&self) -> BTreeSet<u64> {
        let all = self.volume.iter().chain(self.others.values());
        let snaps = all.flat_map(|volume| &volume.snaps);
        snaps.map(|snap| snap.guid).collect()
    }

    /// Whatever becomes of the snapshots, the log tells that this mark stands, or that all have stood since
    /// zbackup checked them.
    fn is_tellable(&self, txg: u64) -> bool {
        let is_told =
            |since: u64| since >= self.log_from && self.received_at.iter().all(|at| *at <= since);
        let checked = self.volume.as_ref().and_then(|volume| volume.checked);
        is_told(txg) || checked.is_some_and(|checked| txg <= checked && is_told(checked))
    }

    /// Where none of the bookmarks stands for what is undone.
    pub fn note_what_is_tellable(&mut self) {
        let marks = self.volume.iter().flat_map(|volume| &volume.marks);
        let tellable: Vec<bool> = marks.map(|mark| self.is_tellable(mark.txg)).collect();
        let marks = self.volume.iter_mut().flat_map(|volume| &mut volume.marks);
        for (mark, tellable) in marks.zip(tellable) {
            mark.tellable = tellable;
        }
    }

    /// What is listed of it, without its datasets.
    pub fn side(&self) -> Side {
        let pool = PoolName::new(self.name).unwrap();
        let root = pool.root();
        let datasets = [(root.clone(), dataset(&root, None))].into();
        Side {
            pool_guid: Guid(self.guid),
            top: root,
            pool,
            free_bytes: 1 << 40,
            leftovers: BTreeSet::new(),
            used_features: BTreeSet::new(),
            log_reset_bytes: 0,
            features: Features {
                bookmarks: true,
                ..Features::default()
            },
            datasets,
            unreadable: BTreeMap::new(),
            others: BTreeMap::new(),
        }
    }
}

pub fn dataset(name: &DatasetName, volume: Option<&Volume>) -> Dataset {
    let written_after = |content: &Content, txg: u64| {
        let born = content.iter().filter(|block| block.birth > txg);
        born.count() as u64
    };
    let snaps = volume.map_or(&[][..], |volume| &volume.snaps);
    let before = |index: usize| index.checked_sub(1).map_or(0, |before| snaps[before].txg);
    Dataset {
        name: name.clone(),
        guid: Guid(0),
        kind: DatasetKind::Filesystem,
        snapshots: snaps
            .iter()
            .enumerate()
            .map(|(index, snap)| Snapshot {
                name: name.snapshot(&snap.short).unwrap(),
                guid: Guid(snap.guid),
                createtxg: Createtxg(snap.txg),
                creation_seconds: 0,
                used_bytes: 0,
                referenced_bytes: 0,
                written_bytes: written_after(&snap.content, before(index)),
                holds: u64::from(snap.held),
                clones: Vec::new(),
                ivset_guid: None,
                user_properties: (snap.own)
                    .then(|| (CREATED_PROPERTY.into(), String::new()))
                    .into_iter()
                    .collect(),
                received_properties: BTreeMap::new(),
            })
            .collect(),
        listed_from: Createtxg(0),
        createtxg: Createtxg(0),
        bookmarks: volume
            .map_or(&[][..], |volume| &volume.marks)
            .iter()
            .map(|mark| Bookmark {
                name: name.bookmark(&mark.short).unwrap(),
                guid: Guid(mark.guid),
                createtxg: Createtxg(mark.txg),
                ivset_guid: None,
            })
            .collect(),
        doubtful: vec![],
        past: None,
        resume: volume
            .and_then(|volume| volume.partial.as_ref())
            .map(resume),
        inconsistent: volume.is_some_and(|volume| volume.incomplete),
        encrypted: false,
        written_bytes: volume.map_or(0, |volume| written_after(&volume.live, before(snaps.len()))),
        referenced_bytes: BLOCKS as u64,
        placeholder: false,
        has_children: false,
        objset: 0,
        activity: None,
        atime: false,
        local_properties: volume
            .into_iter()
            .flat_map(|volume| {
                let record = (RECEIVING_PROPERTY.to_owned(), volume.record.clone());
                let new = ("readonly".to_owned(), "on".to_owned());
                let checked = |txg: u64| (CHECKED_PROPERTY.to_owned(), format!("0:{txg}"));
                let checked = volume.checked.map(checked);
                [Some(record), volume.incomplete.then_some(new), checked]
            })
            .flatten()
            .collect(),
        own_properties: std::collections::BTreeMap::new(),
        file_properties: std::collections::BTreeMap::new(),
        may_use: BTreeSet::new(),
        peer_lacks: BTreeSet::new(),
        is_split: false,
        logical_bytes: BLOCKS as u64,
        available_bytes: 1 << 40,
        key: None,
    }
}

pub fn resume(partial: &Partial) -> ResumeState {
    ResumeState {
        token: "1-…".into(),
        to_name: partial.to_name.clone(),
        to_guid: Guid(partial.to_guid),
        from_guid: partial.from_guid.map(Guid),
        object: 1,
        offset: 0,
        received_bytes: 1,
        large_blocks: false,
        embedded: false,
        compressed: false,
        raw: false,
    }
}

/// A snapshot that zbackup made, in the transaction group that is its guid too.
pub fn managed_snapshot(
    name: openzfs::SnapshotName,
    guid: u64,
    ivset_guid: Option<Guid>,
) -> Snapshot {
    Snapshot {
        name,
        guid: Guid(guid),
        createtxg: Createtxg(guid),
        creation_seconds: 0,
        used_bytes: 0,
        referenced_bytes: 0,
        written_bytes: 1,
        holds: 0,
        clones: Vec::new(),
        ivset_guid,
        user_properties: [(CREATED_PROPERTY.into(), String::new())].into(),
        received_properties: BTreeMap::new(),
    }
}
