//! Somebody closes the lid of a laptop while a run is on its way, or stops the program for a while, and
//! expects that it goes on afterwards as if nothing had been.

use nix::sys::signal::Signal;

use crate::support::running::Running;
use crate::support::world::volumes;
use crate::support::{World, sh};

/// Suspending a machine breaks off what its processes do in the kernel, just as stopping them does. Once a
/// copy is made anew, once it goes on, and once it is small enough to be sent again from its start.
#[test]
fn a_run_that_was_stopped_for_a_while_goes_on() {
    let world = World::new(&["/home", "/srv"]);
    for (least, written) in [
        (
            80,
            "head -c 80M /dev/urandom > /tank/home/first; head -c 8M /dev/urandom > /tank/srv/first",
        ),
        (
            48,
            "head -c 48M /dev/urandom > /tank/home/second; seq 9 > /tank/srv/second",
        ),
    ] {
        sh(&format!("{written}; zpool sync tank"));
        let run = Running::start_with_fault("stream-middle:SIGSTOP", &["--json", "usb"]).stops();
        let run = run.signal(Signal::SIGCONT).ends().exits(0);
        let found = volumes(&run);
        for volume in ["home", "srv"] {
            let report = &found[&format!("/{volume}")];
            assert_eq!(report["outcome"], "done", "{report}");
            assert_eq!(report["resumed_bytes"], 0);
            assert_eq!(
                world.files_on_disk(&format!("backup/{volume}")),
                world.files_on_host(&format!("tank/{volume}"))
            );
        }
        let sent_bytes = found["/home"]["sent_bytes"].as_u64().unwrap();
        let expected = least << 20..(least + 30) << 20;
        assert!(expected.contains(&sent_bytes), "{sent_bytes}");
    }
}
