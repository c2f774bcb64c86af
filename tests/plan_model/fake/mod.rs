//! ZFS in memory, on which the program's own executor carries plans out.
//!
//! What the kernel refuses is refused here, with its errno. Any call can be told to fail, and the run to
//! die at any change that it makes: from then on nothing answers, and what is done stays done.

mod answers;
mod streams;

use std::collections::{BTreeMap, BTreeSet};
use std::io::PipeReader;
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use openzfs::{
    BatchError, BookmarkName, Createtxg, DatasetName, Error, Guid, HistoryEntry, HistoryEvent,
    PoolHistory, PoolName, PropertyChange, SnapshotName, StreamFeature,
};
use zbackup::model::marks::{
    ARRIVING_SUFFIX, CHECKED_PROPERTY, CREATED_PROPERTY, EMPTY_BOOKMARK, PLACEHOLDER_PROPERTY,
    RECEIVING_PROPERTY, REPLACED_SUFFIX,
};
use zbackup::model::{Activity, Dataset, Past, Side};
use zbackup::plan::proof;
use zbackup::replicate::zfs::Values;

use super::pool::{self, Pool, Volume};

/// All pools. Threads may share it.
pub struct Fake(Mutex<State>);

/// Where everything is, and what is to go wrong.
#[derive(Default)]
pub struct State {
    /// Each without its volume, which is among the datasets.
    pub pools: BTreeMap<PoolName, Pool>,
    pub datasets: BTreeMap<DatasetName, Entry>,
    /// The next snapshot's guid is one more.
    pub next_guid: u64,
    next_dataset: u64,
    /// Calls that go wrong, each once.
    faults: Vec<Fault>,
    /// Streams into these go on until they are told to stop.
    pub endless: BTreeSet<DatasetName>,
    /// Somebody takes these when a stream into their dataset has begun.
    pub appearing: Vec<SnapshotName>,
    /// What streams use of the pool that they go to.
    pub used_features: Vec<StreamFeature>,
    /// Changes that were made or tried.
    pub changes: usize,
    /// The change at which the run dies.
    pub dies_at: Option<usize>,
    /// How many streams arrive before it dies, in the next one or, with `true`, right after the last.
    pub dies_after: Option<(usize, bool)>,
    streams: usize,
    /// Snapshots that were destroyed by name.
    pub destroyed: Vec<(DatasetName, pool::Snap)>,
    is_dead: bool,
    /// Snapshots that are held until the other end is closed.
    held: Vec<(u64, PipeReader)>,
}

/// One dataset.
#[derive(Debug, Clone)]
pub struct Entry {
    pub guid: u64,
    pub properties: Values,
    pub volume: Volume,
}

/// A call of libzfs_core that fails for this dataset, snapshot or bookmark.
struct Fault {
    call: &'static str,
    subject: String,
    code: i32,
}

/// The code of a fault that is a bug of the program.
pub const BUG: i32 = 0;

impl Fake {
    pub fn new(pools: impl IntoIterator<Item = Pool>) -> Self {
        let mut state = State {
            next_guid: 1000,
            ..State::default()
        };
        for pool in pools {
            state.take(pool);
        }
        Self(Mutex::new(state))
    }

    /// The pools as they are now, by name.
    pub fn into_pools(self) -> BTreeMap<PoolName, Pool> {
        self.0.into_inner().unwrap().into_pools()
    }

    /// For a test, between two runs.
    pub fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.0.lock().unwrap();
        state.end_holds();
        state
    }

    /// For the program: nothing that is dead answers.
    fn look(&self, call: &'static str, subject: &str) -> Result<MutexGuard<'_, State>, Error> {
        let state = self.state();
        if state.is_dead {
            return Err(Error::from_code(call, subject, libc::EIO));
        }
        Ok(state)
    }

    /// Begins a change of all of these. The errors are of those that it fails for.
    fn change<'a>(
        &self,
        call: &'static str,
        subjects: impl IntoIterator<Item = &'a str>,
    ) -> Result<MutexGuard<'_, State>, BatchError> {
        let mut state = self.state();
        state.changes += 1;
        state.is_dead |= state.dies_at == Some(state.changes);
        if state.is_dead {
            return Err(BatchError::from_codes(call, libc::EIO, []));
        }
        let subjects: Vec<&str> = subjects.into_iter().collect();
        let fails = |fault: &Fault| fault.call == call && subjects.contains(&&*fault.subject);
        match state.faults.iter().position(fails) {
            None => Ok(state),
            Some(place) => {
                let Fault { subject, code, .. } = state.faults.remove(place);
                drop(state);
                assert_ne!(code, BUG, "a test wants it");
                Err(BatchError::from_codes(call, code, [(&*subject, code)]))
            }
        }
    }

    /// The same for one dataset.
    fn change_one(
        &self,
        call: &'static str,
        subject: &DatasetName,
    ) -> Result<MutexGuard<'_, State>, Error> {
        self.change(call, [subject.as_str()])
            .map_err(|error| Error::from_code(call, subject, error.code))
    }
}

