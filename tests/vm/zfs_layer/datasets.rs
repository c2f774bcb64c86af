//! Listing, changing, creating, mounting and destroying datasets.

use super::*;

/// Every property that `zfs get` shows, with the same value and source.
#[test]
fn properties_are_those_of_zfs_get() {
    let tank = TestPool::new("tank", DISK);
    let home = tank.create("home");
    run(
        "zfs set org.zbackup:x=top compression=gzip-3 tank && zfs set recordsize=1M org.zbackup:y='a b' tank/home",
    );
    run("zfs create -o quota=64M tank/home/vic && zfs create -V 8M tank/disk1");
    let libzfs = Libzfs::open().unwrap();
    for name in ["tank", "tank/home", "tank/home/vic", "tank/disk1"] {
        let properties = libzfs
            .dataset(&dataset(name))
            .unwrap()
            .unwrap()
            .properties();
        let ours: BTreeSet<_> = properties
            .iter()
            .map(|(name, property)| {
                let source = match &property.source {
                    PropertySource::Local => "local".to_owned(),
                    PropertySource::Default => "default".into(),
                    PropertySource::Inherited(from) => format!("inherited from {from}"),
                    PropertySource::Received => "received".into(),
                    PropertySource::Temporary => "temporary".into(),
                    PropertySource::None => "-".into(),
                };
                format!("{name}\t{}\t{source}", property.value)
            })
            .collect();
        let oracle: BTreeSet<_> = run(&format!("zfs get -Hp -o property,value,source all {name}"))
            .lines()
            .map(str::to_owned)
            .collect();
        let oracle_only: Vec<_> = oracle.difference(&ours).collect();
        let ours_only: Vec<_> = ours.difference(&oracle).collect();
        assert!(
            oracle_only.is_empty() && ours_only.is_empty(),
            "{name}: {oracle_only:?} {ours_only:?}"
        );
    }
    let local: Vec<_> = libzfs
        .dataset(&home)
        .unwrap()
        .unwrap()
        .properties()
        .local()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(
        local,
        [
            "mountpoint=/mnt/tank/home",
            "org.zbackup:y=a b",
            "recordsize=1048576"
        ]
    );
}

#[test]
fn datasets_are_listed_and_changed() {
    let tank = TestPool::new("tank", DISK);
    let home = tank.create("home");
    run(
        "zfs create tank/home/vic && zfs create tank/home/anna && zfs create -V 8M tank/home/disk1",
    );
    let libzfs = Libzfs::open().unwrap();
    assert!(libzfs.dataset(&dataset("tank/nowhere")).unwrap().is_none());
    assert!(
        libzfs
            .dataset(&dataset("nopool/nowhere"))
            .unwrap()
            .is_none()
    );
    let mut home = libzfs.dataset(&home).unwrap().unwrap();
    assert_eq!(
        (home.kind(), home.guid()),
        (DatasetKind::Filesystem, guid_of("tank/home"))
    );
    assert_eq!(
        home.createtxg().0.to_string(),
        run("zfs get -Hpo value createtxg tank/home")
    );
    assert!(home.is_mounted() && !home.is_inconsistent());
    let children: Vec<_> = home
        .children()
        .unwrap()
        .iter()
        .map(|child| (child.name().to_string(), child.kind()))
        .collect();
    assert_eq!(
        children,
        [
            ("tank/home/anna".to_owned(), DatasetKind::Filesystem),
            ("tank/home/disk1".to_owned(), DatasetKind::Volume),
            ("tank/home/vic".to_owned(), DatasetKind::Filesystem),
        ]
    );

    home.set_property("org.zbackup:x", "1").unwrap();
    home.set_property("readonly", "on").unwrap();
    home.set_property("canmount", "noauto").unwrap();
    assert_eq!(
        run("zfs get -Ho value readonly,canmount,org.zbackup:x tank/home"),
        "on\nnoauto\n1"
    );
    home.refresh();
    assert_eq!(home.user_properties().value("org.zbackup:x"), Some("1"));
    home.inherit_property("org.zbackup:x").unwrap();
    assert_eq!(home.user_properties().value("org.zbackup:x"), None);
    assert_eq!(run("zfs get -Ho value org.zbackup:x tank/home"), "-");
    for (name, value) in [
        ("mountpoint", "/x"),
        ("sharenfs", "on"),
        ("canmount", "off"),
    ] {
        assert_eq!(
            home.set_property(name, value).unwrap_err().kind,
            ErrorKind::Unsupported,
            "{name}"
        );
    }
    assert_eq!(
        home.inherit_property("mountpoint").unwrap_err().kind,
        ErrorKind::Unsupported
    );
    let error = home.set_property("compression", "best").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
}

