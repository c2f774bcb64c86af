//! Disks as the standard tools make them: never by the program under test.

use super::machine::Usb;
use super::sh;

/// The passphrase of every container here.
pub const PASSPHRASE: &str = "correct horse battery staple";
/// The file that holds it.
pub const PASSPHRASE_FILE: &str = "/etc/zbackup.passphrase";
/// The mapping that the standard tools open a container as.
const ORACLE: &str = "oracle";

/// What a disk's pool lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    Plain,
    Truecrypt,
    Luks2,
}

impl Container {
    /// The lines that a disk's section of zbackup.ini needs for it.
    pub fn config(self) -> String {
        match self {
            Self::Plain => String::new(),
            Self::Truecrypt => format!("truecrypt = yes\npassphrase-file = {PASSPHRASE_FILE}\n"),
            Self::Luks2 => format!("encryption = luks\npassphrase-file = {PASSPHRASE_FILE}\n"),
        }
    }

    /// Makes an empty container on the disk's partition.
    pub fn format(self, usb: Usb) {
        sh(&format!(
            "umask 077; echo '{PASSPHRASE}' > {PASSPHRASE_FILE}"
        ));
        let node = usb.partition();
        match self {
            Self::Plain => {}
            Self::Truecrypt => {
                sh(&format!(
                    "/host/bin/truecrypt-format {node} {PASSPHRASE_FILE}"
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
        let kind = match self {
            Self::Plain => return node,
            Self::Truecrypt => "tcrypt --disable-veracrypt",
            Self::Luks2 => "luks2",
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
