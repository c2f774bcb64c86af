//! A whole transfer in one call: a send and a receive, two ioctls on the two ends of one pipe.
//!
//! Bytes go from kernel to pipe to kernel, none through our memory. The receive runs on the calling
//! thread, the send on its own thread with its own table of descriptors. Each end of the pipe is
//! closed as soon as its side is over, no signal restarts a call in the middle of a stream, and of
//! two errors the one that caused the other is returned.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::begin::{BeginError, BeginRecord};
use super::cancel::Cancel;
use super::error::{Error, ErrorKind};
use super::lzc::Lzc;
use super::nvlist::NvList;
use super::pipe::Pipe;
use super::progress::Progress;
use super::sender::send_beside;
use super::stream::{ReceiveRequest, SendRequest};
use super::writer::SoleWriter;
use crate::fault;
use crate::name::{Guid, SnapshotName};
use crate::snapshot::StreamFeature;

/// What to send, and how the target receives it.
pub struct Transfer<'a> {
    /// What to send.
    pub send: SendRequest,
    /// Snapshot to make on the target.
    pub target: SnapshotName,
    /// Properties for the target to set, from [`kernel_properties`](super::kernel_properties).
    pub properties: &'a NvList,
    /// Roll the target back to the base, destroying what is newer, once the stream has arrived. With
    /// a full stream this destroys **all** snapshots of an existing target.
    pub force: bool,
    /// Keep what has arrived if the stream is interrupted.
    pub resumable: bool,
    /// Expected size, for the size of the pipe.
    pub estimated_bytes: Option<u64>,
    /// Whether the target can hold what uses this feature. The kernel would not say which one is missing.
    pub takes: &'a dyn Fn(StreamFeature) -> bool,
}

/// A stream that has arrived completely.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// Guid of the snapshot that the target now has.
    pub guid: Guid,
    /// Bytes that the receive read.
    pub read_bytes: u64,
    /// Properties that could not be set, each with the reason. The data has arrived all the same.
    pub property_errors: Vec<(String, String)>,
}

impl Received {
    /// A stream of which everything has arrived.
    pub fn whole(guid: Guid, read_bytes: u64) -> Self {
        Self {
            guid,
            read_bytes,
            property_errors: Vec::new(),
        }
    }
}

