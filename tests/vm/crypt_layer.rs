//! `zbackup::crypt` on block devices, with a real device-mapper and a real udev.
//!
//! tcplay and cryptsetup make the containers, and what we opened and wrote is compared with what
//! cryptsetup shows of the same container. Every test ends with nothing mapped.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::header;
use crate::support::machine::Usb;
use zbackup::crypt::ContainerKind::{self, Luks, Truecrypt, TruecryptOrVeracrypt, Veracrypt};
use zbackup::crypt::{Error, ErrorKind, Passphrase, Unlock, adopt, mapping_exists, probe, unlock};

const MAPPING: &str = "zbackup-crypt-layer";
const SIZE_BYTES: u64 = 32 * 1024 * 1024;
const SECRET: &str = "correct horse battery staple";

/// cryptsetup's options for what tcplay and our header writer make. Naming hash and cipher spares it
/// the search, which takes half a minute in an emulated machine.
const TCRYPT: [&str; 6] = ["--type", "tcrypt", "--hash", "sha512", "--cipher", "aes"];
const TRUECRYPT: &str = "--disable-veracrypt";

/// Runs a command that has to succeed, with that standard input; returns its standard output.
fn run(command: &[&str], input: &str) -> String {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", output.status);
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A loop device over an empty file, and a place for key files.
struct Disk {
    directory: tempfile::TempDir,
    device: PathBuf,
}

impl Disk {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("disk");
        File::create(&file).unwrap().set_len(SIZE_BYTES).unwrap();
        let device = run(&["losetup", "--find", "--show", file.to_str().unwrap()], "").into();
        Self { directory, device }
    }

    fn truecrypt(options: &[&str]) -> Self {
        let disk = Self::new();
        let passphrase_file = disk.file("passphrase", SECRET);
        let format = [
            "tcrypt-format",
            disk.device(),
            passphrase_file.to_str().unwrap(),
        ];
        run(&[&format, options].concat(), "");
        disk
    }

    fn luks(version: &str) -> Self {
        let disk = Self::new();
        let format = [
            "cryptsetup",
            "luksFormat",
            "--batch-mode",
            "--type",
            version,
        ];
        let cheap = [
            "--pbkdf",
            "pbkdf2",
            "--pbkdf-force-iterations",
            "1000",
            disk.device(),
        ];
        run(&[&format[..], &cheap[..]].concat(), SECRET);
        disk
    }

    fn device(&self) -> &str {
        self.device.to_str().unwrap()
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn request<'a>(&'a self, kind: ContainerKind, passphrase: &'a Passphrase) -> Unlock<'a> {
        Unlock {
            passphrase: Some(passphrase),
            ..Unlock::new(kind, &self.device, MAPPING)
        }
    }

    /// The clear text as cryptsetup shows it, opened with these options.
    fn oracle(&self, options: &[&str]) -> Vec<u8> {
        let open = ["cryptsetup", "open", "--readonly"];
        run(
            &[&open[..], options, &[self.device(), "oracle"]].concat(),
            SECRET,
        );
        let content = fs::read("/dev/mapper/oracle").unwrap();
        run(&["udevadm", "settle"], "");
        run(&["cryptsetup", "close", "oracle"], "");
        content
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let detached = Command::new("losetup")
            .arg("--detach")
            .arg(&self.device)
            .status();
        assert!(detached.unwrap().success() || std::thread::panicking());
    }
}

fn secret() -> Passphrase {
    Passphrase::from_bytes(SECRET.into())
}

/// The header of a volume that takes the whole disk.
fn outer(passphrase: &[u8], pim: Option<u32>) -> header::Header<'_> {
    header::Header {
        passphrase,
        pim,
        offset_bytes: header::OUTER_OFFSET_BYTES,
        data_offset_bytes: header::DATA_OFFSET_BYTES,
        data_size_bytes: SIZE_BYTES - 2 * header::DATA_OFFSET_BYTES,
    }
}

/// Fills the device with numbered blocks and returns what it then holds.
fn fill(path: &Path) -> Vec<u8> {
    let size_bytes = usize::try_from(device_size_bytes(path)).unwrap();
    let mut content = vec![0xa5; size_bytes];
    for (number, block) in content.chunks_mut(4096).enumerate() {
        block[..8].copy_from_slice(&number.to_le_bytes());
    }
    let device = OpenOptions::new().write(true).open(path).unwrap();
    device.write_all_at(&content, 0).unwrap();
    device.sync_all().unwrap();
    content
}

