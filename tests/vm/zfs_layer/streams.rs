//! Sends and receives, whole, interrupted, damaged and encrypted.

use super::*;

#[test]
fn a_volume_is_carried_over_full_and_incremental() {
    let (tank, _backup) = two_pools();
    tank.create("home");
    run("head -c 8M /dev/urandom >/mnt/tank/home/f && zfs snapshot tank/home@a");
    let estimated_bytes = lzc().send_space(&full("tank/home@a")).unwrap();
    let oracle = run("zfs send -nP tank/home@a | sed -n 's/^size.//p'");
    assert_eq!(estimated_bytes.to_string(), oracle);
    let (sent, received) = transfer(&full("tank/home@a"), &Target::new("backup/home@a"));
    sent.unwrap();
    let outcome = received.unwrap();
    assert!(
        outcome.read_bytes > 8 << 20 && outcome.property_errors.is_empty(),
        "{outcome:?}"
    );
    assert_eq!(guid_of("backup/home@a"), guid_of("tank/home@a"));
    assert_eq!(
        run("zfs get -Ho value,source readonly backup/home"),
        "on\tlocal"
    );
    assert!(!mounted_below("backup"));

    run(
        "head -c 1M /dev/urandom >/mnt/tank/home/g && zfs snapshot tank/home@b && zfs bookmark tank/home@b '#b'",
    );
    let (sent, received) = transfer(
        &from_snapshot("tank/home@b", "tank/home@a"),
        &Target::new("backup/home@b"),
    );
    sent.unwrap();
    received.unwrap();
    assert_eq!(guid_of("backup/home@b"), guid_of("tank/home@b"));

    run(
        "head -c 1M /dev/urandom >/mnt/tank/home/h && zfs snapshot tank/home@c && zfs destroy tank/home@a,b",
    );
    let flags = SendFlags {
        large_blocks: true,
        embedded: true,
        compressed: true,
        raw: false,
    };
    let request = SendRequest {
        from: Some(SendBase::Bookmark(bookmark("tank/home#b"))),
        flags,
        ..full("tank/home@c")
    };
    assert!(lzc().send_space(&request).unwrap() > 1 << 20);
    let (sent, received) = transfer(&request, &Target::new("backup/home@c"));
    sent.unwrap();
    received.unwrap();
    assert_eq!(guid_of("backup/home@c"), guid_of("tank/home@c"));
    assert_eq!(
        content("backup/home"),
        run("cd /mnt/tank/home && find . -type f | sort | xargs sha256sum")
    );
}

#[test]
fn a_begin_record_is_what_zstream_shows() {
    let (tank, _backup) = two_pools();
    tank.create("home");
    run(
        "zfs snapshot tank/home@a && zfs snapshot tank/home@b && zfs create -V 8M tank/disk1 && zfs snapshot tank/disk1@a",
    );
    let begin_of = |command: &str| {
        run(&format!("{command} >/tmp/stream"));
        BeginRecord::read(&mut File::open("/tmp/stream").unwrap()).unwrap()
    };
    let begin = begin_of("zfs send -Lec -i @a tank/home@b | cat");
    assert_eq!(
        (begin.to_name(), begin.kind()),
        ("tank/home@b", DatasetKind::Filesystem)
    );
    assert_eq!(
        (begin.to_guid(), begin.from_guid()),
        (guid_of("tank/home@b"), Some(guid_of("tank/home@a")))
    );
    assert!(begin.is_embedded() && begin.is_compressed() && !begin.is_raw());
    let shown = run("zstream dump /tmp/stream | head -20");
    assert!(
        shown.contains(&format!("toguid = {:x}", begin.to_guid().0)),
        "{shown}"
    );
    let begin = begin_of("zfs send tank/disk1@a | cat");
    assert_eq!(
        (begin.kind(), begin.from_guid()),
        (DatasetKind::Volume, None)
    );
    run("zfs send -R tank/home@b | cat >/tmp/stream");
    let package = BeginRecord::read(&mut File::open("/tmp/stream").unwrap());
    assert!(matches!(package, Err(BeginError::Package)), "{package:?}");
}

