//! A pool with one volume, as slow and obvious as can be.
//!
//! A volume is a few blocks, each with a value and the transaction group of its birth. As in ZFS, an
//! increment holds the blocks that were born after its base, whatever they were before: a wrong base
//! makes a wrong copy, and the values show it. Whatever the kernel would refuse panics here.

use std::collections::{BTreeMap, BTreeSet};

use zbackup::inventory::{CREATED_PROPERTY, Dataset, Features, Side};
use zbackup::name::{Createtxg, DatasetName, Guid, PoolName};
use zbackup::snapshot::{Bookmark, DatasetKind, ResumeState, Snapshot};

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
}

#[derive(Debug, Clone)]
pub struct Mark {
    pub short: String,
    pub guid: u64,
    pub txg: u64,
}

/// A receive that broke off.
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
    /// Holds nothing but a first receive that broke off.
    pub incomplete: bool,
}

#[derive(Debug, Clone)]
pub struct Pool {
    pub name: &'static str,
    pub guid: u64,
    pub txg: u64,
    pub volume: Option<Volume>,
    /// Volumes that were renamed aside: name and snapshots.
    pub kept: Vec<(String, Vec<u64>)>,
}

/// What a send ioctl writes.
pub struct Stream {
    pub from_guid: Option<u64>,
    pub to: Snap,
    pub blocks: Vec<(usize, u64)>,
}

impl Volume {
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
            txg: 1,
            volume: None,
            kept: vec![],
        }
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
        });
    }

    /// `zfs rollback -r`: newer snapshots and bookmarks go.
    pub fn roll_back(&mut self, index: usize) {
        self.next_txg();
        let volume = self.volume.as_mut().expect("rollback: no volume");
        volume.snaps.truncate(index + 1);
        let to = &volume.snaps[index];
        volume.marks.retain(|mark| mark.txg <= to.txg);
        volume.live = to.content;
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
                ..stream.to.clone()
            }],
            marks: vec![],
            live,
            partial: None,
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
            ..stream.to.clone()
        });
        volume.partial = None;
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
        });
        volume.marks.sort_by_key(|mark| mark.txg);
    }

    /// A receive of somebody else's stream that breaks off.
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

    /// A receive that breaks off.
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
                    incomplete: true,
                });
            }
        }
    }

    /// All snapshots, wherever they are now.
    pub fn guids(&self) -> BTreeSet<u64> {
        let of_volume = self.volume.iter().flat_map(|volume| &volume.snaps);
        let kept = self
            .kept
            .iter()
            .flat_map(|(_, guids)| guids.iter().copied());
        of_volume.map(|snap| snap.guid).chain(kept).collect()
    }

    /// What the planner gets to see.
    pub fn side(&self) -> Side {
        let pool = PoolName::new(self.name).unwrap();
        let mut datasets = BTreeMap::new();
        let root = pool.root();
        datasets.insert(root.clone(), dataset(&root, None));
        for (name, _) in &self.kept {
            let name = DatasetName::new(name).unwrap();
            datasets.insert(name.clone(), dataset(&name, None));
        }
        if let Some(volume) = &self.volume {
            let name = root.join("home").unwrap();
            datasets.insert(name.clone(), dataset(&name, Some(volume)));
        }
        Side {
            pool_guid: Guid(self.guid),
            top: root,
            pool,
            free_bytes: 1 << 40,
            leftovers: BTreeSet::new(),
            log_reset_bytes: 0,
            features: Features {
                bookmarks: true,
                ..Features::default()
            },
            datasets,
        }
    }
}

fn dataset(name: &DatasetName, volume: Option<&Volume>) -> Dataset {
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
                ivset_guid: None,
                user_properties: (snap.own)
                    .then(|| (CREATED_PROPERTY.into(), String::new()))
                    .into_iter()
                    .collect(),
            })
            .collect(),
        listed_from: Createtxg(0),
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
        resume: volume
            .and_then(|volume| volume.partial.as_ref())
            .map(resume),
        inconsistent: volume.is_some_and(|volume| volume.incomplete),
        encrypted: false,
        written_bytes: volume.map_or(0, |volume| written_after(&volume.live, before(snaps.len()))),
        referenced_bytes: BLOCKS as u64,
        placeholder: false,
        has_children: false,
        mounted_at: None,
        atime: false,
        local_properties: volume
            .filter(|volume| volume.incomplete)
            .map(|_| ("readonly".into(), "on".into()))
            .into_iter()
            .collect(),
    }
}

fn resume(partial: &Partial) -> ResumeState {
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
