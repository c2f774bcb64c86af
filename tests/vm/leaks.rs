//! Nothing stays open behind a run: not in the machine, and not in the process.
//!
//! The verbs run inside of this process here, so that it can be asked for its descriptors afterwards.

use std::collections::BTreeSet;

use clap::Parser;
use zbackup::cli::Cli;
use zbackup::command::{self, App};
use zbackup::interrupt::Interrupt;
use zbackup::terminal::Terminal;

use crate::support::world::assert_nothing_open;
use crate::support::{Container, World, sh};

/// Runs zbackup's own way in a thread of this process; returns the exit code. The signal mask that
/// it sets ends with the thread.
fn run_here(arguments: &[&str]) -> u8 {
    let arguments = [&["zbackup", "-q"], arguments].concat();
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

#[track_caller]
fn leaves_nothing(what: &str, arguments: &[&str], code: u8) {
    let before = descriptors();
    assert_eq!(run_here(arguments), code, "{what}");
    assert_eq!(descriptors(), before, "{what}");
    assert_nothing_open();
}

#[test]
fn no_descriptor_pool_or_mapping_stays_open() {
    zbackup::zfs::scrub_environment();
    let world = World::with_container(&["/home", "/srv"], Container::Luks2);
    sh("echo a > /tank/home/a");
    // The libraries keep a few devices open for the life of the process; that is what the first run
    // is for.
    assert_eq!(run_here(&["-n", "usb"]), 0);
    leaves_nothing("a dry run", &["-n", "usb"], 0);
    leaves_nothing("a full run", &["usb"], 0);
    sh("echo b > /tank/home/b");
    leaves_nothing("an increment", &["usb"], 0);
    leaves_nothing("nothing to do", &["usb"], 0);
    leaves_nothing("the other way", &["os"], 0);
    leaves_nothing("a volume that is not configured", &["usb", "/nowhere"], 2);
    world.tamper(|| sh("zfs rename backup/srv backup/other; zfs create backup/srv"));
    sh("echo c > /tank/srv/c");
    leaves_nothing("a conflict", &["usb"], 3);
    sh("echo wrong > /etc/zbackup.passphrase");
    leaves_nothing("a wrong passphrase", &["usb"], 1);
    sh("chmod 644 /etc/zbackup.passphrase");
    leaves_nothing("a passphrase file others may read", &["usb"], 1);
    world.usb.unplug();
    leaves_nothing("an absent disk", &["usb"], 75);
    world.usb.plug();
    leaves_nothing("no configuration", &["--config", "/nowhere.ini", "usb"], 2);
}
