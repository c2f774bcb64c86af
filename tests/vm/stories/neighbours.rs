//! What else runs on the machine gets in the way: people expect that a disk is closed all the same, and to
//! hear what to do about the rest.

use crate::support::{World, sh, zbackup};

const FULL: &str = "! cat /dev/zero > /run/fill-$RANDOM 2>/dev/null";

/// Something has filled /run while the disk was open.
// walks: no-record
#[test]
fn a_full_run_directory_keeps_no_disk_open() {
    let world = World::new(&["/home"]);
    let _room = NoRoom;
    drop(zbackup(&["open"]).exits(0));
    sh(&format!(
        "rm -f /run/zbackup.lock; used=$(df --output=used /run | tail -n 1 | tr -d ' ')
         mount -o remount,size=${{used}}k /run; {FULL}"
    ));
    let closed = world.zbackup(&["close"]);
    drop(closed.exits(0).says("Safe to unplug"));
    sh(FULL);
    let run = world.zbackup(&["usb"]).exits(1);
    let run = run.says("cannot write the record");
    drop(run.says("see to it that there is room"));
    drop(NoRoom);
    drop(world.zbackup(&["usb"]).exits(0));
}

/// Gives /run its room back.
struct NoRoom;

impl Drop for NoRoom {
    fn drop(&mut self) {
        sh("mount -o remount,size=20% /run; rm -f /run/fill-*");
    }
}
