//! What the program asks of ZFS, answered from memory.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread;

use openzfs::{
    BatchError, Bookmark, BookmarkName, Cancel, Createtxg, Damage, DatasetKind, DatasetName, Error,
    Guid, NotApplied, PoolHistory, PoolName, Progress, Properties, Property, PropertyChange,
    PropertySource, Received, ResumeState, Snapshot, SnapshotName, TransferError,
};
use zbackup::model::Activity;
use zbackup::model::marks::CREATED_PROPERTY;
use zbackup::replicate::zfs::{Found, Gauges, Stream, Values, Zfs};

use super::super::pool::{self, Volume};
use super::{Entry, Fake, State, activity, is_placeholder};

/// The error of a call that fails as a whole, or for those that it names.
fn all_or_none<'a>(
    call: &'static str,
    failed: impl IntoIterator<Item = (&'a str, i32)>,
) -> Result<(), BatchError> {
    let failed: Vec<_> = failed.into_iter().collect();
    match failed.first() {
        None => Ok(()),
        Some(&(_, code)) => Err(BatchError::from_codes(call, code, failed)),
    }
}

impl Zfs for Fake {
    fn dataset(&self, name: &DatasetName) -> Result<Option<Found>, Error> {
        let reported = self.properties(name)?.unwrap_or_default();
        let state = self.look("zfs_open", name.as_str())?;
        Ok(state.datasets.get(name).map(|entry| Found {
            kind: DatasetKind::Filesystem,
            guid: Guid(entry.guid),
            objset: entry.guid,
            is_inconsistent: entry.volume.incomplete,
            reported,
        }))
    }

    fn properties(&self, name: &DatasetName) -> Result<Option<Properties>, Error> {
        let state = self.look("zfs_open", name.as_str())?;
        let Some(entry) = state.datasets.get(name) else {
            return Ok(None);
        };
        let dataset = state.model(name, entry);
        let mut all = dataset.local_properties;
        all.insert("written".into(), dataset.written_bytes.to_string());
        all.insert("referenced".into(), dataset.referenced_bytes.to_string());
        if dataset.resume.is_some() {
            all.insert("receive_resume_token".into(), name.to_string());
        }
        let local = |(name, value)| {
            let source = PropertySource::Local;
            (name, Property { value, source })
        };
        Ok(Some(all.into_iter().map(local).collect()))
    }

    fn check_unused(&self, _: &DatasetName, _: DatasetKind) -> Result<(), String> {
        Ok(())
    }

    fn is_mounted(&self, _: &DatasetName) -> Result<bool, Error> {
        Ok(false)
    }

    fn has_children(&self, name: &DatasetName) -> Result<bool, Error> {
        let state = self.look("zfs_iter_filesystems", name.as_str())?;
        Ok(state.has_children(name))
    }

    fn snapshots(
        &self,
        name: &DatasetName,
        from: Option<Createtxg>,
    ) -> Result<Vec<Snapshot>, Error> {
        let state = self.look("zfs_iter_snapshots", name.as_str())?;
        let entry = state.datasets.get(name);
        let mut found = entry.map_or_else(Vec::new, |entry| state.model(name, entry).snapshots);
        found.retain(|snapshot| from.is_none_or(|from| snapshot.createtxg >= from));
        Ok(found)
    }

    fn bookmarks(&self, name: &DatasetName) -> Result<Vec<Bookmark>, Error> {
        let state = self.look("lzc_get_bookmarks", name.as_str())?;
        let entry = state.datasets.get(name);
        Ok(entry.map_or_else(Vec::new, |entry| state.model(name, entry).bookmarks))
    }

    fn snapshot(&self, name: &SnapshotName) -> Result<Option<Snapshot>, Error> {
        let found = self.snapshots(&name.dataset(), None)?;
        Ok(found.into_iter().find(|snapshot| snapshot.name == *name))
    }

    fn exists(&self, name: &str) -> bool {
        let Ok(state) = self.look("lzc_exists", name) else {
            return false;
        };
        match SnapshotName::new(name) {
            Ok(name) => state.snapshot(&name).is_some(),
            Err(_) => state.datasets.keys().any(|other| other.as_str() == name),
        }
    }

    fn written_since(&self, name: &DatasetName, snapshot: &SnapshotName) -> Result<u64, Error> {
        const CALL: &str = "zfs_prop_get_written_int";
        let state = self.look(CALL, name.as_str())?;
        let missing = || Error::from_code(CALL, name, libc::ENOENT);
        let txg = state.snapshot(snapshot).ok_or_else(missing)?.txg;
        let live = &state.entry(name).map_err(|_| missing())?.volume.live;
        Ok(live.iter().filter(|block| block.birth > txg).count() as u64)
    }

