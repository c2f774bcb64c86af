//! The record that every send stream begins with.
//!
//! The kernel takes it as a separate argument (`lzc_receive` with a begin record), so it is read
//! first, kept byte for byte, and parsed for what a receiver has to know. The layout is that of
//! `dmu_replay_record` with a `DRR_BEGIN` in it, which is an interface on disk and wire and has
//! never changed; its header is not among the installed ones.

use std::fmt;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use crate::name::Guid;
use crate::snapshot::{DatasetKind, StreamFeature};

/// Bytes of a begin record.
pub const BEGIN_BYTES: usize = 312;

const MAGIC: u64 = 0x0002_f5ba_cbac;
const TYPE_BEGIN: u32 = 0;
const FLAG_CLONE: u32 = 1;
const TO_NAME_OFFSET: usize = 56;

const HEADER_TYPE_BITS: u64 = 0b11;
const HEADER_SUBSTREAM: u64 = 1;
const HEADER_COMPOUND: u64 = 2;

/// Stream features, as bits of the version word above its two type bits.
mod feature {
    pub const DEDUP: u64 = 1 << 0;
    pub const DEDUP_PROPS: u64 = 1 << 1;
    pub const EMBEDDED: u64 = 1 << 16;
    pub const LZ4: u64 = 1 << 17;
    pub const LARGE_BLOCKS: u64 = 1 << 19;
    pub const RESUMING: u64 = 1 << 20;
    pub const REDACTED: u64 = 1 << 21;
    pub const COMPRESSED: u64 = 1 << 22;
    pub const LARGE_DNODE: u64 = 1 << 23;
    pub const RAW: u64 = 1 << 24;
    pub const ZSTD: u64 = 1 << 25;
    pub const LONGNAME: u64 = 1 << 28;
    pub const LARGE_MICROZAP: u64 = 1 << 29;
}

/// Why no begin record could be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BeginError {
    /// The stream ended before its first byte: the sender failed before it sent anything.
    #[error("the stream is empty")]
    Empty,
    /// The stream ended inside the record.
    #[error("the stream ended after {read_bytes} of the {BEGIN_BYTES} bytes of its first record")]
    Truncated {
        /// Bytes that were read.
        read_bytes: usize,
    },
    /// These bytes are no send stream.
    #[error("this is no ZFS send stream")]
    NoStream,
    /// A package of several streams (`zfs send -R`, `-I` or `-p`), which a single receive cannot take.
    #[error("this is a package of several streams (zfs send -R, -I or -p), not one")]
    Package,
    /// The stream's header is of a type that this program does not know.
    #[error("the stream's header is of the unknown type {0}")]
    UnknownHeader(u64),
    /// A send stream of something that is neither a file system nor a zvol.
    #[error("the stream is of an object set of type {0}, neither a file system nor a zvol")]
    UnknownKind(u32),
    /// Reading failed.
    #[error("the stream cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// The first record of a stream, byte for byte, and what it says.
#[derive(Clone, PartialEq, Eq)]
pub struct BeginRecord {
    bytes: AlignedBytes,
    foreign_endian: bool,
    payload_bytes: u32,
    version: u64,
    creation_seconds: u64,
    kind: DatasetKind,
    flags: u32,
    to_guid: Guid,
    from_guid: Option<Guid>,
    to_name: String,
}

/// libzfs_core copies the record as a C struct, whose 64-bit members want this alignment.
#[derive(Clone, PartialEq, Eq)]
#[repr(C, align(8))]
struct AlignedBytes([u8; BEGIN_BYTES]);

