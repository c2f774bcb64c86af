//! Volumes that are new on the host: mounted where they belong, if that place is free.
//!
//! They were received with `canmount=noauto`: if the run ends before this step, no boot mounts one
//! over existing files. A mark remembers that, so that the next run finds volumes that an earlier
//! run has brought and not mounted.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use openzfs::{DatasetName, Properties, PropertySource};

use crate::model::marks::CANMOUNT_PROPERTY;
use crate::next::next;
use crate::plan::{Direction, Plan, VolumePlan};
use crate::replicate::Outcomes;
use crate::replicate::Replication;
use crate::replicate::in_words;
use crate::replicate::zfs::Zfs;
use crate::report::Outcome;
use crate::system::mounts::{self, Mount, Table};
use crate::terminal::Approval;
use crate::text::shell_word;

/// Mounts the file systems that this run, or an earlier one that ended too soon, has brought to the
/// host, parents first. If one cannot be mounted, it stays `canmount=noauto`, and its report says
/// why; the data has arrived all the same.
pub(in crate::replicate) fn mount(run: &Replication, outcomes: &mut Outcomes) {
    if run.plan.direction == Direction::ToDisk {
        return;
    }
    let volumes = run.plan.volumes.iter().enumerate();
    let mut new: Vec<(usize, &VolumePlan)> = volumes
        .filter(|(index, volume)| {
            outcomes.volumes[*index].outcome == Outcome::Done
                && (volume.sends_in_full() || waits_since_earlier(run, volume))
        })
        .collect();
    new.sort_by_key(|(_, volume)| &volume.target);
    for (index, volume) in new {
        let report = &mut outcomes.volumes[index];
        let (outcome, said) = match mount_one(run, &volume.target) {
            Ok(Some(path)) if !volume.sends_in_full() => {
                let path = path.display();
                let said =
                    format!("it had arrived in an earlier run, and is mounted at {path} now");
                (Outcome::Done, said)
            }
            Ok(_) => continue,
            Err(Unmounted { outcome, why }) => {
                let said = format!("{} was not mounted: {why}", volume.target);
                log::warn!("{said}");
                (outcome, said)
            }
        };
        let reason = match report.reason.take() {
            Some(first) => format!("{first}; {said}"),
            None => said,
        };
        report.end(outcome, reason);
    }
}

/// True for a volume that an earlier run has received but not mounted at its place.
fn waits_since_earlier(run: &Replication, volume: &VolumePlan) -> bool {
    let target = run.target.dataset(&volume.target);
    target.is_some_and(|target| target.local_properties.contains_key(CANMOUNT_PROPERTY))
}

/// Why a volume that has arrived is not mounted, and its outcome.
struct Unmounted {
    outcome: Outcome,
    why: String,
}

impl From<String> for Unmounted {
    fn from(why: String) -> Self {
        let outcome = Outcome::Done;
        Self { outcome, why }
    }
}

/// Mounts a file system that is not in its place yet, and returns where. There is nothing to do for zvols,
/// for a replacement that is mounted where the old dataset was, and if somebody has mounted it meanwhile.
fn mount_one(run: &Replication, name: &DatasetName) -> Result<Option<PathBuf>, Unmounted> {
    if (run.is_interrupted)() {
        let why = "interrupted. canmount=noauto keeps it unmounted";
        return Err(why.to_owned().into());
    }
    let zfs = run.zfs;
    let properties = zfs.properties(name).map_err(in_words)?;
    let properties = properties.ok_or_else(|| "it is gone".to_owned())?;
    let Some(canmount) = mark_of(&properties) else {
        return Ok(None);
    };
    let is_mounted = zfs.is_mounted(name).map_err(in_words)?;
    let Some(path) = mount_point(&properties).filter(|_| canmount == "on" && !is_mounted) else {
        // It is not mounted by itself, so it can hide nothing.
        settle(zfs, name, &canmount)?;
        return Ok(None);
    };
    let directory = Directory::look(&path)
        .and_then(|directory| directory.check(Some(run.plan), &path, zfs))
        .map_err(|why| {
            next!(
                "arrival-later",
                "{why}. canmount=noauto keeps it unmounted until the next `zbackup os` after its \
                 place is free"
            )
        })?;
    if properties.value("keystatus") == Some("unavailable") {
        settle(zfs, name, &canmount)?;
        let why = "its encryption key is not loaded";
        let name = shell_word(name);
        return Err(next!(
            "arrival-key",
            "{why} (zfs load-key {name}, then zfs mount {name})"
        )
        .into());
    }
    let step = format!("mount {name} at {}", path.display());
    if run.terminal.approve(&step) == Approval::No {
        return Err(Unmounted {
            outcome: Outcome::Skipped,
            why: "declined".into(),
        });
    }
    if directory == Directory::Absent {
        fs::create_dir_all(&path)
            .map_err(|error| format!("{} cannot be made: {error}", path.display()))?;
    }
    zfs.mount_at(name, &path, "defaults").map_err(in_words)?;
    log::info!("mounted {name} at {}", path.display());
    settle(zfs, name, &canmount)?;
    Ok(Some(path))
}

/// True for a new file system that is still to be mounted at `path` and can be mounted there.
pub(in crate::replicate) fn belongs_at(
    zfs: &dyn Zfs,
    name: &DatasetName,
    path: &Path,
) -> Result<bool, String> {
    let Some(properties) = zfs.properties(name).map_err(in_words)? else {
        return Ok(false);
    };
    Ok(mark_of(&properties).as_deref() == Some("on")
        && mount_point(&properties).as_deref() == Some(path)
        && !zfs.is_mounted(name).map_err(in_words)?
        && properties.value("keystatus") != Some("unavailable"))
}

