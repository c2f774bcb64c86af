//! Whether the copies of encrypted volumes open with the key that the volumes have now.
//!
//! `zfs change-key` writes nothing that a snapshot would hold, and `written` stays 0. It changes how the
//! dataset's own key is encrypted, and every raw stream carries that key as it is at the time of the send.

use openzfs::{DatasetName, FirstRecord, Libzfs, Lzc};

use super::give_up;
use crate::model::VolumePath;
use crate::model::{Dataset, Side, WrappingKey};

/// Finds out what the planner has to know of keys besides what properties tell.
pub fn compare(
    zfs: &Libzfs,
    lzc: Lzc,
    source: &mut Side,
    target: &mut Side,
    volumes: &[VolumePath],
) {
    for volume in volumes {
        let names = (source.name_of(volume), target.name_of(volume));
        let (Ok(on_source), Ok(on_target)) = names else {
            continue;
        };
        let there = source.datasets.get_mut(&on_source);
        let Some((from, to)) = there.zip(target.datasets.get_mut(&on_target)) else {
            continue;
        };
        let [Some(_), Some(_)] = [&from.key, &to.key] else {
            continue;
        };
        look_at(from, lzc);
        look_at(to, lzc);
        let (Some(from), Some(key)) = (&from.key, &mut to.key) else {
            continue;
        };
        if !from.differs(key) || key.root != on_target {
            continue;
        }
        let added = zfs.dataset(&on_target).and_then(|root| match root {
            Some(root) => add_heirs(&root, key),
            None => Err(openzfs::Error::not_found(on_target.as_str())),
        });
        if let Err(error) = added {
            give_up(target, on_target, &error);
        }
    }
}

/// A key that is no passphrase has no salt. A stream contains the dataset's own key as encrypted with it.
fn look_at(dataset: &mut Dataset, lzc: Lzc) {
    let (Some(key), Some(newest)) = (&mut dataset.key, dataset.snapshots.last()) else {
        return;
    };
    if key.salt.is_some() {
        return;
    }
    match FirstRecord::of(&newest.name, true, lzc) {
        Ok(first) => key.wrapped = first.wrapped_key(),
        Err(why) => log::debug!("the key of {} cannot be looked at: {why}", dataset.name),
    }
}

fn add_heirs(above: &openzfs::Dataset, key: &mut WrappingKey) -> Result<(), openzfs::Error> {
    above.each_child(|child| {
        let properties = child.reported_properties();
        let root = properties.value("encryptionroot");
        if root.and_then(|root| DatasetName::new(root).ok()).as_ref() == Some(&key.root) {
            key.heirs.push(child.name().clone());
            add_heirs(&child, key)?;
        }
        Ok(())
    })
}
