//! Somebody has a disk from 2005, or keyfiles in place of a passphrase. What cryptsetup opens, zbackup
//! is expected to open, and where nothing opens they expect to hear what was tried.

use zbackup::crypt::{ContainerKind, Passphrase, Unlock, probe};

use crate::header::{DATA_OFFSET_BYTES, Header, OUTER_OFFSET_BYTES};
use crate::support::container::PASSPHRASE;
use crate::support::machine::Usb;
use crate::support::old_truecrypt::{self, CIPHERS, Hash};
use crate::support::world::CONFIG;
use crate::support::{Container, Dialogue, World, sh, try_sh};

/// A host's volumes go to a container that TrueCrypt made long ago, opened by two keyfiles alone.
#[test]
fn triple_des_with_two_keyfiles_and_no_passphrase() {
    let world = World::with_container(&["/home"], Container::OldTruecrypt);
    sh("echo first > /tank/home/a");
    world.backup();
    sh("echo second > /tank/home/b");
    // Where the file does not say that there is no passphrase, it is asked for, and Enter says so.
    let asks = world.config().replace("passphrase-file = none\n", "");
    std::fs::write(CONFIG, asks).unwrap();
    let mut talk = Dialogue::start(&["usb"]);
    talk.sees("Enter for the keyfiles alone").types("");
    let (code, screen) = talk.ends();
    assert_eq!(code, 0, "{screen}");
    assert!(screen.contains("incremental"), "{screen}");
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
    // One keyfile is not enough, and the message says how many were used.
    let config = world.config().replace("          /etc/zbackup.key-2\n", "");
    std::fs::write(CONFIG, config).unwrap();
    let said = world.zbackup(&["usb"]).exits(1);
    said.says("does not fit")
        .says("with 1 keyfile")
        .says("hidden = yes");
}

/// Every single cipher that those versions had, beside cryptsetup.
#[test]
fn cbc_with_each_cipher() {
    let usb = Usb(1);
    usb.make_empty();
    let device = std::fs::canonicalize(usb.partition()).unwrap();
    for cipher in CIPHERS {
        let header = Header {
            passphrase: PASSPHRASE.as_bytes(),
            pim: None,
            offset_bytes: OUTER_OFFSET_BYTES,
            data_offset_bytes: DATA_OFFSET_BYTES,
            data_size_bytes: 8 << 20,
        };
        // The one that libcryptsetup tries last takes long: once is enough.
        let (hash, word) = if cipher == CIPHERS[0] {
            (Hash::Sha1, "sha1")
        } else {
            (Hash::Ripemd160, "ripemd160")
        };
        old_truecrypt::write(&header, (cipher, hash), &device);
        let (code, _, said) = try_sh(&format!(
            "printf %s '{PASSPHRASE}' | cryptsetup open --test-passphrase --type tcrypt --disable-veracrypt \
             --hash {word} --cipher {} {}",
            cipher.name,
            device.display()
        ));
        assert_eq!(code, 0, "cryptsetup does not open {}: {said}", cipher.name);
        let passphrase = Passphrase::from_bytes(PASSPHRASE.into());
        let request = Unlock {
            passphrase: Some(&passphrase),
            ..Unlock::new(ContainerKind::Truecrypt, &device, "zbackup-test")
        };
        let opened = probe(&request);
        opened.unwrap_or_else(|error| panic!("{}: {error}", cipher.name));
    }
}
