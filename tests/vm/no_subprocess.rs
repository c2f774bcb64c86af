//! zbackup is one process: it never starts another program. Proven twice, by a filter that kills
//! it if it tries and by a trace that counts.

use std::ffi::CString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::support::container::PASSPHRASE_FILE;
use crate::support::program::program;
use crate::support::world::{CONFIG, assert_nothing_open};
use crate::support::{Container, World, sh};

/// Kills on fork, vfork, execveat, on a clone that is no thread, and on every execve but the one
/// whose path lies at `allowed_path`: the start of zbackup itself. In the new program nothing
/// lies there.
fn no_new_processes(allowed_path: u64) -> BpfProgram {
    let when = |argument, operator, value| {
        let condition =
            SeccompCondition::new(argument, SeccompCmpArgLen::Qword, operator, value).unwrap();
        vec![SeccompRule::new(vec![condition]).unwrap()]
    };
    let thread = libc::CLONE_THREAD as u64;
    let rules = [
        (libc::SYS_execve, when(0, SeccompCmpOp::Ne, allowed_path)),
        (libc::SYS_execveat, vec![]),
        (libc::SYS_fork, vec![]),
        (libc::SYS_vfork, vec![]),
        (libc::SYS_clone, when(0, SeccompCmpOp::MaskedEq(thread), 0)),
    ];
    filter(rules.into_iter().collect(), SeccompAction::KillProcess)
}

/// glibc starts threads with clone3, whose flags a filter cannot see; without it, it uses clone.
fn no_clone3() -> BpfProgram {
    let refuse = SeccompAction::Errno(libc::ENOSYS as u32);
    filter([(libc::SYS_clone3, vec![])].into_iter().collect(), refuse)
}

fn filter(
    rules: std::collections::BTreeMap<i64, Vec<SeccompRule>>,
    action: SeccompAction,
) -> BpfProgram {
    SeccompFilter::new(rules, SeccompAction::Allow, action, TargetArch::x86_64)
        .unwrap()
        .try_into()
        .unwrap()
}

/// What would make libzfs start programs, print or resize pipes, if it got to see it.
const HOSTILE: [(&str, &str); 4] = [
    ("ZFS_MOUNT_HELPER", "1"),
    ("ZFS_MODULE_LOADING", "yes"),
    ("ZFS_IOC_TRACE", "1"),
    ("ZFS_SET_PIPE_MAX", "1"),
];

/// Starts a program that the filter will not let start any other, in a hostile environment.
fn run_sealed(arguments: &[&str]) -> std::process::ExitStatus {
    let text = |text: &str| CString::new(text).unwrap();
    let pointers = |texts: &[CString]| -> Vec<usize> {
        let addresses = texts.iter().map(|text| text.as_ptr() as usize);
        addresses.chain([0]).collect()
    };
    let path = text(arguments[0]);
    let words: Vec<CString> = arguments.iter().map(|word| text(word)).collect();
    let inherited = std::env::vars().map(|(name, value)| text(&format!("{name}={value}")));
    let hostile = HOSTILE.map(|(name, value)| text(&format!("{name}={value}")));
    let environment: Vec<CString> = inherited.chain(hostile).collect();
    let (argv, envp) = (pointers(&words), pointers(&environment));
    let path_address = path.as_ptr() as usize;
    let filters = [no_clone3(), no_new_processes(path_address as u64)];
    let mut command = Command::new("/nonexistent");
    // SAFETY: only prctl, seccomp and execve are called between fork and exec; all memory they use
    // was allocated before, and `path`, `words` and `environment` outlive the child's exec.
    unsafe {
        command.pre_exec(move || {
            for filter in &filters {
                seccompiler::apply_filter(filter).map_err(std::io::Error::other)?;
            }
            libc::execve(
                path_address as *const libc::c_char,
                argv.as_ptr().cast(),
                envp.as_ptr().cast(),
            );
            Err(std::io::Error::last_os_error())
        });
    }
    let status = command.status().expect("the program starts");
    drop((path, words, environment));
    status
}

