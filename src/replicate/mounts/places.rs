//! Where mounts belong if their datasets now have another name.
//!
//! A mount at the place that its dataset's properties gave moves to the place that they give now, as
//! at the next boot, with everything mounted within it. Every other mount stays at its place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use openzfs::DatasetName;

use super::again::moved;
use super::arrival;
use super::unmounted::{Down, place_of};
use crate::plan::Plan;
use crate::replicate::in_words;
use crate::replicate::zfs::Zfs;

/// Mounts of a dataset that was renamed.
#[derive(Default)]
pub(in crate::replicate) struct Places {
    /// The mounts, with their new paths.
    pub downs: Vec<Down>,
    /// The paths that have changed: the old and the new path of each.
    pub moved: BTreeMap<PathBuf, PathBuf>,
    /// Mounts of the dataset itself that have left their places: a dataset that has its name now may be
    /// mounted there.
    pub left: Vec<Down>,
    /// Which mounts have no place, and why.
    pub told: Vec<String>,
}

impl Places {
    /// The places that the mounts have had.
    pub fn unchanged(downs: &[Down]) -> Self {
        Self {
            downs: downs.to_vec(),
            ..Self::default()
        }
    }

    /// Looks for the places of mounts after `from` was renamed to `to`. Each mount comes after the one
    /// on which it lies.
    pub fn find(
        downs: &[Down],
        from: &DatasetName,
        to: &DatasetName,
        plan: Option<&Plan>,
        zfs: &dyn Zfs,
    ) -> Self {
        if from == to {
            return Self::unchanged(downs);
        }
        let mut places = Self::default();
        // Where each mount was and where it is now, if it is anywhere.
        let mut known: BTreeMap<u64, (&Path, Option<PathBuf>)> = BTreeMap::new();
        for down in downs {
            let old = &down.mount;
            let around = known.get(&old.parent);
            let by_property = || match old.dataset().filter(|_| down.is_by_property) {
                Some(name) => place_of(&moved(&name, from, to)?, zfs),
                None => Ok(None),
            };
            let found = by_property().and_then(|place| {
                let place = within(around, &old.path, place)?;
                let around_now = around.and_then(|(_, now)| now.as_ref());
                let lies_on = match around_now {
                    Some(now) if place.starts_with(now) => old.parent,
                    None if place == old.path => old.parent,
                    _ => arrival::check_free(plan, &place, zfs)?,
                };
                Ok((place, lies_on))
            });
            match &found {
                Ok((place, lies_on)) => {
                    places.downs.push(at(down, place, *lies_on));
                    if *place != old.path {
                        places.moved.insert(old.path.clone(), place.clone());
                    }
                }
                Err(why) => {
                    let name = old.dataset().and_then(|name| moved(&name, from, to).ok());
                    let name = name.map_or_else(|| old.words(), |name| name.to_string());
                    let was = old.path.display();
                    places
                        .told
                        .push(format!("{was} ({name}) is not mounted again: {why}"));
                }
            }
            let found = found.ok().map(|(place, _)| place);
            if found.as_ref() != Some(&old.path) && old.dataset().as_ref() == Some(from) {
                places
                    .left
                    .extend(down.is_by_property.then(|| down.clone()));
            }
            known.insert(old.id, (&old.path, found));
        }
        places
    }
}

/// Where a mount belongs, if it lies in `around` and its properties say `place`.
fn within(
    around: Option<&(&Path, Option<PathBuf>)>,
    was: &Path,
    place: Option<PathBuf>,
) -> Result<PathBuf, String> {
    match (around, place) {
        (Some((_, None)), _) => Err("what it lies in is not mounted".into()),
        (_, Some(place)) => Ok(place),
        (Some((old, Some(now))), None) => {
            let inside = was.strip_prefix(old).map_err(in_words)?;
            Ok(if inside.as_os_str().is_empty() {
                now.clone()
            } else {
                now.join(inside)
            })
        }
        (None, None) => Ok(was.to_owned()),
    }
}

fn at(down: &Down, place: &Path, lies_on: u64) -> Down {
    let mut down = down.clone();
    place.clone_into(&mut down.mount.path);
    down.mount.parent = lies_on;
    down
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_a_mount_goes_with_it() {
        let path = |text: &str| PathBuf::from(text);
        let moved = (Path::new("/t/a"), Some(path("/t/kept")));
        let lost = (Path::new("/t/a"), None);
        let place = |around, was: &str, place: Option<&str>| {
            within(around, Path::new(was), place.map(path)).ok()
        };
        assert_eq!(place(None, "/t/a", None), Some(path("/t/a")));
        assert_eq!(place(None, "/t/a", Some("/t/b")), Some(path("/t/b")));
        assert_eq!(place(Some(&moved), "/t/a/x", None), Some(path("/t/kept/x")));
        assert_eq!(place(Some(&moved), "/t/a", None), Some(path("/t/kept")));
        assert_eq!(place(Some(&moved), "/t/a/x", Some("/y")), Some(path("/y")));
        assert_eq!(place(Some(&lost), "/t/a/x", Some("/y")), None);
    }
}
