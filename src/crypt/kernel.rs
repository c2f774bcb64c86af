//! Asks the kernel which ciphers it has. libcryptsetup silently skips those that are missing.

use std::os::fd::AsRawFd;

use nix::sys::socket::{AddressFamily, AlgAddr, SockFlag, SockType, bind, socket};

/// Ciphers of TrueCrypt and VeraCrypt by their usual names and by the kernel's, each in one mode in
/// which it is used.
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

/// The ciphers for which this kernel has no module. Empty if it cannot be asked at all, for which
/// libcryptsetup has an error.
pub(super) fn missing_ciphers() -> Vec<&'static str> {
    let is_missing = |(_, name): &&(&str, &str)| has(name) == Some(false);
    let missing = CIPHERS.iter().filter(is_missing);
    missing.map(|(name, _)| *name).collect()
}

/// True if the kernel has none of them, not even AES: the module through which programs use ciphers is
/// missing.
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
