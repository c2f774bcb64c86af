//! Mounting again what was unmounted, as it was: the same directories, options, peers and order.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use openzfs::{DatasetName, Properties};

use super::unmounted::Down;
use crate::next::next;
use crate::replicate::in_words;
use crate::replicate::zfs::Zfs;
use crate::system::mounts::beneath::{Beneath, Moment};
use crate::system::mounts::stage::{Original, adopt, put};
use crate::system::mounts::{Mount, Stage, Table, id_at, move_in, options};
use crate::text::shell_word;

/// Datasets whose topmost one is now called `to`, or has been replaced by `to`.
pub(in crate::replicate) struct Again<'a> {
    pub from: &'a DatasetName,
    pub to: &'a DatasetName,
    /// When they were unmounted.
    pub since: Moment,
    pub zfs: &'a dyn Zfs,
}

impl Again<'_> {
    /// Mounts all of these, which must be in a possible order. Returns what could not be mounted, what
    /// is not as it was, and what was meanwhile written into the directories beneath.
    pub fn mount(&self, downs: &[Down]) -> Vec<String> {
        if downs.is_empty() {
            return Vec::new();
        }
        let mut stage = match Stage::open() {
            Ok(stage) => stage,
            Err(error) => return all_lost(downs, &error.to_string()),
        };
        let ready = self.make_ready(downs, &mut stage);
        let mut told = Vec::new();
        // Maps the id of each old mount to that of the new one.
        let mut ids = BTreeMap::new();
        for (down, ready) in downs.iter().zip(ready) {
            let path = down.mount.path.display();
            match self.put_up(down, ready, downs, &mut ids) {
                Ok(more) => {
                    log::info!("mounted {} at {path}", down.mount.source.display());
                    told.extend(more);
                }
                Err(why) => told.push(format!("{path} is not mounted again: {why}")),
            }
        }
        told
    }

    /// True if one of these is not mounted because its key is not loaded.
    pub fn lacks_key(&self, downs: &[Down]) -> bool {
        let mut names = downs
            .iter()
            .filter_map(|down| self.name_of(&down.mount).ok());
        names.any(|name| {
            let properties = self.zfs.properties(&name).ok().flatten();
            properties.is_some_and(|properties| is_locked(&properties))
        })
    }

    /// Makes all the mounts, on the stage.
    fn make_ready(&self, downs: &[Down], stage: &mut Stage) -> Vec<Result<PathBuf, String>> {
        let mut originals: BTreeMap<&OsStr, Result<Original, String>> = BTreeMap::new();
        let make_ready = |down| self.copy_of(down, downs, &mut originals, stage);
        downs.iter().map(make_ready).collect()
    }

    fn copy_of<'d>(
        &self,
        down: &'d Down,
        downs: &'d [Down],
        originals: &mut BTreeMap<&'d OsStr, Result<Original<'d>, String>>,
        stage: &mut Stage,
    ) -> Result<PathBuf, String> {
        let source = &*down.mount.source;
        if !originals.contains_key(source) {
            let mounts = downs.iter().map(|down| &down.mount);
            let mounts: Vec<_> = mounts.filter(|mount| mount.source == source).collect();
            let home = mounts.iter().find(|mount| mount.root == Path::new("/"));
            let place = self.mount_source(down, home.map(|mount| &*mount.path), stage);
            originals.insert(source, place.map(|place| Original::new(place, mounts)));
        }
        match originals.get_mut(source) {
            Some(Ok(original)) => original.copy_of(&down.mount, stage),
            Some(Err(why)) => Err(why.clone()),
            None => Err("it was lost".into()),
        }
    }

    /// Mounts on the stage a file system whose place is going to be `home`.
    fn mount_source(
        &self,
        down: &Down,
        home: Option<&Path>,
        stage: &mut Stage,
    ) -> Result<PathBuf, String> {
        let name = self.name_of(&down.mount)?;
        if let Some(short) = down.mount.snapshot() {
            let snapshot = name.snapshot(short).map_err(in_words)?;
            let found = self.zfs.snapshot(&snapshot).map_err(in_words)?;
            let found = found.ok_or_else(|| format!("{snapshot} is gone"))?;
            if down.snapshot != Some(found.guid.0) {
                return Err(format!("{snapshot} is another snapshot by now"));
            }
            return stage.snapshot(&snapshot).map_err(in_words);
        }
        let properties = self.zfs.properties(&name).map_err(in_words)?;
        let properties = properties.ok_or_else(|| format!("{name} is not there"))?;
        if is_locked(&properties) {
            let name = shell_word(&name);
            return Err(next!(
                "again-key",
                "its encryption key is not loaded. `zfs load-key {name}`, and the next run mounts it again"
            ));
        }
        let is_property = properties.value("readonly") == Some("on");
        let readonly = options::is_readonly(&down.mount) && !is_property;
        let place = stage.directory().map_err(in_words)?;
        // After a raw receive, OpenZFS begins to count the space of users at the first mount, and can
        // panic if that mount is writable.
        let is_encrypted = !matches!(properties.value("encryption"), None | Some("off"));
        let first = options::of_file_system(&down.mount, readonly || is_encrypted);
        let mounted = self.zfs.mount_at(&name, &place, &first);
        mounted.map_err(in_words)?;
        move_in(&place, home, &down.mount, readonly || is_property)?;
        Ok(place)
    }

    /// Moves one mount from the stage to its place.
    fn put_up(
        &self,
        down: &Down,
        ready: Result<PathBuf, String>,
        downs: &[Down],
        ids: &mut BTreeMap<u64, u64>,
    ) -> Result<Vec<String>, String> {
        let old = &down.mount;
        let name = self.name_of(old)?;
        let table = Table::read().map_err(in_words)?;
        let is_it = |mount: &&Mount| {
            mount.path == old.path
                && mount.root == old.root
                && mount.dataset().as_ref() == Some(&name)
                && mount.snapshot() == old.snapshot()
                && !ids.values().any(|id| *id == mount.id)
        };
        if let Some(there) = table.all().iter().find(is_it)
            && id_at(&old.path).is_ok_and(|id| id == there.id)
        {
            ids.insert(old.id, there.id);
            return adopt(there.id, old).map(|differences| different(old, differences));
        }
        let ready = ready?;
        let lies_in_ours = downs.iter().any(|down| down.mount.id == old.parent);
        let parent = ids.get(&old.parent).copied();
        if lies_in_ours && parent.is_none() {
            return Err("what it lies in is not mounted".into());
        }
        make_place(&table, old, parent)?;
        // Nobody could write within a mount that was down too.
        let beneath = match parent {
            None => Beneath::open(&old.path).map_err(in_words)?,
            Some(_) => None,
        };
        let id = id_at(&ready).map_err(in_words)?;
        let differences = put(&ready, old)?;
        ids.insert(old.id, id);
        let mut told = different(old, differences);
        let changed = beneath.map(|beneath| beneath.changed_since(self.since));
        told.extend(hidden(old, &table, &changed.unwrap_or_default()));
        Ok(told)
    }

    /// The present name of a mount's dataset.
    fn name_of(&self, mount: &Mount) -> Result<DatasetName, String> {
        let name = mount.dataset().ok_or("it is no mount of a dataset")?;
        moved(&name, self.from, self.to)
    }
}

