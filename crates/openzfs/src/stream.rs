//! Send and receive over raw file descriptors, for streams that come from or go to another place.
//! [`Lzc::transfer`] is for streams within this process, and takes care of all of the following.
//!
//! - The pipe blocks (`O_NONBLOCK` off). Give send a pipe, nothing else: for other descriptors newer
//!   libraries put a pipe and a thread of their own in between, which hides errors.
//! - A signal that a handler takes can interrupt the call, or restart it in the middle of the stream.
//! - A receive waits until the last write end is closed. A send whose reader is gone ends with
//!   [`ErrorKind::BrokenPipe`], a receive whose stream ends early with [`ErrorKind::StreamTruncated`].
//! - If both fail, the receive's error is the cause.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::begin::BeginRecord;
use super::dataset::Dataset;
use super::errno;
use super::error::{Error, ErrorKind};
use super::kill::end_if_killed;
use super::lzc::{Lzc, SendBase};
use super::nvlist::{NvList, Value, c_text};
use crate::ffi;
use crate::name::SnapshotName;
use crate::snapshot::ResumeState;

/// Which kinds of blocks a stream may carry as they lie on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are the kernel's flags, each on its own"
)]
pub struct SendFlags {
    /// Blocks above 128 KiB; the target needs the feature `large_blocks`.
    pub large_blocks: bool,
    /// Tiny blocks inside their pointers; the target needs the feature `embedded_data`.
    pub embedded: bool,
    /// Compressed blocks as they are; the target needs the feature of the compression.
    pub compressed: bool,
    /// Encrypted blocks as they are, no key needed; implies the others for an encrypted dataset.
    pub raw: bool,
}

impl SendFlags {
    fn bits(self) -> ffi::lzc_send_flags {
        let bit = |on: bool, flag| if on { flag } else { 0 };
        bit(self.large_blocks, ffi::LZC_SEND_FLAG_LARGE_BLOCK)
            | bit(self.embedded, ffi::LZC_SEND_FLAG_EMBED_DATA)
            | bit(self.compressed, ffi::LZC_SEND_FLAG_COMPRESS)
            | bit(self.raw, ffi::LZC_SEND_FLAG_RAW)
    }
}

impl From<&ResumeState> for SendFlags {
    /// The flags of the interrupted stream, with which it has to be resumed.
    fn from(state: &ResumeState) -> Self {
        Self {
            large_blocks: state.large_blocks,
            embedded: state.embedded,
            compressed: state.compressed,
            raw: state.raw,
        }
    }
}

/// Where an interrupted stream is resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResumePoint {
    /// Object number.
    pub object: u64,
    /// Offset in that object, bytes.
    pub offset_bytes: u64,
    /// Bytes that had arrived, for estimates.
    pub received_bytes: u64,
}

impl From<&ResumeState> for ResumePoint {
    fn from(state: &ResumeState) -> Self {
        Self {
            object: state.object,
            offset_bytes: state.offset,
            received_bytes: state.received_bytes,
        }
    }
}

/// What to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendRequest {
    /// The snapshot.
    pub snapshot: SnapshotName,
    /// The base of an incremental stream; `None` for a full one.
    pub from: Option<SendBase>,
    /// What the stream may carry.
    pub flags: SendFlags,
    /// Where to resume; `None` for a stream from its beginning.
    pub resume: Option<ResumePoint>,
}

impl SendRequest {
    /// A full stream of a snapshot, in blocks that every pool can hold.
    pub fn full(snapshot: SnapshotName) -> Self {
        Self {
            snapshot,
            from: None,
            flags: SendFlags::default(),
            resume: None,
        }
    }
}

/// What to receive, and how.
#[derive(Debug)]
pub struct ReceiveRequest<'a> {
    /// Full name of the snapshot to make.
    pub snapshot: SnapshotName,
    /// The stream's first record, which has already been read from it. It also says whether the
    /// stream is raw.
    pub begin: &'a BeginRecord,
    /// Properties to set, from [`super::kernel_properties`].
    pub properties: &'a NvList,
    /// The origin, for the stream of a clone.
    pub origin: Option<&'a SnapshotName>,
    /// Roll the target back to the base, destroying what is newer, once the stream has arrived. With
    /// a full stream this destroys **all** snapshots of an existing target.
    pub force: bool,
    /// Keep what has arrived if the stream is interrupted.
    pub resumable: bool,
}

/// What a receive did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceiveOutcome {
    /// Bytes of the stream, without its first record.
    pub read_bytes: u64,
    /// Properties that could not be set, each with the reason. The data has arrived all the same.
    pub property_errors: Vec<(String, String)>,
}

