//! One stream: a send and a receive, two ioctls on the two ends of one pipe.
//!
//! Bytes go from kernel to pipe to kernel. The receive runs on the calling thread, the send on a
//! thread of its own.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::mpsc;
use std::thread;

use super::cancel::Cancel;
use super::pipe::Pipe;
use super::progress::Progress;
use crate::fault;
use crate::name::{Guid, SnapshotName};
use crate::threads;
use crate::zfs::{
    self, BeginError, BeginRecord, ErrorKind, Lzc, NvList, ReceiveRequest, SendRequest, SoleWriter,
};

/// From this estimated size on a stream that breaks off can be gone on with.
const RESUMABLE_BYTES: u64 = 1 << 20;

/// What to send, and what the receiver makes of it.
pub struct Stream {
    /// The sender's part.
    pub send: SendRequest,
    /// Snapshot to make on the target.
    pub target: SnapshotName,
    /// Let the receive roll the target back.
    pub force: bool,
    /// Expected size, for the size of the pipe.
    pub estimated_bytes: Option<u64>,
}

/// A stream that arrived whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// Guid of the snapshot that the target has now.
    pub guid: Guid,
    /// Bytes that the receive read.
    pub bytes: u64,
    /// Properties that could not be set, each with the reason.
    pub property_errors: Vec<(String, String)>,
}

/// Why a stream did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// Sending or receiving failed.
    #[error(transparent)]
    Zfs(#[from] zfs::Error),
    /// What came out of the pipe first was no stream.
    #[error("the stream does not begin as one: {0}")]
    Begin(#[from] BeginError),
    /// There was no pipe to be had.
    #[error("no pipe for the stream: {0}")]
    Pipe(#[from] std::io::Error),
    /// There was no thread to be had.
    #[error("no thread for the stream: {0}")]
    Thread(std::io::Error),
    /// Only where a test wants it.
    #[error("{0}")]
    Injected(&'static str),
}

impl StreamError {
    /// True for what a stream ends with whose sender was interrupted.
    pub fn is_cut_short(&self) -> bool {
        matches!(self, Self::Zfs(error) if matches!(
            error.kind,
            ErrorKind::Interrupted | ErrorKind::StreamTruncated | ErrorKind::BrokenPipe
        ))
    }
}

impl Stream {
    /// Sends and receives, and returns when both have ended. The receive sets `properties`; each of
    /// `cancels` can break the stream off.
    pub fn run(
        &self,
        properties: &NvList,
        lzc: Lzc,
        progress: &Progress,
        cancels: &[&Cancel],
    ) -> Result<Arrived, StreamError> {
        let Pipe { read, write } = Pipe::for_stream(self.estimated_bytes)?;
        let (give_back, given_back) = mpsc::channel();
        thread::scope(|scope| {
            let sender = threads::spawn(scope, "sender", move || {
                let _cancelled: Vec<_> = cancels
                    .iter()
                    .map(|cancel| cancel.interrupt_this_thread())
                    .collect();
                let writer = SoleWriter::of_this_thread(&write);
                // Closing it is for those who still have it. There is somebody until this thread ends.
                let _ = give_back.send(write);
                let writer = writer.map_err(StreamError::Pipe)?;
                let fd = writer.as_fd();
                let _shown = progress.watch(&self.send.snapshot, fd.as_raw_fd());
                Ok(lzc.send(&self.send, fd)?)
                // The write end closes here: without that the receive would wait for ever.
            })
            .map_err(StreamError::Thread)?;
            // None comes from a sender that has panicked before.
            drop(given_back.recv());
            let received = self.receive(properties, lzc, &read);
            // A sender that still writes after a failed receive ends with EPIPE.
            drop(read);
            let sent = sender
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            fault::at("stream-end").map_err(StreamError::Injected)?;
            both(sent, received)
        })
    }

    /// The kernel keeps account of what can be resumed, in every transaction group and once more at
    /// the end: for a small stream that costs more than sending it again.
    fn is_resumable(&self) -> bool {
        let is_small = |bytes| bytes < RESUMABLE_BYTES;
        self.send.resume.is_some() || !self.estimated_bytes.is_some_and(is_small)
    }

    fn receive(
        &self,
        properties: &NvList,
        lzc: Lzc,
        read: &OwnedFd,
    ) -> Result<Arrived, StreamError> {
        let begin = BeginRecord::read_from(read.as_fd())?;
        let request = ReceiveRequest {
            snapshot: self.target.clone(),
            begin: &begin,
            properties,
            origin: None,
            force: self.force,
            resumable: self.is_resumable(),
        };
        let outcome = lzc.receive(&request, read.as_fd())?;
        Ok(Arrived {
            guid: begin.to_guid(),
            bytes: outcome.read_bytes,
            property_errors: outcome.property_errors,
        })
    }
}

/// Which of two failures is the cause: a receive that fails breaks the sender's pipe, a sender
/// that fails cuts the receiver's stream short.
fn both(
    sent: Result<(), StreamError>,
    received: Result<Arrived, StreamError>,
) -> Result<Arrived, StreamError> {
    let cut_short = match &received {
        Err(StreamError::Zfs(error)) => error.kind == ErrorKind::StreamTruncated,
        Err(StreamError::Begin(_)) => true,
        _ => false,
    };
    match (sent, received) {
        (Err(sent), Err(_)) if cut_short => Err(sent),
        (_, Err(received)) => Err(received),
        (Err(sent), Ok(_)) => Err(sent),
        (Ok(()), Ok(arrived)) => Ok(arrived),
    }
}