impl State {
    /// The machine is started again.
    pub fn revive(&mut self) {
        (self.is_dead, self.dies_at, self.changes) = (false, None, 0);
    }

    pub fn fail(&mut self, call: &'static str, subject: &str, code: i32) {
        let subject = subject.into();
        self.faults.push(Fault {
            call,
            subject,
            code,
        });
    }

    fn take(&mut self, mut pool: Pool) {
        let name = PoolName::new(pool.name).unwrap();
        self.add(&name.root(), Volume::empty());
        let home = name.root().join("home").unwrap();
        if let Some(volume) = pool.volume.take() {
            self.add(&home, volume);
        }
        if pool.has_child {
            self.add(&home.join("child").unwrap(), Volume::empty());
        }
        for (other, volume) in std::mem::take(&mut pool.others) {
            self.add(&DatasetName::new(&other).unwrap(), volume);
        }
        self.pools.insert(name, pool);
    }

    fn into_pools(mut self) -> BTreeMap<PoolName, Pool> {
        for (name, pool) in &mut self.pools {
            let home = name.root().join("home").unwrap();
            self.datasets.remove(&name.root());
            pool.volume = self.datasets.remove(&home).map(|home| home.volume);
            let child = self.datasets.remove(&home.join("child").unwrap());
            pool.has_child = child.is_some();
        }
        for (name, entry) in self.datasets {
            let pool = self.pools.get_mut(&name.pool()).expect("it is imported");
            pool.others.insert(name.to_string(), entry.volume);
        }
        self.pools
    }

    /// A dataset that nobody has made by a call.
    pub fn add(&mut self, name: &DatasetName, volume: Volume) -> &mut Entry {
        self.next_dataset += 1;
        let entry = Entry {
            guid: self.next_dataset,
            properties: Values::new(),
            volume,
        };
        self.datasets.insert(name.clone(), entry);
        self.datasets.get_mut(name).unwrap()
    }

    /// Lets a pool act on one of its datasets as on its volume.
    pub fn act<T>(&mut self, name: &DatasetName, act: impl FnOnce(&mut Pool) -> T) -> T {
        let old = self.datasets.remove(name);
        let pool = self.pools.get_mut(&name.pool()).expect("it is imported");
        pool.volume = old.as_ref().map(|old| old.volume.clone());
        let result = act(pool);
        let new = pool.volume.take();
        if let Some(volume) = new {
            match old {
                Some(old) => drop(self.datasets.insert(name.clone(), Entry { volume, ..old })),
                None => drop(self.add(name, volume)),
            }
        }
        result
    }

    fn entry(&self, name: &DatasetName) -> Result<&Entry, i32> {
        self.datasets.get(name).ok_or(libc::ENOENT)
    }

    fn snapshot(&self, name: &SnapshotName) -> Option<&pool::Snap> {
        let entry = self.datasets.get(&name.dataset())?;
        let mut snaps = entry.volume.snaps.iter();
        snaps.find(|snap| snap.short == name.short())
    }

    fn has_children(&self, name: &DatasetName) -> bool {
        let below = self.datasets.keys().filter(|other| other.is_within(name));
        below.count() > 1
    }

    fn has_parent(&self, name: &DatasetName) -> bool {
        let parent = name.parent();
        parent.is_some_and(|parent| self.datasets.contains_key(&parent))
    }

    /// A hold ends when the descriptor that keeps it is closed, and the snapshot with it.
    fn end_holds(&mut self) {
        let is_closed = |reader: &PipeReader| {
            let mut ends = [PollFd::new(reader.as_fd(), PollFlags::empty())];
            poll(&mut ends, PollTimeout::ZERO).is_ok_and(|closed| closed > 0)
        };
        let (ended, held) = std::mem::take(&mut self.held)
            .into_iter()
            .partition(|(_, reader)| is_closed(reader));
        self.held = held;
        for (guid, _) in ended {
            for entry in self.datasets.values_mut() {
                entry.volume.snaps.retain(|snap| snap.guid != guid);
            }
        }
    }

    /// As the inventory shows it.
    fn model(&self, name: &DatasetName, entry: &Entry) -> Dataset {
        let mut dataset = pool::dataset(name, Some(&entry.volume));
        dataset.guid = Guid(entry.guid);
        dataset.objset = entry.guid;
        dataset.has_children = self.has_children(name);
        dataset.placeholder = is_placeholder(entry);
        dataset.activity = Some(activity(entry));
        dataset.local_properties.extend(entry.properties.clone());
        if let Some(txg) = entry.volume.checked {
            let note = format!("{}:{txg}", entry.guid);
            dataset
                .local_properties
                .insert(CHECKED_PROPERTY.into(), note);
        }
        dataset
    }

