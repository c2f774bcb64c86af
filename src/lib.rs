//! zbackup carries ZFS snapshots between OpenZFS Linux hosts on a USB disk.
//!
//! One run is one way through the crate:
//!
//! ```text
//!  cli ──► config ──► disk ──► inventory ──► plan ──► confirm ──► replicate ──► report
//!          zbackup    find      both sides   pure     terminal    snapshot      text
//!          .ini       unlock    as plain     function             send|receive  JSON
//!                     import    data                              ledger
//!                       │                                                         │
//!                       └───────────── export ── lock ── "safe to unplug" ◄───────┘
//! ```
//!
//! Which module may use which:
//!
//! - [`openzfs`] (`crates/openzfs`) is the only caller of libzfs, libzfs_core and libnvpair, [`crypt`] the
//!   only one of libcryptsetup. They do not use each other or anything above them. All `unsafe` code is
//!   there: elsewhere the compiler refuses it.
//! - [`model`], [`human`] and [`text`] are plain data and words for all modules. They, [`plan`] and
//!   [`report`] use no C library, file, clock, thread or log. [`planning`] plans until nothing is left to be
//!   looked up.
//! - [`terminal`] and [`logging`] are the only places that print and log, and they accept only [`text`],
//!   which shows control characters in names from a disk instead of sending them. [`terminal`] also asks
//!   questions, even for passphrases.
//! - [`system`] is what the kernel tells and does apart from ZFS: the only place that unmounts, finds out
//!   what uses something, and starts threads.
//! - [`replicate`] asks ZFS through [`replicate::zfs::Zfs`] alone, with plain values in and out: its tests
//!   answer from memory.
//! - [`monitor`] is how a run tells its progress to the display.
//! - [`command`] has one file for each verb and is the only place that uses all other modules.
//!
//! No two folders depend on each other: `tests/source.rs` checks that.

#![deny(unsafe_code)]
#![deny(clippy::disallowed_macros, clippy::disallowed_methods)]

pub mod cli;
pub mod command;
pub mod config;
#[allow(unsafe_code)]
pub mod crypt;
pub mod disk;
pub mod error;
pub mod human;
pub mod interrupt;
pub mod inventory;
pub mod logging;
pub mod model;
pub mod monitor;
mod next;
pub mod plan;
pub mod planning;
pub mod replicate;
pub mod report;
pub mod system;
pub mod terminal;
pub mod text;
