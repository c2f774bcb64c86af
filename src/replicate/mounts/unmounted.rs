//! A note in `/run` of what is unmounted for a moment, so that a later run can mount it again if this
//! one is killed. A restart empties `/run`, and mounts everything anyway.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use openzfs::{DatasetName, Error, Guid};
use serde::{Deserialize, Serialize};

use super::arrival;
use super::followers::{self, Follower};
use crate::replicate::in_words;
use crate::replicate::zfs::Zfs;
use crate::system::mounts::Mount;
use crate::system::mounts::beneath::Moment;

const FOLDER: &str = "/run/zbackup.mounts";
/// Ends the name of a file that is being written.
const UNFINISHED: &str = ".new%";

/// What is unmounted of one dataset and all below it.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::replicate) struct Note {
    /// The dataset's name when it was unmounted.
    top: String,
    /// The guid of its pool.
    pool: u64,
    /// The guids of the datasets that may be mounted in its places: its own, and that of what
    /// replaces it.
    guids: Vec<u64>,
    /// The names that it was to get since then, one after the other.
    later: Vec<String>,
    /// When that began.
    pub since: Moment,
    /// Each after those that it lies on.
    pub mounts: Vec<Down>,
    /// What goes and comes with them.
    #[serde(default)]
    pub followers: Vec<Follower>,
}

/// A mount that was taken down.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::replicate) struct Down {
    pub mount: Mount,
    /// The guid of the snapshot that it shows, if it shows one.
    pub snapshot: Option<u64>,
    /// It is where the properties of its dataset say.
    #[serde(default)]
    pub is_by_property: bool,
}

impl Down {
    /// What is known of a mount before it is taken down.
    pub fn of(mount: &Mount, zfs: &dyn Zfs) -> Result<Self, String> {
        let snapshot = match (mount.dataset(), mount.snapshot()) {
            (Some(dataset), Some(short)) => {
                let name = dataset.snapshot(short).map_err(in_words)?;
                let found = zfs.snapshot(&name).map_err(in_words)?;
                found.map(|found| found.guid.0)
            }
            _ => None,
        };
        let mut is_by_property = false;
        if let (Some(dataset), None) = (mount.dataset(), mount.snapshot()) {
            let place = place_of(&dataset, zfs)?;
            is_by_property = mount.root == Path::new("/") && place.as_ref() == Some(&mount.path);
        }
        Ok(Self {
            mount: mount.clone(),
            snapshot,
            is_by_property,
        })
    }
}

/// Where the properties of a dataset say that it is mounted.
pub(in crate::replicate) fn place_of(
    dataset: &DatasetName,
    zfs: &dyn Zfs,
) -> Result<Option<PathBuf>, String> {
    let properties = zfs.properties(dataset).map_err(in_words)?;
    Ok(properties.as_ref().and_then(arrival::mount_point))
}

/// Where the dataset of a note is now.
pub(in crate::replicate) enum Found {
    /// It, or what has replaced it.
    At(DatasetName),
    /// There is nothing by its name, or its pool is not imported.
    Nowhere,
    /// By its name there is another one.
    Other,
}

impl Note {
    /// The note of these mounts, which is not written yet.
    pub fn new(top: &DatasetName, mounts: Vec<Down>, zfs: &dyn Zfs) -> Result<Self, String> {
        let guid = zfs
            .dataset(top)
            .map_err(in_words)?
            .map(|found| found.guid.0);
        Ok(Self {
            top: top.to_string(),
            pool: guid_of_pool(top, zfs)
                .map_err(in_words)?
                .unwrap_or_default(),
            guids: guid.into_iter().collect(),
            later: Vec::new(),
            since: Moment::now().map_err(in_words)?,
            mounts,
            followers: followers::of(top),
        })
    }

    /// All that runs before this one have left, the oldest first.
    pub fn all() -> Vec<Self> {
        let entries = fs::read_dir(FOLDER).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        let whole = paths.filter(|path| !path.to_string_lossy().ends_with(UNFINISHED));
        let read = |path: PathBuf| serde_json::from_slice(&fs::read(path).ok()?).ok();
        let mut notes: Vec<Self> = whole.filter_map(read).collect();
        notes.sort_by_key(|note| note.since);
        notes
    }

    /// Those whose mounts still wait, say for a key, and whose datasets are `top` and below it now.
    pub fn all_within(top: &DatasetName, zfs: &dyn Zfs) -> Result<Vec<(DatasetName, Self)>, Error> {
        let mut within = Vec::new();
        for note in Self::all() {
            if let Found::At(name) = note.find(zfs)?
                && name.is_within(top)
            {
                within.push((name, note));
            }
        }
        Ok(within)
    }

    /// The dataset's name when it was unmounted.
    pub fn top(&self) -> Option<DatasetName> {
        DatasetName::new(&self.top).ok()
    }

    /// The dataset gets another name, and takes its mounts along.
    pub fn moves_to(&mut self, name: &DatasetName) -> io::Result<()> {
        self.later.push(name.to_string());
        self.write()
    }

    /// A dataset with this guid gets its name, and its mounts.
    pub fn is_replaced_by(&mut self, guid: Guid) -> io::Result<()> {
        self.guids.push(guid.0);
        self.write()
    }

    /// True for the dataset that may be mounted in its places.
    pub fn is_of(&self, guid: Guid) -> bool {
        self.guids.contains(&guid.0)
    }

    /// Looks for its dataset.
    pub fn find(&self, zfs: &dyn Zfs) -> Result<Found, Error> {
        let mut others = false;
        for name in self.later.iter().rev().chain([&self.top]) {
            let Ok(name) = DatasetName::new(name) else {
                continue;
            };
            match guid_of_pool(&name, zfs)? {
                None => continue,
                Some(guid) if guid != self.pool => return Ok(Found::Other),
                Some(_) => {}
            }
            if let Some(dataset) = zfs.dataset(&name)? {
                if self.is_of(dataset.guid) {
                    return Ok(Found::At(name));
                }
                others = true;
            }
        }
        Ok(if others { Found::Other } else { Found::Nowhere })
    }

    /// Writes it, whole or not at all.
    pub fn write(&self) -> io::Result<()> {
        fs::create_dir_all(FOLDER)?;
        let path = self.path();
        let mut new = path.clone().into_os_string();
        new.push(UNFINISHED);
        fs::write(&new, serde_json::to_vec(self)?)?;
        fs::rename(new, path)
    }

    /// Removes it: everything is mounted again, or its loss was told.
    pub fn remove(&self) {
        let removed = fs::remove_file(self.path());
        if let Err(error) = removed.or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        }) {
            log::warn!("{}: {error}", self.path().display());
        }
    }

    fn path(&self) -> PathBuf {
        // A file of its own: what an earlier run has noted of the same dataset may still be waited for.
        // No name has these characters.
        let name = format!("{}@{}", self.top.replace('/', "%"), self.since);
        Path::new(FOLDER).join(name)
    }
}

fn guid_of_pool(dataset: &DatasetName, zfs: &dyn Zfs) -> Result<Option<u64>, Error> {
    let guid = zfs.pool_guid(&dataset.pool())?;
    Ok(guid.map(|guid| guid.0))
}
