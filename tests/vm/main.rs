//! Tests on a live kernel, with real pools and real (virtual) USB disks: `vm/run test`.
//!
//! They run as root inside the test machine, one after the other. Each test makes its own pools
//! on disks that belong to nobody else; the standard tools (`zfs`, `zpool`, `cryptsetup`, …)
//! prepare and act as oracles. The program under test never starts any of them.
//!
//! # What is tested where
//!
//! **One verb after the other, as README tells it**
//!
//! - `first_backup`: the first backup, the next one, and the one with nothing to do
//! - `os`: from the disk to a host, and what the host has of its own meanwhile
//! - `histories`: which snapshot is the base, whatever has become of names
//! - `rotation`: which snapshots go, disks that take turns, `forget`
//! - `encrypted`: volumes that ZFS encrypts
//! - `containers`: TrueCrypt, VeraCrypt and LUKS around the pool
//! - `disk_life`: plugged in late or never, `open`, `close`, `-n`, signals, syslog
//! - `questions`: `-v`
//!
//! **What stands in the way, and what goes wrong**
//!
//! - `bad_input`: the config, the disk, the command line: one message, one exit code
//! - `conflicts`: `--force` and `--keep-both`
//! - `late`: somebody changes the target after the table was shown
//! - `full_disk`: the target takes less than was estimated
//! - `interrupted`: a run ends in the middle of a transfer, the next one goes on
//! - `faults`: an error, a panic or a signal at each step that `src/fault.rs` names
//! - `leaks`: what is left open behind a run, however it ends
//! - `no_subprocess`: no program is ever started
//! - `boots`: the cable is pulled and the machine restarted (`pulled`, with a container
//!   `pulled_locked`), or put back (`replugged`); a disk that travels between two machines (`two_hosts`)
//!
//! **`stories`: what happened to people**
//!
//! - asking and telling: `consent`, `hostile_disk`, `next_steps`, `next_steps_closing`,
//!   `next_steps_damage`, `next_steps_on_disk`, `next_steps_replacing`, `next_steps_short`, `not_covered`, `recipe`
//! - what is to be lost or kept: `history`, `marks`, `meanwhile`, `used_disks`, `what_files_are`, `zvols`
//! - names and disks: `renames`, `twins`, `room`, `features`, `kernels`, `health`
//! - who else is there: `busy`, `containers_of_processes`, `looked_at`, `mounts`, `neighbours`,
//!   `one_costs_only_itself`, `suspended`
//! - keys and hardening: `containers`, `keys`, `raw`, `hardening`, `no_containers` (the program as it is
//!   built without libcryptsetup)
//!
//! **Layers on their own**
//!
//! - `zfs_layer`: the crate `openzfs`: `datasets`, `snapshots`, `streams`, `pools`, its `examples`, and that it is `quiet`
//! - `crypt_layer`: `zbackup::crypt`
//!
//! `support` has the world that most tests begin with, the program and what it printed, the disks and
//! their cables. What needs no kernel is tested without one: `tests/plan` and `tests/plan_model` (the
//! decisions; the latter has the program carry them out, too, on pools in memory), `tests/report`,
//! `tests/terminal.rs`, `tests/config.rs`, `tests/cli.rs`, `tests/crypt`, `tests/system.rs`;
//! `tests/source.rs` looks at the source itself.
//!
//! # Names that `vm/run test` goes by
//!
//! - `boots::STORY::STEP` has a boot of its own, in the order of names; `…_on_b` on another host,
//!   `…_on_two_processors` with a second processor.
//! - Below `no_containers` there is a second program, `zbackup-plain`.

#[path = "../crypt/header.rs"]
mod header;
mod support;

mod bad_input;
mod boots;
mod conflicts;
mod containers;
mod crypt_layer;
mod disk_life;
mod encrypted;
mod faults;
mod first_backup;
mod full_disk;
mod histories;
mod interrupted;
mod late;
mod leaks;
mod no_subprocess;
mod os;
mod questions;
mod rotation;
mod stories;
mod zfs_layer;
