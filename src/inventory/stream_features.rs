//! Which features the streams of a dataset use.

use std::collections::BTreeSet;

use openzfs::{FirstRecord, Lzc, Properties, StreamFeature};

use crate::model::VolumePath;
use crate::model::{Dataset, Side};

/// A block above this size is a large one.
const LARGE_BLOCK_BYTES: u64 = 128 << 10;

/// Features that writes may use with the properties in force.
pub(super) fn by_properties(properties: &Properties) -> BTreeSet<StreamFeature> {
    let is_large = |property| properties.number(property) > Some(LARGE_BLOCK_BYTES);
    let is = |property, wanted: fn(&str) -> bool| properties.value(property).is_some_and(wanted);
    let uses = [
        (
            StreamFeature::LargeBlocks,
            is_large("recordsize") || is_large("volblocksize"),
        ),
        (
            StreamFeature::LargeDnode,
            is("dnodesize", |size| size != "legacy" && size != "512"),
        ),
        (
            StreamFeature::Longname,
            is("longname", |value| value == "on"),
        ),
        (
            StreamFeature::ZstdCompress,
            is("compression", |value| value.starts_with("zstd")),
        ),
    ];
    let used = uses.into_iter().filter(|(_, is_used)| *is_used);
    used.map(|(feature, _)| feature).collect()
}

/// Finds out which features the streams of these volumes use that the target's pool lacks, and
/// which volumes have split the large blocks that the target has.
///
/// Once something was written with a feature, the dataset has that feature for good, and so has
/// every snapshot made afterwards. The first record of a stream of the newest snapshot shows the
/// features; only the properties show what may have been written since. If the pools have the same
/// features, nothing has to be asked.
pub fn compare(source: &mut Side, target: &Side, volumes: &[VolumePath], lzc: Lzc) {
    let used = source.used_features.clone();
    let lacking: BTreeSet<_> = used
        .iter()
        .filter(|feature| !target.features.takes(**feature))
        .collect();
    for volume in volumes {
        let (Ok(from), Ok(to)) = (source.name_of(volume), target.name_of(volume)) else {
            continue;
        };
        let Some(dataset) = source.datasets.get_mut(&from) else {
            continue;
        };
        if !lacking.is_empty() {
            dataset.peer_lacks = used_by(dataset, lzc);
            dataset
                .peer_lacks
                .retain(|feature| lacking.contains(feature));
        }
        if target.used_features.contains(&StreamFeature::LargeBlocks)
            && let Some(copy) = target.dataset(&to)
        {
            dataset.is_split = is_split(dataset, copy, &used, lzc);
        }
    }
}

/// True if the target has large blocks and the source has none: it was sent without them by hand, or
/// came through a pool without that feature.
fn is_split(source: &Dataset, target: &Dataset, used: &BTreeSet<StreamFeature>, lzc: Lzc) -> bool {
    let large = StreamFeature::LargeBlocks;
    let is_same = source.written_bytes == 0
        && source.newest().map(|newest| newest.guid) == target.newest().map(|newest| newest.guid);
    // What was written since may have large blocks.
    if is_same || source.written_bytes > 0 && source.may_use.contains(&large) {
        return false;
    }
    let has_large = |dataset: &Dataset| {
        let newest = dataset.newest()?;
        let first = FirstRecord::of(&newest.name, dataset.encrypted, lzc).ok()?;
        Some(first.begin.has_large_blocks())
    };
    let source_has = || used.contains(&large) && has_large(source) != Some(false);
    has_large(target) == Some(true) && !source_has()
}

fn used_by(dataset: &Dataset, lzc: Lzc) -> BTreeSet<StreamFeature> {
    // Whether a block is embedded, or compressed with LZ4, is known only for the pool as a whole.
    let mut used = BTreeSet::from([StreamFeature::EmbeddedData, StreamFeature::Lz4Compress]);
    let newest = dataset.newest();
    if newest.is_none() || dataset.written_bytes > 0 {
        used.extend(&dataset.may_use);
    }
    if let Some(newest) = newest {
        match FirstRecord::of(&newest.name, dataset.encrypted, lzc) {
            Ok(first) => used.extend(first.begin.features()),
            Err(why) => {
                log::debug!("what {} uses is not known: {why}", newest.name);
                used.extend(&dataset.may_use);
            }
        }
    }
    used
}
