//! A container has a volume of the host mounted, or a program has a zvol open, and goes on writing. The
//! owner expects that a run which would undo that is refused, and that it says who it is.

use nix::sys::signal::Signal;

use crate::support::world::{advance_on_disk, assert_nothing_open, volumes};
use crate::support::{Other, Running, World, sh};

/// Insists that these volumes are refused, with all of these words.
#[track_caller]
fn refused(run: &crate::support::program::Run, names: &[&str], words: &[&str]) {
    for name in names {
        let volume = &volumes(run)[*name];
        assert_eq!(volume["outcome"], "refused", "{volume}");
        let reason = volume["reason"].as_str().unwrap();
        for word in words {
            assert!(reason.contains(word), "{word}: {reason}");
        }
    }
}

/// /home is to be taken back, /srv is to be replaced.
#[test]
// walks: in-use-elsewhere
fn a_container_that_has_a_volume_mounted_is_named() {
    let world = World::new(&["/home", "/srv"]);
    world.backup();
    world.tamper(|| {
        for volume in ["home", "srv"] {
            advance_on_disk(volume, "zbackup-other", "head -c 50M /dev/urandom");
        }
    });
    sh(
        "echo own > /tank/home/own; zfs destroy -r tank/srv; zfs create tank/srv
        echo own > /tank/srv/own; zfs snapshot tank/srv@mine",
    );
    let force = ["--json", "os", "--force", "/home", "--force", "/srv"];
    let both = ["/home", "/srv"];

    let container = Other::in_a_container("private", "true");
    let run = world.zbackup(&force).exits(3);
    refused(
        &run,
        &both,
        &[
            &container.name(),
            "mount namespace",
            "run the same command again",
        ],
    );
    assert!(!run.stderr.contains("Unmounted"), "{}", run.stderr);
    drop(container);

    // It was not there when the receive began.
    let run = Running::start_with_fault(
        "thread-guard:SIGSTOP",
        &["--json", "os", "/home", "--force", "/home"],
    )
    .stops();
    let late = "mkdir -p /mnt/look; mount -t zfs -o zfsutil tank/home /mnt/look";
    let container = Other::in_a_container("private", late);
    let run = run.signal(Signal::SIGCONT).ends().exits(3);
    assert_nothing_open();
    refused(
        &run,
        &["/home"],
        &[&container.name(), "nothing was destroyed. End what uses it"],
    );
    drop(container);
    assert_eq!(sh("cat /tank/{home,srv}/own"), "own\nown");

    // A snapshot that is to go.
    sh("zfs snapshot tank/home@mine");
    let container = Other::in_a_container(
        "private",
        "mkdir -p /mnt/s1 /mnt/s2; mount -t zfs tank/home@mine /mnt/s1
         mount -t zfs tank/srv@mine /mnt/s2; umount /tank/home /tank/srv",
    );
    for volume in both {
        let run = world.zbackup(&["--json", "os", volume, "--force", volume]);
        let words = [
            &container.name(),
            "@mine is in use",
            "nothing was destroyed",
        ];
        refused(&run.exits(3), &[volume], &words);
    }
    drop(container);
    sh("test -z \"$(zfs list -Ho name | grep arriving)\"");

    // One that follows what the host mounts has nothing mounted when the host has not. A service that
    // is not to write there has it read-only, before and after.
    let container = Other::in_a_container("slave", "mount -o remount,bind,ro,noexec /tank/home");
    world.zbackup(&force).exits(0);
    let table = format!("/proc/{}/mountinfo", container.pid());
    assert_eq!(
        sh(&format!(
            "grep -o 'zfs tank/[hs].*' {table} | cut -d' ' -f2 | sort"
        )),
        "tank/home\ntank/srv"
    );
    assert_eq!(
        sh(&format!(
            "grep -c ' /tank/home ro,noexec,' {table}; grep -c ' /tank/home rw,' /proc/self/mountinfo"
        )),
        "1\n1"
    );
    assert_eq!(
        sh("ls /tank/home /tank/srv"),
        "/tank/home:\nnews\n\n/tank/srv:\nnews"
    );
}

/// A virtual machine has a zvol open, whose name udev writes in its own way.
// walks: nameless-zvol
#[test]
fn a_program_that_has_a_zvol_open_is_named() {
    const NODE: &str = "/dev/zvol/tank/my+disk";
    let mut world = World::new(&[]);
    sh(&format!(
        "zfs create -V 16M 'tank/my disk'; udevadm wait --timeout=30 {NODE}"
    ));
    world.configure(&["/my disk"]);
    world.backup();
    sh(&format!(
        "head -c 1M /dev/urandom | dd of={NODE} conv=fsync status=none"
    ));
    world.backup();
    sh(&format!(
        "zfs rollback -r \"$(zfs list -Ht snapshot -o name -s createtxg 'tank/my disk' | head -n 1)\"
         head -c 1M /dev/urandom | dd of={NODE} conv=fsync status=none"
    ));
    let force = ["--json", "os", "--force", "/my disk"];
    let user = Other::starts(&format!("exec 3<>{NODE}; echo ready"));
    let run = world.zbackup(&force).exits(3);
    refused(
        &run,
        &["/my disk"],
        &[&user.name(), "is open in", "run the same command again"],
    );
    drop(user);
    // By a node of its own, which it has closed and goes on reading from memory, or in a directory of nodes.
    let numbers = sh(&format!("stat -Lc '%Hr %Lr' {NODE}"));
    sh(&format!(
        "mknod /mnt/node b {numbers}; mkdir -p /mnt/chroot/dev; mount --bind /dev /mnt/chroot/dev"
    ));
    let in_chroot = Other::starts(&format!("exec 3<>/mnt/chroot{NODE}; echo ready"));
    let mapper = Other::starts(
        "exec python3 -c 'import mmap, time
with open(\"/mnt/node\", \"rb\") as file:
    mapped = mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ)
print(\"ready\", flush=True)
time.sleep(10000)'",
    );
    let run = world.zbackup(&force).exits(3);
    let mapper_name = format!("python3 (pid {}", mapper.pid());
    refused(
        &run,
        &["/my disk"],
        &["is open in", &in_chroot.name(), &mapper_name],
    );
    drop((in_chroot, mapper));
    sh("umount /mnt/chroot/dev; rm /mnt/node");
    // Or it shows something else what is in it.
    let node = sh(&format!("losetup --show -f {NODE}"));
    let run = world.zbackup(&force);
    sh(&format!("losetup -d {node}"));
    refused(
        &run.exits(3),
        &["/my disk"],
        &[&format!("belongs to {node}")],
    );
    // Nor is it taken for unused if no link leads to it.
    sh(&format!("udevadm settle; rm {NODE}"));
    let advice = "udevadm trigger --settle --subsystem-match=block";
    refused(&world.zbackup(&force).exits(3), &["/my disk"], &[advice]);
    sh(advice);
    world.zbackup(&force).exits(0);
}
