//! The cable is pulled and the machine restarted: what a kernel that does not let go of the old disk
//! leaves as the only way. Each step begins by looking at what the step before has left.

use std::time::{Duration, Instant};

use crate::support::{Container, Dialogue, World, noise, sh, zbackup};

/// How soon the user is to know: after four seconds on an idle machine. What the kernel keeps from being
/// told never is.
const TOLD_WITHIN: Duration = Duration::from_secs(60);

#[test]
fn step_1_in_the_middle_of_a_transfer_on_a() {
    first_pull(Container::Plain);
}

#[test]
fn step_2_during_the_inventory_on_a() {
    next_pull(Container::Plain, "disk-inventory");
}

#[test]
fn step_3_before_the_export_on_a() {
    next_pull(Container::Plain, "zpool_export");
}

/// A forced receive is going to undo what the host has changed, and nobody writes there meanwhile.
/// The stream is larger than what a pipe and a queue of reads can hold when the disk goes: it never
/// arrives whole.
#[test]
// walks: lost-unmounted
fn step_4_while_a_volume_of_the_host_is_unmounted_on_a() {
    let world = right_after_the_restart(Container::Plain);
    noise("/tank/home/large", 96);
    world.backup();
    sh(
        "zfs rollback -r $(zfs list -Ht snapshot -o name -s createtxg tank/home | tail -n 2 | head -n 1)
        echo mine > /tank/home/mine; zpool sync tank",
    );
    let mut talk = Dialogue::start_with_fault(
        "lzc_receive_with_cmdprops:SIGSTOP",
        &["-y", "os", "--force", "/home"],
    );
    talk.sees("Destroy this for ever").sees("[y/N]").types("y");
    talk.sees("Unmounted /tank/home (tank/home) for a moment")
        .is_stopped();
    let talk = told(&world, talk, Container::Plain);
    let words: Vec<_> = talk.screen().split_whitespace().collect();
    let warning = "(tank/home) was unmounted for this run and still is: zfs mount tank/home";
    // Where the stop has ended the stream before the pull, it is mounted again, and nothing to be said.
    let is_down = sh("findmnt -no SOURCE /tank/home || true").is_empty();
    assert_eq!(
        words.join(" ").contains(warning),
        is_down,
        "{}",
        talk.screen()
    );
    if is_down {
        sh("zfs mount tank/home");
    }
    assert_eq!(sh("cat /tank/home/mine"), "mine");
    world.keep();
}

/// Pulls the disk in the middle of a transfer, when another one has ended.
pub(super) fn first_pull(container: Container) {
    let world = World::with_container(&["/home", "/srv"], container);
    sh("echo first > /tank/home/a; echo first > /tank/srv/a");
    world.backup();
    noise("/tank/home/big", 300);
    sh("echo second > /tank/srv/a; zpool sync tank");
    let mut talk = in_a_transfer(20);
    // The small one has arrived, and the run knows it.
    talk.sees("KiB in ");
    let talk = told(&world, talk, container);
    let screen = talk.screen();
    let line_of = |volume: &str| {
        let lines = screen.lines().rev();
        let mut of_volume = lines.filter(|line| line.split_whitespace().next() == Some(volume));
        of_volume.next().unwrap_or_default().to_owned()
    };
    assert!(line_of("/srv").contains("done"), "{screen}");
    assert!(line_of("/home").contains("failed"), "{screen}");
    world.keep();
}

/// Starts a run and waits until the disk holds this much.
pub(super) fn in_a_transfer(allocated_mib: u32) -> Dialogue {
    let talk = Dialogue::start(&["usb"]);
    sh(&format!(
        "until [ \"$(zpool list -Hpo allocated backup 2>/dev/null || echo 0)\" -gt $(({allocated_mib} << 20)) ]; do :; done",
    ));
    talk
}

/// Pulls the disk when the run comes to this place.
pub(super) fn next_pull(container: Container, place: &str) {
    let world = right_after_the_restart(container);
    sh(&format!("echo {place} > /tank/home/a"));
    // What was left open is closed by another command, which can be hit as well.
    let verb = match (container, place) {
        (Container::Plain, "zpool_export") => {
            zbackup(&["open", "--rw"]).exits(0);
            "close"
        }
        _ => "usb",
    };
    let mut talk = Dialogue::start_with_fault(&format!("{place}:SIGSTOP"), &["--json", verb]);
    talk.is_stopped();
    let exit_code = if container == Container::Plain {
        130
    } else {
        1
    };
    told(&world, talk, container)
        .sees("\"disk_state\": \"lost\"")
        .sees("\"safe_to_unplug\": false")
        .sees(&format!("\"exit_code\": {exit_code}"));
    world.keep();
}

/// Pulls the disk from a run, which may be stopped. What a user sees then, down to the last line.
// walks: pulled, pulled-waiting
fn told(world: &World, mut talk: Dialogue, container: Container) -> Dialogue {
    let pulled = Instant::now();
    world.usb.unplug();
    talk.goes_on();
    if container == Container::Plain {
        talk.sees("The disk does not answer. Plug it in again")
            .interrupts();
    }
    talk.sees("was pulled out, or failed, while its pool backup was imported");
    assert!(pulled.elapsed() < TOLD_WITHIN, "{:?}", pulled.elapsed());
    let way_out = match container {
        Container::Plain => "Plug the same disk in, then: zbackup close",
        _ => "Restart this machine",
    };
    talk.sees(way_out)
        .sees("run the same command again")
        .sees("NOT SAFE: USB device");
    let screen = talk.screen();
    assert!(!screen.contains("Safe to unplug"), "{screen}");
    talk
}

/// After the restart nothing older is lost, and the next run is a plain one.
pub(super) fn right_after_the_restart(container: Container) -> World {
    let world = World::again(&["/home"], container);
    let before = world.inspect(|| sh("zfs list -Hpt snapshot -o name,guid -s createtxg -r backup"));
    assert!(before.contains("backup/home@zbackup-"), "{before}");
    let home = world.backup()["/home"].clone();
    assert_eq!(home["outcome"], "done");
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
    let after = world.inspect(|| sh("zfs list -Hpt snapshot -o name,guid -s createtxg -r backup"));
    assert!(after.starts_with(&before), "{after}");
    world
}
