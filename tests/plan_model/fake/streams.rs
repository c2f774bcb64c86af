//! Streams from one dataset into another, as the kernel takes them or refuses them.

use openzfs::{DatasetName, SendBase, SnapshotName};
use zbackup::replicate::zfs::Stream;

use super::super::pool::{self, Partial, Volume};
use super::State;

impl State {
    pub(super) fn appear_in(&mut self, target: &DatasetName) {
        let appearing = std::mem::take(&mut self.appearing);
        let (here, elsewhere) = appearing
            .into_iter()
            .partition(|name: &SnapshotName| name.dataset() == *target);
        self.appearing = elsewhere;
        for name in here {
            self.next_guid += 1;
            let guid = self.next_guid;
            self.act(target, |pool| pool.snapshot(name.short(), guid, false));
        }
    }

    pub(super) fn die_in_this_stream(&mut self) {
        if self.dies_after == Some((self.streams, false)) {
            self.dies_at = Some(self.changes + 1);
        }
    }

    pub(super) fn die_after_this_stream(&mut self) {
        self.streams += 1;
        if self.dies_after == Some((self.streams, true)) {
            self.dies_at = Some(self.changes + 1);
        }
    }

    pub(super) fn receive(&mut self, stream: &Stream) -> Result<u64, i32> {
        let target = stream.target.dataset();
        let sent = self.send(stream).map_err(|_| libc::EINVAL)?;
        let is_full = sent.from_guid.is_none();
        let is_resumed = stream.send.resume.is_some();
        if !self.has_parent(&target) {
            return Err(libc::ENOENT);
        }
        match self.datasets.get(&target) {
            None if is_full => {}
            None => return Err(libc::ENOENT),
            Some(old) if old.volume.partial.is_some() != is_resumed => return Err(libc::EBUSY),
            Some(old) if is_full && old.volume.incomplete => {}
            Some(_) if is_full && stream.force => {}
            Some(_) if is_full => return Err(libc::EEXIST),
            Some(old) => check_increment(&old.volume, &sent, stream.force)?,
        }
        let old = (is_full && stream.force).then(|| self.datasets.remove(&target));
        self.act(&target, |pool| {
            if is_full {
                pool.receive_full(&sent);
            } else {
                pool.receive_increment(&sent, stream.force, is_resumed);
            }
        });
        let entry = self.datasets.get_mut(&target).expect("it has arrived");
        if let Some(Some(old)) = old {
            entry.guid = old.guid;
            entry.properties = old.properties;
        }
        let arrived = entry.volume.snaps.last_mut().expect("it has arrived");
        arrived.short = stream.target.short().into();
        arrived.managed = arrived.short.starts_with("zbackup-");
        for (name, value) in &stream.properties {
            entry.set(name, value);
        }
        Ok(sent.blocks.len() as u64)
    }

    pub(super) fn send(&self, stream: &Stream) -> Result<pool::Stream, i32> {
        let to = &stream.send.snapshot;
        self.snapshot(to).ok_or(libc::ENOENT)?;
        let volume = &self.entry(&to.dataset())?.volume;
        let from = match &stream.send.from {
            None => None,
            Some(SendBase::Snapshot(name)) => {
                let snap = self.snapshot(name).ok_or(libc::ENOENT)?;
                Some((snap.guid, snap.txg))
            }
            Some(SendBase::Bookmark(name)) => {
                let mut marks = volume.marks.iter();
                let mark = marks.find(|mark| mark.short == name.short());
                let mark = mark.ok_or(libc::ENOENT)?;
                assert!(!mark.undone, "send: {mark:?} stands for what was undone");
                Some((mark.guid, mark.txg))
            }
        };
        Ok(volume.send(from, to.short()))
    }

    /// The stream breaks off in its middle.
    pub(super) fn receive_partly(&mut self, stream: &Stream) {
        let target = stream.target.dataset();
        let Ok(sent) = self.send(stream) else { return };
        let is_kept = stream.resumable && self.has_parent(&target);
        let is_placeholder = stream.force && sent.from_guid.is_none();
        if is_kept && !is_placeholder {
            self.act(&target, |pool| {
                pool.receive_partly(&sent);
                let volume = pool.volume.as_mut().expect("something is there");
                volume.partial = Some(Partial {
                    to_name: stream.send.snapshot.to_string(),
                    to_guid: sent.to.guid,
                    from_guid: sent.from_guid,
                });
            });
        }
    }
}

fn check_increment(old: &Volume, sent: &pool::Stream, force: bool) -> Result<(), i32> {
    let base = sent.from_guid.and_then(|guid| old.find(guid));
    let base = base.ok_or(libc::ENODEV)?;
    let newer = &old.snaps[base + 1..];
    let is_modified = (old.live.iter()).any(|block| block.birth > old.snaps[base].txg);
    // Snapshots that hold no changes stay, unless they are to be rolled back.
    if force && newer.iter().any(|snap| snap.held) {
        Err(libc::EBUSY)
    } else if !force && is_modified {
        Err(libc::ETXTBSY)
    } else {
        Ok(())
    }
}
