//! Bookmarks of changes that a forced receive undoes.
//!
//! They are destroyed before the stream. The other order would be deadly: the kernel keeps such
//! bookmarks, a run that died after the receive would leave them, and a later increment from one of
//! them would silently lack what was undone. Destroying a bookmark too early costs nothing while its
//! snapshot exists: it is made again if the stream does not arrive.

use openzfs::{BookmarkName, Guid};

use crate::replicate::in_words;
use crate::replicate::transfer::outcome::VolumeError;
use crate::replicate::transfer::volume::VolumeRun;

/// Bookmarks that were destroyed, with the guids of their snapshots.
#[derive(Debug, Default)]
pub(in crate::replicate) struct Stale(Vec<(BookmarkName, Guid)>);

impl Stale {
    /// Destroys the bookmarks that the plan names.
    pub fn destroy(volume: &VolumeRun) -> Result<Self, VolumeError> {
        let names = &volume.transfer.stale_bookmarks;
        if names.is_empty() {
            return Ok(Self::default());
        }
        volume.run.zfs.destroy_bookmarks(names)?;
        for name in names {
            log::info!("destroyed {name}: what it stands for is going to be undone");
        }
        let known = volume.before;
        let known = known
            .into_iter()
            .flat_map(|target| [&target.bookmarks, &target.doubtful]);
        let gone = known
            .flatten()
            .filter(|bookmark| names.contains(&bookmark.name))
            .map(|bookmark| (bookmark.name.clone(), bookmark.guid));
        Ok(Self(gone.collect()))
    }

    /// Makes the bookmarks again whose snapshots still exist, since nothing was undone. Returns
    /// those that stay gone.
    pub fn restore(&self, volume: &VolumeRun) -> Vec<String> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let snapshots = volume.run.zfs.snapshots(&volume.plan.target, None);
        let snapshots = snapshots.unwrap_or_else(|error| {
            log::warn!(
                "the snapshots of {} cannot be listed: {error}",
                volume.plan.target
            );
            Vec::new()
        });
        let restore = |(name, guid): &(BookmarkName, Guid)| {
            let snapshot = snapshots.iter().find(|snapshot| snapshot.guid == *guid);
            let snapshot = snapshot.ok_or("its snapshot went long before")?;
            let pair = (name.clone(), snapshot.name.clone());
            volume.run.zfs.bookmark(&[pair]).map_err(in_words)?;
            log::info!("made {name} again");
            Ok::<_, String>(())
        };
        let problem = |one: &(BookmarkName, Guid)| {
            let why = restore(one).err()?;
            Some(format!(
                "the bookmark {} is gone although nothing else was undone: {why}",
                one.0
            ))
        };
        self.0.iter().filter_map(problem).collect()
    }
}
