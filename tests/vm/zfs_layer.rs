//! `zbackup::zfs` on a real kernel and real pools, with the `zfs` and `zpool` commands as oracle.
//!
//! Each test makes its own pools and takes them down again, whatever becomes of it. Where the layer
//! reports a fact, the command line is asked for the same fact; where it is to fail, the failure is
//! made on purpose and its kind is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use zbackup::name::{BookmarkName, Createtxg, DatasetName, Guid, PoolName, SnapshotName};
use zbackup::snapshot::DatasetKind;
use zbackup::zfs::*;

const DISK: &str = "/dev/vdb";
const OTHER_DISK: &str = "/dev/vdc";

/// Runs a command that has to succeed and gives what it printed.
fn run(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {stderr}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A pool that is gone when this is dropped.
struct TestPool(&'static str);

impl TestPool {
    fn new(name: &'static str, device: &str) -> Self {
        run(&format!(
            "wipefs -qa {device}* && zpool create -f -O mountpoint=none {name} {device}"
        ));
        Self(name)
    }

    /// On a file, for tests that copy or break the device.
    fn on_file(name: &'static str, file: &str) -> Self {
        run(&format!("rm -f {file} && truncate -s 128M {file}"));
        run(&format!("zpool create -f -O mountpoint=none {name} {file}"));
        Self(name)
    }

    fn create(&self, path: &str) -> DatasetName {
        run(&format!(
            "zfs create -o mountpoint=/mnt/{0}/{path} {0}/{path}",
            self.0
        ));
        dataset(&format!("{}/{path}", self.0))
    }
}

impl Drop for TestPool {
    fn drop(&mut self) {
        let _ = Command::new("zpool")
            .args(["destroy", "-f", self.0])
            .output();
    }
}

fn dataset(name: &str) -> DatasetName {
    DatasetName::new(name).unwrap()
}

fn snapshot(name: &str) -> SnapshotName {
    SnapshotName::new(name).unwrap()
}

fn bookmark(name: &str) -> BookmarkName {
    BookmarkName::new(name).unwrap()
}

fn pool_name(name: &str) -> PoolName {
    PoolName::new(name).unwrap()
}

fn lzc() -> Lzc {
    Lzc::open().unwrap()
}

fn guid_of(name: &str) -> Guid {
    run(&format!("zfs get -Hpo value guid {name}"))
        .parse()
        .unwrap()
}

fn is_imported(name: &str) -> bool {
    Command::new("zpool")
        .args(["list", name])
        .output()
        .unwrap()
        .status
        .success()
}

fn mounted_below(pool: &str) -> bool {
    fs::read_to_string("/proc/self/mounts")
        .unwrap()
        .lines()
        .any(|line| {
            line.split(' ')
                .next()
                .is_some_and(|source| source == pool || source.starts_with(&format!("{pool}/")))
        })
}

// --- pools ---------------------------------------------------------------

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

    run("zpool scrub -w tank");
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
        new_name: Some(pool_name("renamed")),
        ..ImportOptions::default()
    };
    libzfs.import(&found[0], &options).unwrap();
    let _renamed = TestPool("renamed");
    assert_eq!(run("zpool get -Hpo value guid renamed"), guid.to_string());
    assert!(run("zpool history renamed").contains("zbackup test"));
}

#[test]
fn a_search_sees_one_device_only() {
    let _tank = TestPool::new("tank", DISK);
    run("zpool export tank");
    run(&format!("wipefs -qa {OTHER_DISK}*"));
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
    run("zpool import -d /dev tank");
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
    let _tank = TestPool::on_file("tank", "/tmp/tank.img");
    run("zpool export tank");
    run("zhack -d /tmp feature enable -d 'of the future' tank org.zbackup:future");
    run("zhack -d /tmp feature ref tank org.zbackup:future");
    let libzfs = Libzfs::open().unwrap();
    let found = libzfs.search(Path::new("/tmp/tank.img")).unwrap().remove(0);
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
        "wipefs -qa {OTHER_DISK}* && dmsetup create shaky --table '{table}'"
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

// --- datasets ------------------------------------------------------------

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
            "zfs get -Hpo value compression,recordsize,canmount,readonly,mountpoint,quota,snapshot_limit,org.zbackup:x tank/new"
        ),
        "gzip-3\n1048576\nnoauto\non\n/mnt/x\n67108864\n18446744073709551615\n1"
    );
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

// --- snapshots and bookmarks ---------------------------------------------

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

// --- streams -------------------------------------------------------------

fn full(name: &str) -> SendRequest {
    SendRequest {
        snapshot: snapshot(name),
        from: None,
        flags: SendFlags::default(),
        resume: None,
    }
}

fn from_snapshot(name: &str, base: &str) -> SendRequest {
    SendRequest {
        from: Some(SendBase::Snapshot(snapshot(base))),
        ..full(name)
    }
}

struct Target<'a> {
    snapshot: &'a str,
    properties: NvList,
    force: bool,
    resumable: bool,
    /// Bytes behind the first record after which the stream breaks off.
    cut_after_bytes: Option<usize>,
}

impl<'a> Target<'a> {
    fn new(snapshot: &'a str) -> Self {
        let properties = kernel_properties([("readonly", "on")]).unwrap();
        Self {
            snapshot,
            properties,
            force: false,
            resumable: true,
            cut_after_bytes: None,
        }
    }
}