fn is_locked(properties: &Properties) -> bool {
    properties.value("keystatus") == Some("unavailable")
}

/// Checks that the place of a mount is free, and makes its directory if it is missing. `parent` is the
/// mount on which it lies, if that was unmounted too.
fn make_place(table: &Table, old: &Mount, parent: Option<u64>) -> Result<(), String> {
    let id = match id_at(&old.path) {
        Ok(id) => id,
        Err(error) if error.kind() == ErrorKind::NotFound && parent.is_none() => {
            return fs::create_dir_all(&old.path).map_err(in_words);
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err("its directory is gone, and making it would change what it lies in".into());
        }
        Err(error) => return Err(error.to_string()),
    };
    // Received data decides what is at the place, but must not lead the mount elsewhere.
    if old.path.is_symlink() {
        return Err("a symbolic link is in the way by now".into());
    }
    let expected = parent.unwrap_or(old.parent);
    let found = table.get(id);
    let is_in_the_way = found.is_some_and(|found| found.path == old.path);
    if id == expected || (table.get(expected).is_none() && !is_in_the_way) {
        return Ok(());
    }
    let words = found.map_or_else(|| "something".to_owned(), Mount::words);
    Err(format!("{words} is in the way by now"))
}

fn different(old: &Mount, differences: Vec<String>) -> Vec<String> {
    let path = old.path.display();
    let tell = |difference| format!("{path} is mounted again, but not as it was: {difference}");
    differences.into_iter().map(tell).collect()
}

/// What was written beneath a mount while it was down, and how to see it.
fn hidden(old: &Mount, table: &Table, changed: &[PathBuf]) -> Option<String> {
    if changed.is_empty() {
        return None;
    }
    let path = old.path.display();
    let names: Vec<String> = changed
        .iter()
        .map(|name| name.display().to_string())
        .collect();
    let names = names.join(", ");
    let around = table
        .get(old.parent)
        .map_or(Path::new("/"), |parent| &parent.path);
    let inside = old.path.strip_prefix(around).unwrap_or(Path::new(""));
    let seen = Path::new("/mnt").join(inside);
    Some(format!(
        "while {path} was unmounted, something wrote {names} into the directory on which it is \
         mounted: that lies hidden beneath it now. `mount --bind {} /mnt` shows it at {}",
        shell_word(&around.display()),
        seen.display()
    ))
}

/// What to tell if none of these can be mounted.
pub(super) fn all_lost(downs: &[Down], why: &str) -> Vec<String> {
    let lost = |down: &Down| format!("{} is not mounted again: {why}", down.mount.path.display());
    downs.iter().map(lost).collect()
}

/// The name of `dataset` after `from`, which is that dataset or above it, was renamed to `to`.
pub(in crate::replicate) fn moved(
    dataset: &DatasetName,
    from: &DatasetName,
    to: &DatasetName,
) -> Result<DatasetName, String> {
    let rest = dataset.as_str().strip_prefix(from.as_str());
    DatasetName::new(&format!("{to}{}", rest.unwrap_or_default())).map_err(in_words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_move_along() {
        let name = |text: &str| DatasetName::new(text).unwrap();
        let (from, to) = (name("tank/home"), name("tank/home-kept"));
        for (dataset, expected) in [
            ("tank/home", "tank/home-kept"),
            ("tank/home/vic/mail", "tank/home-kept/vic/mail"),
        ] {
            assert_eq!(moved(&name(dataset), &from, &to), Ok(name(expected)));
        }
    }
}