#[test]
fn the_filter_kills_what_starts_a_program() {
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(run_sealed(&["/bin/true"]).code(), Some(0));
    assert_eq!(
        run_sealed(&["/bin/sh", "-c", "/bin/true; /bin/true"]).signal(),
        Some(libc::SIGSYS)
    );
}

#[test]
fn a_whole_run_starts_nothing() {
    let mut world = World::with_container(&["/home", "/disk=16M"], Container::Truecrypt);
    world.device("mount-point = /mnt/usb");
    // Where it exists, libzfs runs it for every mount and export that goes the wrong way.
    sh(
        "printf '#!/bin/sh\\necho called >> /tmp/exportfs-was-called\\n' > /usr/sbin/exportfs; chmod +x /usr/sbin/exportfs",
    );
    sh("echo a > /tank/home/a");
    let bin = program();
    let exits = |code: i32, arguments: &[&str]| {
        let status = run_sealed(&[&[bin.as_str()], arguments].concat());
        assert_eq!(status.code(), Some(code), "{arguments:?}: {status}");
    };
    exits(0, &["usb"]);
    sh("echo b > /tank/home/b");
    // Mounts, and unmounts.
    exits(0, &["usb", "--keep-open"]);
    assert_eq!(sh("cat /mnt/usb/backup/home/b"), "b");
    exits(0, &["close"]);
    sh("test ! -e /tmp/exportfs-was-called");
    assert_eq!(
        world.files_on_disk("backup/home"),
        world.files_on_host("tank/home")
    );
    world.tamper(|| sh("zfs rename backup/home backup/was; zfs create -u backup/home"));
    // The oracle's own tools have called it by now.
    sh("rm -f /tmp/exportfs-was-called; echo c > /tank/home/c");
    exits(3, &["-n", "usb"]);
    exits(3, &["usb"]);
    exits(0, &["open"]);
    assert_eq!(sh("cat /mnt/usb/backup/was/b"), "b");
    exits(0, &["close"]);
    // Without VeraCrypt's many rounds, which would take minutes here.
    let config = world
        .config()
        .replace("truecrypt = yes", "encryption = truecrypt");
    std::fs::write(CONFIG, config).unwrap();
    sh(&format!("echo wrong > {PASSPHRASE_FILE}"));
    exits(1, &["usb"]);
    sh("rm /usr/sbin/exportfs; test ! -e /tmp/exportfs-was-called");
    assert_nothing_open();
}

#[test]
fn one_execve_and_threads_only() {
    let mut world = World::with_container(&["/home", "/srv"], Container::Luks2);
    world.device("mount-point = /mnt/usb");
    sh("echo a > /tank/home/a; echo b > /tank/srv/b");
    let hostile = HOSTILE
        .map(|(name, value)| format!("{name}={value}"))
        .join(" ");
    for arguments in ["usb --keep-open", "close"] {
        sh(&format!(
            "{hostile} strace -f -o /tmp/trace -e trace=process {} {arguments}",
            program()
        ));
        let execs = sh("grep -c 'execve' /tmp/trace");
        assert_eq!(execs, "1", "{}", sh("cat /tmp/trace"));
        let children =
            sh("grep -E '(clone3?|v?fork)\\(' /tmp/trace | grep -v CLONE_THREAD || true");
        assert_eq!(children, "", "{arguments}");
        if arguments.starts_with("usb") {
            assert!(
                !sh("grep -E 'clone3?\\(.*CLONE_THREAD' /tmp/trace").is_empty(),
                "transfers run in threads"
            );
            assert_eq!(
                sh("cat /mnt/usb/backup/home/a /mnt/usb/backup/srv/b"),
                "a\nb"
            );
        }
    }
    assert_nothing_open();
}