/// One transfer, with both results.
fn transfer(
    request: &SendRequest,
    target: &Target<'_>,
) -> (Result<(), Error>, Result<ReceiveOutcome, Error>) {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    let request = request.clone();
    let sender = thread::spawn(move || lzc().send(&request, writer.as_fd()));
    let begin = BeginRecord::read_from(reader.as_fd()).unwrap();
    let reader = match target.cut_after_bytes {
        Some(count) => first_bytes(reader, count),
        None => reader,
    };
    let receive = ReceiveRequest {
        snapshot: snapshot(target.snapshot),
        begin: &begin,
        properties: &target.properties,
        origin: None,
        force: target.force,
        resumable: target.resumable,
    };
    let received = lzc().receive(&receive, reader.as_fd());
    drop(reader);
    (sender.join().unwrap(), received)
}

/// A pipe with the next `count` bytes of another one and nothing behind them.
fn first_bytes(reader: OwnedFd, count: usize) -> OwnedFd {
    let (cut_reader, cut_writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    thread::spawn(move || {
        let mut writer = File::from(cut_writer);
        let mut limited = File::from(reader).take(count as u64);
        let _ = std::io::copy(&mut limited, &mut writer);
    });
    cut_reader
}

fn two_pools() -> (TestPool, TestPool) {
    (
        TestPool::new("tank", DISK),
        TestPool::new("backup", OTHER_DISK),
    )
}

fn content(dataset_name: &str) -> String {
    run("mkdir -p /mnt/look");
    let libzfs = Libzfs::open().unwrap();
    let copy = libzfs.dataset(&dataset(dataset_name)).unwrap().unwrap();
    copy.mount_at(Path::new("/mnt/look"), "ro").unwrap();
    let hashes = run("cd /mnt/look && find . -type f | sort | xargs sha256sum");
    nix::mount::umount2("/mnt/look", nix::mount::MntFlags::empty()).unwrap();
    hashes
}

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
fn a_send_shows_its_progress_and_ends_when_nobody_reads() {
    let (tank, _backup) = two_pools();
    tank.create("home");
    run("head -c 4M /dev/urandom >/mnt/tank/home/f && zfs snapshot tank/home@a");
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    let progress = SendProgress::open(&snapshot("tank/home@a"), writer.as_raw_fd()).unwrap();
    assert_eq!(progress.sent_bytes().unwrap(), None, "not begun");
    let sender = thread::spawn(move || {
        let result = lzc().send(&full("tank/home@a"), writer.as_fd());
        (result, writer)
    });
    BeginRecord::read_from(reader.as_fd()).unwrap();
    let mut stream = File::from(reader);
    let mut chunk = vec![0; 1 << 20];
    stream.read_exact(&mut chunk).unwrap();
    let sent_bytes = progress.sent_bytes().unwrap().unwrap();
    assert!((1 << 20..4 << 20).contains(&sent_bytes), "{sent_bytes}");
    drop(stream);
    let (result, _writer) = sender.join().unwrap();
    let error = result.unwrap_err();
    assert_eq!(error.kind, ErrorKind::BrokenPipe, "{error}");
    assert_eq!(progress.sent_bytes().unwrap(), None, "ended");
    let missing = SendProgress::open(&snapshot("tank/home@none"), 0).unwrap_err();
    assert_eq!(missing.kind, ErrorKind::NotFound);
}

#[test]
fn a_broken_off_receive_goes_on() {
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
fn a_broken_off_receive_is_abandoned() {
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
    let mut tank = libzfs.dataset(&dataset("tank")).unwrap().unwrap();
    let error = tank.set_property("compression", "best").unwrap_err();
    assert!(!error.description.contains("token"), "{error}");
}

// --- no other program, no output -----------------------------------------

/// What a run does, in a process of its own under strace: it may start no other program, and what
/// it prints is what this test prints.
#[test]
fn nothing_starts_another_program_or_prints() {
    let (tank, _backup) = two_pools();
    tank.create("home");
    run("zfs set sharenfs=off tank && zfs snapshot tank/home@a");
    let own = std::env::current_exe().unwrap();
    let output = Command::new("strace")
        .args([
            "-f",
            "-qq",
            "-o",
            "/tmp/strace",
            "-e",
            "trace=execve,execveat,fork,vfork",
        ])
        .arg(own)
        .args([
            "--exact",
            "zfs_layer::quiet_run",
            "--nocapture",
            "--test-threads=1",
        ])
        .env("ZBACKUP_QUIET_RUN", "1")
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(stdout.contains("QUIET-BEGIN\nQUIET-END\n"), "{stdout}");
    assert_eq!(stderr, "");
    let calls = fs::read_to_string("/tmp/strace").unwrap();
    let calls: Vec<_> = calls.lines().filter(|line| !line.contains("+++")).collect();
    assert_eq!(calls.len(), 1, "{calls:#?}");
    assert_eq!(guid_of("backup/home@a"), guid_of("tank/home@a"));
}

/// The body of the test above; on its own it does nothing.
#[test]
fn quiet_run() {
    if std::env::var_os("ZBACKUP_QUIET_RUN").is_none() {
        return;
    }
    println!("QUIET-BEGIN");
    transfer(&full("tank/home@a"), &Target::new("backup/home@a"))
        .1
        .unwrap();
    let libzfs = Libzfs::open().unwrap();
    let mut copy = libzfs.dataset(&dataset("backup/home")).unwrap().unwrap();
    copy.set_property("org.zbackup:x", "1").unwrap();
    copy.set_property("readonly", "on").unwrap();
    copy.properties();
    drop(copy);
    let pool = libzfs.pool(&pool_name("backup")).unwrap().unwrap();
    let device = pool.device_paths().unwrap().remove(0);
    pool.export("quiet").unwrap();
    let found = libzfs.search(&device).unwrap().remove(0);
    libzfs.import(&found, &ImportOptions::default()).unwrap();
    assert!(libzfs.search(Path::new("/dev/nowhere")).is_err());
    assert!(libzfs.search(Path::new("/dev/vda")).unwrap().is_empty());
    println!("QUIET-END");
}
