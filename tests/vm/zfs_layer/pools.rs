//! Finding, importing, watching and exporting pools.

use super::*;

#[test]
fn a_pool_tells_what_zpool_tells() {
    let tank = TestPool::new("tank", DISK);
    let libzfs = Libzfs::open().unwrap();
    let statuses = libzfs.pools().unwrap();
    let status = statuses
        .iter()
        .find(|status| status.name.as_str() == "tank")
        .unwrap();
    let oracle = |property: &str| run(&format!("zpool get -Hpo value {property} tank"));
    assert_eq!(status.guid.to_string(), oracle("guid"));
    assert_eq!(status.size_bytes.to_string(), oracle("size"));
    assert!(status.free_bytes > 0 && status.free_bytes < status.size_bytes);
    assert_eq!(
        (status.health, status.health_text.as_str()),
        (Health::Online, "ONLINE")
    );
    assert!(!status.readonly && status.altroot.is_none() && status.scan.is_none());
    assert_eq!(status.data_errors, 0);
    assert_eq!(
        status.hostid.map(|id| format!("{id:08x}")),
        Some(run("hostid"))
    );
    assert_eq!(status.hostname.as_deref(), Some(run("hostname").as_str()));
    assert_eq!(status.vdevs.len(), 1);
    assert_eq!(status.vdevs[0].health, Health::Online);
    let enabled: BTreeSet<_> = run("zpool get -Ho property,value all tank")
        .lines()
        .filter_map(|line| line.strip_prefix("feature@")?.split_once('\t'))
        .filter(|(_, value)| *value == "enabled" || *value == "active")
        .map(|(name, _)| name.to_owned())
        .collect();
    assert_eq!(status.features, enabled);
    assert!(
        status.active_features.contains("extensible_dataset") || !status.active_features.is_empty()
    );
    assert!(!status.active_features.contains("large_blocks"));

    let pool = libzfs.pool(&pool_name("tank")).unwrap().unwrap();
    assert_eq!(pool.guid(), status.guid);
    assert_eq!(
        pool.device_paths().unwrap(),
        [PathBuf::from(format!("{DISK}1"))]
    );
    assert!(libzfs.pool(&pool_name("nowhere")).unwrap().is_none());

    // The wait ends inside the transaction group that still has to note the time.
    run("zpool scrub -w tank; zpool sync tank");
    let scan = pool.status().unwrap().scan.unwrap();
    assert_eq!(
        (scan.function, scan.state, scan.errors),
        (ScanFunction::Scrub, ScanState::Finished, 0)
    );
    assert!(scan.end_seconds.unwrap() >= scan.start_seconds);
    drop(tank);
    assert_eq!(pool.status().unwrap_err().kind, ErrorKind::NotFound);
}

