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
//! - [`name`], [`snapshot`] and [`human`] are plain data and words for everybody. They, [`plan`] and [`report`] know no
//!   C library, file, clock, thread or log.
//! - [`zfs`] is the only caller of libzfs, libzfs_core and libnvpair, [`crypt`] the only one of
//!   libcryptsetup. They do not know each other or anything above them. Every `unsafe` is there or
//!   in the private `ffi`: elsewhere the compiler refuses it.
//! - `threads` starts a thread where there may be none to be had.
//! - `fault` makes steps go wrong on demand, in builds for tests only.
//! - [`command`] has one file a verb and is the only place that sees all the others.

#![deny(unsafe_code)]

pub mod cli;
pub mod command;
pub mod config;
#[allow(unsafe_code)]
pub mod crypt;
pub mod disk;
pub mod error;
mod fault;
#[allow(unsafe_code)]
mod ffi;
pub mod human;
pub mod interrupt;
pub mod inventory;
pub mod logging;
pub mod name;
pub mod plan;
pub mod replicate;
pub mod report;
pub mod snapshot;
pub mod terminal;
mod threads;
#[allow(unsafe_code)]
pub mod zfs;
