//! Mounting an open disk's volumes, to look at them.

use std::path::{Path, PathBuf};

use openzfs::{Dataset, DatasetKind, DatasetName, Error, Libzfs};

use super::stage::Imported;
use crate::inventory::{is_empty_placeholder, log_reset_bytes};
use crate::system::mounts;

/// Looking at files must not change them.
const OPTIONS: &str = "nosuid,nodev,noatime";

/// Mounts every volume of the disk at `<mount_point>/<dataset>`, parents first, and returns a
/// warning for each volume that could not be mounted.
///
/// The pool's root dataset and zbackup's unused placeholders hold nothing and are left out. Nothing is
/// mounted over a directory that is not empty, or through a symlink: all are mounted before the first of them
/// is writable, so that nobody can put a symlink there meanwhile, and nothing is created in a copy.
pub fn mount_volumes(
    zfs: &Libzfs,
    imported: &mut Imported,
    mount_point: &Path,
    writable: bool,
) -> Result<Vec<String>, Error> {
    let mut warnings = Vec::new();
    let Some(pool) = zfs.pool(imported.pool())? else {
        return Ok(warnings);
    };
    let log_reset_bytes = log_reset_bytes(&pool.status()?);
    let Some(root) = zfs.dataset(&imported.pool().root())? else {
        return Ok(warnings);
    };
    let mut mounted = Vec::new();
    for dataset in descendants(&root)? {
        let Some(reason) = reason_not_to_mount(&dataset, log_reset_bytes) else {
            let path = mount_point.join(dataset.name().as_str());
            match mount_one(&dataset, mount_point, &path, &mut imported.made_directories) {
                Ok(()) => mounted.push(path),
                Err(why) => warnings.push(format!(
                    "{} was not mounted at {}: {why}",
                    dataset.name(),
                    path.display()
                )),
            }
            continue;
        };
        warnings.extend(reason);
    }
    if writable {
        warnings.extend(make_writable(&mounted));
    }
    Ok(warnings)
}

/// If it were mounted writable at once, a copy would first lose the files that were open, and deleted,
/// when its snapshot was made: a change that nobody has made. Outer mounts come last, so that the path to
/// each is read-only when it is looked up. Returns warnings.
fn make_writable(mounted: &[PathBuf]) -> Vec<String> {
    let deepest_first = mounted.iter().rev();
    let failed = deepest_first.filter_map(|path| {
        let why = mounts::make_writable(path, OPTIONS).err()?;
        Some(format!("{} is mounted read-only: {why}", path.display()))
    });
    failed.collect()
}

/// Removes directories that were made as mount points, the last one first. A directory that is not
/// empty stays.
pub fn remove_directories(made: &[PathBuf]) {
    for directory in made.iter().rev() {
        if let Err(error) = std::fs::remove_dir(directory) {
            log::debug!("{} stays: {error}", directory.display());
        }
    }
}

/// All datasets below `root`, each after its parent.
fn descendants<'h>(root: &Dataset<'h>) -> Result<Vec<Dataset<'h>>, Error> {
    let mut all = Vec::new();
    for child in root.children()? {
        let below = descendants(&child)?;
        all.push(child);
        all.extend(below);
    }
    Ok(all)
}

/// `None`: mount it. `Some(None)`: it holds no files. `Some(Some(warning))`: it cannot be mounted.
#[allow(clippy::option_option)] // three answers, each used once
fn reason_not_to_mount(dataset: &Dataset, log_reset_bytes: u64) -> Option<Option<String>> {
    let properties = dataset.properties();
    if dataset.kind() == DatasetKind::Volume
        || is_empty_placeholder(dataset, &properties, log_reset_bytes)
    {
        return Some(None);
    }
    if properties.value("keystatus") == Some("unavailable") {
        return Some(Some(format!(
            "{} was not mounted: its encryption key is not loaded",
            dataset.name()
        )));
    }
    None
}

fn mount_one(
    dataset: &Dataset,
    top: &Path,
    path: &Path,
    made: &mut Vec<PathBuf>,
) -> Result<(), String> {
    make_directories(top, path, made)?;
    let mut entries = std::fs::read_dir(path).map_err(|error| error.to_string())?;
    if entries.next().is_some() {
        return Err("the directory is not empty".into());
    }
    if mounts::is_mount_point(path).map_err(|error| error.to_string())? {
        return Err("something is mounted there".into());
    }
    dataset
        .mount_at(path, &format!("ro,{OPTIONS}"))
        .map_err(|error| error.to_string())
}

/// Makes the missing directories down to `path`, and notes them in `made`. Below `top` a symlink is refused.
fn make_directories(top: &Path, path: &Path, made: &mut Vec<PathBuf>) -> Result<(), String> {
    let mut ancestors: Vec<_> = path.ancestors().collect();
    ancestors.reverse();
    for directory in ancestors {
        match directory.symlink_metadata() {
            Ok(found) if found.is_dir() => {}
            Ok(found) if found.is_symlink() && !directory.starts_with(top) => {}
            Ok(_) => return Err(format!("{} is not a directory", directory.display())),
            Err(_) => {
                std::fs::create_dir(directory)
                    .map_err(|error| format!("{} cannot be made: {error}", directory.display()))?;
                made.push(directory.to_path_buf());
            }
        }
    }
    Ok(())
}

/// Where a dataset is mounted, if anywhere.
pub fn mounted_at(dataset: &DatasetName) -> std::io::Result<Option<PathBuf>> {
    Ok(mounts::of_pool(&dataset.pool())?
        .into_iter()
        .find_map(|(name, path)| (name == *dataset).then_some(path)))
}