impl Lzc {
    /// Writes a stream into a pipe and returns when it is all in there.
    #[doc(alias = "lzc_send")]
    #[doc(alias = "lzc_send_resume")]
    #[doc(alias = "lzc_send_resume_redacted")]
    pub fn send(self, request: &SendRequest, pipe: BorrowedFd<'_>) -> Result<(), Error> {
        const CALL: &str = "lzc_send_resume_redacted";
        Error::injected(CALL, &request.snapshot)?;
        let snapshot = c_text(CALL, request.snapshot.as_str())?;
        let from = request
            .from
            .as_ref()
            .map(|base| c_text(CALL, base.as_str()))
            .transpose()?;
        let (object, offset_bytes) = request
            .resume
            .map_or((0, 0), |point| (point.object, point.offset_bytes));
        // SAFETY: the names end in NUL and, like the descriptor, are alive for the call; a null base
        // means a full stream, a null redaction book means none.
        let code = unsafe {
            ffi::lzc_send_resume_redacted(
                snapshot.as_ptr(),
                from.as_ref().map_or(ptr::null(), |name| name.as_ptr()),
                pipe.as_raw_fd(),
                request.flags.bits(),
                object,
                offset_bytes,
                ptr::null(),
            )
        };
        end_if_killed();
        // A failed write can surface as EINTR; whether the pipe has a reader tells which of the two it was.
        let code = if code == libc::EINTR && has_no_reader(pipe) {
            libc::EPIPE
        } else {
            code
        };
        Error::check(CALL, &request.snapshot, code)
    }

    /// How long the stream would be, bytes. Quick, except from a bookmark, for which the kernel walks
    /// the tree of blocks.
    #[doc(alias = "lzc_send_space")]
    #[doc(alias = "lzc_send_space_resume_redacted")]
    pub fn send_space(self, request: &SendRequest) -> Result<u64, Error> {
        const CALL: &str = "lzc_send_space_resume_redacted";
        Error::injected(CALL, &request.snapshot)?;
        let snapshot = c_text(CALL, request.snapshot.as_str())?;
        let from = request
            .from
            .as_ref()
            .map(|base| c_text(CALL, base.as_str()))
            .transpose()?;
        let resume = request.resume.unwrap_or(ResumePoint {
            object: 0,
            offset_bytes: 0,
            received_bytes: 0,
        });
        let mut estimated_bytes = 0;
        // SAFETY: as for `send`; -1 means that there is no stream to measure against, and
        // `estimated_bytes` is a u64 to write to.
        let code = unsafe {
            ffi::lzc_send_space_resume_redacted(
                snapshot.as_ptr(),
                from.as_ref().map_or(ptr::null(), |name| name.as_ptr()),
                request.flags.bits(),
                resume.object,
                resume.offset_bytes,
                resume.received_bytes,
                ptr::null(),
                -1,
                &raw mut estimated_bytes,
            )
        };
        Error::check(CALL, &request.snapshot, code).map(|()| estimated_bytes)
    }

    /// Receives a stream whose first record has already been read. It mounts nothing.
    ///
    /// # Errors
    /// [`ErrorKind::BaseMissing`], [`ErrorKind::Modified`], [`ErrorKind::Exists`],
    /// [`ErrorKind::ResumeExists`] and [`ErrorKind::Busy`] are about the target,
    /// [`ErrorKind::BadStream`] and [`ErrorKind::StreamTruncated`] are about the stream.
    #[doc(alias = "lzc_receive")]
    #[doc(alias = "lzc_receive_with_cmdprops")]
    pub fn receive(
        self,
        request: &ReceiveRequest<'_>,
        stream: BorrowedFd<'_>,
    ) -> Result<ReceiveOutcome, Error> {
        const CALL: &str = "lzc_receive_with_cmdprops";
        Error::injected(CALL, &request.snapshot)?;
        refuse_dedup(CALL, request)?;
        let snapshot = c_text(CALL, request.snapshot.as_str())?;
        let origin = request
            .origin
            .map(|name| c_text(CALL, name.as_str()))
            .transpose()?;
        let (mut read_bytes, mut error_flags, mut errors) = (0, 0, ptr::null_mut());
        // SAFETY: names, list, record and descriptor are alive for the call. The record is 312 bytes
        // aligned to 8, as dmu_replay_record. -1 and null stand for a cleanup descriptor and action
        // handle, which no kernel of these releases uses; null and 0 for a wrapping key that is not
        // given. The list of errors that comes back is ours to free.
        let (code, errors) = unsafe {
            let code = ffi::lzc_receive_with_cmdprops(
                snapshot.as_ptr(),
                ptr::null_mut(),
                request.properties.as_ptr(),
                ptr::null_mut(),
                0,
                origin.as_ref().map_or(ptr::null(), |name| name.as_ptr()),
                ffi::boolean_t::from(request.force),
                ffi::boolean_t::from(request.resumable),
                ffi::boolean_t::from(request.begin.is_raw()),
                stream.as_raw_fd(),
                request.begin.as_bytes().as_ptr().cast(),
                -1,
                &raw mut read_bytes,
                &raw mut error_flags,
                ptr::null_mut(),
                &raw mut errors,
            );
            (code, NvList::from_raw(errors))
        };
        end_if_killed();
        Error::check(CALL, &request.snapshot, code)?;
        Ok(ReceiveOutcome {
            read_bytes,
            property_errors: property_errors(errors.as_ref()),
        })
    }

