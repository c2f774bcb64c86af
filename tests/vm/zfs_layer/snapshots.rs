//! Snapshots, bookmarks and holds.

use super::*;

#[test]
#[allow(clippy::too_many_lines)] // one list of facts, each compared with the command line's
fn snapshots_and_bookmarks_tell_what_zfs_tells() {
    let tank = TestPool::new("tank", DISK);
    let name = tank.create("home");
    run("zfs set org.zbackup:inherited=1 tank/home");
    let own = BTreeMap::from([("org.zbackup:created".to_owned(), "2026".to_owned())]);
    lzc()
        .snapshot(&[snapshot("tank/home@z"), snapshot("tank@z")], &own)
        .unwrap();
    run("head -c 1M /dev/urandom >/mnt/tank/home/f");
    lzc()
        .snapshot(&[snapshot("tank/home@a")], &BTreeMap::new())
        .unwrap();
    lzc()
        .hold(&[(snapshot("tank/home@a"), "tag")], None)
        .unwrap();
    run("rm /mnt/tank/home/f && zpool sync");
    let libzfs = Libzfs::open().unwrap();
    let home = libzfs.dataset(&name).unwrap().unwrap();
    let all = home.snapshots(None).unwrap();
    assert_eq!(
        all.iter().map(|s| s.name.short()).collect::<Vec<_>>(),
        ["z", "a"],
        "by createtxg, not by name"
    );
    for fact in &all {
        let oracle = run(&format!(
            "zfs get -Hpo value guid,createtxg,creation,used,referenced,written,userrefs {}",
            fact.name
        ));
        assert_eq!(
            oracle,
            format!(
                "{}\n{}\n{}\n{}\n{}\n{}\n{}",
                fact.guid,
                fact.createtxg,
                fact.creation_seconds,
                fact.used_bytes,
                fact.referenced_bytes,
                fact.written_bytes,
                fact.holds
            )
        );
        assert_eq!(fact.ivset_guid, None);
    }
    assert_eq!(all[0].user_properties, own);
    assert!(
        all[1].user_properties.is_empty(),
        "inherited ones do not count"
    );
    assert!(all[1].used_bytes > 1 << 20 && all[1].holds == 1);
    assert_eq!(
        libzfs.snapshot(&all[1].name).unwrap().as_ref(),
        Some(&all[1])
    );
    assert_eq!(libzfs.snapshot(&snapshot("tank/home@none")).unwrap(), None);
    let newer = home
        .snapshots(Some(Createtxg(all[0].createtxg.0 + 1)))
        .unwrap();
    assert_eq!(newer, all[1..]);
    assert_eq!(
        home.snapshots(Some(all[0].createtxg)).unwrap(),
        all,
        "the bound itself is included"
    );

    let (b, c) = (bookmark("tank/home#b"), bookmark("tank/home#c"));
    lzc()
        .bookmark(&[
            (b.clone(), all[1].name.clone()),
            (c.clone(), all[0].name.clone()),
        ])
        .unwrap();
    let bookmarks = home.bookmarks(None).unwrap();
    assert_eq!(
        bookmarks
            .iter()
            .map(|b| (&b.name, b.guid, b.createtxg))
            .collect::<Vec<_>>(),
        [
            (&c, all[0].guid, all[0].createtxg),
            (&b, all[1].guid, all[1].createtxg)
        ]
    );
    assert_eq!(
        home.bookmarks(Some(all[1].createtxg)).unwrap(),
        bookmarks[1..]
    );

    run("head -c 2M /dev/urandom >/mnt/tank/home/g && zpool sync");
    let home = libzfs.dataset(&name).unwrap().unwrap();
    let oracle: u64 = run("zfs get -Hpo value written@z tank/home")
        .parse()
        .unwrap();
    assert!(oracle > 2 << 20);
    assert_eq!(home.written_since(&all[0].name).unwrap(), oracle);
    assert_eq!(
        home.written_since_bookmark(&c).unwrap().to_string(),
        run("zfs get -Hpo value written#c tank/home")
    );
    let error = home.written_since(&snapshot("tank/home@none")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");

    lzc()
        .destroy_bookmarks(&[b, c, bookmark("tank/home#none")])
        .unwrap();
    assert!(home.bookmarks(None).unwrap().is_empty());
    assert_eq!(
        lzc().bookmarks(&dataset("tank/none")).unwrap_err().kind,
        ErrorKind::NotFound
    );
}

#[test]
fn a_failed_batch_names_its_items_and_does_nothing() {
    let tank = TestPool::new("tank", DISK);
    tank.create("a");
    tank.create("b");
    run("zfs snapshot tank/a@x");
    let none = BTreeMap::new();
    let blamed = |error: BatchError| {
        error
            .items
            .iter()
            .map(|item| (item.name.clone(), item.kind))
            .collect::<Vec<_>>()
    };
    let error = lzc()
        .snapshot(
            &[
                snapshot("tank/a@x"),
                snapshot("tank/b@x"),
                snapshot("tank/c@x"),
            ],
            &none,
        )
        .unwrap_err();
    eprintln!("{error}");
    assert_eq!(
        blamed(error),
        [("tank/c@x".to_owned(), ErrorKind::NotFound)]
    );
    let error = lzc()
        .snapshot(&[snapshot("tank/a@x"), snapshot("tank/b@x")], &none)
        .unwrap_err();
    assert_eq!(blamed(error), [("tank/a@x".to_owned(), ErrorKind::Exists)]);
    assert!(!lzc().exists("tank/b@x"));
    let error = lzc()
        .snapshot(&[snapshot("tank/a@y"), snapshot("tank/a@z")], &none)
        .unwrap_err();
    eprintln!("{error}");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let x = snapshot("tank/a@x");
    let bookmarks = [(bookmark("tank/a#x"), x.clone())];
    lzc().bookmark(&bookmarks).unwrap();
    let error = lzc().bookmark(&bookmarks).unwrap_err();
    assert_eq!(blamed(error), [("tank/a#x".to_owned(), ErrorKind::Exists)]);

    let held = [(x.clone(), "tag"), (snapshot("tank/a@none"), "tag")];
    let error = lzc().hold(&held, None).unwrap_err();
    assert_eq!(
        (error.code, blamed(error)),
        (0, vec![("tank/a@none".to_owned(), ErrorKind::NotFound)])
    );
    assert_eq!(
        lzc().holds(&x).unwrap().into_keys().collect::<Vec<_>>(),
        ["tag"]
    );
    let error = lzc().hold(&[(x.clone(), "tag")], None).unwrap_err();
    assert_eq!(blamed(error), [("tank/a@x".to_owned(), ErrorKind::Exists)]);
    let error = lzc()
        .destroy_snapshots(std::slice::from_ref(&x), false)
        .unwrap_err();
    assert_eq!(blamed(error), [("tank/a@x".to_owned(), ErrorKind::Busy)]);
    lzc().release(&[(x.clone(), "tag")]).unwrap();
    let error = lzc().release(&[(x.clone(), "tag")]).unwrap_err();
    eprintln!("{error}");
    assert_eq!(error.kind(), ErrorKind::NotFound);

    let cleanup = File::options()
        .read(true)
        .write(true)
        .open("/dev/zfs")
        .unwrap();
    lzc()
        .hold(&[(x.clone(), "passing")], Some(cleanup.as_fd()))
        .unwrap();
    assert_eq!(lzc().holds(&x).unwrap().len(), 1);
    drop(cleanup);
    assert_eq!(lzc().holds(&x).unwrap().len(), 0);
    lzc()
        .destroy_snapshots(&[x.clone(), snapshot("tank/a@none")], false)
        .unwrap();
    assert!(!lzc().exists("tank/a@x"));
}