    /// Both pools of a run, as the inventory shows them: their logs are read where that is needed.
    pub fn sides(&self, source: &str, target: &str) -> [Side; 2] {
        let [mut from, mut to] = [source, target].map(|pool| self.side(pool));
        let copy_of = |name: &DatasetName, top: &str| {
            let below = name.as_str().split_once('/').map(|(_, below)| below);
            DatasetName::new(&format!("{top}/{}", below?)).ok()
        };
        let before = [from.clone(), to.clone()];
        for (side, peer) in [(&mut from, &before[1]), (&mut to, &before[0])] {
            for (name, dataset) in &mut side.datasets {
                let peer = copy_of(name, peer.pool.as_str()).and_then(|name| peer.dataset(&name));
                if proof::is_in_doubt(dataset, peer) {
                    dataset.past = Some(Past::of(name, &self.log(&side.pool)));
                    proof::sift(dataset);
                }
            }
        }
        [from, to]
    }

    fn log(&self, pool: &PoolName) -> PoolHistory {
        let model = &self.pools[pool];
        let home = pool.root().join("home").unwrap();
        let told = model.received_at.iter().filter(|at| **at >= model.log_from);
        let entries = told.map(|at| HistoryEntry {
            txg: Createtxg(*at),
            dataset: home.to_string(),
            event: HistoryEvent::Received,
        });
        PoolHistory {
            first: Some(Createtxg(model.log_from)),
            entries: entries.collect(),
        }
    }

    /// All of one pool, as the inventory shows it.
    fn side(&self, pool: &str) -> Side {
        let pool = PoolName::new(pool).unwrap();
        let mut side = self.pools[&pool].side();
        side.features.extensible_dataset = true;
        side.features.bookmark_written = true;
        side.datasets.clear();
        for (name, entry) in &self.datasets {
            let text = name.as_str();
            if text.ends_with(ARRIVING_SUFFIX) || text.ends_with(REPLACED_SUFFIX) {
                let _ = name.pool() == pool && side.leftovers.insert(name.clone());
            } else if name.pool() == pool {
                let mut dataset = self.model(name, entry);
                proof::sift(&mut dataset);
                side.datasets.insert(name.clone(), dataset);
            }
        }
        side
    }
}

impl Entry {
    fn set(&mut self, property: &str, value: &str) {
        match property {
            RECEIVING_PROPERTY => value.clone_into(&mut self.volume.record),
            CHECKED_PROPERTY => {
                let (guid, txg) = value.split_once(':').expect("a guid and a number");
                // One about another dataset counts as none.
                let is_own = guid.parse() == Ok(self.guid);
                self.volume.checked = txg.parse().ok().filter(|_| is_own);
            }
            _ => drop(self.properties.insert(property.into(), value.into())),
        }
    }
}

/// Tells of each write.
fn activity(entry: &Entry) -> Activity {
    Activity {
        writes: entry.volume.live.iter().map(|block| block.birth).sum(),
        ..Activity::default()
    }
}

/// Nothing was written to it since it was bookmarked.
fn is_placeholder(entry: &Entry) -> bool {
    let mut marks = entry.volume.marks.iter();
    let empty = marks.find(|mark| mark.short == EMPTY_BOOKMARK);
    let is_mark = entry.properties.get(PLACEHOLDER_PROPERTY);
    is_mark.is_some_and(|value| value == "yes")
        && empty.is_some_and(|mark| entry.volume.live.iter().all(|one| one.birth <= mark.txg))
}

impl State {
    fn make_bookmark(&mut self, name: &BookmarkName, snapshot: &SnapshotName) {
        let guid = self.snapshot(snapshot).expect("it was looked for").guid;
        self.act(&name.dataset(), |pool| pool.bookmark(name.short(), guid));
    }

    /// Sets a user property. False if there is nothing to set it on.
    fn set(&mut self, change: &PropertyChange) -> bool {
        let (subject, snapshot) = match change.subject.split_once('@') {
            None => (change.subject.as_str(), None),
            Some((dataset, short)) => (dataset, Some(short)),
        };
        let name = DatasetName::new(subject).unwrap();
        let Some(entry) = self.datasets.get_mut(&name) else {
            return false;
        };
        match snapshot {
            None => entry.set(&change.property, &change.value),
            Some(short) => {
                assert_eq!(change.property, CREATED_PROPERTY);
                let mut snaps = entry.volume.snaps.iter_mut();
                match snaps.find(|snap| snap.short == short) {
                    Some(snap) => snap.own = true,
                    None => return false,
                }
            }
        }
        true
    }
}
