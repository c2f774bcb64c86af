//! Containers as far as they go without root: headers in plain files, opened by the real library.
//!
//! `probe` reads and decrypts a header exactly as `unlock` does and stops before device-mapper.
//! What comes behind that is tested inside the test machine (`tests/vm/crypt_layer.rs`).
#![cfg(feature = "cryptsetup")]

mod header;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use zbackup::crypt::ContainerKind::{self, Luks, Truecrypt, TruecryptOrVeracrypt, Veracrypt};
use zbackup::crypt::{Error, ErrorKind, Passphrase, Unlock, probe};

use header::{DATA_OFFSET_BYTES, HIDDEN_OFFSET_BYTES, Header, OUTER_OFFSET_BYTES};

const SIZE_BYTES: u64 = 1024 * 1024;
const HIDDEN_SIZE_BYTES: u64 = 256 * 1024;

/// A plain file with container headers in it.
struct Container {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl Container {
    fn new(headers: &[Header<'_>]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("container");
        File::create(&path).unwrap().set_len(SIZE_BYTES).unwrap();
        for header in headers {
            header.write(&path).unwrap();
        }
        Self {
            _directory: directory,
            path,
        }
    }

    /// A plain request for this container.
    fn request<'a>(&'a self, kind: ContainerKind, passphrase: &'a Passphrase) -> Unlock<'a> {
        Unlock {
            passphrase: Some(passphrase),
            ..Unlock::new(kind, &self.path, "zbackup-test")
        }
    }

    fn probe(&self, kind: ContainerKind, text: &str) -> Result<(), Error> {
        probe(&self.request(kind, &passphrase(text)))
    }
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::from_bytes(text.into())
}

fn outer(passphrase: &str, pim: Option<u32>) -> Header<'_> {
    Header {
        passphrase: passphrase.as_bytes(),
        pim,
        offset_bytes: OUTER_OFFSET_BYTES,
        data_offset_bytes: DATA_OFFSET_BYTES,
        data_size_bytes: SIZE_BYTES - 2 * DATA_OFFSET_BYTES,
    }
}

fn hidden(passphrase: &str) -> Header<'_> {
    Header {
        offset_bytes: HIDDEN_OFFSET_BYTES,
        data_offset_bytes: SIZE_BYTES - DATA_OFFSET_BYTES - HIDDEN_SIZE_BYTES,
        data_size_bytes: HIDDEN_SIZE_BYTES,
        ..outer(passphrase, None)
    }
}

/// What a passphrase that opens nothing is called here.
///
/// Without the kernel's ciphers it cannot be known wrong: the header might be a Serpent one.
fn nothing_opens() -> ErrorKind {
    let kernel_ciphers = socket(
        AddressFamily::Alg,
        SockType::SeqPacket,
        SockFlag::empty(),
        None,
    );
    match kernel_ciphers {
        Ok(_) => ErrorKind::WrongPassphrase,
        Err(_) => ErrorKind::Unsupported,
    }
}

#[test]
fn truecrypt_opens_with_its_passphrase_only() {
    let container = Container::new(&[outer("open sesame", None)]);
    container.probe(Truecrypt, "open sesame").unwrap();
    for wrong in ["open sesam", "open sesame ", "sesame open"] {
        let error = container.probe(Truecrypt, wrong).unwrap_err();
        assert_eq!(
            (error.kind, error.call),
            (nothing_opens(), "crypt_load"),
            "{wrong:?}: {error}"
        );
        assert!(
            !error.to_string().contains(wrong),
            "a passphrase in an error: {error}"
        );
    }
}

#[test]
fn a_kernel_without_ciphers_is_explained() {
    let container = Container::new(&[outer("open sesame", None)]);
    let error = container.probe(Truecrypt, "wrong").unwrap_err();
    assert_eq!(
        error.to_string().contains("algif_skcipher"),
        error.kind == ErrorKind::Unsupported,
        "{error}"
    );
}

#[test]
fn truecrypt_opens_where_veracrypt_may_be_as_well() {
    let container = Container::new(&[outer("open sesame", None)]);
    container
        .probe(TruecryptOrVeracrypt, "open sesame")
        .unwrap();
}

