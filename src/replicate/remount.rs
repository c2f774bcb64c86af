//! Taking mounts down around a rename, and putting them up again.
//!
//! A rename leaves live mounts where they are, under the old name in every table of mounts: `df`
//! and `/proc/mounts` would tell of a dataset that is another one by then.

use std::collections::BTreeMap;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::mount::{MntFlags, umount2};

use crate::disk::mounts;
use crate::fault;
use crate::name::DatasetName;
use crate::terminal::{Approval, Terminal};
use crate::zfs::Libzfs;

/// Where what is unmounted now was mounted. A process that ends while it waits in the kernel drops
/// nothing, and can still tell.
static DOWN: Mutex<BTreeMap<PathBuf, DatasetName>> = Mutex::new(BTreeMap::new());

/// What zbackup has unmounted and not mounted again yet.
pub fn taken_down() -> BTreeMap<PathBuf, DatasetName> {
    down().clone()
}

fn down() -> MutexGuard<'static, BTreeMap<PathBuf, DatasetName>> {
    DOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The mounts of a dataset and of all below it that were taken down. What has not been put up again
/// is put up when this is dropped: also where a panic ends the work.
#[derive(Debug)]
pub(super) struct TakenDown {
    top: DatasetName,
    /// In order of mounting.
    mounts: Vec<(DatasetName, PathBuf)>,
}

impl TakenDown {
    /// Unmounts `top` and everything below it, and says so. With `-v` each is asked for.
    ///
    /// # Errors
    /// Where one of them is in use or declined, with its path; what was unmounted by then is mounted
    /// again.
    pub fn all_of(top: &DatasetName, zfs: &Libzfs, terminal: &Terminal) -> Result<Self, String> {
        let mounted = mounts::of_pool(&top.pool()).map_err(|error| error.to_string())?;
        let mounted = mounted.into_iter().filter(|(name, _)| name.is_within(top));
        let mut taken = Self {
            top: top.clone(),
            mounts: Vec::new(),
        };
        for (name, path) in mounted.collect::<Vec<_>>().into_iter().rev() {
            if let Err(mut reason) = take_down(&name, &path, terminal) {
                for problem in taken.put_up(zfs) {
                    reason = format!("{reason}; {problem}");
                }
                return Err(reason);
            }
            // A snapshot that somebody looks at below its dataset's mount mounts itself again.
            if !path.components().any(|part| part.as_os_str() == ".zfs") {
                down().insert(path.clone(), name.clone());
                taken.mounts.insert(0, (name, path));
            }
        }
        Ok(taken)
    }

    /// Mounts everything again, at the same places. Returns what could not be mounted.
    pub fn put_up(mut self, zfs: &Libzfs) -> Vec<String> {
        let top = self.top.clone();
        self.mount_all(&top, zfs)
    }

    /// The same, where the top dataset has been renamed to `to`.
    pub fn put_up_below(mut self, to: &DatasetName, zfs: &Libzfs) -> Vec<String> {
        self.mount_all(to, zfs)
    }

    /// Where the top dataset has been renamed to `to`: what they are called now. They have other places
    /// as well, and are not mounted here.
    pub fn renamed(mut self, to: &DatasetName) -> Result<Vec<DatasetName>, String> {
        let mounts = mem::take(&mut self.mounts).into_iter();
        mounts
            .map(|(name, path)| {
                down().remove(&path);
                moved(&name, &self.top, to)
            })
            .collect()
    }

    fn mount_all(&mut self, to: &DatasetName, zfs: &Libzfs) -> Vec<String> {
        let mount = |(name, path): &(DatasetName, PathBuf)| {
            let name = moved(name, &self.top, to)?;
            let dataset = zfs.dataset(&name).map_err(|error| error.to_string())?;
            let dataset = dataset.ok_or_else(|| format!("{name} is not there"))?;
            dataset
                .mount_at(path, "defaults")
                .map_err(|error| error.to_string())?;
            log::info!("mounted {name} at {}", path.display());
            down().remove(path);
            Ok(())
        };
        let problem = |one: (DatasetName, PathBuf)| {
            let error: String = mount(&one).err()?;
            Some(format!("{} is not mounted again: {error}", one.1.display()))
        };
        mem::take(&mut self.mounts)
            .into_iter()
            .filter_map(problem)
            .collect()
    }
}

impl Drop for TakenDown {
    fn drop(&mut self) {
        if self.mounts.is_empty() {
            return;
        }
        let top = self.top.clone();
        let problems = match Libzfs::open() {
            Ok(zfs) => self.mount_all(&top, &zfs),
            Err(error) => vec![format!(
                "what is mounted of {top} is not mounted again: {error}"
            )],
        };
        for problem in problems {
            log::error!("{problem}");
        }
    }
}

fn take_down(name: &DatasetName, path: &Path, terminal: &Terminal) -> Result<(), String> {
    let shown = path.display();
    let step = format!("unmount {shown} ({name}) for a moment");
    if terminal.approve(&step) == Approval::No {
        return Err(format!("declined: {step}"));
    }
    fault::at("umount2")
        .map_err(str::to_owned)
        .and_then(|()| umount2(path, MntFlags::UMOUNT_NOFOLLOW).map_err(|errno| errno.to_string()))
        .map_err(|why| format!("{shown} cannot be unmounted: {why}"))?;
    terminal.say(&format!("Unmounted {shown} ({name}) for a moment"));
    log::info!("unmounted {shown}");
    Ok(())
}

/// The name of `dataset` after `from`, which is it or above it, was renamed to `to`.
fn moved(
    dataset: &DatasetName,
    from: &DatasetName,
    to: &DatasetName,
) -> Result<DatasetName, String> {
    let rest = dataset.as_str().strip_prefix(from.as_str());
    DatasetName::new(&format!("{to}{}", rest.unwrap_or_default()))
        .map_err(|error| error.to_string())
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
