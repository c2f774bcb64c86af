//! Disks and hosts that were copied block by block: their pools' guids do not tell them apart.

use crate::config::Device;
use crate::inventory::{last_visitor, twins};
use crate::model::Side;
use crate::model::ledger::Peer;
use crate::next::next;
use crate::report::Report;

/// Reports another disk whose pool has the same guid, and another host whose pool has the same guid,
/// as far as the two pools remember. `host` and `disk` must have been read with their roots.
pub(super) fn tell(device: &Device, host: &Side, disk: &Side, hostname: &str, report: &mut Report) {
    let this = Peer::disk(disk.pool_guid, device.partuuid.as_str());
    for (peer, other) in twins(host, this) {
        warn(
            report,
            next!(
                "twin",
                "this disk and the one of [{}] (partition {}, last here {}) have the same pool, copied \
                 block by block. Each goes on from its own last visit. Where the other one is gone: \
                 zbackup forget {peer}",
                other.section,
                other.partuuid,
                other.when
            ),
        );
    }
    if let Some(other) = last_visitor(disk, host.pool_guid).filter(|other| other != hostname) {
        warn(
            report,
            format!(
                "the pool {} was last at this disk on a host named {other}. If that is another machine, \
                 one was copied from the other, and both write to the same copies: give each a `prefix` \
                 of its own",
                host.pool
            ),
        );
    }
}

fn warn(report: &mut Report, warning: String) {
    log::warn!("{warning}");
    report.warnings.push(warning);
}
