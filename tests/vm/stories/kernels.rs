//! Somebody's kernel was built with less than others: OpenZFS without channel programs, as some
//! distributions harden it. They expect the same backups, if slower.

use crate::support::world::volumes;
use crate::support::{World, sh, zbackup_with_fault};

const WITHOUT_CHANNEL_PROGRAMS: &str = "lzc_channel_program:missing";

#[test]
fn without_channel_programs_all_is_written_down_all_the_same() {
    let world = World::new(&["/home", "/disk=16M"]);
    let run = |arguments: &[&str]| {
        let run = zbackup_with_fault(WITHOUT_CHANNEL_PROGRAMS, arguments).exits(0);
        assert_eq!(run.json()["warnings"], serde_json::json!([]));
        volumes(&run)
    };
    sh("echo first > /tank/home/a");
    run(&["--json", "usb"]);
    let bookmarks = |pool: &str| sh(&format!("zfs list -Hpt bookmark -o name -r {pool} | wc -l"));
    let notes = |pool: &str| {
        sh(&format!(
            "zfs get -Hp -s local -o name,property all -r {pool} | grep org.zbackup | sed 's/@.*\\t/@\\t/' | sort"
        ))
    };
    let written_down = || [bookmarks("tank"), notes("tank")];
    let on_host = written_down();
    let on_disk = world.inspect(|| [bookmarks("backup"), notes("backup")]);

    // Retention knows its own by their marks, and the next increment starts from the bookmark.
    sh(
        "echo second > /tank/home/a; dd if=/etc/passwd of=/dev/zvol/tank/disk conv=fsync status=none",
    );
    let second = run(&["--json", "usb", "-s", "1"]);
    for (name, volume) in second {
        assert_eq!(volume["action"], "incremental", "{name}");
    }
    assert_eq!(sh("zfs list -Ht snapshot -o name -r tank | wc -l"), "2");
    sh("zfs list -Ht snapshot -o name -r tank | xargs -n 1 zfs destroy; echo third > /tank/home/a");
    assert_eq!(
        run(&["--json", "usb", "/home"])["/home"]["action"],
        "incremental"
    );

    // As where there are channel programs.
    let world = World::new(&["/home", "/disk=16M"]);
    sh("echo first > /tank/home/a");
    world.backup();
    let names =
        |guids: [String; 2]| guids.map(|text| text.replace(|c: char| c.is_ascii_digit(), ""));
    assert_eq!(names(on_host), names(written_down()));
    assert_eq!(
        names(on_disk),
        names(world.inspect(|| [bookmarks("backup"), notes("backup")]))
    );
}
