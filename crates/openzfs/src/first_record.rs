//! How a stream of a snapshot would begin: that tells more than any property.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use super::begin::BeginRecord;
use super::lzc::Lzc;
use super::nvlist::NvList;
use super::sender::send_beside;
use super::stream::{SendFlags, SendRequest};
use super::writer::SoleWriter;
use crate::name::SnapshotName;

/// The first record of a full stream, and what belongs to it.
#[derive(Debug)]
pub struct FirstRecord {
    /// The record.
    pub begin: BeginRecord,
    payload: Vec<u8>,
}

impl FirstRecord {
    /// Begins a stream with every kind of block that the snapshot has. The rest is never written.
    ///
    /// # Errors
    /// The reason in words, if the kernel did not begin it.
    pub fn of(snapshot: &SnapshotName, raw: bool, lzc: Lzc) -> Result<Self, String> {
        let request = SendRequest {
            snapshot: snapshot.clone(),
            from: None,
            flags: SendFlags {
                large_blocks: true,
                embedded: !raw,
                compressed: true,
                raw,
            },
            resume: None,
        };
        let in_words = |error: io::Error| error.to_string();
        let pipe = pipe2(OFlag::O_CLOEXEC).map_err(|errno| errno.to_string())?;
        let send = |writer: io::Result<&SoleWriter>| {
            let writer = writer.map_err(in_words)?;
            let sent = lzc.send(&request, writer.as_fd());
            sent.map_err(|error| error.to_string())
        };
        let (sent, first) = send_beside(pipe, send, Self::read).map_err(in_words)?;
        // If there is no record, the sender's error says why.
        first.map_err(|why| sent.err().unwrap_or(why))
    }

    fn read(stream: &OwnedFd) -> Result<Self, String> {
        let begin = BeginRecord::read_from(stream.as_fd()).map_err(|error| error.to_string())?;
        let mut payload = vec![0; begin.payload_bytes() as usize];
        let read = Unbuffered(stream).read_exact(&mut payload);
        read.map_err(|error| error.to_string())?;
        Ok(Self { begin, payload })
    }

    /// The dataset's own key, encrypted with the user's, as far as needed to tell whether the user's
    /// key has been changed since: `zfs change-key` encrypts the dataset's key anew.
    pub fn wrapped_key(mut self) -> Option<Vec<u8>> {
        let list = NvList::unpack(&mut self.payload)?;
        let key = list.view().lookup_list("crypt_keydata")?;
        let part = |name| key.lookup_bytes(name);
        Some([part("DSL_CRYPTO_IV")?, part("DSL_CRYPTO_MAC")?].concat())
    }
}

/// Reads from a pipe without reading ahead.
struct Unbuffered<'a>(&'a OwnedFd);

impl Read for Unbuffered<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        nix::unistd::read(self.0, buffer).map_err(Errno::into)
    }
}
