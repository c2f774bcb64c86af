//! Nothing stays open behind a run, however it ends: not in the machine, and not in the process.
//!
//! The verbs run inside of this process here, so that it can be asked for its descriptors and threads
//! afterwards.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use clap::Parser;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{SigSet, Signal};
use zbackup::cli::Cli;
use zbackup::command::{self, App};
use zbackup::interrupt::Interrupt;
use zbackup::terminal::Terminal;

use crate::support::container::PASSPHRASE_FILE;
use crate::support::world::{CONFIG, assert_nothing_open};
use crate::support::{Container, World, sh};

/// Set in the process for what has to be arranged before a process starts: blocked signals, a fault.
const STAGE: &str = "ZBACKUP_TEST_STAGE";
/// The kernel takes a thread off the list a moment after it was joined.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs zbackup's own way in a thread of this process; returns the exit code. The signal mask that
/// it sets ends with the thread.
fn run_here(arguments: &[&str]) -> u8 {
    let quiet: &[&str] = if arguments.contains(&"-v") {
        &[]
    } else {
        &["-q"]
    };
    let arguments = [&["zbackup"], quiet, arguments].concat();
    let run = || {
        let cli = Cli::try_parse_from(arguments).expect("arguments");
        let interrupt = Interrupt::install().expect("signals");
        let terminal = Terminal::new(cli.options.terminal());
        command::run(App {
            cli: &cli,
            terminal: &terminal,
            interrupt: &interrupt,
        })
    };
    std::thread::scope(|scope| scope.spawn(run).join().expect("no panic"))
}

/// What this process has open: number and target of each descriptor.
fn descriptors() -> BTreeSet<String> {
    std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let target = std::fs::read_link(&path).ok()?;
            Some(format!("{} → {}", path.display(), target.display()))
        })
        // The directory that is being read.
        .filter(|descriptor| !descriptor.ends_with("/fd"))
        .collect()
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Runs it and insists that this process holds nothing more than before.
#[track_caller]
fn holds_nothing(what: &str, arguments: &[&str], code: u8) {
    let (before, threads_before) = (descriptors(), threads());
    println!("[{what}] {arguments:?}");
    assert_eq!(run_here(arguments), code, "{what}");
    assert_eq!(descriptors(), before, "{what}");
    let deadline = Instant::now() + PATIENCE;
    while threads() > threads_before {
        assert!(Instant::now() < deadline, "{what}: a thread is left");
        std::thread::yield_now();
    }
}

/// The same, and that the disk is closed.
#[track_caller]
fn leaves_nothing(what: &str, arguments: &[&str], code: u8) {
    holds_nothing(what, arguments, code);
    assert_nothing_open();
}

/// With another configuration for once.
#[track_caller]
fn configured(world: &World, from: &str, to: &str, what: &str, arguments: &[&str], code: u8) {
    let config = world.config();
    assert!(config.contains(from), "{config}");
    std::fs::write(CONFIG, config.replace(from, to)).unwrap();
    leaves_nothing(what, arguments, code);
    std::fs::write(CONFIG, config).unwrap();
}

fn what_goes_well(world: &World) {
    leaves_nothing("a dry run", &["-n", "usb"], 0);
    leaves_nothing("a full run", &["usb"], 0);
    sh("echo b > /tank/home/b");
    leaves_nothing("an increment", &["usb"], 0);
    leaves_nothing("nothing to do", &["usb"], 0);
    leaves_nothing("the other way", &["os"], 0);
    holds_nothing("open", &["open"], 0);
    assert_eq!(
        world.files_on_host("mnt/usb/backup/home").lines().count(),
        2
    );
    leaves_nothing("close", &["close"], 0);
}

fn mistakes(world: &World) {
    let usb = &["usb"];
    leaves_nothing("a volume that is not configured", &["usb", "/nowhere"], 2);
    leaves_nothing("no configuration", &["--config", "/nowhere.ini", "usb"], 2);
    configured(world, "guid", "giud", "a mistake in it", usb, 2);
    let gone = "volume = /gone\n         ";
    configured(
        world,
        "volume = ",
        gone,
        "a volume that is not there",
        usb,
        3,
    );
    let vault = "backup_pool = vault";
    configured(world, "backup_pool = backup", vault, "another pool", usb, 1);
    let file = format!("passphrase-file = {PASSPHRASE_FILE}\n");
    configured(world, &file, "", "nobody to ask for the passphrase", usb, 1);
    sh(&format!(
        "mv {PASSPHRASE_FILE} /tmp/right; echo wrong > {PASSPHRASE_FILE}"
    ));
    leaves_nothing("a wrong passphrase", usb, 1);
    sh(&format!(
        "mv /tmp/right {PASSPHRASE_FILE}; chmod 644 {PASSPHRASE_FILE}"
    ));
    leaves_nothing("a passphrase file others may read", usb, 1);
    sh(&format!("chmod 600 {PASSPHRASE_FILE}"));
    // An earlier run has made it.
    let lock = File::options()
        .write(true)
        .open("/run/zbackup.lock")
        .unwrap();
    let lock = Flock::lock(lock, FlockArg::LockExclusive).expect("nobody has it");
    leaves_nothing("another run", usb, 1);
    drop(lock);
}