fn device_size_bytes(path: &Path) -> u64 {
    run(&["blockdev", "--getsize64", path.to_str().unwrap()], "")
        .parse()
        .unwrap()
}

fn mapped() -> String {
    run(&["dmsetup", "ls"], "")
}

fn assert_nothing_mapped() {
    assert_eq!(mapped(), "No devices found");
    let nodes: Vec<_> = fs::read_dir("/dev/mapper")
        .unwrap()
        .map(|node| node.unwrap())
        .collect();
    assert!(
        nodes.iter().all(|node| node.file_name() == "control"),
        "{nodes:?}"
    );
}

/// Opens, fills and closes the container, and compares with what cryptsetup makes of it.
fn round_trip(disk: &Disk, request: &Unlock<'_>, oracle_options: &[&str]) {
    let mapping = unlock(request).unwrap();
    assert_eq!(mapping.path(), Path::new("/dev/mapper").join(MAPPING));
    let content = fill(&mapping.path());
    assert!(
        content.len() as u64 > SIZE_BYTES / 4,
        "{} bytes",
        content.len()
    );
    mapping.close().unwrap();
    assert_nothing_mapped();
    let raw = fs::read(&disk.device).unwrap();
    assert!(
        !raw.windows(4096)
            .step_by(4096)
            .any(|block| block == &content[..4096]),
        "clear text"
    );
    assert!(
        disk.oracle(oracle_options) == content,
        "cryptsetup shows something else"
    );
}

/// For TrueCrypt this is slow in an emulated machine: for every cipher that the kernel lacks, it
/// starts modprobe, and a wrong passphrase has them all tried. One test of it is enough.
fn wrong_passphrase(request: &Unlock<'_>) {
    let wrong = Passphrase::from_bytes(b"tr0ub4dor&3".to_vec());
    let wrong = Unlock {
        passphrase: Some(&wrong),
        ..*request
    };
    let error = unlock(&wrong).unwrap_err();
    assert_eq!(error.kind, ErrorKind::WrongPassphrase, "{error}");
    assert!(
        !error.to_string().contains("tr0ub4dor"),
        "a passphrase in an error: {error}"
    );
    assert_nothing_mapped();
}

#[test]
fn truecrypt_by_tcplay() {
    let (disk, secret) = (Disk::truecrypt(&[]), secret());
    let request = disk.request(Truecrypt, &secret);
    probe(&request).unwrap();
    assert_nothing_mapped();
    let options = [&TCRYPT[..], &[TRUECRYPT]].concat();
    round_trip(&disk, &request, &options);
    let either = disk.request(TruecryptOrVeracrypt, &secret);
    round_trip(&disk, &either, &options);
    wrong_passphrase(&request);
    readonly_is_kept_by_the_kernel(&request);
    adopts_what_an_earlier_process_left(&request, "TCRYPT");
}

#[test]
fn truecrypt_chain_of_ciphers() {
    let (disk, secret) = (
        Disk::truecrypt(&["--ciphers", "AES-256-XTS,TWOFISH-256-XTS,SERPENT-256-XTS"]),
        secret(),
    );
    let request = disk.request(Truecrypt, &secret);
    let options = [&TCRYPT[..], &[TRUECRYPT]].concat();
    round_trip(&disk, &request, &options);

    // A close that was interrupted: only the top of the chain is gone.
    let leave_layers = || {
        let mapping = unlock(&request).unwrap();
        run(&["udevadm", "settle"], "");
        run(&["dmsetup", "remove", MAPPING], "");
        assert_eq!(mapped().lines().count(), 2);
        mapping
    };
    leave_layers().close().unwrap();
    assert_nothing_mapped();
    leave_layers().keep_open();
    unlock(&request).unwrap().close().unwrap();
    assert_nothing_mapped();
}