    fn is_empty_placeholder(&self, name: &DatasetName, _: u64) -> Result<bool, Error> {
        let state = self.look("zfs_open", name.as_str())?;
        Ok(state.datasets.get(name).is_some_and(is_placeholder))
    }

    fn resume_state(&self, properties: &Properties) -> Option<ResumeState> {
        let name = DatasetName::new(properties.value("receive_resume_token")?).ok()?;
        let state = self.look("zfs_open", name.as_str()).ok()?;
        let partial = state.datasets.get(&name)?.volume.partial.as_ref();
        partial.map(pool::resume)
    }

    fn knows(&self, _: &str, _: &str) -> bool {
        true
    }

    fn default_keyword(&self, _: &str) -> Result<Option<String>, Error> {
        Ok(None)
    }

    fn pool_guid(&self, pool: &PoolName) -> Result<Option<Guid>, Error> {
        let state = self.look("zpool_open", pool.as_str())?;
        Ok(state.pools.get(pool).map(|pool| Guid(pool.guid)))
    }

    fn freeing_bytes(&self, _: &PoolName) -> Result<u64, Error> {
        Ok(0)
    }

    fn damages(&self, _: &PoolName, _: usize) -> Result<Vec<Damage>, Error> {
        Ok(Vec::new())
    }

    fn history(&self, pool: &PoolName) -> Result<PoolHistory, Error> {
        let state = self.look("zpool_get_history", pool.as_str())?;
        Ok(state.log(pool))
    }

    fn activity(&self, pool: &PoolName) -> io::Result<BTreeMap<u64, Activity>> {
        let state = self.look("kstat", pool.as_str());
        let state = state.map_err(|_| io::Error::from_raw_os_error(libc::EIO))?;
        let entries = state.datasets.values();
        Ok(entries.map(|one| (one.guid, activity(one))).collect())
    }

    fn settle(&self, pool: &PoolName) -> Result<(), String> {
        self.sync(pool).map_err(|error| error.to_string())
    }

    fn sync(&self, pool: &PoolName) -> Result<(), Error> {
        self.look("lzc_sync", pool.as_str()).map(drop)
    }

    fn create(&self, name: &DatasetName, properties: &Values) -> Result<(), Error> {
        const CALL: &str = "lzc_create";
        let mut state = self.change_one(CALL, name)?;
        let code = match (state.has_parent(name), state.datasets.contains_key(name)) {
            (true, false) => 0,
            (false, _) => libc::ENOENT,
            (_, true) => libc::EEXIST,
        };
        if code != 0 {
            return Err(Error::from_code(CALL, name, code));
        }
        let entry = state.add(name, Volume::empty());
        entry.properties.extend(properties.clone());
        Ok(())
    }

    fn rename(&self, from: &DatasetName, to: &DatasetName) -> Result<(), Error> {
        const CALL: &str = "lzc_rename";
        let mut state = self.change_one(CALL, from)?;
        let code = match (state.entry(from), state.entry(to), state.has_parent(to)) {
            (Err(code), ..) => code,
            (_, Ok(_), _) => libc::EEXIST,
            (.., false) => libc::ENOENT,
            _ => 0,
        };
        if code != 0 {
            return Err(Error::from_code(CALL, from, code));
        }
        let datasets = std::mem::take(&mut state.datasets).into_iter();
        let moved = |name: DatasetName| {
            let below = name.as_str().strip_prefix(from.as_str());
            let below = below.filter(|_| name.is_within(from));
            below.map_or(name.clone(), |below| {
                DatasetName::new(&format!("{to}{below}")).unwrap()
            })
        };
        let datasets = datasets.map(|(name, entry)| (moved(name), entry));
        state.datasets = datasets.collect();
        Ok(())
    }

    fn destroy_dataset(&self, name: &DatasetName) -> Result<(), Error> {
        const CALL: &str = "lzc_destroy";
        let mut state = self.change_one(CALL, name)?;
        let is_free = |entry: &Entry| entry.volume.snaps.is_empty() && !state.has_children(name);
        match state.entry(name).map(is_free) {
            Ok(true) => drop(state.datasets.remove(name)),
            Ok(false) => return Err(Error::from_code(CALL, name, libc::EBUSY)),
            Err(code) => return Err(Error::from_code(CALL, name, code)),
        }
        Ok(())
    }