#[test]
fn noise_is_no_container() {
    let container = Container::new(&[]);
    let noise: Vec<u8> = (0..SIZE_BYTES / 8)
        .flat_map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .collect();
    fs::write(&container.path, noise).unwrap();
    let error = container.probe(Truecrypt, "open sesame").unwrap_err();
    assert_eq!(error.kind, nothing_opens(), "{error}");
    let error = container.probe(Luks, "open sesame").unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotAContainer, "{error}");
}

#[test]
fn the_librarys_own_words_are_in_the_error() {
    let container = Container::new(&[]);
    let mut header = b"LUKS\xba\xbe\x00\x01".to_vec();
    header.resize(4096, b'?');
    fs::write(&container.path, header).unwrap();
    let error = container.probe(Luks, "open sesame").unwrap_err();
    assert!(
        error
            .messages
            .iter()
            .any(|message| message.contains("LUKS")),
        "{error:?}"
    );
}

#[test]
fn hidden_volume_opens_by_flag_only() {
    let container = Container::new(&[outer("decoy", None), hidden("secret")]);
    let ask = |text, hidden| {
        probe(&Unlock {
            hidden,
            ..container.request(Truecrypt, &passphrase(text))
        })
    };
    ask("decoy", false).unwrap();
    ask("secret", true).unwrap();
    assert_eq!(ask("secret", false).unwrap_err().kind, nothing_opens());
    assert_eq!(ask("decoy", true).unwrap_err().kind, nothing_opens());
}

#[test]
fn veracrypt_opens_with_its_pim() {
    let container = Container::new(&[outer("open sesame", Some(1))]);
    let secret = passphrase("open sesame");
    let ask = |kind, pim| {
        probe(&Unlock {
            pim,
            ..container.request(kind, &secret)
        })
    };
    ask(Veracrypt, Some(1)).unwrap();
    ask(TruecryptOrVeracrypt, Some(1)).unwrap();
    assert_eq!(ask(Veracrypt, Some(2)).unwrap_err().kind, nothing_opens());
    assert_eq!(ask(Truecrypt, None).unwrap_err().kind, nothing_opens());
}

#[test]
fn a_pim_rules_truecrypt_out() {
    let container = Container::new(&[outer("open sesame", None)]);
    let secret = passphrase("open sesame");
    let ask = |kind| {
        probe(&Unlock {
            pim: Some(1),
            ..container.request(kind, &secret)
        })
    };
    assert_eq!(ask(Veracrypt).unwrap_err().kind, nothing_opens());
    assert_eq!(ask(Truecrypt).unwrap_err().kind, ErrorKind::InvalidRequest);
}

#[test]
fn keyfiles_count_as_much_as_the_passphrase() {
    let content = b"any bytes, longer than the sixteen that fill the pool once".repeat(3);
    let mixed = header::mix_keyfiles(b"open sesame", &[&content]);
    let only_keyfile = header::mix_keyfiles(b"", &[&content]);
    let container = Container::new(&[Header {
        passphrase: &mixed,
        ..outer("", None)
    }]);
    let bare = Container::new(&[Header {
        passphrase: &only_keyfile,
        ..outer("", None)
    }]);
    let keyfiles = [container.path.with_file_name("keyfile")];
    fs::write(&keyfiles[0], content).unwrap();
    let (right, wrong) = (passphrase("open sesame"), passphrase("open"));

    let request = Unlock {
        keyfiles: &keyfiles,
        ..container.request(Truecrypt, &right)
    };
    probe(&request).unwrap();
    let without = Unlock {
        keyfiles: &[],
        ..request
    };
    assert_eq!(probe(&without).unwrap_err().kind, nothing_opens());
    let misspelt = Unlock {
        passphrase: Some(&wrong),
        ..request
    };
    assert_eq!(probe(&misspelt).unwrap_err().kind, nothing_opens());
    probe(&Unlock {
        passphrase: None,
        device: &bare.path,
        ..request
    })
    .unwrap();

    fs::remove_file(&keyfiles[0]).unwrap();
    assert_eq!(probe(&request).unwrap_err().kind, ErrorKind::SecretFile);
}

