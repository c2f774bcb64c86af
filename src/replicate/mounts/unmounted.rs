//! A note in `/run` of what is unmounted for a short time, so that a later run can mount it again if
//! this one is killed. A reboot empties `/run`, and mounts everything anyway.

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
/// Suffix of the name of a file that is being written.
const UNFINISHED: &str = ".new%";

/// What is unmounted of one dataset and everything below it.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::replicate) struct Note {
    /// The dataset's name when it was unmounted.
    top: String,
    /// The guid of its pool.
    pool: u64,
    /// The guids of the datasets that may be mounted in its places: its own, and that of its replacement.
    guids: Vec<u64>,
    /// The names that it was to get after that, one after the other.
    later: Vec<String>,
    /// When it was unmounted.
    pub since: Moment,
    /// The mounts, each after those on which it lies.
    pub mounts: Vec<Down>,
    /// Mounts in other namespaces that follow them.
    #[serde(default)]
    pub followers: Vec<Follower>,
}

/// A mount that was unmounted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::replicate) struct Down {
    pub mount: Mount,
    /// The guid of the snapshot that it shows, if it shows one.
    pub snapshot: Option<u64>,
    /// It was at the place that its dataset's properties give.
    #[serde(default)]
    pub is_by_property: bool,
}

impl Down {
    /// What is known of a mount before it is unmounted.
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

/// Where a dataset is mounted according to its properties.
pub(in crate::replicate) fn place_of(
    dataset: &DatasetName,
    zfs: &dyn Zfs,
) -> Result<Option<PathBuf>, String> {
    let properties = zfs.properties(dataset).map_err(in_words)?;
    Ok(properties.as_ref().and_then(arrival::mount_point))
}

/// Where the dataset of a note is now.
pub(in crate::replicate) enum Found {
    /// The dataset, or its replacement, has this name.
    At(DatasetName),
    /// No dataset has its name, or its pool is not imported.
    Nowhere,
    /// Another dataset has its name.
    Other,
}

impl Note {
    /// The note of these mounts, not written yet.
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

    /// All notes that earlier runs have left, oldest first.
    pub fn all() -> Vec<Self> {
        let entries = fs::read_dir(FOLDER).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        let whole = paths.filter(|path| !path.to_string_lossy().ends_with(UNFINISHED));
        let read = |path: PathBuf| serde_json::from_slice(&fs::read(path).ok()?).ok();
        let mut notes: Vec<Self> = whole.filter_map(read).collect();
        notes.sort_by_key(|note| note.since);
        notes
    }

    /// The notes whose mounts still wait, for example for a key, and whose datasets are now `top`
    /// or below it.
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

    /// A dataset with this guid gets its name and its mounts.
    pub fn is_replaced_by(&mut self, guid: Guid) -> io::Result<()> {
        self.guids.push(guid.0);
        self.write()
    }

    /// True for a dataset that may be mounted in its places.
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

    /// Writes the note, completely or not at all.
    pub fn write(&self) -> io::Result<()> {
        fs::create_dir_all(FOLDER)?;
        let path = self.path();
        let mut new = path.clone().into_os_string();
        new.push(UNFINISHED);
        fs::write(&new, serde_json::to_vec(self)?)?;
        fs::rename(new, path)
    }

    /// Removes the note: everything is mounted again, or the user was told what is not.
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
        // Each note has its own file: an earlier run's note of the same dataset may still be needed. No
        // dataset name contains these characters.
        let name = format!("{}@{}", self.top.replace('/', "%"), self.since);
        Path::new(FOLDER).join(name)
    }
}

fn guid_of_pool(dataset: &DatasetName, zfs: &dyn Zfs) -> Result<Option<u64>, Error> {
    let guid = zfs.pool_guid(&dataset.pool())?;
    Ok(guid.map(|guid| guid.0))
}
