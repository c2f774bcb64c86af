//! The layer starts no other program and prints nothing.

use super::*;

/// Set in the process that does the work, which is this test once more.
const QUIET_RUN: &str = "ZBACKUP_QUIET_RUN";
const OWN_NAME: &str = "zfs_layer::quiet::nothing_starts_another_program_or_prints";

/// What a run does, in a process of its own under strace: it may start no other program, and what
/// it prints is what this test prints.
#[test]
fn nothing_starts_another_program_or_prints() {
    if std::env::var_os(QUIET_RUN).is_some() {
        return quiet_run();
    }
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
        .args(["--exact", OWN_NAME, "--nocapture", "--test-threads=1"])
        .env(QUIET_RUN, "1")
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

fn quiet_run() {
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
