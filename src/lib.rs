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
//! Who may use whom:
//!
//! - [`openzfs`] (`crates/openzfs`) is the only caller of libzfs, libzfs_core and libnvpair, [`crypt`] the
//!   only one of libcryptsetup. They do not know each other or anything above them. Every `unsafe` is
//!   there: elsewhere the compiler refuses it.
//! - [`model`], [`human`] and [`text`] are plain data and words for everybody. They, [`plan`] and [`report`]
//!   know no C library, file, clock, thread or log. [`planning`] plans until nothing is left to be looked up.
//! - [`terminal`] and [`logging`] are the only places that print and log, and all that they take is [`text`], which
//!   shows what a name from a disk may hold instead of doing it. [`terminal`] also asks, for passphrases too.
//! - [`system`] is what the kernel tells and does apart from ZFS: the one place that unmounts, that finds
//!   out who uses something, and that starts threads.
//! - [`replicate`] asks ZFS through [`replicate::zfs::Zfs`] alone, plain values in and out: its tests answer
//!   from memory.
//! - [`monitor`] is what a run tells whoever shows its progress.
//! - [`command`] has one file a verb and is the only place that sees all the others.
//!
//! No folder needs one that needs it in turn: `tests/source.rs` looks.

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
