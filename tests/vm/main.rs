//! Tests on a live kernel, with real pools and real (virtual) USB disks: `vm/run test`.
//!
//! They run as root inside the test machine, one after the other. Each test makes its own pools
//! on disks that belong to nobody else; the standard tools (`zfs`, `zpool`, `cryptsetup`, …)
//! prepare and act as oracles. The program under test never starts any of them.

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
mod zfs_layer;