#[test]
fn a_send_ends_when_nobody_reads() {
    let (tank, _backup) = two_pools();
    tank.create("home");
    run("head -c 4M /dev/urandom >/mnt/tank/home/f && zfs snapshot tank/home@a");
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    let sender = thread::spawn(move || lzc().send(&full("tank/home@a"), writer.as_fd()));
    BeginRecord::read_from(reader.as_fd()).unwrap();
    let mut stream = File::from(reader);
    stream.read_exact(&mut vec![0; 1 << 20]).unwrap();
    drop(stream);
    let error = sender.join().unwrap().unwrap_err();
    assert_eq!(error.kind, ErrorKind::BrokenPipe, "{error}");
}

/// Looks into a transfer while its receive has read nothing but the first record: the send has filled
/// the pipe, and waits.
#[test]
fn a_transfer_shows_its_progress_and_its_sender_has_nothing_else_open() {
    let (tank, _backup) = two_pools();
    tank.create("home");
    run("head -c 4M /dev/urandom >/mnt/tank/home/f && zfs snapshot tank/home@a");
    let _lock = File::create("/tmp/lock").unwrap();
    let progress = Progress::default();
    let looked = std::cell::OnceCell::new();
    let look = |_| {
        looked.get_or_init(|| {
            let libzfs = Libzfs::open().unwrap();
            let mut gauges = Gauges::new(&libzfs);
            let sent_bytes = loop {
                match progress.sent_bytes(&mut gauges)[..] {
                    [(_, sent_bytes)] if sent_bytes > 0 => break sent_bytes,
                    _ => thread::yield_now(),
                }
            };
            (sent_bytes, open_files_of_sender())
        });
        true
    };
    let send = SendRequest {
        flags: SendFlags {
            large_blocks: true,
            compressed: true,
            ..SendFlags::default()
        },
        ..full("tank/home@a")
    };
    let transfer = Transfer {
        send,
        target: snapshot("backup/home@a"),
        properties: &NvList::new(),
        force: false,
        resumable: true,
        estimated_bytes: Some(1),
        takes: &look,
    };
    let received = lzc().transfer(&transfer, &[], &progress).unwrap();
    assert_eq!(received.guid, guid_of("tank/home@a"));
    let (sent_bytes, own) = looked.into_inner().unwrap();
    assert!((1..4 << 20).contains(&sent_bytes), "{sent_bytes}");
    let [pipe, zfs] = &own[..] else {
        panic!("{own:?}");
    };
    assert!(pipe.starts_with("pipe:"), "{own:?}");
    assert_eq!(zfs, "/dev/zfs");
    let libzfs = Libzfs::open().unwrap();
    assert!(
        progress.sent_bytes(&mut Gauges::new(&libzfs)).is_empty(),
        "ended"
    );
}

/// What the thread that sends has open beside standard input, output and error, sorted.
fn open_files_of_sender() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let sender = tasks
        .map(|task| task.unwrap().path())
        .find(|task| fs::read_to_string(task.join("comm")).unwrap().trim() == "sender")
        .expect("a thread that sends");
    let numbers = fs::read_dir(sender.join("fd")).unwrap();
    let others = numbers.map(|entry| entry.unwrap().path()).filter(|path| {
        let number = path.file_name().unwrap().to_str().unwrap();
        number.parse::<u32>().unwrap() > 2
    });
    let mut files: Vec<_> = others
        .map(|path| fs::read_link(path).unwrap().to_str().unwrap().to_owned())
        .collect();
    files.sort_by_key(|file| !file.starts_with("pipe:"));
    files
}