#[test]
fn several_keyfiles_count_together() {
    let contents: [&[u8]; 2] = [b"the first of two", b"and the second, which is longer"];
    let mixed = header::mix_keyfiles(b"", &contents);
    let container = Container::new(&[Header {
        passphrase: &mixed,
        ..outer("", None)
    }]);
    let keyfiles = ["one", "two"].map(|name| container.path.with_file_name(name));
    for (keyfile, content) in keyfiles.iter().zip(contents) {
        fs::write(keyfile, content).unwrap();
    }
    let nothing_typed = passphrase("");
    let ask = |keyfiles, passphrase| {
        probe(&Unlock {
            keyfiles,
            passphrase,
            ..Unlock::new(Truecrypt, &container.path, "zbackup-test")
        })
    };
    ask(&keyfiles, None).unwrap();
    // Enter at the prompt is no passphrase.
    ask(&keyfiles, Some(&nothing_typed)).unwrap();
    let error = ask(&keyfiles[..1], None).unwrap_err();
    assert_eq!(error.kind, nothing_opens(), "{error}");
    assert!(error.to_string().contains("with 1 keyfile"), "{error}");
}

#[test]
fn what_was_tried_is_told() {
    let container = Container::new(&[outer("open sesame", None), hidden("secret")]);
    let error = container
        .probe(Truecrypt, "secret")
        .unwrap_err()
        .to_string();
    for words in [
        "the outer volume of TrueCrypt, without keyfiles",
        "hidden = yes",
        "encryption = veracrypt",
    ] {
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[test]
fn contradictions_are_refused_before_the_library_is_asked() {
    let container = Container::new(&[]);
    let secret = passphrase("open sesame");
    let keyfiles = [container.path.clone()];
    let plain = |kind| container.request(kind, &secret);
    for contradiction in [
        Unlock {
            passphrase: None,
            ..plain(Truecrypt)
        },
        Unlock {
            passphrase: None,
            ..plain(Luks)
        },
        Unlock {
            keyfiles: &keyfiles,
            ..plain(Luks)
        },
        Unlock {
            hidden: true,
            ..plain(Luks)
        },
        Unlock {
            pim: Some(1),
            ..plain(Luks)
        },
        Unlock {
            mapping: "a/b",
            ..plain(Truecrypt)
        },
    ] {
        let error = probe(&contradiction).unwrap_err();
        assert_eq!(
            (error.kind, error.code),
            (ErrorKind::InvalidRequest, 0),
            "{contradiction:?}"
        );
    }
}

#[test]
fn a_passphrase_beyond_the_format_is_wrong() {
    let longest = "x".repeat(64);
    let container = Container::new(&[outer(&longest, None)]);
    container.probe(Truecrypt, &longest).unwrap();
    let error = container.probe(Truecrypt, &"x".repeat(65)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::WrongPassphrase);
    assert!(error.to_string().contains("at most 64 bytes"), "{error}");

    let longest = "x".repeat(128);
    let container = Container::new(&[outer(&longest, Some(1))]);
    let secret = passphrase(&longest);
    probe(&Unlock {
        pim: Some(1),
        ..container.request(Veracrypt, &secret)
    })
    .unwrap();
    assert!(
        container
            .probe(Veracrypt, &"x".repeat(129))
            .unwrap_err()
            .to_string()
            .contains("128")
    );
}

#[test]
fn missing_and_foreign_devices_are_told_apart() {
    let ask = |path: &Path| {
        let secret = passphrase("x");
        let request = Unlock::new(Truecrypt, path, "zbackup-test");
        probe(&Unlock {
            passphrase: Some(&secret),
            ..request
        })
        .unwrap_err()
    };
    let absent = ask(Path::new("/dev/disk/by-partuuid/absent"));
    assert_eq!(
        (absent.kind, absent.code),
        (ErrorKind::NoDevice, libc::ENOENT),
        "{absent}"
    );
    assert_eq!(ask(Path::new("/dev/null")).kind, ErrorKind::NoDevice);
    assert_eq!(ask(Path::new("/tmp")).kind, ErrorKind::NoDevice);
}
