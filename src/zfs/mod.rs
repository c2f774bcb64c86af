//! The safe layer over libzfs, libzfs_core and libnvpair.
//!
//! Two handles, for two kinds of work:
//!
//! - [`Libzfs`] opens pools and datasets and tells their properties. libzfs is not thread-safe, so a
//!   `Libzfs` and the [`Pool`]s and [`Dataset`]s that borrow it stay on one thread.
//! - [`Lzc`] is libzfs_core: snapshots, bookmarks, holds, destroys, sends and receives. It has no
//!   state, is [`Copy`] and works from any thread.
//!
//! What they tell of snapshots and bookmarks are plain values ([`crate::snapshot`]) that no handle
//! is tied to. Nothing here prints or starts another program; functions of libzfs that would are not
//! even bound. Call [`scrub_environment`] first in `main`, since libzfs obeys some variables.
//!
//! # A snapshot
//!
//! ```no_run
//! use std::collections::BTreeMap;
//! use zbackup::{name::SnapshotName, zfs::Lzc};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let today = ["tank/home@today", "tank/srv@today"].map(|name| SnapshotName::new(name).unwrap());
//! Lzc::open()?.snapshot(&today, &BTreeMap::new())?; // both at the same moment, or neither
//! # Ok(())
//! # }
//! ```
//!
//! # Send and receive through one pipe
//!
//! ```no_run
//! use std::{os::fd::AsFd, thread};
//! use nix::{fcntl::OFlag, unistd::pipe2};
//! use zbackup::{name::SnapshotName, zfs::*};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let lzc = Lzc::open()?;
//! let request = SendRequest {
//!     snapshot: SnapshotName::new("tank/home@today")?,
//!     from: None,
//!     flags: SendFlags { large_blocks: true, ..SendFlags::default() },
//!     resume: None,
//! };
//! let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
//! // `writer` moves into the thread and is closed when the send returns.
//! let sender = thread::spawn(move || lzc.send(&request, writer.as_fd()));
//!
//! let begin = BeginRecord::read_from(reader.as_fd())?;
//! let received = lzc.receive(
//!     &ReceiveRequest {
//!         snapshot: SnapshotName::new("backup/home@today")?,
//!         begin: &begin,
//!         properties: &kernel_properties([("readonly", "on"), ("canmount", "noauto")])?,
//!         origin: None,
//!         force: false,
//!         resumable: true,
//!     },
//!     reader.as_fd(),
//! );
//! drop(reader); // where the receive failed, this ends the send
//! let sent = sender.join().expect("the sender does not panic");
//! println!("{} bytes", received?.read_bytes); // its error goes before the sender's broken pipe
//! sent?;
//! # Ok(())
//! # }
//! ```
//!
//! # Importing and exporting a pool
//!
//! ```no_run
//! use std::path::Path;
//! use zbackup::{name::PoolName, zfs::*};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let libzfs = Libzfs::open()?;
//! for pool in libzfs.search(Path::new("/dev/sdb1"))? {
//!     if let Some(host) = &pool.needs_force {
//!         println!("not importing {}: {host}", pool.name);
//!         continue;
//!     }
//!     libzfs.import(&pool, &ImportOptions { readonly: true, ..ImportOptions::default() })?;
//! }
//! if let Some(pool) = libzfs.pool(&PoolName::new("backup")?)? {
//!     println!("{:?}", pool.status()?.health);
//!     pool.export("zbackup example")?;
//! }
//! # Ok(())
//! # }
//! ```

mod batch;
mod begin;
mod capture;
mod dataset;
mod environment;
mod errno;
mod error;
mod handle;
mod import;
mod lzc;
mod nvlist;
mod pool;
mod program;
mod progress;
mod property;
mod status;
mod token;
mod transfer;
mod wake;

pub use begin::{BEGIN_BYTES, BeginError, BeginRecord};
pub use dataset::Dataset;
pub use environment::scrub_environment;
pub use error::{BatchError, BatchItem, Error, ErrorKind};
pub use handle::Libzfs;
pub use import::{ForeignHost, ImportOptions, Importable};
pub use lzc::{Lzc, SendBase};
pub use nvlist::{NvList, NvListRef, Value};
pub use pool::Pool;
pub use program::PropertyChange;
pub use progress::SendProgress;
pub use property::{Properties, Property, PropertySource, exclude_properties, kernel_properties};
pub use status::{Health, PoolStatus, ScanFunction, ScanState, ScanStatus, VdevStatus};
pub use transfer::{ReceiveOutcome, ReceiveRequest, ResumePoint, SendFlags, SendRequest};
pub use wake::ThreadWaker;