impl BeginRecord {
    /// Reads exactly one record.
    pub fn read(stream: &mut impl Read) -> Result<Self, BeginError> {
        let mut bytes = [0; BEGIN_BYTES];
        let mut read_bytes = 0;
        while read_bytes < BEGIN_BYTES {
            match stream.read(&mut bytes[read_bytes..]) {
                Ok(0) if read_bytes == 0 => return Err(BeginError::Empty),
                Ok(0) => return Err(BeginError::Truncated { read_bytes }),
                Ok(count) => read_bytes += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Self::parse(&bytes)
    }

    /// Reads exactly one record from a pipe or file, and not one byte more: the kernel reads on from there.
    pub fn read_from(stream: BorrowedFd<'_>) -> Result<Self, BeginError> {
        struct Unbuffered<'a>(BorrowedFd<'a>);
        impl Read for Unbuffered<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                nix::unistd::read(self.0, buffer).map_err(Errno::into)
            }
        }
        Self::read(&mut Unbuffered(stream))
    }

    /// Parses the bytes of one record.
    pub fn parse(bytes: &[u8; BEGIN_BYTES]) -> Result<Self, BeginError> {
        let native = Words { bytes, swap: false };
        let foreign_endian = native.u64_at(8) != MAGIC;
        let words = Words {
            bytes,
            swap: foreign_endian,
        };
        if words.u64_at(8) != MAGIC || words.u32_at(0) != TYPE_BEGIN {
            return Err(BeginError::NoStream);
        }
        let version = words.u64_at(16);
        match version & HEADER_TYPE_BITS {
            HEADER_SUBSTREAM => {}
            HEADER_COMPOUND => return Err(BeginError::Package),
            other => return Err(BeginError::UnknownHeader(other)),
        }
        let from_guid = words.u64_at(48);
        Ok(Self {
            bytes: AlignedBytes(*bytes),
            foreign_endian,
            payload_bytes: words.u32_at(4),
            version,
            creation_seconds: words.u64_at(24),
            kind: kind_of(words.u32_at(32))?,
            flags: words.u32_at(36),
            to_guid: Guid(words.u64_at(40)),
            from_guid: (from_guid != 0).then_some(Guid(from_guid)),
            to_name: text_until_nul(&bytes[TO_NAME_OFFSET..]),
        })
    }

    /// The record as it came, in the sender's byte order: the kernel swaps it itself.
    pub fn as_bytes(&self) -> &[u8; BEGIN_BYTES] {
        &self.bytes.0
    }

    /// Guid of the snapshot in the stream.
    pub fn to_guid(&self) -> Guid {
        self.to_guid
    }

    /// Guid of the base; `None` for a full stream.
    pub fn from_guid(&self) -> Option<Guid> {
        self.from_guid
    }

    /// Full name that the snapshot had on the sender, such as `tank/home@x`.
    pub fn to_name(&self) -> &str {
        &self.to_name
    }

    /// What was sent: a file system or a zvol.
    pub fn kind(&self) -> DatasetKind {
        self.kind
    }

    /// When the snapshot was made on the sender, seconds since the epoch.
    pub fn creation_seconds(&self) -> u64 {
        self.creation_seconds
    }

    /// Bytes that follow the record before the next one.
    pub fn payload_bytes(&self) -> u32 {
        self.payload_bytes
    }

    /// True if the sender has the other byte order.
    pub fn is_foreign_endian(&self) -> bool {
        self.foreign_endian
    }

    /// True for the stream of a clone: its base is the origin.
    pub fn is_clone(&self) -> bool {
        self.flags & FLAG_CLONE != 0
    }

    /// True if it carries encrypted blocks as they lie on disk.
    pub fn is_raw(&self) -> bool {
        self.has(feature::RAW)
    }

    /// True if it carries compressed blocks as they lie on disk.
    pub fn is_compressed(&self) -> bool {
        self.has(feature::COMPRESSED)
    }

    /// True if it carries embedded data blocks.
    pub fn is_embedded(&self) -> bool {
        self.has(feature::EMBEDDED)
    }

    /// True if it carries blocks above 128 KiB.
    pub fn has_large_blocks(&self) -> bool {
        self.has(feature::LARGE_BLOCKS)
    }

    /// True if it resumes an interrupted receive.
    pub fn is_resuming(&self) -> bool {
        self.has(feature::RESUMING)
    }

    /// True if parts of it are redacted.
    pub fn is_redacted(&self) -> bool {
        self.has(feature::REDACTED)
    }

    /// True for a deduplicated stream, which no kernel since 2.0 takes.
    pub fn is_dedup(&self) -> bool {
        self.has(feature::DEDUP) || self.has(feature::DEDUP_PROPS)
    }

    /// The features that the receiving pool must have for it.
    pub fn features(&self) -> impl Iterator<Item = StreamFeature> {
        let bit = |feature| match feature {
            StreamFeature::EmbeddedData => feature::EMBEDDED,
            StreamFeature::Encryption => feature::RAW,
            StreamFeature::LargeBlocks => feature::LARGE_BLOCKS,
            StreamFeature::LargeDnode => feature::LARGE_DNODE,
            StreamFeature::LargeMicrozap => feature::LARGE_MICROZAP,
            StreamFeature::Longname => feature::LONGNAME,
            StreamFeature::Lz4Compress => feature::LZ4,
            StreamFeature::ZstdCompress => feature::ZSTD,
        };
        let all = StreamFeature::ALL.into_iter();
        all.filter(move |feature| self.has(bit(*feature)))
    }

    fn has(&self, feature: u64) -> bool {
        (self.version >> 2) & feature != 0
    }
}