/// No tool of Debian makes a container with a PIM: its header is written here.
#[test]
fn veracrypt_with_pim() {
    let (disk, secret) = (Disk::new(), secret());
    outer(SECRET.as_bytes(), Some(1))
        .write(&disk.device)
        .unwrap();
    let request = Unlock {
        pim: Some(1),
        ..disk.request(Veracrypt, &secret)
    };
    let options = [&TCRYPT[..], &["--veracrypt", "--veracrypt-pim", "1"]].concat();
    round_trip(&disk, &request, &options);
}

#[test]
fn hidden_volume() {
    let (disk, secret) = (Disk::truecrypt(&["--hidden", "16M"]), secret());
    let request = Unlock {
        hidden: true,
        ..disk.request(Truecrypt, &secret)
    };
    let options = [&TCRYPT[..], &[TRUECRYPT, "--tcrypt-hidden"]].concat();
    round_trip(&disk, &request, &options);
}

#[test]
fn luks_of_both_versions() {
    for (version, container_type) in [("luks1", "LUKS1"), ("luks2", "LUKS2")] {
        let (disk, secret) = (Disk::luks(version), secret());
        let request = disk.request(Luks, &secret);
        probe(&request).unwrap();
        assert_nothing_mapped();
        round_trip(&disk, &request, &["--type", "luks"]);
        wrong_passphrase(&request);
        readonly_is_kept_by_the_kernel(&request);
        adopts_what_an_earlier_process_left(&request, container_type);
        dropped_is_closed(&request);
    }
}

#[test]
fn luks_keyfile() {
    let (disk, secret) = (Disk::luks("luks2"), secret());
    let keyfiles = [disk.file("right", SECRET)];
    let request = Unlock {
        passphrase: None,
        keyfiles: &keyfiles,
        ..disk.request(Luks, &secret)
    };
    round_trip(&disk, &request, &["--type", "luks"]);

    let keyfiles = [disk.file("wrong", "tr0ub4dor&3")];
    let error = unlock(&Unlock {
        keyfiles: &keyfiles,
        ..request
    })
    .unwrap_err();
    assert_eq!(error.kind, ErrorKind::WrongPassphrase, "{error}");
    assert_nothing_mapped();
}

#[test]
fn truecrypt_keyfile() {
    let (disk, secret) = (Disk::new(), secret());
    let content = "what a keyfile may well hold";
    let keyfiles = [disk.file("keyfile", content)];
    let mixed = header::mix_keyfiles(SECRET.as_bytes(), &[content.as_bytes()]);
    outer(&mixed, None).write(&disk.device).unwrap();

    let request = Unlock {
        keyfiles: &keyfiles,
        ..disk.request(Truecrypt, &secret)
    };
    let keyfile = keyfiles[0].to_str().unwrap();
    let options = [&TCRYPT[..], &[TRUECRYPT, "--key-file", keyfile]].concat();
    round_trip(&disk, &request, &options);
}

#[test]
fn what_is_no_container() {
    let (disk, secret) = (Disk::new(), secret());
    let error = unlock(&disk.request(Luks, &secret)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotAContainer, "{error}");
    assert_nothing_mapped();
}

#[test]
fn as_long_as_somebody_uses_it() {
    let (disk, secret) = (Disk::truecrypt(&[]), secret());
    let request = disk.request(Truecrypt, &secret);
    busy_close_gives_the_mapping_back(&request);
    close_waits_for_the_last_user(&request);
    one_mapping_a_name_and_one_user_a_device(&request);
}

#[track_caller]
fn busy_close_gives_the_mapping_back(request: &Unlock<'_>) {
    let mapping = unlock(request).unwrap();
    let user = File::open(mapping.path()).unwrap();

    let started = Instant::now();
    let (mapping, error) = mapping.close().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Busy, "{error}");
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
    assert!(mapping_exists(MAPPING).unwrap().unwrap().in_use);

    drop(user);
    mapping.close().unwrap();
    assert_nothing_mapped();
}

#[track_caller]
fn close_waits_for_the_last_user(request: &Unlock<'_>) {
    let mapping = unlock(request).unwrap();
    // A reader that is gone in a second, as udev's are.
    let path = mapping.path();
    let mut user = Command::new("sh")
        .args(["-c", "exec sleep 1 <\"$0\""])
        .arg(path)
        .spawn()
        .unwrap();
    while !mapping_exists(MAPPING).unwrap().unwrap().in_use {
        std::thread::yield_now();
    }
    mapping.close().unwrap();
    assert!(user.wait().unwrap().success());
    assert_nothing_mapped();
}