#[test]
fn an_interrupted_receive_goes_on() {
    let (tank, _backup) = two_pools();
    tank.create("home");
    run("head -c 8M /dev/urandom >/mnt/tank/home/f && zfs snapshot tank/home@a");
    let flags = SendFlags {
        large_blocks: true,
        compressed: true,
        ..SendFlags::default()
    };
    let request = SendRequest {
        flags,
        ..full("tank/home@a")
    };
    let cut = Target {
        cut_after_bytes: Some(4 << 20),
        ..Target::new("backup/home@a")
    };
    let (sent, received) = transfer(&request, &cut);
    assert_eq!(sent.unwrap_err().kind, ErrorKind::BrokenPipe);
    assert_eq!(received.unwrap_err().kind, ErrorKind::StreamTruncated);

    let libzfs = Libzfs::open().unwrap();
    let copy = libzfs.dataset(&dataset("backup/home")).unwrap().unwrap();
    assert!(copy.is_inconsistent());
    let token = copy
        .properties()
        .value("receive_resume_token")
        .unwrap()
        .to_owned();
    let state = libzfs.decode_resume_token(&token).unwrap();
    assert_eq!(
        (state.to_name.as_str(), state.to_guid),
        ("tank/home@a", guid_of("tank/home@a"))
    );
    assert!(state.from_guid.is_none() && state.object > 0 && state.received_bytes > 1 << 20);
    assert!(
        state.compressed && !state.raw && !state.embedded,
        "{state:?}"
    );
    drop(copy);

    // Another stream finds the place taken.
    let (_, received) = transfer(&full("tank/home@a"), &Target::new("backup/home@a"));
    let error = received.unwrap_err();
    eprintln!("{error}");
    assert!(
        matches!(
            error.kind,
            ErrorKind::Busy | ErrorKind::Exists | ErrorKind::ResumeExists
        ),
        "{error}"
    );

    let rest = SendRequest {
        flags: SendFlags::from(&state),
        resume: Some(ResumePoint::from(&state)),
        ..full("tank/home@a")
    };
    let rest_bytes = lzc().send_space(&rest).unwrap();
    assert!(rest_bytes < 7 << 20, "{rest_bytes}");
    let (sent, received) = transfer(&rest, &Target::new("backup/home@a"));
    sent.unwrap();
    assert!(received.unwrap().read_bytes < 7 << 20);
    assert_eq!(guid_of("backup/home@a"), guid_of("tank/home@a"));
    assert_eq!(
        content("backup/home"),
        run("cd /mnt/tank/home && sha256sum ./f")
    );
}