impl fmt::Debug for BeginRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BeginRecord")
            .field("to_name", &self.to_name)
            .field("to_guid", &self.to_guid)
            .field("from_guid", &self.from_guid)
            .field("kind", &self.kind)
            .field("version", &format_args!("{:#x}", self.version))
            .field("payload_bytes", &self.payload_bytes)
            .finish_non_exhaustive()
    }
}

/// Numbers in a record, in the sender's byte order.
struct Words<'a> {
    bytes: &'a [u8; BEGIN_BYTES],
    swap: bool,
}

impl Words<'_> {
    fn u32_at(&self, offset: usize) -> u32 {
        let mut word = [0; 4];
        word.copy_from_slice(&self.bytes[offset..offset + 4]);
        let number = u32::from_ne_bytes(word);
        if self.swap {
            number.swap_bytes()
        } else {
            number
        }
    }

    fn u64_at(&self, offset: usize) -> u64 {
        let mut word = [0; 8];
        word.copy_from_slice(&self.bytes[offset..offset + 8]);
        let number = u64::from_ne_bytes(word);
        if self.swap {
            number.swap_bytes()
        } else {
            number
        }
    }
}

/// `dmu_objset_type`: 2 is `DMU_OST_ZFS`, 3 is `DMU_OST_ZVOL`.
fn kind_of(objset_type: u32) -> Result<DatasetKind, BeginError> {
    match objset_type {
        2 => Ok(DatasetKind::Filesystem),
        3 => Ok(DatasetKind::Volume),
        other => Err(BeginError::UnknownKind(other)),
    }
}