#[test]
fn a_pool_is_found_imported_and_exported() {
    let tank = TestPool::new("tank", DISK);
    tank.create("home");
    let guid: Guid = run("zpool get -Hpo value guid tank").parse().unwrap();
    let device = format!("{DISK}1");
    let device = Path::new(&device);
    let libzfs = Libzfs::open().unwrap();
    assert!(
        libzfs.search(device).unwrap().is_empty(),
        "an imported pool is not importable"
    );

    let pool = libzfs.pool(&pool_name("tank")).unwrap().unwrap();
    let error = pool.export("zbackup test").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Busy, "{error}");
    run("zfs unmount -a");
    let pool = libzfs.pool(&pool_name("tank")).unwrap().unwrap();
    pool.export("zbackup test").unwrap();
    assert!(!is_imported("tank"));
    assert!(libzfs.pool(&pool_name("tank")).unwrap().is_none());

    let found = libzfs.search(device).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].name.as_str(), found[0].guid), ("tank", guid));
    assert!(found[0].is_exported && found[0].needs_force.is_none());
    assert_eq!(
        (found[0].health, found[0].obstacle(false)),
        (Health::Online, None)
    );
    let now: u64 = run("date +%s").parse().unwrap();
    let age_seconds = now - found[0].last_write_seconds.unwrap();
    assert!(age_seconds < 600, "{age_seconds}");
    let options = ImportOptions {
        readonly: true,
        altroot: Some("/mnt/alt".into()),
        ..ImportOptions::default()
    };
    libzfs.import(&found[0], &options).unwrap();
    assert!(!mounted_below("tank"));
    let pool = libzfs.pool(&pool_name("tank")).unwrap().unwrap();
    let status = pool.status().unwrap();
    assert!(status.readonly);
    assert_eq!(status.altroot.as_deref(), Some(Path::new("/mnt/alt")));
    assert_eq!(run("zpool get -Ho value cachefile tank"), "none");
    assert_eq!(pool.device_paths().unwrap(), [device]);
    pool.export("zbackup test").unwrap();

    let found = libzfs.search(device).unwrap();
    let options = ImportOptions {
        temporary_name: Some(pool_name("renamed")),
        ..ImportOptions::default()
    };
    libzfs.import(&found[0], &options).unwrap();
    let renamed = TestPool("renamed");
    assert_eq!(run("zpool get -Hpo value guid renamed"), guid.to_string());
    assert!(run("zpool history renamed").contains("zbackup test"));
    let pool = libzfs.pool(&pool_name("renamed")).unwrap().unwrap();
    pool.export("zbackup test").unwrap();
    assert_eq!(libzfs.search(device).unwrap()[0].name.as_str(), "tank");
    drop(renamed);
}

/// Overwrites what C frees with this byte, so that whoever still looks there is found out.
fn overwrite_freed_memory(byte: i32) {
    // SAFETY: only sets what malloc and free do from now on.
    assert_eq!(unsafe { libc::mallopt(libc::M_PERTURB, byte) }, 1);
}

#[test]
fn what_is_open_outlives_an_export() {
    let tank = TestPool::new("tank", DISK);
    let home = tank.create("home");
    let libzfs = Libzfs::open().unwrap();
    let before = libzfs.dataset(&home).unwrap().unwrap();
    let mountpoint =
        |dataset: &Dataset| dataset.properties().value("mountpoint").map(str::to_owned);
    run("zfs unmount -a");
    overwrite_freed_memory(0x5a);
    let pool = libzfs.pool(&pool_name("tank")).unwrap().unwrap();
    pool.export("zbackup test").unwrap();
    assert_eq!(mountpoint(&before).as_deref(), Some("/mnt/tank/home"));
    assert!(before.children().map_or(true, |found| found.is_empty()));
    assert!(
        before
            .snapshots(None)
            .map_or(true, |found| found.is_empty())
    );

    let found = libzfs.search(Path::new(&format!("{DISK}1"))).unwrap();
    let options = ImportOptions {
        readonly: true,
        altroot: Some("/mnt/alt".into()),
        ..ImportOptions::default()
    };
    libzfs.import(&found[0], &options).unwrap();
    // What is opened now knows the pool as it is now; the old handle is still whole.
    let after = libzfs.dataset(&home).unwrap().unwrap();
    assert_eq!(
        mountpoint(&after).as_deref(),
        Some("/mnt/alt/mnt/tank/home")
    );
    assert!(mountpoint(&before).is_some_and(|path| path.ends_with("/mnt/tank/home")));
    drop((before, after));
    overwrite_freed_memory(0);
}

#[test]
fn a_pool_from_before_there_were_features_has_none() {
    run("udevadm settle");
    run(&format!(
        "zpool create -f -o version=28 -O mountpoint=none tank {DISK}"
    ));
    let _tank = TestPool("tank");
    let libzfs = Libzfs::open().unwrap();
    overwrite_freed_memory(0x5a);
    let pool = libzfs.pool(&pool_name("tank")).unwrap().unwrap();
    let status = pool.status().unwrap();
    overwrite_freed_memory(0);
    assert!(status.features.is_empty() && status.active_features.is_empty());
    assert_eq!(status.vdevs.len(), 1);
    assert_eq!(status.vdevs[0].health, Health::Online);
}

