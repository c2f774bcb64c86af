//! What a stream may hold so that the target's pool takes it.
//!
//! The kernel splits large blocks, and sends compressed and embedded blocks in full, if it is told
//! to. With anything else there is no such choice: the pool needs the feature.

use openzfs::{DatasetName, ResumeState, StreamFeature};

use super::typed;
use super::types::{Conflict, Direction};
use super::volume::{Pair, PlanError};
use crate::model::Dataset;
use crate::next::next;
use crate::text::shell_word;

/// Which kinds of blocks a stream may carry as they lie on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamBlocks {
    /// Blocks above 128 KiB.
    pub large: bool,
    /// Tiny blocks inside their pointers.
    pub embedded: bool,
    /// Compressed blocks.
    pub compressed: bool,
}

/// The blocks that a stream of this source may carry.
pub fn stream_blocks(source: &Dataset) -> StreamBlocks {
    let takes = |feature: StreamFeature| !source.peer_lacks.contains(&feature);
    // Either may be compressed with LZ4, and the stream says so if the sending pool has the feature.
    let lz4 = takes(StreamFeature::Lz4Compress);
    StreamBlocks {
        large: takes(StreamFeature::LargeBlocks),
        // Encrypted blocks are never embedded.
        embedded: !source.encrypted && lz4 && takes(StreamFeature::EmbeddedData),
        compressed: lz4 && takes(StreamFeature::ZstdCompress),
    }
}

/// Features that no flag keeps out of a stream of this source, and that the target's pool lacks.
fn missing(source: &Dataset) -> Vec<StreamFeature> {
    let uses_microzap = source.peer_lacks.contains(&StreamFeature::LargeMicrozap);
    let is_needed = |feature: &&StreamFeature| match feature {
        StreamFeature::LargeDnode | StreamFeature::LargeMicrozap | StreamFeature::Longname => true,
        // A large directory is a large block, which cannot be split.
        StreamFeature::LargeBlocks => source.encrypted || uses_microzap,
        // Raw blocks cannot be decompressed.
        StreamFeature::Encryption | StreamFeature::Lz4Compress | StreamFeature::ZstdCompress => {
            source.encrypted
        }
        StreamFeature::EmbeddedData => false,
    };
    let lacking = source.peer_lacks.iter();
    lacking.filter(is_needed).copied().collect()
}

/// True if a stream with the flags of the interrupted one still fits: the same snapshot may be
/// stored in another way on the host that resumes it.
pub(super) fn can_resume(state: &ResumeState, source: &Dataset) -> bool {
    let lacks = |feature| source.peer_lacks.contains(&feature);
    let compressed = state.compressed || state.raw;
    !(compressed && lacks(StreamFeature::ZstdCompress)
        || (compressed || state.embedded) && lacks(StreamFeature::Lz4Compress)
        || (state.large_blocks || state.raw) && lacks(StreamFeature::LargeBlocks)
        || state.embedded && lacks(StreamFeature::EmbeddedData))
}

impl Pair<'_> {
    /// The target's pool must have every feature that the streams cannot do without.
    pub fn check_features(&self) -> Result<(), PlanError> {
        let mut features = missing(self.source);
        let takes_raw = self.target_side.features.encryption || !self.source.encrypted;
        if !takes_raw && !features.contains(&StreamFeature::Encryption) {
            features.push(StreamFeature::Encryption);
        }
        if features.is_empty() {
            return Ok(());
        }
        let is_named = self.is_forced() || self.keeps_both();
        Err(PlanError::Conflict {
            conflict: Conflict::NeedsFeature {
                features,
                on_disk: self.policy.direction == Direction::ToDisk,
            },
            refusal: is_named.then(|| "it does not change what the pool can hold".into()),
        })
    }
}

/// What the target's pool lacks, as a sentence.
pub(super) fn lack(
    features: &[StreamFeature],
    source: &DatasetName,
    target: &DatasetName,
) -> String {
    let names: Vec<_> = features.iter().map(|feature| feature.name()).collect();
    let these = if names.len() == 1 {
        "this feature"
    } else {
        "these features"
    };
    let (names, pool) = (names.join(", "), target.pool());
    format!("{source} uses {names}, and the pool {pool} lacks {these}.")
}

/// How the target's pool gets features, and what that costs.
pub(super) fn enable(
    features: &[StreamFeature],
    target: &DatasetName,
    on_disk: bool,
) -> Vec<String> {
    let pool = shell_word(&target.pool());
    let commands = features.iter().map(|feature| {
        let name = feature.name();
        next!(
            "enable-feature",
            "`zpool set feature@{name}=enabled {pool}`"
        )
    });
    let commands: Vec<String> = commands.collect();
    let steps = typed::commands(on_disk, &commands);
    let mut ways = vec![format!("To enable that for good: {steps}.")];
    ways.push(next!(
        "compatibility-off",
        "If the compatibility of {} is restricted, the first `zpool set` has to be \
         `zpool set compatibility=off {pool}`.",
        target.pool()
    ));
    if on_disk {
        ways.push(
            "Hosts whose OpenZFS does not know the feature cannot import the disk any more then."
                .into(),
        );
    }
    let by_property = features.iter().find_map(|feature| match feature {
        StreamFeature::LargeDnode => Some("dnodesize=legacy"),
        StreamFeature::Longname => Some("longname=off"),
        _ => None,
    });
    ways.extend(by_property.map(|property| {
        next!(
            "avoid-feature",
            "Or copy its files into a new dataset that has {property}, and back up that one."
        )
    }));
    ways
}
