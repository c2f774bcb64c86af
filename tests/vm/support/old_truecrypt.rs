//! Containers as TrueCrypt made them until its version 4: CBC with whitening. No tool of today makes any, so the header is written here, with the kernel's ciphers; cryptsetup is who opens it.

use std::fs::OpenOptions;
use std::io::{IoSlice, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::sys::socket::sockopt::AlgSetKey;
use nix::sys::socket::{
    AddressFamily, AlgAddr, ControlMessage, MsgFlags, SockFlag, SockType, accept4, bind, sendmsg,
    setsockopt, socket,
};

use crate::header::Header;

const SALT: [u8; 64] = [0x3c; 64];
/// Rounds of PBKDF2, with either hash function.
const ROUNDS: u32 = 2000;

/// One of the ciphers that these containers had, by its name in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cipher {
    pub name: &'static str,
    key_bytes: usize,
    block_bytes: usize,
}

/// One of the hash functions that they had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    Ripemd160,
    Sha1,
}

/// All that the kernel can map.
pub const CIPHERS: [Cipher; 5] = [
    cipher("aes", 32, 16),
    cipher("serpent", 32, 16),
    cipher("twofish", 32, 16),
    cipher("cast5", 16, 8),
    TRIPLE_DES,
];
pub const TRIPLE_DES: Cipher = cipher("des3_ede", 24, 8);

const fn cipher(name: &'static str, key_bytes: usize, block_bytes: usize) -> Cipher {
    Cipher {
        name,
        key_bytes,
        block_bytes,
    }
}

/// Writes the header for `header`'s passphrase and area. The first bytes of what is derived from the
/// passphrase are the initial vector, the eighth to the fifteenth are the whitening, and from the
/// 32nd on they are the key.
pub fn write(header: &Header, (cipher, hash): (Cipher, Hash), device: &Path) {
    let mut keys = [0; 64];
    let derive = match hash {
        Hash::Ripemd160 => pbkdf2::pbkdf2_hmac::<ripemd::Ripemd160>,
        Hash::Sha1 => pbkdf2::pbkdf2_hmac::<sha1::Sha1>,
    };
    derive(header.passphrase, &SALT, ROUNDS, &mut keys);
    let key = &keys[32..32 + cipher.key_bytes];
    let vector = &keys[..cipher.block_bytes];
    let mut text = encrypt(cipher.name, key, vector, &header.clear_text());
    for (index, byte) in text.iter_mut().enumerate() {
        *byte ^= keys[8 + index % 8];
    }
    let file = OpenOptions::new().write(true).open(device).unwrap();
    file.write_all_at(&[&SALT[..], &text].concat(), header.offset_bytes)
        .and_then(|()| file.sync_all())
        .expect("the header is written");
}

/// Has the kernel encrypt in CBC.
fn encrypt(cipher: &str, key: &[u8], vector: &[u8], text: &[u8]) -> Vec<u8> {
    let kind = (AddressFamily::Alg, SockType::SeqPacket);
    let algorithm = socket(kind.0, kind.1, SockFlag::SOCK_CLOEXEC, None).unwrap();
    let name = AlgAddr::new("skcipher", &format!("cbc({cipher})"));
    bind(algorithm.as_raw_fd(), &name).expect("the kernel has the cipher");
    setsockopt(&algorithm, AlgSetKey::default(), &key).unwrap();
    let operation = accept4(algorithm.as_raw_fd(), SockFlag::SOCK_CLOEXEC).unwrap();
    // SAFETY: the descriptor is new, and nobody else has it.
    let operation = unsafe { OwnedFd::from_raw_fd(operation) };
    let control = [
        ControlMessage::AlgSetOp(&libc::ALG_OP_ENCRYPT),
        ControlMessage::AlgSetIv(vector),
    ];
    let message = [IoSlice::new(text)];
    sendmsg::<()>(
        operation.as_raw_fd(),
        &message,
        &control,
        MsgFlags::empty(),
        None,
    )
    .unwrap();
    let mut encrypted = vec![0; text.len()];
    std::fs::File::from(operation)
        .read_exact(&mut encrypted)
        .unwrap();
    encrypted
}
