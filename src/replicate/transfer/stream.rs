//! One stream on its way.

use openzfs::{Cancel, Received, SendRequest, TransferError};

use super::progress::Progress;
use crate::model::Features;
use crate::replicate::zfs::{Stream, Zfs};

/// From this estimated size on a stream that is interrupted can be resumed.
const RESUMABLE_BYTES: u64 = 1 << 20;

/// Sends and receives, and returns when both have ended. Each of `cancels` can interrupt it.
pub fn run(
    stream: &Stream,
    zfs: &dyn Zfs,
    progress: &Progress,
    cancels: &[&Cancel],
) -> Result<Received, TransferError> {
    let _shown = progress.show(&stream.send.snapshot);
    zfs.transfer(stream, cancels, progress.sends())
}

/// The kernel keeps account of what can be resumed, in every transaction group and once more at
/// the end: for a small stream that costs more than sending it again.
pub fn is_resumable(send: &SendRequest, estimated_bytes: Option<u64>, target: Features) -> bool {
    let is_small = |bytes| bytes < RESUMABLE_BYTES;
    target.extensible_dataset && (send.resume.is_some() || !estimated_bytes.is_some_and(is_small))
}
