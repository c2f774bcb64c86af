//! Disks as the standard tools make them, never by the program under test. Only for a VeraCrypt
//! container with a PIM there is no tool in Debian: its header is written here, and cryptsetup is
//! who opens it.

use std::path::Path;

use super::machine::Usb;
use super::{old_truecrypt, sh};
use crate::header;

/// The passphrase of every container here.
pub const PASSPHRASE: &str = "correct horse battery staple";
/// The file that holds it.
pub const PASSPHRASE_FILE: &str = "/etc/zbackup.passphrase";
/// The key of a container that is opened by one.
const KEYFILE: &str = "/etc/zbackup.key";
/// The mapping that the standard tools open a container as.
const ORACLE: &str = "oracle";

/// What a disk's pool lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    Plain,
    Truecrypt,
    Veracrypt,
    /// With the personal iterations multiplier 1.
    VeracryptPim,
    /// The hidden volume of a TrueCrypt container.
    Hidden,
    Luks2,
    /// As TrueCrypt made them until its version 4, opened by two keyfiles and no passphrase.
    OldTruecrypt,
    /// Opened by a keyfile.
    Luks2Keyfile,
}

impl Container {
    /// The lines that a disk's section of zbackup.ini needs for it.
    pub fn config(self) -> String {
        match self {
            Self::Plain => String::new(),
            Self::Truecrypt => format!("truecrypt = yes\npassphrase-file = {PASSPHRASE_FILE}\n"),
            Self::Veracrypt => {
                format!("encryption = veracrypt\npassphrase-file = {PASSPHRASE_FILE}\n")
            }
            Self::VeracryptPim => {
                format!("encryption = veracrypt\npim = 1\npassphrase-file = {PASSPHRASE_FILE}\n")
            }
            Self::Hidden => format!(
                "encryption = truecrypt\nhidden = yes\npassphrase-file = {PASSPHRASE_FILE}\n"
            ),
            Self::OldTruecrypt => format!(
                "encryption = truecrypt\npassphrase-file = none\nkeyfile = {KEYFILE}\n          {KEYFILE}-2\n"
            ),
            Self::Luks2 => format!("encryption = luks\npassphrase-file = {PASSPHRASE_FILE}\n"),
            Self::Luks2Keyfile => format!("encryption = luks\nkeyfile = {KEYFILE}\n"),
        }
    }

    /// Writes the file that the configuration names.
    pub fn write_passphrase(self) {
        sh(&format!(
            "umask 077; echo '{PASSPHRASE}' > {PASSPHRASE_FILE}"
        ));
    }

    /// Makes an empty container on the disk's partition.
    pub fn format(self, usb: Usb) {
        self.write_passphrase();
        let node = usb.partition();
        match self {
            Self::Plain => {}
            Self::Truecrypt => format_tcrypt(&node, ""),
            Self::Veracrypt => format_tcrypt(&node, "--veracrypt"),
            Self::VeracryptPim => write_veracrypt_header(&node),
            Self::Hidden => format_tcrypt(&node, "--hidden 400M"),
            Self::OldTruecrypt => write_old_header(&node),
            Self::Luks2Keyfile => {
                sh(&format!(
                    "(umask 077; head -c 64 /dev/urandom > {KEYFILE})
                     cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 \
                     --key-file {KEYFILE} {node}"
                ));
            }
            Self::Luks2 => {
                sh(&format!(
                    "printf %s '{PASSPHRASE}' | cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 \
                     --pbkdf-force-iterations 1000 {node} -"
                ));
            }
        }
    }

    /// Opens it with the standard tools; returns the device that the pool lies on.
    pub fn open(self, usb: Usb) -> String {
        let node = usb.partition();
        // Naming hash and cipher spares it the search, which takes long in an emulated machine.
        let tcrypt = |options: &str| format!("tcrypt --hash sha512 --cipher aes {options}");
        let kind = match self {
            Self::Plain => return node,
            Self::Truecrypt => tcrypt("--disable-veracrypt"),
            Self::Veracrypt => tcrypt("--veracrypt"),
            Self::VeracryptPim => tcrypt("--veracrypt --veracrypt-pim 1"),
            Self::Hidden => tcrypt("--disable-veracrypt --tcrypt-hidden"),
            Self::Luks2 => "luks2".to_owned(),
            Self::OldTruecrypt => {
                // Passed through the pool of keyfiles, no passphrase is an empty one.
                sh(&format!(
                    "echo | cryptsetup open --type tcrypt --hash ripemd160 --cipher des3_ede --disable-veracrypt \
                     --key-file {KEYFILE} --key-file {KEYFILE}-2 {node} {ORACLE}"
                ));
                return format!("/dev/mapper/{ORACLE}");
            }
            Self::Luks2Keyfile => {
                sh(&format!(
                    "cryptsetup open --type luks2 --key-file {KEYFILE} {node} {ORACLE}"
                ));
                return format!("/dev/mapper/{ORACLE}");
            }
        };
        sh(&format!(
            "printf %s '{PASSPHRASE}' | cryptsetup open --type {kind} {node} {ORACLE}"
        ));
        format!("/dev/mapper/{ORACLE}")
    }

    /// Closes it with the standard tools.
    pub fn close(self) {
        if self != Self::Plain {
            sh(&format!("cryptsetup close {ORACLE}"));
        }
    }
}

fn format_tcrypt(node: &str, options: &str) {
    sh(&format!("tcrypt-format {node} {PASSPHRASE_FILE} {options}"));
}

/// Spoils a part of the header of a TrueCrypt container.
pub fn damage_header(usb: Usb) {
    let node = usb.partition();
    header_for(&node, PASSPHRASE.as_bytes(), None)
        .write_damaged(Path::new(&node))
        .expect("the header is written");
}

fn write_veracrypt_header(node: &str) {
    header_for(node, PASSPHRASE.as_bytes(), Some(1))
        .write(Path::new(node))
        .expect("the header is written");
}

fn write_old_header(node: &str) {
    let keyfiles: [&[u8]; 2] = [b"one of two keyfiles", b"the other one"];
    std::fs::write(KEYFILE, keyfiles[0]).unwrap();
    std::fs::write(format!("{KEYFILE}-2"), keyfiles[1]).unwrap();
    let mixed = header::mix_keyfiles(b"", &keyfiles);
    let header = header_for(node, &mixed, None);
    let kind = (old_truecrypt::TRIPLE_DES, old_truecrypt::Hash::Ripemd160);
    old_truecrypt::write(&header, kind, Path::new(node));
}

/// The header of a container that is as large as its partition.
fn header_for<'a>(node: &str, passphrase: &'a [u8], pim: Option<u32>) -> header::Header<'a> {
    let size_bytes: u64 = sh(&format!("blockdev --getsize64 {node}")).parse().unwrap();
    header::Header {
        passphrase,
        pim,
        offset_bytes: header::OUTER_OFFSET_BYTES,
        data_offset_bytes: header::DATA_OFFSET_BYTES,
        data_size_bytes: size_bytes - 2 * header::DATA_OFFSET_BYTES,
    }
}
