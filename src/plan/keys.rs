//! Datasets that share one key on the target must share one key afterwards.
//!
//! A raw stream brings the key of its source along. If the target is encrypted with the key of the
//! dataset above it, both have to get the new key: otherwise nothing opens the child.

use openzfs::DatasetName;

use super::types::{Action, VolumePlan};
use crate::model::{Dataset, Side, WrappingKey};
use crate::text::shell_word;

/// Takes out volumes after which something could no longer be opened, until none is left.
pub(super) fn keep_whole(volumes: &mut [VolumePlan], source: &Side, target: &Side) {
    loop {
        let sides = Keys {
            volumes,
            source,
            target,
        };
        let broken = volumes.iter().enumerate();
        let broken = broken
            .filter(|(_, volume)| brings_new_key(volume))
            .find_map(|(index, volume)| Some((index, sides.left_behind(volume)?)));
        let Some((index, why)) = broken else {
            return;
        };
        volumes[index].action = Action::Impossible(why);
    }
}

fn brings_new_key(volume: &VolumePlan) -> bool {
    matches!(&volume.action, Action::Send(transfer) if transfer.new_key)
}

#[derive(Clone, Copy)]
struct Keys<'a> {
    volumes: &'a [VolumePlan],
    source: &'a Side,
    target: &'a Side,
}

impl Keys<'_> {
    /// What could no longer be opened with the key that this volume brings, and what to do about it.
    fn left_behind(self, volume: &VolumePlan) -> Option<String> {
        let new = key_of(self.source.dataset(&volume.source))?;
        let old = key_of(self.target.dataset(&volume.target))?;
        let VolumePlan { source, target, .. } = volume;
        if old.root != *target {
            let root = &old.root;
            return (!self.has_then(root, new)).then(|| {
                format!(
                    "{target} is encrypted with the key of {root}, and {source} comes with another: \
                     nothing would open it any more. Bring {root} in the same run, or give {target} \
                     a key of its own first: zfs change-key -o keyformat=passphrase {}",
                    shell_word(target)
                )
            });
        }
        let mut heirs = old.heirs.iter();
        let heir = heirs.find(|heir| !self.has_then(heir, new))?;
        Some(format!(
            "{heir} is encrypted with the key of {target}, and {source} comes with another: nothing \
             would open {heir} any more. Bring it in the same run, or give it a key of its own first: \
             zfs change-key -o keyformat=passphrase {}",
            shell_word(heir)
        ))
    }

    /// True if a dataset on the target's side has this key after the run.
    fn has_then(self, name: &DatasetName, wanted: &WrappingKey) -> bool {
        let mut volumes = self.volumes.iter();
        let arriving = volumes.find(|volume| volume.target == *name && brings_new_key(volume));
        let key = match arriving {
            Some(volume) => key_of(self.source.dataset(&volume.source)),
            None => key_of(self.target.dataset(name)),
        };
        key.is_some_and(|key| match wanted.salt {
            Some(salt) => key.salt == Some(salt),
            None => arriving.is_some() && key.root == wanted.root,
        })
    }
}

fn key_of(dataset: Option<&Dataset>) -> Option<&WrappingKey> {
    dataset?.key.as_ref()
}
