//! One pool of a run, as it was read.

use std::collections::{BTreeMap, BTreeSet};

use openzfs::{DatasetName, Guid, InvalidName, PoolName, StreamFeature};

use super::{Dataset, VolumePath};

/// One pool of a run, and the part of it that the run concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// The pool's name here and now.
    pub pool: PoolName,
    /// The pool's identity.
    pub pool_guid: Guid,
    /// Where volumes live: the pool's root dataset, or the host's `prefix` below it.
    pub top: DatasetName,
    /// Bytes that can still be written (`available` of `top`'s nearest existing dataset).
    pub free_bytes: u64,
    /// Pool features that change what a stream may hold.
    pub features: Features,
    /// Of these features, those that anything in the pool has ever used.
    pub used_features: BTreeSet<StreamFeature>,
    /// What `written` can show although nothing was written: a reset of the intent log.
    pub log_reset_bytes: u64,
    /// Datasets that an unfinished replacement has left, if this side receives.
    pub leftovers: BTreeSet<DatasetName>,
    /// Every dataset that is `top`, above it, or concerned by a selected volume (the volume, its
    /// ancestors); names are complete for what exists, see [`Side::dataset`].
    pub datasets: BTreeMap<DatasetName, Dataset>,
    /// Datasets that could not be read, and why.
    pub unreadable: BTreeMap<DatasetName, String>,
    /// The other datasets at `top` and below it, with their whole histories: read only if a volume
    /// has no copy under its name, since the copy may have another name.
    pub others: BTreeMap<DatasetName, Dataset>,
}

/// Pool features that decide what a stream may contain and what a bookmark can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    /// `feature@embedded_data`
    pub embedded_data: bool,
    /// `feature@large_blocks`
    pub large_blocks: bool,
    /// `feature@lz4_compress`
    pub lz4_compress: bool,
    /// `feature@zstd_compress`
    pub zstd_compress: bool,
    /// `feature@encryption`
    pub encryption: bool,
    /// `feature@bookmarks`
    pub bookmarks: bool,
    /// `feature@bookmark_v2`: bookmarks carry the IV-set guid, so an encrypted volume's can be a base.
    pub bookmark_v2: bool,
    /// `feature@bookmark_written`: `written#bookmark` is known.
    pub bookmark_written: bool,
    /// `feature@extensible_dataset`: an interrupted receive can be resumed.
    pub extensible_dataset: bool,
    /// `feature@large_dnode`
    pub large_dnode: bool,
    /// `feature@large_microzap`
    pub large_microzap: bool,
    /// `feature@longname`
    pub longname: bool,
}

impl Features {
    /// True if a stream that uses this can be received.
    pub fn takes(&self, feature: StreamFeature) -> bool {
        match feature {
            StreamFeature::EmbeddedData => self.embedded_data,
            StreamFeature::Encryption => self.encryption,
            StreamFeature::LargeBlocks => self.large_blocks,
            StreamFeature::LargeDnode => self.large_dnode,
            StreamFeature::LargeMicrozap => self.large_microzap,
            StreamFeature::Longname => self.longname,
            StreamFeature::Lz4Compress => self.lz4_compress,
            StreamFeature::ZstdCompress => self.zstd_compress,
        }
    }
}

impl Side {
    /// The dataset that is, or would be, `volume` on this side.
    pub fn name_of(&self, volume: &VolumePath) -> Result<DatasetName, InvalidName> {
        volume.below(&self.top)
    }

    /// The dataset of that name, if it exists.
    pub fn dataset(&self, name: &DatasetName) -> Option<&Dataset> {
        self.datasets.get(name)
    }

    /// All datasets that were read.
    pub fn all_datasets(&self) -> impl Iterator<Item = &Dataset> {
        self.datasets.values().chain(self.others.values())
    }

    /// The dataset of that name, whether this run is about it or not.
    pub fn any_dataset(&self, name: &DatasetName) -> Option<&Dataset> {
        self.dataset(name).or_else(|| self.others.get(name))
    }
}