#[test]
fn an_interrupted_receive_is_abandoned() {
    let (tank, _backup) = two_pools();
    tank.create("home");
    run("head -c 8M /dev/urandom >/mnt/tank/home/f && zfs snapshot tank/home@a");
    let libzfs = Libzfs::open().unwrap();
    let open = || libzfs.dataset(&dataset("backup/home")).unwrap().unwrap();
    let cut = |name| Target {
        cut_after_bytes: Some(4 << 20),
        ..Target::new(name)
    };
    transfer(&full("tank/home@a"), &cut("backup/home@a"))
        .1
        .unwrap_err();
    lzc().abandon_receive(&open()).unwrap();
    assert!(!lzc().exists("backup/home"));

    transfer(&full("tank/home@a"), &Target::new("backup/home@a"))
        .1
        .unwrap();
    run("head -c 8M /dev/urandom >/mnt/tank/home/f && zfs snapshot tank/home@b");
    transfer(
        &from_snapshot("tank/home@b", "tank/home@a"),
        &cut("backup/home@b"),
    )
    .1
    .unwrap_err();
    assert!(open().properties().get("receive_resume_token").is_some());
    lzc().abandon_receive(&open()).unwrap();
    assert!(
        open()
            .properties()
            .get("receive_resume_token")
            .is_none_or(|p| p.value == "-")
    );
    let error = lzc().abandon_receive(&open()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert!(lzc().exists("backup/home@a"));
}

#[test]
fn a_receive_says_why_it_fails() {
    let (tank, _backup) = two_pools();
    tank.create("home");
    run("head -c 1M /dev/urandom >/mnt/tank/home/f && zfs snapshot tank/home@a");
    run(
        "touch /mnt/tank/home/g && zfs snapshot tank/home@b && touch /mnt/tank/home/h && zfs snapshot tank/home@c",
    );
    let writable = |name| Target {
        properties: NvList::new(),
        ..Target::new(name)
    };
    let kind = |request: &SendRequest, target: &Target<'_>| {
        let error = transfer(request, target).1.unwrap_err();
        eprintln!("{error}");
        error.kind
    };
    assert_eq!(
        kind(&full("tank/home@a"), &Target::new("backup/no/home@a")),
        ErrorKind::NotFound
    );
    transfer(&full("tank/home@a"), &writable("backup/home@a"))
        .1
        .unwrap();
    assert_eq!(
        kind(&full("tank/home@a"), &writable("backup/home@a")),
        ErrorKind::Exists
    );
    let b_to_c = from_snapshot("tank/home@c", "tank/home@b");
    assert_eq!(
        kind(&b_to_c, &writable("backup/home@c")),
        ErrorKind::BaseMissing
    );
    let a_to_b = from_snapshot("tank/home@b", "tank/home@a");
    run(
        "mkdir -p /mnt/w && zfs set mountpoint=/mnt/w backup/home && (zfs mount backup/home || true) && echo x >/mnt/w/new && zpool sync",
    );
    assert_eq!(
        kind(&a_to_b, &writable("backup/home@b")),
        ErrorKind::Modified
    );
    transfer(
        &a_to_b,
        &Target {
            force: true,
            ..writable("backup/home@b")
        },
    )
    .1
    .unwrap();
    assert!(!Path::new("/mnt/w/new").exists());
    run("zfs unmount backup/home");
    run("zfs set quota=3M backup/home");
    run("head -c 8M /dev/urandom >/mnt/tank/home/big && zfs snapshot tank/home@d");
    let b_to_d = from_snapshot("tank/home@d", "tank/home@b");
    assert_eq!(
        kind(&b_to_d, &writable("backup/home@d")),
        ErrorKind::NoSpace
    );
    let wrong_way = from_snapshot("tank/home@a", "tank/home@b");
    let (_reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    assert_eq!(
        lzc().send(&wrong_way, writer.as_fd()).unwrap_err().kind,
        ErrorKind::BaseMissing
    );
    assert_eq!(
        lzc()
            .send(&full("tank/home@none"), writer.as_fd())
            .unwrap_err()
            .kind,
        ErrorKind::NotFound
    );
}

#[test]
fn a_damaged_stream_is_refused() {
    let (tank, _backup) = two_pools();
    tank.create("home");
    run(
        "head -c 2M /dev/urandom >/mnt/tank/home/f && zfs snapshot tank/home@a && zfs send tank/home@a | cat >/tmp/stream",
    );
    let mut bytes = fs::read("/tmp/stream").unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    File::create("/tmp/stream")
        .unwrap()
        .write_all(&bytes)
        .unwrap();
    let mut stream = File::open("/tmp/stream").unwrap();
    let begin = BeginRecord::read(&mut stream).unwrap();
    let properties = NvList::new();
    let request = ReceiveRequest {
        snapshot: snapshot("backup/home@a"),
        begin: &begin,
        properties: &properties,
        origin: None,
        force: false,
        resumable: false,
    };
    let error = lzc().receive(&request, stream.as_fd()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::BadStream, "{error}");
    assert!(!lzc().exists("backup/home"));
}

#[test]
fn encrypted_volumes_travel_raw() {
    let (_tank, _backup) = two_pools();
    run(
        "head -c 32 /dev/urandom >/tmp/key && zfs create -o encryption=on -o keyformat=raw -o keylocation=file:///tmp/key -o mountpoint=/mnt/tank/secret tank/secret",
    );
    run(
        "head -c 1M /dev/urandom >/mnt/tank/secret/f && zfs snapshot tank/secret@a && zfs bookmark tank/secret@a '#a'",
    );
    run(
        "touch /mnt/tank/secret/g && zfs snapshot tank/secret@b && zfs unmount tank/secret && zfs unload-key tank/secret",
    );
    let libzfs = Libzfs::open().unwrap();
    let facts = libzfs
        .snapshot(&snapshot("tank/secret@a"))
        .unwrap()
        .unwrap();
    let ivset_guid = facts.ivset_guid.expect("an encrypted snapshot has one");
    let bookmarks = lzc().bookmarks(&dataset("tank/secret")).unwrap();
    assert_eq!(bookmarks[0].ivset_guid, Some(ivset_guid));

    let (_reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    let error = lzc()
        .send(&full("tank/secret@a"), writer.as_fd())
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Encryption, "{error}");
    drop(writer);
    let raw = SendFlags {
        raw: true,
        ..SendFlags::default()
    };
    let target = |name| Target {
        properties: NvList::new(),
        ..Target::new(name)
    };
    transfer(
        &SendRequest {
            flags: raw,
            ..full("tank/secret@a")
        },
        &target("backup/secret@a"),
    )
    .1
    .unwrap();
    let request = SendRequest {
        from: Some(SendBase::Bookmark(bookmark("tank/secret#a"))),
        flags: raw,
        ..full("tank/secret@b")
    };
    transfer(&request, &target("backup/secret@b")).1.unwrap();
    assert_eq!(guid_of("backup/secret@b"), guid_of("tank/secret@b"));
    let copy = libzfs
        .snapshot(&snapshot("backup/secret@a"))
        .unwrap()
        .unwrap();
    assert_eq!(copy.ivset_guid, Some(ivset_guid));
    run("mkdir -p /mnt/look");
    let locked = libzfs.dataset(&dataset("backup/secret")).unwrap().unwrap();
    let error = locked.mount_at(Path::new("/mnt/look"), "ro").unwrap_err();
    assert!(error.description.contains("key"), "{error}");
}

#[test]
fn a_bad_token_is_an_error_that_leaves_no_trace() {
    let _tank = TestPool::new("tank", DISK);
    let libzfs = Libzfs::open().unwrap();
    for token in [
        "",
        "x",
        "1-0-0-",
        "9-abc-10-00",
        "1-deadbeef-e0-789c636064000310a50",
    ] {
        let error = libzfs.decode_resume_token(token).unwrap_err();
        eprintln!("{error}");
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert!(!error.description.is_empty());
    }
    // libzfs would show the token's description again with the next error that has none of its own,
    // such as this one.
    run(&format!(
        "zpool export tank && zpool import -N -o readonly=on -d {DISK}1 tank"
    ));
    let mut root = libzfs.dataset(&dataset("tank")).unwrap().unwrap();
    let error = root.set_property("org.zbackup:x", "1").unwrap_err();
    assert_eq!(error.kind, ErrorKind::ReadOnly, "{error}");
    assert!(!error.description.contains("token"), "{error}");
}

/// Sends into a file, through a pipe as a send wants it.
fn send_to_file(request: &SendRequest, path: &str) {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    let request = request.clone();
    let sender = thread::spawn(move || lzc().send(&request, writer.as_fd()));
    std::io::copy(&mut File::from(reader), &mut File::create(path).unwrap()).unwrap();
    sender.join().unwrap().unwrap();
}

fn receive_from_file(path: &str, name: &str) {
    let file = File::open(path).unwrap();
    let begin = BeginRecord::read_from(file.as_fd()).unwrap();
    let request = ReceiveRequest {
        snapshot: snapshot(name),
        begin: &begin,
        properties: &kernel_properties([("readonly", "on")]).unwrap(),
        origin: None,
        force: false,
        resumable: true,
    };
    lzc().receive(&request, file.as_fd()).unwrap();
}

#[test]
fn one_stream_makes_the_same_of_both_receives() {
    let (tank, _backup) = two_pools();
    tank.create("home");
    run("cp -r /etc/ssl /mnt/tank/home/ && head -c 2M /dev/urandom >/mnt/tank/home/f");
    run(
        "zfs snapshot tank/home@a && rm -r /mnt/tank/home/ssl && head -c 1M /dev/urandom >/mnt/tank/home/g",
    );
    run("zfs snapshot tank/home@b");
    let streams = [
        ("a", full("tank/home@a")),
        ("b", from_snapshot("tank/home@b", "tank/home@a")),
    ];
    for (short, request) in &streams {
        let path = format!("/tmp/{short}.stream");
        send_to_file(request, &path);
        run(&format!(
            "zfs receive -u -o readonly=on backup/theirs@{short} < {path}"
        ));
        receive_from_file(&path, &format!("backup/ours@{short}"));
        run(&format!("rm {path}"));
    }
    run(&format!(
        "zpool export backup && zpool import -N -d {OTHER_DISK}1 -o cachefile=none backup"
    ));
    for short in ["a", "b"] {
        let guid = guid_of(&format!("tank/home@{short}"));
        for copy in ["ours", "theirs"] {
            assert_eq!(guid_of(&format!("backup/{copy}@{short}")), guid, "{copy}");
            let hashes = format!(
                "mkdir -p /mnt/look; mount -t zfs -o ro backup/{copy}@{short} /mnt/look
                 cd /mnt/look; find . -type f | sort | xargs sha256sum; cd /; umount /mnt/look"
            );
            let source = format!(
                "cd /mnt/tank/home/.zfs/snapshot/{short} && find . -type f | sort | xargs sha256sum"
            );
            assert_eq!(run(&hashes), run(&source), "{copy}@{short}");
        }
    }
}