    /// Throws away what an interrupted receive into `dataset` has left: the hidden part of an existing
    /// dataset, or a new dataset that never became whole.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is nothing of the kind.
    pub fn abandon_receive(self, dataset: &Dataset<'_>) -> Result<(), Error> {
        let hidden = format!("{}/%recv", dataset.name());
        if self.exists(&hidden) {
            return self.destroy(&hidden);
        }
        if dataset.is_inconsistent() {
            return self.destroy_dataset(dataset.name());
        }
        let reason = "no unfinished receive waits there";
        Err(Error::found(
            "lzc_destroy",
            dataset.name(),
            ErrorKind::NotFound,
            reason,
        ))
    }
}

/// True for the write end of a pipe whose read ends are all closed.
fn has_no_reader(pipe: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(pipe, PollFlags::empty())];
    poll(&mut fds, PollTimeout::ZERO).is_ok()
        && fds[0]
            .revents()
            .is_some_and(|events| events.contains(PollFlags::POLLERR))
}

/// The kernel would fail with an error that does not tell the reason.
fn refuse_dedup(call: &'static str, request: &ReceiveRequest<'_>) -> Result<(), Error> {
    if request.begin.is_dedup() {
        let reason = "it is a deduplicated stream, which ZFS does not take any more";
        return Err(Error::found(
            call,
            &request.snapshot,
            ErrorKind::BadStream,
            reason,
        ));
    }
    Ok(())
}

fn property_errors(errors: Option<&NvList>) -> Vec<(String, String)> {
    let Some(errors) = errors else {
        return Vec::new();
    };
    let pairs = errors.view().pairs();
    pairs
        .filter_map(|(name, value)| match value {
            Value::I32(code) => Some((name.into_owned(), errno::meaning("zfs_prop_set", code).1)),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BEGIN_BYTES;
    use std::os::fd::AsFd;

    #[test]
    fn a_pipe_tells_whether_anybody_reads() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        assert!(!has_no_reader(writer.as_fd()));
        drop(reader);
        assert!(has_no_reader(writer.as_fd()));
    }

    fn begin(version: u64) -> BeginRecord {
        let mut bytes = [0; BEGIN_BYTES];
        bytes[8..16].copy_from_slice(&0x0002_f5ba_cbac_u64.to_ne_bytes());
        bytes[16..24].copy_from_slice(&version.to_ne_bytes());
        bytes[32] = 2;
        BeginRecord::parse(&bytes).unwrap()
    }

    #[test]
    fn a_dedup_stream_is_refused_before_the_kernel_sees_it() {
        let properties = NvList::new();
        let check = |version| {
            let begin = begin(version);
            let request = ReceiveRequest {
                snapshot: SnapshotName::new("tank@x").unwrap(),
                begin: &begin,
                properties: &properties,
                origin: None,
                force: false,
                resumable: true,
            };
            refuse_dedup("lzc_receive_with_cmdprops", &request).map_err(|error| error.kind)
        };
        assert_eq!(check(1), Ok(()));
        assert_eq!(check(1 | 1 << 26), Ok(()));
        assert_eq!(check(1 | 1 << 2), Err(ErrorKind::BadStream));
    }

    #[test]
    fn each_flag_is_its_own_bit() {
        assert_eq!(SendFlags::default().bits(), 0);
        assert_eq!(
            SendFlags {
                embedded: true,
                ..Default::default()
            }
            .bits(),
            1
        );
        assert_eq!(
            SendFlags {
                large_blocks: true,
                ..Default::default()
            }
            .bits(),
            2
        );
        assert_eq!(
            SendFlags {
                compressed: true,
                ..Default::default()
            }
            .bits(),
            4
        );
        assert_eq!(
            SendFlags {
                raw: true,
                ..Default::default()
            }
            .bits(),
            8
        );
    }
}
