//! Goal: `zbackup.ini` is understood key by key, and a wrong one is explained with file and line.
//!
//! Method: tables. The wrong files are in `config_errors.txt`, where each message is spelled out.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use openzfs::{Guid, PoolName};
use zbackup::config::{
    Config, ConfigError, DEFAULT_PARALLEL, DEFAULT_SCRUB_EVERY, Device, Encryption, Exclude, Host,
    PartUuid, PoolSelector, Selection,
};
use zbackup::model::VolumePath;

const DISK: &str = "[USB device]\npartuuid = 1a2b3c4d-01\nbackup_pool = backup\n";
const HOST: &str = "[host1]\nguid = 1\nvolume = /home\n";

fn parse(text: &str) -> Config {
    Config::parse(Path::new("z.ini"), text).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

/// The disk of a config whose disk section has `lines` too.
fn disk_with(lines: &str) -> Device {
    parse(&format!("{DISK}{lines}\n{HOST}")).devices.remove(0)
}

/// The host of a config whose host section has `lines` too.
fn host_with(lines: &str) -> Host {
    parse(&format!("{DISK}{HOST}{lines}\n")).hosts.remove(0)
}

fn volume(path: &str) -> VolumePath {
    VolumePath::new(path).unwrap()
}

fn count(number: usize) -> Option<NonZeroUsize> {
    NonZeroUsize::new(number)
}

#[test]
fn every_wrong_file_is_explained() {
    let cases: Vec<&str> = include_str!("config_errors.txt")
        .split("\n### ")
        .skip(1)
        .collect();
    for case in &cases {
        let (name, rest) = case.split_once('\n').unwrap();
        let (text, expected) = rest.split_once("--->\n").unwrap();
        let error = Config::parse(Path::new("z.ini"), text).expect_err(name);
        assert_eq!(error.to_string(), expected.trim_end(), "{name}");
    }
    assert!(
        cases.len() > 50,
        "only {} cases were found in the file",
        cases.len()
    );
}

#[test]
fn what_no_editor_shows_is_refused() {
    let cases = [
        (
            format!("\u{feff}{DISK}{HOST}"),
            "z.ini:1: the file starts with a byte order mark; ",
        ),
        (
            format!("{DISK}{HOST}# a\u{7}\n"),
            "z.ini:7: the control character U+0007; ",
        ),
    ];
    for (text, expected) in cases {
        let message = Config::parse(Path::new("z.ini"), &text)
            .unwrap_err()
            .to_string();
        assert!(
            message.starts_with(expected) && message.lines().count() == 1,
            "{message}"
        );
    }
}

#[test]
fn what_is_not_said_has_a_default() {
    let config = parse(&format!("{DISK}{HOST}"));
    let device = Device {
        section: "USB device".into(),
        line: 1,
        partuuid: PartUuid::new("1a2b3c4d-01").unwrap(),
        pool: PoolSelector::Name(PoolName::new("backup").unwrap()),
        encryption: None,
        passphrase_file: None,
        without_passphrase: false,
        keyfiles: Vec::new(),
        pim: None,
        hidden: false,
        mount_point: None,
        keep_last: None,
        scrub_every: Some(DEFAULT_SCRUB_EVERY),
        refuses_degraded: false,
        selection: None,
    };
    let host = Host {
        section: "host1".into(),
        line: 4,
        guid: Guid(1),
        selection: Selection {
            volumes: vec![volume("/home")],
            recursive: false,
            exclude: Exclude::default(),
        },
        keep_last: None,
        scrub_every: Some(DEFAULT_SCRUB_EVERY),
        prefix: None,
        intermediate: false,
        parallel: DEFAULT_PARALLEL,
    };
    let (devices, hosts) = (vec![device], vec![host]);
    assert_eq!(
        config,
        Config {
            path: "z.ini".into(),
            devices,
            hosts,
            warnings: Vec::new()
        }
    );
}

#[test]
fn every_key_of_a_disk() {
    assert_eq!(disk_with("save-last-snapshots = 3").keep_last, count(3));
    assert_eq!(disk_with("last_snapshots: 3").keep_last, count(3));
    assert_eq!(
        disk_with("mount-point = /mnt/usb").mount_point,
        Some(PathBuf::from("/mnt/usb"))
    );
    assert_eq!(
        disk_with("mount_point = /mnt/a b").mount_point,
        Some(PathBuf::from("/mnt/a b"))
    );
    let encrypted = disk_with("encryption = truecrypt\npassphrase-file = /a\nkeyfile = /b");
    assert_eq!(encrypted.passphrase_file, Some(PathBuf::from("/a")));
    assert_eq!(encrypted.keyfiles, [PathBuf::from("/b")]);
    assert!(!encrypted.without_passphrase);
    let keyfiles = disk_with("truecrypt = yes\npassphrase-file = none\nkeyfile = /b\n  /a\n  /b");
    assert_eq!(keyfiles.keyfiles, ["/b", "/a", "/b"].map(PathBuf::from));
    assert!(keyfiles.without_passphrase && keyfiles.passphrase_file.is_none());
    assert!(disk_with("degraded = refuse").refuses_degraded);
    assert!(!disk_with("degraded = Warn").refuses_degraded);
    for (written, days) in [("8d", Some(8)), ("2w", Some(14)), ("never", None)] {
        let expected = days.map(|days| Duration::from_secs(days * 86_400));
        assert_eq!(
            disk_with(&format!("scrub-every = {written}")).scrub_every,
            expected
        );
        assert_eq!(
            host_with(&format!("scrub_every = {written}")).scrub_every,
            expected
        );
    }
    assert_eq!(disk_with("truecrypt = yes\npim = 485").pim, Some(485));
    assert_eq!(
        disk_with("encryption = veracrypt\npim = 2147468").pim,
        Some(2_147_468)
    );
    assert!(disk_with("truecrypt = yes\nhidden = on").hidden);
    assert!(disk_with("encryption = truecrypt\nhidden = 1").hidden);
    assert!(!disk_with("encryption = luks\nhidden = no").hidden);
}

#[test]
fn encryption_is_said_by_two_keys() {
    use Encryption::{Luks, Truecrypt, TruecryptOrVeracrypt, Veracrypt};
    let cases = [
        ("truecrypt = no", None),
        ("encryption = none", None),
        ("truecrypt = no\nencryption = none", None),
        ("truecrypt = yes", Some(TruecryptOrVeracrypt)),
        ("encryption = truecrypt", Some(Truecrypt)),
        ("truecrypt = yes\nencryption = truecrypt", Some(Truecrypt)),
        ("encryption = VeraCrypt", Some(Veracrypt)),
        ("truecrypt = yes\nencryption = veracrypt", Some(Veracrypt)),
        ("truecrypt = no\nencryption = veracrypt", Some(Veracrypt)),
        ("encryption = luks", Some(Luks)),
        ("truecrypt = no\nencryption = LUKS", Some(Luks)),
    ];
    for (lines, encryption) in cases {
        assert_eq!(disk_with(lines).encryption, encryption, "{lines}");
    }
}

#[test]
fn a_pool_by_name_or_guid() {
    let pool = |written: &str| {
        let disk = format!("[USB device]\npartuuid = 1a2b3c4d-01\nbackup_pool = {written}\n");
        parse(&format!("{disk}{HOST}")).devices.remove(0).pool
    };
    assert_eq!(
        pool("usb-1"),
        PoolSelector::Name(PoolName::new("usb-1").unwrap())
    );
    assert_eq!(
        pool("18446744073709551615"),
        PoolSelector::Guid(Guid(u64::MAX))
    );
}

#[test]
fn partition_uuids() {
    let lower = "09353f9f-c554-11e1-8897-5c260a0e9ee6";
    assert_eq!(
        PartUuid::new(&lower.to_uppercase()).unwrap().as_str(),
        lower
    );
    assert_eq!(
        PartUuid::new("1A2B3C4D-0f").unwrap().as_str(),
        "1a2b3c4d-0f"
    );
    let refused = [
        "",
        "-",
        "1a2b3c4d",
        "1a2b3c4d-00",
        "1a2b3c4d-1",
        "1a2b3c4g-01",
        "1a2b3c4d-01-01",
        "09353f9fc55411e188975c260a0e9ee6",
        "{09353f9f-c554-11e1-8897-5c260a0e9ee6}",
        "09353f9f-c554-11e1-8897-5c260a0e9eeé",
        "09353f9f-c554-11e1-8897-5c260a0e9ee6 ",
    ];
    for text in refused {
        let message = PartUuid::new(text).unwrap_err().to_string();
        assert_eq!(message, format!("{text:?} is not a partition uuid"));
    }
}

#[test]
fn every_key_of_a_host() {
    assert_eq!(host_with("save_last_snapshots = 30").keep_last, count(30));
    assert_eq!(
        host_with("prefix = laptops/one").prefix,
        Some(volume("/laptops/one"))
    );
    assert!(host_with("intermediate = yes").intermediate);
    assert_eq!(host_with("parallel = 64").parallel.get(), 64);
    assert!(host_with("recursive = true").selection.recursive);
    let exclude = host_with("exclude = home/*/cache\n  /home/tmp")
        .selection
        .exclude;
    assert_eq!(
        exclude,
        Exclude::new(["/home/*/cache", "home/tmp"]).unwrap()
    );
}

#[test]
fn booleans_are_pythons() {
    for yes in ["yes", "true", "on", "1", "YES", "True", "oN"] {
        assert!(
            host_with(&format!("intermediate = {yes}")).intermediate,
            "{yes}"
        );
    }
    for no in ["no", "false", "off", "0", "NO", "False", "Off"] {
        assert!(
            !host_with(&format!("intermediate = {no}")).intermediate,
            "{no}"
        );
    }
}

#[test]
fn sections_inherit_and_override() {
    let config = parse(
        "[host2]\nguid = 2\nvolume = /srv\nlast-snapshots = 9\nexclude =\n\
         [USB device]\npartuuid = 1a2b3c4d-01\n\
         [USB device 2]\npartuuid = 1a2b3c4d-02\nvolume = /home\nbackup_pool = second\n\
         [DEFAULT]\nvolume = /home\n /tmp\nlast_snapshots = 3\nbackup_pool = first\nrecursive = yes\n\
         exclude = /home/*/cache\n\
         [host1]\nguid = 1\n\
         [DEFAULT]\nparallel = 2\n",
    );
    let [first, second] = config.devices.as_slice() else {
        panic!("{config:?}")
    };
    assert_eq!(
        first.pool,
        PoolSelector::Name(PoolName::new("first").unwrap())
    );
    assert_eq!(
        second.pool,
        PoolSelector::Name(PoolName::new("second").unwrap())
    );
    assert_eq!(first.keep_last, count(3));
    // Inherited volumes are the hosts'; a disk is limited by its own list alone.
    assert_eq!(first.selection, None);
    let exclude = Exclude::new(["/home/*/cache"]).unwrap();
    let volumes = vec![volume("/home")];
    assert_eq!(
        second.selection,
        Some(Selection {
            volumes,
            recursive: true,
            exclude: exclude.clone()
        })
    );

    let [host2, host1] = config.hosts.as_slice() else {
        panic!("{config:?}")
    };
    assert_eq!(host2.selection.volumes, [volume("/srv")]);
    assert!(
        host2.selection.exclude.is_empty(),
        "an empty list undoes the inherited one"
    );
    assert_eq!(
        host2.keep_last,
        count(9),
        "one key, whatever name it goes by"
    );
    assert_eq!(host1.selection.volumes, [volume("/home"), volume("/tmp")]);
    assert_eq!(
        (&host1.selection.exclude, host1.keep_last),
        (&exclude, count(3))
    );
    assert_eq!(
        host1.parallel.get(),
        2,
        "[DEFAULT] may come in pieces, at the end too"
    );
    assert_eq!((host2.line, first.line), (1, 6));
}

/// The config of the original description, with the ways people write such files.
#[test]
fn a_file_as_people_write_it() {
    let config = parse(
        "# my disk\n\n[DEFAULT]\nvolume = /test\n         /tmp\n\n\
         ; not now: /var\n#         /var\n         /home\n\n\
         [USB device]\r\nPARTUUID=09353F9F-c554-11e1-8897-5c260a0e9ee6\r\nbackup_pool:backup\n\
         truecrypt = No\n\n[host1] # the desktop\n  guid = 14530958162319127105\n",
    );
    let volumes = ["/test", "/tmp", "/home"].map(volume);
    assert_eq!(config.hosts[0].selection.volumes, volumes);
    assert_eq!(config.hosts[0].section, "host1");
    assert_eq!(config.hosts[0].guid, Guid(14_530_958_162_319_127_105));
    assert_eq!(
        config.devices[0].partuuid.as_str(),
        "09353f9f-c554-11e1-8897-5c260a0e9ee6"
    );
    assert_eq!(config.devices[0].encryption, None);
}

#[test]
fn globs_leave_out_whole_trees() {
    let cases: [(&str, &[&str], &[&str]); 6] = [
        (
            "/home/vic",
            &["/home/vic", "/home/vic/cache"],
            &["/home", "/home/victor", "/srv/home/vic"],
        ),
        (
            "home/*",
            &["/home/vic", "/home/vic/cache"],
            &["/home", "/srv"],
        ),
        (
            "/*/cache",
            &["/home/cache", "/home/cache/a"],
            &["/cache", "/home/vic/cache"],
        ),
        (
            "**/cache",
            &["/cache", "/home/cache", "/home/vic/cache/a"],
            &["/caches", "/home/mycache"],
        ),
        ("/[ab]?", &["/a1", "/b2/x"], &["/a", "/c1", "/a12"]),
        (
            "/{tmp,var/tmp}",
            &["/tmp", "/var/tmp/x"],
            &["/var", "/var/tmpfs"],
        ),
    ];
    for (glob, left_out, kept) in cases {
        let exclude = Exclude::new([glob]).unwrap();
        for path in left_out {
            assert!(exclude.matches(&volume(path)), "{glob} leaves out {path}");
        }
        for path in kept {
            assert!(!exclude.matches(&volume(path)), "{glob} keeps {path}");
        }
    }
}

#[test]
fn a_selection_takes_what_it_lists() {
    let mut selection = host_with("exclude = /home/*/cache").selection;
    assert!(selection.takes(&volume("/home")));
    assert!(!selection.takes(&volume("/home/vic")));
    selection.recursive = true;
    assert!(selection.takes(&volume("/home/vic")));
    assert!(!selection.takes(&volume("/home/vic/cache")));
    assert!(!selection.takes(&volume("/homes")));

    let hosts = "[DEFAULT]\nvolume = /home\n /tmp\n[host1]\nguid = 1\nexclude = /tmp\n";
    let selection = &parse(&format!("{DISK}{hosts}")).hosts[0].selection;
    assert!(selection.takes(&volume("/home")) && !selection.takes(&volume("/tmp")));
}

/// Hosts meet on the disk where they say the same prefix, and only there.
#[test]
fn copies_of_hosts_may_lie_side_by_side() {
    let hosts = [
        "[host1]\nguid = 1\nvolume = /home\n[host2]\nguid = 2\nvolume = /home\n",
        "[host1]\nguid = 1\nvolume = /home\nprefix = /a\n[host2]\nguid = 2\nvolume = /home\nprefix = /b\n",
        "[host1]\nguid = 1\nvolume = /home\n[host2]\nguid = 2\nvolume = /vic\nprefix = /home\n",
        "[host1]\nguid = 1\nvolume = /vic\nprefix = /home\n[host2]\nguid = 2\nvolume = /home\n",
    ];
    for hosts in hosts {
        assert_eq!(parse(&format!("{DISK}{hosts}")).hosts.len(), 2);
    }
}

#[test]
fn a_disk_is_found_by_its_section() {
    let second = "[USB device 2]\npartuuid = 1a2b3c4d-02\nbackup_pool = backup\n";
    let config = parse(&format!("{DISK}{second}{HOST}"));
    assert_eq!(config.device("USB device 2").unwrap().line, 4);
    let error = config.device("USB device 3").unwrap_err();
    let expected =
        "z.ini: there is no section [USB device 3]; disks here: [USB device], [USB device 2]";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_file_is_loaded_or_the_reason_is_told() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("my.ini");
    let mode =
        |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();

    let message = Config::load(&path).unwrap_err().to_string();
    assert!(
        message.starts_with(&format!(
            "{}: cannot read the config: No such",
            path.display()
        )),
        "{message}"
    );

    std::fs::write(&path, format!("{DISK}{HOST}")).unwrap();
    mode(0o644);
    assert_eq!(Config::load(&path).unwrap().warnings, Vec::<String>::new());
    mode(0o664);
    let warnings = Config::load(&path).unwrap().warnings;
    let expected = format!("{}: others may write this file (mode 0664)", path.display());
    assert!(
        warnings.len() == 1 && warnings[0].starts_with(&expected),
        "{warnings:?}"
    );

    std::fs::write(&path, b"[DEFAULT]\n# caf\xe9\n").unwrap();
    let message = Config::load(&path).unwrap_err().to_string();
    assert_eq!(
        message,
        format!(
            "{}:2: not UTF-8; plain UTF-8 text is allowed",
            path.display()
        )
    );

    std::fs::write(&path, vec![b'#'; 1024 * 1024 + 1]).unwrap();
    let message = Config::load(&path).unwrap_err().to_string();
    assert!(
        message.ends_with(
            "larger than 1 MiB, no config\nPut that right, or name another file with --config."
        ),
        "{message}"
    );
    assert!(matches!(
        Config::load(directory.path()),
        Err(ConfigError::Read { .. })
    ));
}

#[test]
fn a_named_file_is_taken_as_it_is() {
    let path = Path::new("somewhere/else.ini");
    assert_eq!(Config::find(Some(path)).unwrap(), path);
}
