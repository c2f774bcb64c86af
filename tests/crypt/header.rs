//! Writes TrueCrypt and VeraCrypt headers, which libcryptsetup only reads.
//!
//! The format: 64 bytes of salt, then 448 bytes under AES-256-XTS as one data unit of number 0,
//! keyed by PBKDF2-HMAC-SHA512 over the passphrase. Numbers are big-endian, offsets count from the
//! salt. The area is encrypted by the 256 bytes of keys that end the header, and its data units
//! are numbered from the start of the device.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use aes::Aes256;
use aes::cipher::KeyInit;
use pbkdf2::pbkdf2_hmac;
use sha2::Sha512;
use xts_mode::{Xts128, get_tweak_default};

/// Where the header of the outer volume starts, in bytes.
pub const OUTER_OFFSET_BYTES: u64 = 0;
/// Where the header of a hidden volume starts, in bytes.
pub const HIDDEN_OFFSET_BYTES: u64 = 64 * 1024;
/// Where the data of the outer volume starts, in bytes: behind two headers of 64 KiB.
pub const DATA_OFFSET_BYTES: u64 = 128 * 1024;

/// A header to be written.
pub struct Header<'a> {
    pub passphrase: &'a [u8],
    /// `None` for TrueCrypt, else VeraCrypt with this PIM.
    pub pim: Option<u32>,
    /// [`OUTER_OFFSET_BYTES`] or [`HIDDEN_OFFSET_BYTES`].
    pub offset_bytes: u64,
    /// Start and size of the encrypted area.
    pub data_offset_bytes: u64,
    pub data_size_bytes: u64,
}

impl Header<'_> {
    /// Writes the header into `device`, a file or block device of sufficient size.
    pub fn write(&self, device: &Path) -> io::Result<()> {
        self.write_text(device, &self.clear_text())
    }

    /// Writes one whose keys are not those that it has the sum of.
    #[allow(dead_code, reason = "not every test program has damaged ones")]
    pub fn write_damaged(&self, device: &Path) -> io::Result<()> {
        let mut text = self.clear_text();
        text[300] ^= 1;
        self.write_text(device, &text)
    }

    fn write_text(&self, device: &Path, text: &[u8; 448]) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(device)?;
        file.write_all_at(&self.encrypted(text), self.offset_bytes)?;
        file.sync_all()
    }

    fn encrypted(&self, text: &[u8; 448]) -> [u8; 512] {
        // Any salt will do; one that differs from header to header keeps the keys apart.
        let salt = numbered::<64>(u8::from(self.offset_bytes == HIDDEN_OFFSET_BYTES));
        let mut header = [0; 512];
        header[..64].copy_from_slice(&salt);
        header[64..].copy_from_slice(text);
        let mut key = [0; 64];
        pbkdf2_hmac::<Sha512>(self.passphrase, &salt, self.iterations(), &mut key);
        let cipher = Xts128::new(
            Aes256::new_from_slice(&key[..32]).expect("32 bytes"),
            Aes256::new_from_slice(&key[32..]).expect("32 bytes"),
        );
        cipher.encrypt_sector(&mut header[64..], get_tweak_default(0));
        header
    }

    fn iterations(&self) -> u32 {
        self.pim.map_or(1000, |pim| 15_000 + 1000 * pim)
    }

    /// Bytes 64 to 511 of the header.
    pub fn clear_text(&self) -> [u8; 448] {
        let hidden = self.offset_bytes == HIDDEN_OFFSET_BYTES;
        let hidden_size_bytes = if hidden { self.data_size_bytes } else { 0 };
        let mut text = [0; 448];
        let mut put = |offset: usize, bytes: &[u8]| {
            text[offset - 64..offset - 64 + bytes.len()].copy_from_slice(bytes);
        };
        let keys = numbered::<256>(0x5a);
        put(64, if self.pim.is_some() { b"VERA" } else { b"TRUE" });
        put(68, &5_u16.to_be_bytes()); // header version
        put(70, &0x0700_u16.to_be_bytes()); // least program version
        put(72, &crc32(&keys).to_be_bytes());
        put(92, &hidden_size_bytes.to_be_bytes());
        put(100, &self.data_size_bytes.to_be_bytes());
        put(108, &self.data_offset_bytes.to_be_bytes());
        put(116, &self.data_size_bytes.to_be_bytes());
        put(128, &512_u32.to_be_bytes()); // sector size
        put(256, &keys);
        let sum = crc32(&text[..252 - 64]);
        text[252 - 64..256 - 64].copy_from_slice(&sum.to_be_bytes());
        text
    }
}

/// Bytes that differ from each other, made from `seed`.
fn numbered<const N: usize>(seed: u8) -> [u8; N] {
    let mut next = seed;
    [(); N].map(|()| {
        next = next.wrapping_add(167);
        next
    })
}

/// The 64 bytes that stand in for passphrase and keyfiles together.
///
/// The running, not yet inverted CRC-32 after each byte of a keyfile is added to the pool, four
/// bytes at a time and around again; then the passphrase is.
pub fn mix_keyfiles(passphrase: &[u8], keyfiles: &[&[u8]]) -> [u8; 64] {
    let mut pool = [0_u8; 64];
    for keyfile in keyfiles {
        let mut crc = !0;
        for (i, byte) in keyfile.iter().enumerate() {
            crc = crc32_step(crc, *byte);
            for (j, part) in crc.to_be_bytes().iter().enumerate() {
                let slot = &mut pool[(4 * i + j) % 64];
                *slot = slot.wrapping_add(*part);
            }
        }
    }
    for (slot, byte) in pool.iter_mut().zip(passphrase) {
        *slot = slot.wrapping_add(*byte);
    }
    pool
}

/// The CRC-32 of zip and Ethernet.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| crc32_step(crc, *byte))
}

fn crc32_step(crc: u32, byte: u8) -> u32 {
    (0..8).fold(crc ^ u32::from(byte), |crc, _| {
        (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
    })
}