    fn set_property(&self, name: &DatasetName, property: &str, value: &str) -> Result<(), Error> {
        let mut state = self.change_one("zfs_prop_set", name)?;
        let entry = state.datasets.get_mut(name);
        let entry = entry.ok_or_else(|| Error::not_found(name.as_str()))?;
        entry.set(property, value);
        Ok(())
    }

    fn inherit_property(&self, name: &DatasetName, property: &str) -> Result<(), Error> {
        let mut state = self.change_one("zfs_prop_inherit", name)?;
        let entry = state.datasets.get_mut(name);
        let entry = entry.ok_or_else(|| Error::not_found(name.as_str()))?;
        entry.properties.remove(property);
        Ok(())
    }

    fn take_over_delegation(&self, from: &DatasetName, to: &DatasetName) -> Result<(), Error> {
        assert!(from != to, "to itself");
        self.change_one("zfs_set_fsacl", to).map(drop)
    }

    fn mount_at(&self, name: &DatasetName, path: &Path, _: &str) -> Result<(), Error> {
        panic!(
            "nothing of a test's pools is mounted: {name} at {}",
            path.display()
        )
    }

    fn take_snapshots(
        &self,
        names: &[SnapshotName],
        user_properties: &BTreeMap<String, String>,
    ) -> Result<(), BatchError> {
        const CALL: &str = "lzc_snapshot";
        let mut state = self.change(CALL, names.iter().map(SnapshotName::as_str))?;
        let code = |name: &SnapshotName| match state.snapshot(name) {
            Some(_) => Some(libc::EEXIST),
            None => state.entry(&name.dataset()).err(),
        };
        let failed = names
            .iter()
            .filter_map(|name| Some((name.as_str(), code(name)?)));
        all_or_none(CALL, failed)?;
        let is_ours = user_properties.contains_key(CREATED_PROPERTY);
        for name in names {
            state.next_guid += 1;
            let guid = state.next_guid;
            state.act(&name.dataset(), |pool| {
                pool.snapshot(name.short(), guid, is_ours);
            });
        }
        Ok(())
    }

    fn destroy_snapshots(&self, names: &[SnapshotName], defer: bool) -> Result<(), BatchError> {
        const CALL: &str = "lzc_destroy_snaps";
        let mut state = self.change(CALL, names.iter().map(SnapshotName::as_str))?;
        let is_held = |name: &&SnapshotName| state.snapshot(name).is_some_and(|snap| snap.held);
        let held: Vec<_> = names.iter().filter(is_held).collect();
        if !defer {
            all_or_none(CALL, held.iter().map(|name| (name.as_str(), libc::EBUSY)))?;
        }
        for name in names.iter().filter(|name| !held.contains(name)) {
            if let Some(snap) = state.snapshot(name).cloned() {
                state.destroyed.push((name.dataset(), snap));
            }
            if let Some(entry) = state.datasets.get_mut(&name.dataset()) {
                let snaps = &mut entry.volume.snaps;
                snaps.retain(|snap| snap.short != name.short());
            }
        }
        Ok(())
    }

    fn hold_while_open(&self, snapshot: &SnapshotName, _: &str) -> Result<OwnedFd, String> {
        let changed = self.change("lzc_hold", [snapshot.as_str()]);
        let mut state = changed.map_err(|error| error.to_string())?;
        let (reader, writer) = io::pipe().map_err(|error| error.to_string())?;
        let entry = state.datasets.get_mut(&snapshot.dataset());
        let mut snaps = entry.into_iter().flat_map(|entry| &mut entry.volume.snaps);
        let snap = snaps.find(|snap| snap.short == snapshot.short());
        let snap = snap.ok_or("it does not exist")?;
        snap.held = true;
        let guid = snap.guid;
        state.held.push((guid, reader));
        Ok(writer.into())
    }

    fn bookmark(&self, bookmarks: &[(BookmarkName, SnapshotName)]) -> Result<(), BatchError> {
        const CALL: &str = "lzc_bookmark";
        let names = bookmarks
            .iter()
            .flat_map(|(name, snapshot)| [name.as_str(), snapshot.as_str()]);
        let mut state = self.change(CALL, names)?;
        let failed = bookmarks
            .iter()
            .filter_map(|(name, snapshot)| Some((name.as_str(), refusal(&state, name, snapshot)?)));
        all_or_none(CALL, failed)?;
        for (name, snapshot) in bookmarks {
            state.make_bookmark(name, snapshot);
        }
        Ok(())
    }