#[test]
fn a_search_sees_one_device_only() {
    let _tank = TestPool::new("tank", DISK);
    run("zpool export tank");
    run(&format!("udevadm settle && wipefs -qaf {OTHER_DISK}"));
    let libzfs = Libzfs::open().unwrap();
    assert!(libzfs.search(Path::new(OTHER_DISK)).unwrap().is_empty());
    let error = libzfs.search(Path::new("/dev/nowhere")).unwrap_err();
    assert_eq!(
        (error.kind, error.code),
        (ErrorKind::NotFound, libc::ENOENT)
    );
    assert_eq!(
        libzfs.search(Path::new(&format!("{DISK}1"))).unwrap().len(),
        1
    );
    run(&format!("zpool import -d {DISK}1 tank"));
}

/// A copy of an imported pool's device is what a disk looks like that was pulled out.
#[test]
fn a_pool_of_another_host_needs_force() {
    const HOSTID: &str = "/sys/module/spl/parameters/spl_hostid";
    let _tank = TestPool::on_file("tank", "/tmp/tank.img");
    run(
        "zpool sync tank && cp --sparse=always /tmp/tank.img /tmp/pulled.img && zpool destroy tank",
    );
    let libzfs = Libzfs::open().unwrap();
    let search = || {
        libzfs
            .search(Path::new("/tmp/pulled.img"))
            .unwrap()
            .remove(0)
    };
    let own = search();
    assert!(!own.is_exported && own.needs_force.is_none(), "{own:?}");

    let before = fs::read_to_string(HOSTID).unwrap();
    fs::write(HOSTID, "4711").unwrap();
    let foreign = search();
    let refused = libzfs.import(&foreign, &ImportOptions::default());
    let forced = libzfs.import(
        &foreign,
        &ImportOptions {
            force: true,
            ..ImportOptions::default()
        },
    );
    fs::write(HOSTID, before.trim()).unwrap();

    let host = foreign.needs_force.as_ref().unwrap();
    assert_eq!(
        host.hostid.map(|id| format!("{id:08x}")),
        Some(run("hostid"))
    );
    let error = refused.unwrap_err();
    assert_eq!(error.kind, ErrorKind::ForeignHost);
    assert!(error.to_string().contains(&run("hostname")), "{error}");
    forced.unwrap();
    assert!(is_imported("tank"));
}

#[test]
fn a_pool_with_a_missing_device_says_so_in_its_error() {
    run("rm -f /tmp/half1.img /tmp/half2.img && truncate -s 128M /tmp/half1.img /tmp/half2.img");
    run("zpool create -f -O mountpoint=none halves /tmp/half1.img /tmp/half2.img");
    let _halves = TestPool("halves");
    run("zpool export halves && mv /tmp/half2.img /tmp/away.img");
    let libzfs = Libzfs::open().unwrap();
    let found = libzfs
        .search(Path::new("/tmp/half1.img"))
        .unwrap()
        .remove(0);
    assert_ne!(found.health, Health::Online);
    assert!(found.obstacle(true).is_some());
    libzfs
        .import(&found, &ImportOptions::default())
        .unwrap_err();
    assert!(!is_imported("halves"));
}

