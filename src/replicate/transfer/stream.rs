//! One stream, and what its target can hold.

use openzfs::{
    Cancel, Lzc, NvList, Received, SendRequest, SnapshotName, StreamFeature, TransferError,
};

use super::progress::Progress;
use crate::model::Features;

/// From this estimated size on a stream that is interrupted can be resumed.
const RESUMABLE_BYTES: u64 = 1 << 20;

/// What to send, and what the receiver makes of it.
pub struct Stream {
    /// The sender's part.
    pub send: SendRequest,
    /// Snapshot to make on the target.
    pub target: SnapshotName,
    /// Let the receive roll the target back.
    pub force: bool,
    /// Expected size.
    pub estimated_bytes: Option<u64>,
    /// What the target's pool can hold.
    pub target_features: Features,
}

impl Stream {
    /// Sends and receives, and returns when both have ended. The receive sets `properties`; each of
    /// `cancels` can interrupt it.
    pub fn run(
        &self,
        properties: &NvList,
        lzc: Lzc,
        progress: &Progress,
        cancels: &[&Cancel],
    ) -> Result<Received, TransferError> {
        let takes = |feature: StreamFeature| self.target_features.takes(feature);
        let transfer = openzfs::Transfer {
            send: self.send.clone(),
            target: self.target.clone(),
            properties,
            force: self.force,
            resumable: self.is_resumable(),
            estimated_bytes: self.estimated_bytes,
            takes: &takes,
        };
        let _shown = progress.show(&self.send.snapshot);
        lzc.transfer(&transfer, cancels, progress.sends())
    }

    /// The kernel keeps account of what can be resumed, in every transaction group and once more at
    /// the end: for a small stream that costs more than sending it again.
    fn is_resumable(&self) -> bool {
        let is_small = |bytes| bytes < RESUMABLE_BYTES;
        let can_be = self.target_features.extensible_dataset;
        can_be && (self.send.resume.is_some() || !self.estimated_bytes.is_some_and(is_small))
    }
}