    fn destroy_bookmarks(&self, names: &[BookmarkName]) -> Result<(), BatchError> {
        let subjects = names.iter().map(BookmarkName::as_str);
        let mut state = self.change("lzc_destroy_bookmarks", subjects)?;
        for name in names {
            if let Some(entry) = state.datasets.get_mut(&name.dataset()) {
                let marks = &mut entry.volume.marks;
                marks.retain(|mark| mark.short != name.short());
            }
        }
        Ok(())
    }

    fn apply(
        &self,
        pool: &PoolName,
        bookmarks: &[(BookmarkName, SnapshotName)],
        properties: &[PropertyChange],
    ) -> NotApplied {
        const CALL: &str = "lzc_channel_program";
        let mut failures = NotApplied::default();
        let mut state = match self.change(CALL, [pool.as_str()]) {
            Ok(state) => state,
            Err(error) => {
                let error = Error::from(error);
                let names = bookmarks.iter().map(|(name, _)| name.clone());
                failures.bookmarks = names.map(|name| (name, error.clone())).collect();
                failures.properties = vec![error];
                return failures;
            }
        };
        for (name, snapshot) in bookmarks {
            match refusal(&state, name, snapshot) {
                None => state.make_bookmark(name, snapshot),
                Some(code) => {
                    let error = Error::from_code(CALL, name, code);
                    failures.bookmarks.push((name.clone(), error));
                }
            }
        }
        for change in properties {
            if !state.set(change) {
                let error = Error::from_code(CALL, &change.subject, libc::ENOENT);
                failures.properties.push(error);
            }
        }
        failures
    }

    fn transfer(
        &self,
        stream: &Stream,
        cancels: &[&Cancel],
        _: &Progress,
    ) -> Result<Received, TransferError> {
        const CALL: &str = "lzc_receive_with_cmdprops";
        let failed = |code| Error::from_code(CALL, &stream.target, code);
        let target = stream.target.dataset();
        let used = self.state().used_features.clone().into_iter();
        let lacking = used.filter(|feature| !stream.target_features.takes(*feature));
        let lacking: Vec<_> = lacking.collect();
        if !lacking.is_empty() {
            return Err(TransferError::NeedsFeatures(lacking));
        }
        self.state().appear_in(&target);
        let is_cancelled = || cancels.iter().any(|cancel| cancel.is_requested());
        while self.state().endless.contains(&target) && !is_cancelled() {
            thread::yield_now();
        }
        self.state().die_in_this_stream();
        let mut state = match self.change(CALL, [target.as_str()]) {
            Ok(state) if !is_cancelled() => state,
            Ok(mut state) => {
                state.receive_partly(stream);
                return Err(Error::from_code("lzc_send", &target, libc::EINTR).into());
            }
            Err(error) => {
                self.state().receive_partly(stream);
                return Err(failed(error.code).into());
            }
        };
        state
            .send(stream)
            .map_err(|code| Error::from_code("lzc_send", &stream.send.snapshot, code))?;
        let read_bytes = state.receive(stream).map_err(failed)?;
        state.die_after_this_stream();
        let snap = state.snapshot(&stream.target).expect("it has arrived");
        Ok(Received::whole(Guid(snap.guid), read_bytes))
    }

    fn abandon_receive(&self, name: &DatasetName) -> Result<(), Error> {
        let mut state = self.change_one("lzc_destroy", name)?;
        let entry = state.datasets.get_mut(name);
        let entry = entry.ok_or_else(|| Error::not_found(name.as_str()))?;
        if entry.volume.incomplete {
            state.datasets.remove(name);
        } else {
            assert!(entry.volume.partial.take().is_some(), "nothing to drop");
        }
        Ok(())
    }

    fn gauges(&self) -> Gauges<'_> {
        Box::new(|_| Vec::new())
    }
}

/// Why a bookmark cannot be made.
fn refusal(state: &State, name: &BookmarkName, snapshot: &SnapshotName) -> Option<i32> {
    let Ok(entry) = state.entry(&name.dataset()) else {
        return Some(libc::ENOENT);
    };
    let mut marks = entry.volume.marks.iter();
    if marks.any(|mark| mark.short == name.short()) {
        return Some(libc::EEXIST);
    }
    state.snapshot(snapshot).is_none().then_some(libc::ENOENT)
}
