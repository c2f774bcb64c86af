//! A replacement dies on the way, somebody else meddles, a step fails: whatever has another name then
//! gets its own back by the command that the message tells, and the same run leads on.

use nix::sys::signal::Signal;

use crate::support::world::advance_on_disk;
use crate::support::{Running, World, sh, type_in, zbackup_with_fault};

const FORCE: [&str; 3] = ["os", "--force", "/home"];
/// Between the two renames.
const KILLED: &str = "lzc_rename:SIGKILL:2";

/// The host's /home has nothing in common with the disk's.
fn begin_anew() {
    sh(
        "zfs list -Ho name -d 1 tank | grep '^tank/home' | xargs -rn 1 zfs destroy -r
        zfs create tank/home; echo mine > /tank/home/mine; zfs snapshot tank/home@mine",
    );
}

/// A backup, and then another /home on the host.
fn foreign() -> World {
    let world = World::new(&["/home"]);
    sh("echo a > /tank/home/a");
    world.backup();
    begin_anew();
    world
}

fn names() -> String {
    sh("zfs list -Ho name -r tank")
}

#[track_caller]
fn assert_replaced(world: &World) {
    world.zbackup(&FORCE).exits(0);
    assert_eq!(names(), "tank\ntank/home");
    assert_eq!(sh("ls /tank/home"), "a");
}

#[test]
// walks: leftover-again, leftover-mend, replaced-left, away-mend
fn what_has_lost_its_name_gets_it_back() {
    let world = foreign();
    zbackup_with_fault(KILLED, &FORCE);
    let run = zbackup_with_fault("lzc_rename:error", &["os"]).exits(3);
    type_in(&run.advises("which is tank/home-zbackup-replaced since"));
    assert_eq!(names(), "tank\ntank/home\ntank/home-zbackup-arriving");
    world.zbackup(&["os"]).exits(3).says("--force /home");
    assert_eq!(sh("cat /tank/home/mine"), "mine");

    // The next run puts it back by itself, and says how to go on.
    zbackup_with_fault(KILLED, &FORCE);
    world
        .zbackup(&["os"])
        .exits(3)
        .says("Run the same command again, then --force /home goes on from there");
    assert_eq!(sh("cat /tank/home/mine"), "mine");
    world.zbackup(&["os"]).exits(3).says("--force /home");
    let run = zbackup_with_fault("lzc_destroy:error", &FORCE).exits(0);
    assert_eq!(sh("ls /tank/home"), "a");
    type_in(&run.advises("was not destroyed"));
    assert_replaced_for_good(&world);

    // Somebody makes a volume of that name in the moment in which there is none.
    begin_anew();
    let run = Running::start_with_fault("lzc_rename:SIGSTOP:2", &FORCE).stops();
    sh("zfs create -u tank/home");
    let run = run.signal(Signal::SIGCONT).ends().exits(3);
    sh("zfs rename tank/home tank/other");
    type_in(&run.advises("When that is out of the way"));
    assert_eq!(
        names(),
        "tank\ntank/home\ntank/home-zbackup-arriving\ntank/other"
    );
    world
        .zbackup(&["os"])
        .exits(3)
        .says("It is mounted again now");
    assert_eq!(sh("cat /tank/home/mine"), "mine");
}

#[track_caller]
fn assert_replaced_for_good(world: &World) {
    let run = world.zbackup(&["os"]).exits(0);
    assert!(!run.stderr.contains("-zbackup-"), "{}", run.stderr);
    assert_eq!(names(), "tank\ntank/home");
}

/// Somebody destroys the new copy before it is in its place. Where another one comes, the old one is
/// left to be destroyed; where none does, it is told how it gets its place back.
#[test]
// walks: leftover-put-back
fn what_took_its_place_is_gone() {
    let world = foreign();
    let kill = || {
        zbackup_with_fault(KILLED, &FORCE);
        sh("zfs destroy -r tank/home-zbackup-arriving");
    };
    kill();
    let run = world.zbackup(&["os"]).exits(0);
    assert_eq!(sh("ls /tank/home"), "a");
    type_in(&run.advises("by a run that ended early"));
    assert_replaced_for_good(&world);

    begin_anew();
    kill();
    sh(
        "zfs create -o mountpoint=none -o refreservation=$(($(zfs get -Hpo value available tank) - 64 * 1024)) tank/hoard",
    );
    let run = world.zbackup(&["os"]).exits(3);
    let advice = run.advises("what took its place is gone");
    assert!(advice[1].starts_with("zfs destroy"), "{advice:?}");
    type_in(&advice[..1]);
    sh("zfs destroy tank/hoard");
    world.zbackup(&["os"]).exits(3).says("--force /home");
    assert_eq!(sh("zfs list -Ho name tank/home@mine"), "tank/home@mine");
    assert_replaced(&world);
}

/// Reading alone is a conflict where atime is on.
#[test]
// walks: atime
fn who_only_reads_is_told_how_that_is_no_change() {
    let world = World::new(&["/home"]);
    sh("zfs set atime=on relatime=off tank/home; echo a > /tank/home/a");
    world.backup();
    let advance = |number: u8| {
        let snapshot = format!("zbackup-other-{number}");
        world.tamper(|| advance_on_disk("home", &snapshot, &format!("echo {number}")));
    };
    advance(1);
    sh("cat /tank/home/a");
    let run = world.zbackup(&["os"]).exits(3);
    type_in(&run.advises("To avoid it"));
    world.zbackup(&["os", "--force", "/home"]).exits(0);
    sh("cat /tank/home/a");
    advance(2);
    world.zbackup(&["os"]).exits(0);
    assert_eq!(sh("cat /tank/home/news"), "2");
}

/// Somebody goes back behind the base while a run begins: nothing of that is sent before it is asked for.
#[test]
// walks: taken-back
fn a_volume_that_is_rolled_back_while_a_run_begins() {
    let world = World::new(&["/home"]);
    sh("echo a > /tank/home/a; zfs snapshot tank/home@mine; echo b > /tank/home/b");
    world.backup();
    let before = world.files_on_disk("backup/home");
    sh("echo more > /tank/home/b");
    let run = Running::start_with_fault("lzc_snapshot:SIGSTOP", &["usb"]).stops();
    sh("zfs rollback -r tank/home@mine; echo c > /tank/home/c");
    let run = run.signal(Signal::SIGCONT).ends().exits(3);
    drop(
        run.says("was taken back by somebody")
            .says("Run the same command again"),
    );
    assert_eq!(world.files_on_disk("backup/home"), before);
    assert_eq!(
        sh("zfs list -Hpt snapshot -o name tank/home"),
        "tank/home@mine"
    );
    world.zbackup(&["usb"]).exits(3).says("--force /home");
    world.zbackup(&["usb", "--force", "/home"]).exits(0);
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
}