/// Why a stream did not arrive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// Sending or receiving failed.
    #[error(transparent)]
    Zfs(#[from] Error),
    /// What came first from the pipe is no stream.
    #[error("the stream does not begin as one: {0}")]
    Begin(#[from] BeginError),
    /// The system gave no pipe.
    #[error("no pipe for the stream: {0}")]
    Pipe(#[from] io::Error),
    /// The system could not start a thread.
    #[error("no thread for the stream: {0}")]
    Thread(io::Error),
    /// The target's pool lacks these features. Nothing of the stream was received.
    #[error("the target's pool lacks features that the stream uses")]
    NeedsFeatures(Vec<StreamFeature>),
    /// Only in tests: an injected fault.
    #[error("{0}")]
    Injected(&'static str),
}

impl TransferError {
    /// True for the error with which a stream ends if its sender was interrupted.
    pub fn is_cut_short(&self) -> bool {
        matches!(self, Self::Zfs(error) if matches!(
            error.kind,
            ErrorKind::Interrupted | ErrorKind::StreamTruncated | ErrorKind::BrokenPipe
        ))
    }
}

impl Lzc {
    /// Sends and receives; returns when both have ended. Each of `cancels` can interrupt it;
    /// `progress` tells other threads how far it is.
    ///
    /// # Errors
    /// If both sides fail, the error that caused the other.
    #[doc(alias = "lzc_send_resume_redacted")]
    #[doc(alias = "lzc_receive_with_cmdprops")]
    pub fn transfer(
        self,
        transfer: &Transfer<'_>,
        cancels: &[&Cancel],
        progress: &Progress,
    ) -> Result<Received, TransferError> {
        let Pipe { read, write } = Pipe::for_stream(transfer.estimated_bytes)?;
        let request = &transfer.send;
        let send = |writer: io::Result<&SoleWriter>| {
            let _cancelled: Vec<_> = cancels
                .iter()
                .map(|cancel| cancel.interrupt_this_thread())
                .collect();
            let fd = writer.map_err(TransferError::Pipe)?.as_fd();
            let _shown = progress.watch(&request.snapshot, fd.as_raw_fd());
            Ok(self.send(request, fd)?)
        };
        let receive = |read: &OwnedFd| transfer.receive(self, read);
        let (sent, received) =
            send_beside((read, write), send, receive).map_err(TransferError::Thread)?;
        fault::at("stream-end").map_err(TransferError::Injected)?;
        both(sent, received)
    }
}

impl Transfer<'_> {
    fn receive(&self, lzc: Lzc, read: &OwnedFd) -> Result<Received, TransferError> {
        let begin = BeginRecord::read_from(read.as_fd())?;
        let lacking: Vec<_> = begin
            .features()
            .filter(|feature| !(self.takes)(*feature))
            .collect();
        if !lacking.is_empty() {
            return Err(TransferError::NeedsFeatures(lacking));
        }
        let request = ReceiveRequest {
            snapshot: self.target.clone(),
            begin: &begin,
            properties: self.properties,
            origin: None,
            force: self.force,
            resumable: self.resumable,
        };
        let outcome = lzc.receive(&request, read.as_fd())?;
        Ok(Received {
            property_errors: outcome.property_errors,
            ..Received::whole(begin.to_guid(), outcome.read_bytes)
        })
    }
}

/// Which of two failures is the cause: a receive that fails breaks the sender's pipe, a sender
/// that fails cuts the receiver's stream short.
fn both(
    sent: Result<(), TransferError>,
    received: Result<Received, TransferError>,
) -> Result<Received, TransferError> {
    let cut_short = match &received {
        Err(TransferError::Zfs(error)) => error.kind == ErrorKind::StreamTruncated,
        Err(TransferError::Begin(_)) => true,
        _ => false,
    };
    match (sent, received) {
        (Err(sent), Err(_)) if cut_short => Err(sent),
        (_, Err(received)) => Err(received),
        (Err(sent), Ok(_)) => Err(sent),
        (Ok(()), Ok(received)) => Ok(received),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(call: &'static str, kind: ErrorKind) -> TransferError {
        Error::found(call, "tank/home@a", kind, "").into()
    }

    fn received() -> Received {
        Received::whole(Guid(7), 1)
    }

    /// The kind of the error that is returned.
    fn cause(
        sent: Result<(), TransferError>,
        received: Result<Received, TransferError>,
    ) -> Option<ErrorKind> {
        match both(sent, received) {
            Err(TransferError::Zfs(error)) => Some(error.kind),
            Err(error) => panic!("{error}"),
            Ok(_) => None,
        }
    }

    #[test]
    fn of_two_errors_the_cause_wins() {
        let sent = |kind| Err(failed("send", kind));
        let not_received = |kind| Err(failed("receive", kind));
        // The receive failed, and so nobody read what was sent.
        assert_eq!(
            cause(
                sent(ErrorKind::BrokenPipe),
                not_received(ErrorKind::Modified)
            ),
            Some(ErrorKind::Modified)
        );
        // The send failed, and so the stream ended early, in the middle or before its first record.
        assert_eq!(
            cause(
                sent(ErrorKind::Io),
                not_received(ErrorKind::StreamTruncated)
            ),
            Some(ErrorKind::Io)
        );
        let no_record = BeginError::Io(io::ErrorKind::UnexpectedEof.into());
        assert_eq!(
            cause(sent(ErrorKind::NotFound), Err(no_record.into())),
            Some(ErrorKind::NotFound)
        );
        // Only one failed. A snapshot that has arrived from a send that failed is not to be trusted.
        assert_eq!(
            cause(Ok(()), not_received(ErrorKind::NoSpace)),
            Some(ErrorKind::NoSpace)
        );
        assert_eq!(
            cause(sent(ErrorKind::Io), Ok(received())),
            Some(ErrorKind::Io)
        );
        assert_eq!(cause(Ok(()), Ok(received())), None);
    }
}