#[track_caller]
fn one_mapping_a_name_and_one_user_a_device(request: &Unlock<'_>) {
    let kind = |result: Result<_, Error>| result.map(drop).unwrap_err().kind;
    let mapping = unlock(request).unwrap();
    assert_eq!(kind(unlock(request)), ErrorKind::Exists);
    assert_eq!(
        kind(unlock(&Unlock {
            mapping: "second",
            ..*request
        })),
        ErrorKind::Busy
    );
    mapping.close().unwrap();

    let holder = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_EXCL)
        .open(request.device)
        .unwrap();
    assert_eq!(kind(unlock(request)), ErrorKind::Busy);
    drop(holder);
    assert_nothing_mapped();
}

#[track_caller]
fn readonly_is_kept_by_the_kernel(request: &Unlock<'_>) {
    let request = Unlock {
        readonly: true,
        ..*request
    };
    let mapping = unlock(&request).unwrap();
    let path = mapping.path();
    assert_eq!(
        run(&["blockdev", "--getro", path.to_str().unwrap()], ""),
        "1"
    );
    mapping.close().unwrap();
    assert_nothing_mapped();
}

#[track_caller]
fn adopts_what_an_earlier_process_left(request: &Unlock<'_>, container_type: &str) {
    assert_eq!(mapping_exists(MAPPING).unwrap(), None);
    assert_eq!(adopt(MAPPING).unwrap_err().kind, ErrorKind::NoDevice);
    unlock(request).unwrap().keep_open();
    run(&["udevadm", "settle"], "");
    let info = mapping_exists(MAPPING).unwrap().unwrap();
    assert_eq!(info.container_type.as_deref(), Some(container_type));
    assert_eq!(info.device.as_deref(), Some(request.device));
    assert!(!info.in_use);
    adopt(MAPPING).unwrap().close().unwrap();
    assert_nothing_mapped();
}

#[test]
fn leaves_other_programs_mappings_alone() {
    run(&["dmsetup", "create", MAPPING, "--table", "0 8 zero"], "");
    let info = mapping_exists(MAPPING).unwrap().unwrap();
    assert_eq!((info.container_type, info.device), (None, None));
    assert_eq!(adopt(MAPPING).unwrap_err().kind, ErrorKind::NotAContainer);
    run(&["udevadm", "settle"], "");
    run(&["dmsetup", "remove", MAPPING], "");
    assert_nothing_mapped();
}

#[track_caller]
fn dropped_is_closed(request: &Unlock<'_>) {
    drop(unlock(request).unwrap());
    assert_nothing_mapped();
    let mapping = unlock(request).unwrap();
    run(&["udevadm", "settle"], "");
    run(&["cryptsetup", "close", MAPPING], "");
    mapping.close().expect("closed by somebody else is closed");
}

#[test]
fn closes_when_the_disk_has_been_pulled() {
    // No other test puts this one into a port and leaves it there.
    let usb = Usb(3);
    usb.plug();
    let disk = &*usb.link();
    let directory = tempfile::tempdir().unwrap();
    let passphrase_file = directory.path().join("passphrase");
    fs::write(&passphrase_file, SECRET).unwrap();
    let (device, passphrase_file) = (disk.to_str().unwrap(), passphrase_file.to_str().unwrap());
    run(&["tcrypt-format", device, passphrase_file], "");
    let secret = secret();
    let request = Unlock {
        passphrase: Some(&secret),
        ..Unlock::new(Truecrypt, disk, MAPPING)
    };
    unlock(&request).unwrap().keep_open();
    usb.unplug();

    let info = mapping_exists(MAPPING).unwrap().unwrap();
    assert_eq!(
        (info.device, info.container_type.as_deref()),
        (None, Some("TCRYPT"))
    );
    assert_eq!(
        unlock(&Unlock {
            mapping: "second",
            ..request
        })
        .unwrap_err()
        .kind,
        ErrorKind::NoDevice
    );
    adopt(MAPPING).unwrap().close().unwrap();
    assert_nothing_mapped();
}