fn trouble_with_the_disk(world: &World) {
    world.tamper(|| sh("zfs rename backup/srv backup/other; zfs create backup/srv"));
    sh("echo c > /tank/srv/c");
    leaves_nothing("a conflict", &["usb"], 3);

    let device = world.container.open(world.usb);
    let import = format!("zpool import -N -o cachefile=none -d {device} backup");
    sh(&import);
    holds_nothing("a disk that somebody else has open", &["usb"], 1);
    sh("zpool export backup");

    // What the disk would have on it if its cable was pulled out of another host.
    let own = sh("cat /sys/module/spl/parameters/spl_hostid");
    sh(&format!(
        "echo 4294967294 > /sys/module/spl/parameters/spl_hostid; {import}; zpool sync backup"
    ));
    world.usb.save();
    sh(&format!(
        "zpool export backup; echo {own} > /sys/module/spl/parameters/spl_hostid"
    ));
    world.container.close();
    world.usb.restore();
    sh(&format!(
        "udevadm wait --timeout=30 --settle {}",
        world.usb.partition()
    ));
    leaves_nothing("a pool of another host", &["usb"], 1);

    world.usb.unplug();
    leaves_nothing("an absent disk", &["usb"], 75);
    world.usb.plug();
    let device = world.container.open(world.usb);
    sh(&format!("zpool labelclear -f {device}"));
    world.container.close();
    leaves_nothing("no pool", &["usb"], 1);
}

/// Runs the test of this name again, in a process where this signal is blocked from the start (as
/// zbackup itself has it) and these variables are set.
fn on_stage(test: &str, environment: &[(&str, &str)]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(STAGE, "1")
        .envs(environment.iter().copied());
    // SAFETY: sigprocmask is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            let mut signals = SigSet::empty();
            signals.add(Signal::SIGTERM);
            signals.thread_block().map_err(Into::into)
        });
    }
    // Its lines about tests are no results of ours: whoever reads along must not see them.
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{environment:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn nothing_stays_open_whatever_the_end() {
    openzfs::scrub_environment();
    let mut world = World::with_container(&["/home", "/srv"], Container::Luks2);
    world.device("mount-point = /mnt/usb");
    sh("echo a > /tank/home/a");
    // The libraries keep a few devices open for the life of the process; that is what the first run
    // is for.
    assert_eq!(run_here(&["-n", "usb"]), 0);
    what_goes_well(&world);
    mistakes(&world);
    trouble_with_the_disk(&world);
}

#[test]
fn nothing_stays_open_behind_a_signal_or_a_no() {
    const NAME: &str = "leaks::nothing_stays_open_behind_a_signal_or_a_no";
    if std::env::var_os(STAGE).is_none() {
        let world = World::with_container(&["/home"], Container::Luks2);
        sh("echo a > /tank/home/a");
        on_stage(
            NAME,
            &[("ZBACKUP_FAULT", "lzc_receive_with_cmdprops:SIGTERM")],
        );
        drop(world);
        return;
    }
    assert_eq!(run_here(&["-n", "usb"]), 0);
    leaves_nothing("interrupted", &["usb"], 143);
    // It stays pending for whoever looks later in this process: that is enough of it.
    let pending = SigSet::from_iter([Signal::SIGTERM]);
    assert_eq!(pending.wait(), Ok(Signal::SIGTERM));
    let terminal = nix::pty::openpty(None, None).expect("a terminal");
    nix::unistd::dup2_stdin(&terminal.slave).unwrap();
    nix::unistd::dup2_stderr(&terminal.slave).unwrap();
    for (answers, what) in [
        ("n\n", "a no to the unlock"),
        ("y\nn\n", "a no to the import"),
    ] {
        nix::unistd::write(&terminal.master, answers.as_bytes()).unwrap();
        leaves_nothing(what, &["-v", "usb"], 3);
    }
}
