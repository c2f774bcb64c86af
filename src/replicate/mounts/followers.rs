//! Mounts in other mount namespaces that follow those of this one.
//!
//! They are unmounted and mounted with these, but come back with the options that the mounts have here.
//! Services get a read-only `/home` in that way (`ProtectSystem=strict`), and must not be able to write
//! there afterwards.

use std::path::{Path, PathBuf};

use openzfs::DatasetName;
use serde::{Deserialize, Serialize};

use super::places::Places;
use crate::system::mounts::{self, Mount, Table, namespace};
use crate::system::users;

/// A mount of another namespace.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::replicate) struct Follower {
    mount: Mount,
    namespace: PathBuf,
    pid: u32,
    /// The process that uses it, in words.
    user: String,
}

/// All mounts that show `top` or a dataset below it.
pub(in crate::replicate) fn of(top: &DatasetName) -> Vec<Follower> {
    let is_of = |mount: &Mount| mount.dataset().is_some_and(|name| name.is_within(top));
    let found = users::mounted_elsewhere(|_, mount| is_of(mount) && !mount.is_automatic());
    let follower = |found: users::Elsewhere| {
        let user = found.user();
        Some(Follower {
            namespace: namespace::of_process(user.pid()).ok()?,
            pid: user.pid(),
            user: user.to_string(),
            mount: found.mount,
        })
    };
    found.into_iter().filter_map(follower).collect()
}

/// Gives mounts that have come back the options that they had, and also what is now in their places
/// if they have moved. Returns what is not as it was.
pub(in crate::replicate) fn settle(followers: &[Follower], places: &Places) -> Vec<String> {
    let settle = |follower: &Follower| {
        let was = &*follower.mount.path;
        let now = places.moved.get(was).map(PathBuf::as_path);
        let paths = std::iter::once(was).chain(now);
        paths
            .filter_map(|path| follower.settle(path))
            .collect::<Vec<_>>()
    };
    followers.iter().flat_map(settle).collect()
}

impl Follower {
    fn settle(&self, path: &Path) -> Option<String> {
        let Self { mount: old, .. } = self;
        if namespace::of_process(self.pid).ok()? != self.namespace {
            // The process has ended.
            return None;
        }
        let table = Table::of_process(&self.pid.to_string()).ok()?;
        let is_it =
            |mount: &&Mount| mount.kind == old.kind && mount.path == path && mount.root == old.root;
        let (shown, user) = (path.display(), &self.user);
        let Some(now) = table.all().iter().rev().find(is_it) else {
            let here = mounts::is_mount_point(path).unwrap_or_default();
            // If it is not mounted here either, that is told elsewhere.
            return here.then(|| {
                format!(
                    "{shown} is not mounted again in the mount namespace of {user}: start that anew"
                )
            });
        };
        if now.options == old.options {
            return None;
        }
        let set = namespace::set_options_in(self.pid, &self.namespace, now, &old.options);
        set.err().map(|why| {
            format!(
                "{shown} in the mount namespace of {user} was {} and is {}: {why}. Start that anew",
                old.options, now.options
            )
        })
    }
}
