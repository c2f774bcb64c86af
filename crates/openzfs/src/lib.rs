//! Snapshots, raw sends and receives, bookmarks, holds, properties and pools of OpenZFS, in process: a
//! safe layer over libzfs, libzfs_core and libnvpair.
//!
//! Two handles, for two kinds of work:
//!
//! - [`Libzfs`] opens pools and datasets and tells their properties. libzfs is not thread-safe, so a
//!   `Libzfs` and the [`Pool`]s and [`Dataset`]s that borrow it stay on one thread.
//! - [`Lzc`] is libzfs_core: snapshots, bookmarks, holds, destroys, sends, receives and whole transfers.
//!   It has no state, is [`Copy`] and works from any thread.
//!
//! What they return is plain data, tied to no handle. Nothing here prints or starts another
//! program; functions of libzfs that would are not even bound. Call [`scrub_environment`] first in
//! `main`, since libzfs obeys some variables. Each example below is also a program in `examples/`.
//!
//! # List
//!
//! ```no_run
//! use openzfs::{DatasetName, Libzfs};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let libzfs = Libzfs::open()?;
//! let home = libzfs.dataset(&DatasetName::new("tank/home")?)?.ok_or("there is none")?;
//! println!("{:?} bytes are used", home.properties().number("used"));
//! for snapshot in home.snapshots(None)? {
//!     println!("{} has the guid {}", snapshot.name, snapshot.guid);
//! }
//! for child in home.children()? {
//!     println!("{}", child.name());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Take snapshots
//!
//! ```no_run
//! use std::collections::BTreeMap;
//! use openzfs::{Lzc, SnapshotName};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let today = ["tank/home@today", "tank/srv@today"].map(|name| SnapshotName::new(name).unwrap());
//! Lzc::open()?.snapshot(&today, &BTreeMap::new())?; // both at the same moment, or neither
//! # Ok(())
//! # }
//! ```
//!
//! # Send and receive over a descriptor
//!
//! ```no_run
//! use std::{io::{stdin, stdout}, os::fd::AsFd};
//! use openzfs::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let lzc = Lzc::open()?;
//! lzc.send(&SendRequest::full(SnapshotName::new("tank/home@today")?), stdout().as_fd())?;
//!
//! // At the other end of that pipe:
//! let begin = BeginRecord::read_from(stdin().as_fd())?;
//! let received = lzc.receive(
//!     &ReceiveRequest {
//!         snapshot: SnapshotName::new("backup/home@today")?,
//!         begin: &begin,
//!         properties: &kernel_properties([("readonly", "on"), ("canmount", "noauto")])?,
//!         origin: None,
//!         force: false,
//!         resumable: true,
//!     },
//!     stdin().as_fd(),
//! )?;
//! println!("{} bytes", received.read_bytes);
//! # Ok(())
//! # }
//! ```
//!
//! # A whole transfer, with what to do about one that was interrupted
//!
//! ```no_run
//! use openzfs::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (libzfs, lzc) = (Libzfs::open()?, Lzc::open()?);
//! let mut send = SendRequest {
//!     from: Some(SendBase::Bookmark(BookmarkName::new("tank/home#yesterday")?)),
//!     ..SendRequest::full(SnapshotName::new("tank/home@today")?)
//! };
//! let copy = DatasetName::new("backup/home")?;
//! if let Some(copy) = libzfs.dataset(&copy)?
//!     && let Some(token) = copy.properties().value("receive_resume_token")
//! {
//!     let state = libzfs.decode_resume_token(token)?; // or `lzc.abandon_receive(&copy)?`
//!     println!("{} of {} had arrived", state.received_bytes, state.to_name);
//!     send.flags = SendFlags::from(&state);
//!     send.resume = Some(ResumePoint::from(&state));
//! }
//! let estimated_bytes = lzc.send_space(&send)?;
//! let received = lzc.transfer(
//!     &Transfer {
//!         target: copy.snapshot("today")?,
//!         send,
//!         properties: &NvList::new(),
//!         force: false,
//!         resumable: true,
//!         estimated_bytes: Some(estimated_bytes),
//!         takes: &|_feature| true,
//!     },
//!     &[&Cancel::default()],  // `Cancel::request` in any thread interrupts it
//!     &Progress::default(),   // `Progress::sent_bytes` tells any thread how far it is
//! )?;
//! println!("{} bytes of about {estimated_bytes}", received.read_bytes);
//! # Ok(())
//! # }
//! ```
//!
//! # Import a pool from one device
//!
//! What was opened through a [`Libzfs`] stays valid over an import or export; what is opened
//! afterwards sees the pool as it is then.
//!
//! ```no_run
//! use std::path::Path;
//! use openzfs::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let libzfs = Libzfs::open()?;
//! for found in libzfs.search(Path::new("/dev/sdb1"))? {
//!     if let Some(host) = &found.needs_force {
//!         println!("not importing {}: {host}", found.name);
//!         continue;
//!     }
//!     libzfs.import(&found, &ImportOptions { readonly: true, ..ImportOptions::default() })?;
//!     if let Some(pool) = libzfs.pool(&found.name)? {
//!         println!("{}", pool.status()?.health);
//!         pool.export("an example")?;
//!     }
//! }
//! # Ok(())
//! # }
//! ```

#![deny(clippy::disallowed_macros, clippy::disallowed_methods)]

// What this crate makes safe.
use libzfs_sys as ffi;

mod batch;
mod begin;
mod cancel;
mod capture;
mod dataset;
mod delegation;
mod environment;
mod errno;
mod error;
#[doc(hidden)]
pub mod fault;
mod first_record;
mod handle;
mod history;
mod import;
mod kill;
mod lzc;
mod name;
mod nvlist;
mod pipe;
mod pool;
mod program;
mod progress;
mod property;
mod sender;
mod snapshot;
mod status;
mod stream;
mod token;
mod transfer;
mod wake;
mod writer;

pub use batch::{Partly, as_many_as_go};
pub use begin::{BEGIN_BYTES, BeginError, BeginRecord};
pub use cancel::Cancel;
pub use dataset::Dataset;
pub use environment::scrub_environment;
pub use error::{BatchError, BatchItem, Error, ErrorKind};
pub use first_record::FirstRecord;
pub use handle::Libzfs;
pub use history::{HistoryEntry, HistoryEvent, PoolHistory};
pub use import::{ForeignHost, ImportOptions, Importable};
pub use lzc::{Lzc, SendBase};
pub use name::{BookmarkName, Createtxg, DatasetName, Guid, InvalidName, PoolName, SnapshotName};
pub use nvlist::{NvList, NvListRef, Value};
pub use pool::Pool;
pub use program::{NotApplied, PropertyChange};
pub use progress::{Gauges, Progress};
pub use property::{
    Properties, Property, PropertySource, XATTR_ON, default_keyword, exclude_properties,
    kernel_properties,
};
pub use snapshot::{Bookmark, DatasetKind, ResumeState, Snapshot, StreamFeature};
pub use status::{Damage, Health, PoolStatus, ScanFunction, ScanState, ScanStatus, VdevStatus};
pub use stream::{ReceiveOutcome, ReceiveRequest, ResumePoint, SendFlags, SendRequest};
pub use transfer::{Received, Transfer, TransferError};