/// libzfs prints which features are unknown; that has to be in the error and not on standard output.
#[test]
fn a_pool_with_an_unknown_feature_says_so_in_its_error() {
    // zhack looks at all of a directory.
    run("mkdir -p /tmp/future");
    let _tank = TestPool::on_file("tank", "/tmp/future/tank.img");
    run("zpool export tank");
    run("zhack -d /tmp/future feature enable -d 'of the future' tank org.zbackup:future");
    run("zhack -d /tmp/future feature ref tank org.zbackup:future");
    let libzfs = Libzfs::open().unwrap();
    let found = libzfs
        .search(Path::new("/tmp/future/tank.img"))
        .unwrap()
        .remove(0);
    assert_eq!(found.unsupported_features, ["org.zbackup:future"]);
    assert!(found.obstacle(true).unwrap().contains("org.zbackup:future"));
    let stdout_before = fs::read_link("/proc/self/fd/1").unwrap();
    let error = libzfs
        .import(&found, &ImportOptions::default())
        .unwrap_err();
    assert_eq!(fs::read_link("/proc/self/fd/1").unwrap(), stdout_before);
    assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
    assert!(error.description.contains("org.zbackup:future"), "{error}");
}

/// A device-mapper table that fails is what a pulled plug looks like.
#[test]
fn a_suspended_pool_says_so_and_comes_back() {
    let sectors = run(&format!("blockdev --getsz {OTHER_DISK}"));
    let table = format!("0 {sectors} linear {OTHER_DISK} 0");
    run(&format!(
        "udevadm settle && wipefs -qaf {OTHER_DISK} && dmsetup create shaky --table '{table}'"
    ));
    run("zpool create -f -O mountpoint=/mnt/shaky shaky /dev/mapper/shaky");
    run(&format!(
        "dmsetup suspend --noflush shaky && dmsetup load shaky --table '0 {sectors} error' && dmsetup resume shaky"
    ));
    let writer = thread::spawn(|| {
        // Hangs until the device is back.
        fs::write("/mnt/shaky/file", vec![7; 1 << 20]).unwrap();
        lzc().sync(&pool_name("shaky"))
    });
    while !run("cat /proc/spl/kstat/zfs/shaky/state").contains("SUSPENDED") {
        thread::yield_now();
    }
    let libzfs = Libzfs::open().unwrap();
    let status = libzfs
        .pools()
        .unwrap()
        .into_iter()
        .find(|status| status.name.as_str() == "shaky")
        .unwrap();
    let refused = lzc().create(
        &dataset("shaky/new"),
        DatasetKind::Filesystem,
        &NvList::new(),
    );
    run(&format!(
        "dmsetup suspend --noflush shaky && dmsetup load shaky --table '{table}' && dmsetup resume shaky"
    ));
    let pool = libzfs.pool(&pool_name("shaky")).unwrap().unwrap();
    let cleared = pool.clear();
    let written = writer.join().unwrap();
    let after = pool.status().unwrap();
    run("zpool destroy -f shaky && dmsetup remove shaky");

    assert_eq!(status.health, Health::Suspended, "{status:?}");
    assert!(
        status.vdevs[0].write_errors + status.vdevs[0].read_errors > 0,
        "{status:?}"
    );
    assert_eq!(refused.unwrap_err().kind, ErrorKind::Suspended);
    cleared.unwrap();
    written.unwrap();
    assert_eq!(after.health, Health::Online);
}

/// The log of a small pool holds 128 KiB. What `zpool create` has left there stays for ever.
#[test]
fn a_log_that_was_overwritten_says_from_where_on_it_is_whole() {
    let small = TestPool::on_file("small", "/tmp/small");
    small.create("home");
    let libzfs = Libzfs::open().unwrap();
    let first = || {
        let pool = libzfs.pool(&pool_name("small")).unwrap().unwrap();
        pool.history().unwrap().first.unwrap()
    };
    let made_at: u64 = run("zfs get -Hpo value createtxg small/home")
        .parse()
        .unwrap();
    assert!(first().0 <= made_at, "{} {made_at}", first());
    run("zfs snapshot small/home@a
         for number in $(seq 24); do zfs set org.me:long=$(printf %08000d $number) small; done");
    let snapshot_at: u64 = run("zfs get -Hpo value createtxg small/home@a")
        .parse()
        .unwrap();
    assert!(first().0 > snapshot_at, "{} {snapshot_at}", first());
}
