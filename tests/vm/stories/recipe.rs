//! Somebody with a new disk types what README says, line by line, on whatever Debian they have. They
//! expect a first backup that every host of theirs can read, the one with the oldest OpenZFS too.

use crate::support::container::{PASSPHRASE, PASSPHRASE_FILE};
use crate::support::machine::{Usb, control};
use crate::support::world::{CONFIG, assert_nothing_open};
use crate::support::{World, sh};

const README: &str = include_str!("../../../README.md");
const COMPATIBILITY: &str = "openzfs-2.1-linux";

/// The code block in this section of README that begins with this line.
fn code_block<'a>(section: &str, begins: &str) -> &'a str {
    let section = README
        .split(section)
        .nth(1)
        .expect("README has the section");
    let block = section
        .split(begins)
        .nth(1)
        .expect("the section has the block");
    block.split("```").next().unwrap()
}

/// The commands of "The first backup, in five lines" make a disk that OpenZFS 2.1 can import.
#[test]
fn readmes_first_backup_runs_as_written() {
    let world = World::new(&["/home", "/srv"]);
    let usb = Usb(1);
    usb.unplug();
    control("reset usb1");
    usb.plug();
    sh("echo first > /tank/home/a; echo second > /tank/srv/b");
    let disk = std::fs::canonicalize(usb.link()).unwrap();
    let commands: Vec<String> = code_block("## The first backup", "```\n")
        .lines()
        .map(|line| line.strip_prefix("# ").expect("a command for root"))
        .map(|line| line.replace("/dev/sdX", disk.to_str().unwrap()))
        .collect();
    let (backup, making) = commands.split_last().unwrap();
    for command in making {
        // Typed where a person would type it: each question takes one line.
        sh(&format!(
            "printf '%s\n' '{PASSPHRASE}' '{PASSPHRASE}' '{PASSPHRASE}' | {{ {command}; }}"
        ));
    }
    world.container.write_passphrase();
    sh(&format!(
        "umask 077; echo '{PASSPHRASE}' > {PASSPHRASE_FILE}"
    ));
    let partuuid = sh(&format!("lsblk -dno PARTUUID {}1", disk.display()));
    let guid = sh("zpool get -Hpo value guid tank");
    let config = code_block("## The first backup", "```ini\n")
        .replace("09353f9f-c554-11e1-8897-5c260a0e9ee6", &partuuid)
        .replace("14530958162319127105", &guid)
        .replace(
            "encryption = luks\n",
            &format!("encryption = luks\npassphrase-file = {PASSPHRASE_FILE}\n"),
        );
    std::fs::write(CONFIG, config).unwrap();
    let said = sh(backup);
    assert!(said.contains("Safe to unplug"), "{said}");
    assert_nothing_open();
    sh("zbackup open");
    assert_eq!(
        sh("cat /mnt/usb/backup/home/a /mnt/usb/backup/srv/b"),
        "first\nsecond"
    );
    assert_eq!(
        sh("zpool get -Ho value compatibility backup"),
        COMPATIBILITY
    );
    only_features_of_the_oldest();
    sh("zbackup close");
    assert_nothing_open();
}

/// What the pool has enabled is what the file of that name allows.
fn only_features_of_the_oldest() {
    let allowed =
        std::fs::read_to_string(format!("/usr/share/zfs/compatibility.d/{COMPATIBILITY}"))
            .expect("OpenZFS has brought the file");
    let features = sh(
        "zpool get -Hp all backup | awk '$2 ~ /^feature@/ && $3 != \"disabled\" { sub(/feature@/, \"\", $2); print $2 }'",
    );
    assert!(features.lines().count() > 10, "{features}");
    for feature in features.lines() {
        assert!(allowed.lines().any(|line| line == feature), "{feature}");
    }
}
