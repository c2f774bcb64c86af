//! Whether what is planned fits on the target.

use std::collections::BTreeSet;

use super::types::{Action, Conflict, Plan, VolumePlan};
use crate::name::{DatasetName, VolumePath};

/// Room that a volume needs beyond its streams' size for the target's metadata: one part in so many …
const MARGIN_PART: u64 = 64;
/// … and as much in any case, bytes.
const MARGIN_BYTES: u64 = 1024 * 1024;

/// Turns what does not fit into [`Conflict::DoesNotFit`], volume by volume in the plan's order.
///
/// Smaller volumes after one that does not fit still go. A volume that waits for a parent which
/// does not fit cannot go either. What only dropped volumes needed, placeholders and the snapshot,
/// is dropped with them. Volumes without [`VolumePlan::estimated_bytes`] are taken to fit.
///
/// `target_free_bytes` is what the target can still take ([`crate::inventory::Side::free_bytes`]).
/// What a roll-back or a destroy frees is not counted: it comes only at the end of the receive.
pub fn check_space(plan: &mut Plan, target_free_bytes: u64) {
    let mut free_bytes = target_free_bytes;
    for volume in &mut plan.volumes {
        let Some(estimated_bytes) = expected_bytes(volume) else {
            continue;
        };
        let needed_bytes = with_margin(estimated_bytes);
        if needed_bytes <= free_bytes {
            free_bytes -= needed_bytes;
        } else {
            volume.waits_for = None;
            volume.action = Action::Conflict(Conflict::DoesNotFit {
                needed_bytes,
                free_bytes,
            });
        }
    }
    drop_orphans(plan);
    drop_unneeded(plan);
}

fn expected_bytes(volume: &VolumePlan) -> Option<u64> {
    match volume.action {
        Action::Send(_) => volume.estimated_bytes,
        _ => None,
    }
}

fn with_margin(estimated_bytes: u64) -> u64 {
    estimated_bytes
        .saturating_add(estimated_bytes / MARGIN_PART)
        .saturating_add(MARGIN_BYTES)
}

/// Children of a parent that is not going to arrive: until none is left, since they have children.
fn drop_orphans(plan: &mut Plan) {
    loop {
        let sent: BTreeSet<VolumePath> = plan
            .volumes
            .iter()
            .filter(|volume| matches!(volume.action, Action::Send(_)))
            .map(|volume| volume.volume.clone())
            .collect();
        let orphan = plan.volumes.iter_mut().find_map(|volume| {
            let parent = volume.waits_for.clone()?;
            let is_orphan = sent.contains(&volume.volume) && !sent.contains(&parent);
            is_orphan.then_some((volume, parent))
        });
        let Some((volume, parent)) = orphan else {
            return;
        };
        volume.waits_for = None;
        volume.action = Action::Impossible(format!("its parent {parent} does not fit"));
    }
}

/// Placeholders and the snapshot, where no volume is left that needs them.
fn drop_unneeded(plan: &mut Plan) {
    let is_sent = |volume: &&VolumePlan| matches!(volume.action, Action::Send(_));
    let targets: Vec<&DatasetName> = plan
        .volumes
        .iter()
        .filter(is_sent)
        .map(|v| &v.target)
        .collect();
    plan.placeholders
        .retain(|parent| targets.iter().any(|target| target.is_within(parent)));
    if !plan.volumes.iter().any(VolumePlan::takes_snapshot) {
        plan.snapshot = None;
    }
}