/// Fails if a mount at `path` would hide something, or if its directory is missing and cannot be made
/// without changing a volume that is itself carried. Returns the id of the mount on which it would lie.
pub(in crate::replicate) fn check_free(
    plan: Option<&Plan>,
    path: &Path,
    zfs: &dyn Zfs,
) -> Result<u64, String> {
    Directory::look(path)?.check(plan, path, zfs)?;
    let around = mount_around(path).map_err(in_words)?;
    around
        .map(|around| around.id)
        .ok_or_else(|| format!("{} is nowhere", path.display()))
}

/// Where a dataset is mounted according to its properties: `None` for `none` and `legacy`.
pub(in crate::replicate) fn mount_point(properties: &Properties) -> Option<PathBuf> {
    let path = PathBuf::from(properties.value("mountpoint")?);
    path.is_absolute().then_some(path)
}

/// The `canmount` that a received file system is to have when it is in its place. An inherited mark
/// does not count, nor one on a file system whose `canmount` somebody has changed since.
fn mark_of(properties: &Properties) -> Option<String> {
    let mark = properties.get(CANMOUNT_PROPERTY)?;
    (mark.source == PropertySource::Local && properties.value("canmount") == Some("noauto"))
        .then(|| mark.value.clone())
}

/// Gives a file system that is now in its place the `canmount` that it is to have there.
pub(in crate::replicate) fn settle_canmount(
    zfs: &dyn Zfs,
    name: &DatasetName,
) -> Result<(), String> {
    let properties = zfs.properties(name).map_err(in_words)?;
    let properties = properties.ok_or_else(|| "it is gone".to_owned())?;
    match mark_of(&properties) {
        Some(canmount) => settle(zfs, name, &canmount),
        None => Ok(()),
    }
}

/// The same, if it is mounted: it is to be there again after the next boot.
pub(in crate::replicate) fn settle_mounted(
    zfs: &dyn Zfs,
    name: &DatasetName,
) -> Result<(), String> {
    if zfs.is_mounted(name).map_err(in_words)? {
        settle_canmount(zfs, name)
    } else {
        Ok(())
    }
}

fn settle(zfs: &dyn Zfs, name: &DatasetName, canmount: &str) -> Result<(), String> {
    zfs.set_property(name, "canmount", canmount)
        .map_err(in_words)?;
    zfs.inherit_property(name, CANMOUNT_PROPERTY)
        .map_err(in_words)
}

/// A place where a mount hides nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Directory {
    Absent,
    Empty,
}

impl Directory {
    fn look(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        match path.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::Absent),
            Err(error) => return Err(format!("{shown}: {error}")),
            Ok(found) if !found.is_dir() => return Err(format!("{shown} is not a directory")),
            Ok(_) => {}
        }
        if mounts::is_mount_point(path).map_err(in_words)? {
            return Err(format!("something else is mounted at {shown}"));
        }
        match fs::read_dir(path).map(|mut entries| entries.next()) {
            Ok(None) => Ok(Self::Empty),
            Ok(Some(_)) => Err(format!("{shown} is not empty")),
            Err(error) => Err(format!("{shown}: {error}")),
        }
    }

    /// A new directory is a change: in a volume that is itself carried, it would make the volume
    /// differ from its copy. And data from a disk may contain links, which must not lead elsewhere.
    fn check(self, plan: Option<&Plan>, path: &Path, zfs: &dyn Zfs) -> Result<Self, String> {
        let around = mount_around(path).map_err(in_words)?;
        let Some((id, volume)) = around.and_then(|around| Some((around.id, around.dataset()?)))
        else {
            return Ok(self);
        };
        if !is_carried(plan, &volume, zfs)? {
            return Ok(self);
        }
        let path_shown = path.display();
        match self {
            Self::Absent => Err(format!(
                "{path_shown} does not exist, and making it would change {volume}"
            )),
            Self::Empty if mounts::id_at(path).map_err(in_words)? != id => Err(format!(
                "a symbolic link in {volume} leads {path_shown} to another place"
            )),
            Self::Empty => Ok(self),
        }
    }
}

/// The mount in which `path` would be created.
fn mount_around(path: &Path) -> std::io::Result<Option<Mount>> {
    let mounts = Table::read()?;
    // Of two mounts at one path the later one is visible, and `max_by_key` takes the last.
    let around = mounts
        .all()
        .iter()
        .filter(|mount| path.starts_with(&mount.path))
        .max_by_key(|mount| mount.path.components().count());
    Ok(around.cloned())
}

/// True if the dataset is carried. Without a plan that is unknown: it may be anything with snapshots.
fn is_carried(plan: Option<&Plan>, name: &DatasetName, zfs: &dyn Zfs) -> Result<bool, String> {
    if let Some(plan) = plan {
        return Ok(plan.volumes.iter().any(|volume| volume.target == *name));
    }
    Ok(!zfs.snapshots(name, None).map_err(in_words)?.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_absent_or_empty_directory_is_free() {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().join("volume");
        assert_eq!(Directory::look(&path), Ok(Directory::Absent));
        fs::create_dir(&path).unwrap();
        assert_eq!(Directory::look(&path), Ok(Directory::Empty));
        fs::write(path.join("file"), "").unwrap();
        assert!(
            Directory::look(&path)
                .unwrap_err()
                .ends_with("is not empty")
        );
        let link = top.path().join("link");
        std::os::unix::fs::symlink("/", &link).unwrap();
        assert!(
            Directory::look(&link)
                .unwrap_err()
                .ends_with("is not a directory")
        );
        let proc = Directory::look(Path::new("/proc")).unwrap_err();
        assert!(proc.starts_with("something else is mounted"), "{proc}");
    }
}