fn text_until_nul(bytes: &[u8]) -> String {
    let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    //! Records made by hand from the layout, in both byte orders, and garbage.

    use super::*;
    use proptest::prelude::*;
    use std::os::fd::AsFd;

    fn record(version: u64) -> [u8; BEGIN_BYTES] {
        let mut bytes = [0; BEGIN_BYTES];
        bytes[4..8].copy_from_slice(&40_u32.to_ne_bytes());
        bytes[8..16].copy_from_slice(&MAGIC.to_ne_bytes());
        bytes[16..24].copy_from_slice(&version.to_ne_bytes());
        bytes[24..32].copy_from_slice(&1_795_000_000_u64.to_ne_bytes());
        bytes[32..36].copy_from_slice(&2_u32.to_ne_bytes());
        bytes[40..48].copy_from_slice(&11_u64.to_ne_bytes());
        bytes[48..56].copy_from_slice(&7_u64.to_ne_bytes());
        bytes[56..67].copy_from_slice(b"tank/home@x");
        bytes
    }

    /// The same record as a sender of the other byte order writes it.
    fn swapped(mut bytes: [u8; BEGIN_BYTES]) -> [u8; BEGIN_BYTES] {
        for (offset, length) in [
            (0, 4),
            (4, 4),
            (8, 8),
            (16, 8),
            (24, 8),
            (32, 4),
            (36, 4),
            (40, 8),
            (48, 8),
        ] {
            bytes[offset..offset + length].reverse();
        }
        bytes
    }

    const SUBSTREAM: u64 = HEADER_SUBSTREAM;

    fn version_with(features: u64) -> u64 {
        SUBSTREAM | features << 2
    }

    #[test]
    fn a_record_says_what_it_is() {
        let bytes = record(version_with(1 << 16 | 1 << 19 | 1 << 22));
        let begin = BeginRecord::parse(&bytes).unwrap();
        assert_eq!(begin.to_name(), "tank/home@x");
        assert_eq!(
            (begin.to_guid(), begin.from_guid()),
            (Guid(11), Some(Guid(7)))
        );
        assert_eq!(begin.kind(), DatasetKind::Filesystem);
        assert_eq!(
            (begin.payload_bytes(), begin.creation_seconds()),
            (40, 1_795_000_000)
        );
        assert!(!begin.is_foreign_endian());
        assert!(begin.is_embedded() && begin.has_large_blocks() && begin.is_compressed());
        assert!(
            !begin.is_raw() && !begin.is_resuming() && !begin.is_redacted() && !begin.is_dedup()
        );
        assert_eq!(begin.as_bytes(), &bytes);
    }

    #[test]
    fn each_feature_is_its_own_bit() {
        let with = |bit: u32| BeginRecord::parse(&record(version_with(1 << bit))).unwrap();
        assert!(with(24).is_raw() && !with(22).is_raw());
        assert!(with(20).is_resuming());
        assert!(with(21).is_redacted());
        assert!(with(0).is_dedup() && with(1).is_dedup());
    }

    #[test]
    fn what_the_receiving_pool_must_have_is_told() {
        let needs = |bits: u64| {
            let begin = BeginRecord::parse(&record(version_with(bits))).unwrap();
            let names: Vec<_> = begin.features().map(StreamFeature::name).collect();
            names.join(" ")
        };
        assert_eq!(needs(1 << 2 | 1 << 20 | 1 << 22), "");
        assert_eq!(needs(1 << 16 | 1 << 17), "embedded_data lz4_compress");
        assert_eq!(needs(1 << 19 | 1 << 23), "large_blocks large_dnode");
        assert_eq!(needs(1 << 24 | 1 << 25), "encryption zstd_compress");
        assert_eq!(needs(1 << 28 | 1 << 29), "large_microzap longname");
    }

    #[test]
    fn the_other_byte_order_is_understood_and_kept() {
        let bytes = swapped(record(version_with(1 << 24)));
        let begin = BeginRecord::parse(&bytes).unwrap();
        assert!(begin.is_foreign_endian() && begin.is_raw());
        assert_eq!(
            (begin.to_guid(), begin.from_guid()),
            (Guid(11), Some(Guid(7)))
        );
        assert_eq!(begin.as_bytes(), &bytes);
    }

    #[test]
    fn a_full_stream_has_no_base() {
        let mut bytes = record(SUBSTREAM);
        bytes[48..56].fill(0);
        bytes[32] = 3;
        let begin = BeginRecord::parse(&bytes).unwrap();
        assert_eq!(begin.from_guid(), None);
        assert_eq!(begin.kind(), DatasetKind::Volume);
    }

    #[test]
    fn what_is_no_stream_is_refused() {
        let error = |bytes: &[u8]| BeginRecord::read(&mut &*bytes).unwrap_err();
        assert!(matches!(error(&[]), BeginError::Empty));
        assert!(matches!(
            error(&record(SUBSTREAM)[..311]),
            BeginError::Truncated { read_bytes: 311 }
        ));
        assert!(matches!(error(&[0; BEGIN_BYTES]), BeginError::NoStream));
        assert!(matches!(
            error(&record(HEADER_COMPOUND)),
            BeginError::Package
        ));
        assert!(matches!(error(&record(3)), BeginError::UnknownHeader(3)));
        let mut other_record = record(SUBSTREAM);
        other_record[0] = 1;
        assert!(matches!(error(&other_record), BeginError::NoStream));
        let mut other_kind = record(SUBSTREAM);
        other_kind[32] = 9;
        assert!(matches!(error(&other_kind), BeginError::UnknownKind(9)));
    }

    #[test]
    fn a_name_may_fill_its_field() {
        let mut bytes = record(SUBSTREAM);
        bytes[56..].fill(b'a');
        assert_eq!(BeginRecord::parse(&bytes).unwrap().to_name().len(), 256);
    }

    #[test]
    fn reading_from_a_pipe_leaves_the_rest() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let bytes = record(SUBSTREAM);
        nix::unistd::write(&writer, &bytes[..100]).unwrap();
        nix::unistd::write(&writer, &bytes[100..]).unwrap();
        nix::unistd::write(&writer, b"rest").unwrap();
        drop(writer);
        assert_eq!(
            BeginRecord::read_from(reader.as_fd()).unwrap().to_name(),
            "tank/home@x"
        );
        let mut rest = String::new();
        std::fs::File::from(reader)
            .read_to_string(&mut rest)
            .unwrap();
        assert_eq!(rest, "rest");
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = BeginRecord::read(&mut &*bytes);
        }

        /// Any content after a valid magic parses or is refused, the same in both byte orders.
        #[test]
        fn both_byte_orders_agree(tail in proptest::collection::vec(any::<u8>(), BEGIN_BYTES - 16)) {
            let mut bytes = record(SUBSTREAM);
            // Any features, but one stream; types 2 and 3, and 4, which does not exist.
            bytes[16..].copy_from_slice(&tail);
            let version = u64::from_ne_bytes(bytes[16..24].try_into().unwrap());
            bytes[16..24].copy_from_slice(&(version & !HEADER_TYPE_BITS | SUBSTREAM).to_ne_bytes());
            bytes[32..36].copy_from_slice(&(2 + u32::from(tail[0] % 3)).to_ne_bytes());
            match (BeginRecord::parse(&bytes), BeginRecord::parse(&swapped(bytes))) {
                (Ok(native), Ok(foreign)) => {
                    prop_assert_eq!(native.to_guid(), foreign.to_guid());
                    prop_assert_eq!(native.from_guid(), foreign.from_guid());
                    prop_assert_eq!(native.is_raw(), foreign.is_raw());
                    prop_assert_eq!(native.to_name(), foreign.to_name());
                    prop_assert!(foreign.is_foreign_endian());
                }
                (Err(_), Err(_)) => {}
                (native, foreign) => prop_assert!(false, "{native:?} {foreign:?}"),
            }
        }
    }
}
