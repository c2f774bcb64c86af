//! Asks the kernel which ciphers it has. libcryptsetup passes over those that it has not without a word.

use std::os::fd::AsRawFd;

use nix::sys::socket::{AddressFamily, AlgAddr, SockFlag, SockType, bind, socket};

/// Ciphers of TrueCrypt and VeraCrypt as people and as the kernel call them, in one mode that each
/// of them is used in.
const CIPHERS: [(&str, &str); 9] = [
    ("AES", "xts(aes)"),
    ("Serpent", "xts(serpent)"),
    ("Twofish", "xts(twofish)"),
    ("Camellia", "xts(camellia)"),
    ("Kuznyechik", "xts(kuznyechik)"),
    ("CAST5", "cbc(cast5)"),
    ("Triple DES", "cbc(des3_ede)"),
    ("Blowfish", "ecb(blowfish)"),
    ("LRW", "lrw(aes)"),
];

/// Those that this kernel has no module for. Nothing if it cannot be asked at all, which
/// libcryptsetup has an error for.
pub(super) fn missing_ciphers() -> Vec<&'static str> {
    let is_missing = |(_, name): &&(&str, &str)| has(name) == Some(false);
    let missing = CIPHERS.iter().filter(is_missing);
    missing.map(|(name, _)| *name).collect()
}

/// True where it has none at all, not even AES: what lacks is the module through which programs use them.
pub(super) fn lacks_interface() -> bool {
    missing_ciphers().len() == CIPHERS.len()
}

fn has(cipher: &str) -> Option<bool> {
    let kind = (AddressFamily::Alg, SockType::SeqPacket);
    let socket = socket(kind.0, kind.1, SockFlag::SOCK_CLOEXEC, None).ok()?;
    match bind(socket.as_raw_fd(), &AlgAddr::new("skcipher", cipher)) {
        Ok(()) => Some(true),
        Err(nix::errno::Errno::ENOENT) => Some(false),
        Err(_) => None,
    }
}