#[test]
fn a_dataset_is_created_renamed_rolled_back_and_destroyed() {
    let _tank = TestPool::new("tank", DISK);
    let properties = kernel_properties([
        ("compression", "gzip-3"),
        ("recordsize", "1048576"),
        ("canmount", "noauto"),
        ("readonly", "on"),
        ("mountpoint", "/mnt/x"),
        ("quota", "67108864"),
        ("snapshot_limit", "none"),
        ("org.zbackup:x", "1"),
    ])
    .unwrap();
    let new = dataset("tank/new");
    lzc()
        .create(&new, DatasetKind::Filesystem, &properties)
        .unwrap();
    assert_eq!(
        run(
            "zfs get -Hpo value compression,recordsize,canmount,readonly,mountpoint,quota,org.zbackup:x tank/new"
        ),
        "gzip-3\n1048576\nnoauto\non\n/mnt/x\n67108864\n1"
    );
    // Said of 2^64 - 1 alone. With -p, 2.1 shows that number instead, 2.2 the word there too.
    assert_eq!(run("zfs get -Ho value snapshot_limit tank/new"), "none");
    assert!(!mounted_below("tank/new"));
    let volume = kernel_properties([("volsize", "8388608"), ("volmode", "none")]).unwrap();
    lzc()
        .create(&dataset("tank/disk1"), DatasetKind::Volume, &volume)
        .unwrap();
    assert_eq!(
        run("zfs get -Hpo value type,volsize tank/disk1"),
        "volume\n8388608"
    );
    for bad in [
        ("colour", "green"),
        ("compression", "best"),
        ("recordsize", "1M"),
    ] {
        assert_eq!(
            kernel_properties([bad]).unwrap_err().kind,
            ErrorKind::Invalid
        );
    }

    assert_eq!(
        lzc()
            .create(&new, DatasetKind::Filesystem, &NvList::new())
            .unwrap_err()
            .kind,
        ErrorKind::Exists
    );
    let orphan = lzc().create(
        &dataset("tank/a/b"),
        DatasetKind::Filesystem,
        &NvList::new(),
    );
    assert_eq!(orphan.unwrap_err().kind, ErrorKind::NotFound);
    let below_volume = lzc().create(
        &dataset("tank/disk1/b"),
        DatasetKind::Filesystem,
        &NvList::new(),
    );
    assert_eq!(below_volume.unwrap_err().kind, ErrorKind::Invalid);

    let kept = dataset("tank/kept");
    lzc().rename(&new, &kept).unwrap();
    assert!(lzc().exists("tank/kept") && !lzc().exists("tank/new"));
    run(
        "zfs snapshot tank/kept@a && zfs set readonly=off tank/kept && zfs mount tank/kept && echo x >/mnt/x/f && zfs unmount tank/kept && zpool sync",
    );
    lzc().rollback_to(&snapshot("tank/kept@a")).unwrap();
    assert_eq!(run("zfs get -Hpo value written tank/kept"), "0");
    run("zfs snapshot tank/kept@b");
    let error = lzc().rollback_to(&snapshot("tank/kept@a")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Exists, "{error}");
    let error = lzc().destroy_dataset(&kept).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Busy, "{error}");
    run("zfs destroy tank/kept@% && zfs create tank/kept/child");
    let error = lzc().destroy_dataset(&kept).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Busy, "{error}");
    lzc().destroy_dataset(&dataset("tank/disk1")).unwrap();
    assert_eq!(
        lzc()
            .destroy_dataset(&dataset("tank/disk1"))
            .unwrap_err()
            .kind,
        ErrorKind::NotFound
    );
}

#[test]
fn a_dataset_is_mounted_where_asked() {
    let _tank = TestPool::new("tank", DISK);
    run("zfs create -o mountpoint=none tank/home && mkdir -p /mnt/here");
    let libzfs = Libzfs::open().unwrap();
    let home = libzfs.dataset(&dataset("tank/home")).unwrap().unwrap();
    home.mount_at(Path::new("/mnt/here"), "ro,nosuid,nodev")
        .unwrap();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let line = mounts
        .lines()
        .find(|line| line.starts_with("tank/home "))
        .unwrap();
    assert!(
        line.starts_with("tank/home /mnt/here zfs ro,nosuid,nodev"),
        "{line}"
    );
    assert!(home.is_mounted());
    let again = home.mount_at(Path::new("/mnt/here"), "ro");
    assert!(again.is_err());
    nix::mount::umount2("/mnt/here", nix::mount::MntFlags::empty()).unwrap();
    assert!(!home.is_mounted());
}
