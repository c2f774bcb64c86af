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
//! With other programs at the ends, a stream goes through any two descriptors: see
//! [`Lzc::send`] and [`Lzc::receive`].
//!
//! # How much a send will be, and going on with one that broke off
//!
//! ```no_run
//! use zbackup::{name::*, zfs::*};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (libzfs, lzc) = (Libzfs::open()?, Lzc::open()?);
//! let mut request = SendRequest {
//!     snapshot: SnapshotName::new("tank/home@today")?,
//!     from: Some(SendBase::Bookmark(BookmarkName::new("tank/home#yesterday")?)),
//!     flags: SendFlags::default(),
//!     resume: None,
//! };
//! println!("about {} bytes", lzc.send_space(&request)?);
//!
//! let copy = DatasetName::new("backup/home")?;
//! let copy = libzfs.dataset(&copy)?.ok_or("there is no copy")?;
//! if let Some(token) = copy.properties().value("receive_resume_token") {
//!     let state = libzfs.decode_resume_token(token)?;
//!     println!("{} of {} had arrived", state.received_bytes, state.to_name);
//!     request.flags = SendFlags::from(&state);
//!     request.resume = Some(ResumePoint::from(&state));
//!     println!("about {} bytes are left", lzc.send_space(&request)?);
//!     // Or `lzc.abandon_receive(&copy)?`, to begin anew.
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Bookmarks, holds, destroying
//!
//! Each of these is one call for a whole pool, and tells item by item what it could not do.
//!
//! ```no_run
//! use zbackup::{name::*, zfs::Lzc};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let lzc = Lzc::open()?;
//! let home = DatasetName::new("tank/home")?;
//! let (old, new) = (home.snapshot("monday")?, home.snapshot("tuesday")?);
//! lzc.bookmark(&[(home.bookmark("monday")?, old.clone())])?;
//! for bookmark in lzc.bookmarks(&home)? {
//!     println!("{} stands in for the snapshot with guid {}", bookmark.name, bookmark.guid);
//! }
//!
//! lzc.hold(&[(new.clone(), "copying")], None)?; // `new` cannot be destroyed now
//! println!("held since {:?}", lzc.holds(&new)?.get("copying"));
//! lzc.release(&[(new, "copying")])?;
//!
//! if let Err(error) = lzc.destroy_snapshots(&[old], false) {
//!     println!("{error}: {:?}", error.kind());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Properties
//!
//! ```no_run
//! use zbackup::{name::DatasetName, snapshot::DatasetKind, zfs::*};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let libzfs = Libzfs::open()?;
//! let home = DatasetName::new("tank/home")?;
//! if let Some(mut dataset) = libzfs.dataset(&home)? {
//!     let properties = dataset.properties();
//!     println!("{:?} bytes are used", properties.number("used"));
//!     if properties.get("compression").is_some_and(|one| one.source == PropertySource::Default) {
//!         dataset.set_property("compression", "lz4")?;
//!     }
//!     dataset.set_property("com.example:owner", "vic")?;
//! }
//! // What the kernel is to be told comes as a list; a filled one can be looked into.
//! let properties = kernel_properties([("compression", "zstd"), ("canmount", "noauto")])?;
//! Lzc::open()?.create(&home.join("mail")?, DatasetKind::Filesystem, &properties)?;
//! # Ok(())
//! # }
//! ```
//!
//! # Name-value lists
//!
//! ```
//! use zbackup::zfs::{NvList, Value};
//!
//! # fn main() -> Result<(), zbackup::zfs::Error> {
//! let mut inner = NvList::new();
//! inner.add_u64("guid", 7)?;
//! let mut list = NvList::new();
//! list.add_text("name", "tank")?;
//! list.add_list("vdev_tree", inner.view())?;
//!
//! let view = list.view(); // borrows: what it gives cannot outlive the list
//! assert_eq!(view.lookup_text("name").as_deref(), Some("tank"));
//! let tree = view.lookup_list("vdev_tree").unwrap();
//! assert_eq!((tree.lookup_u64("guid"), tree.lookup_u64("size")), (Some(7), None));
//! for (name, value) in view.pairs() {
//!     if let Value::List(_) = value {
//!         assert_eq!(name, "vdev_tree");
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Importing and exporting a pool
//!
//! What was opened through a [`Libzfs`] stays valid over an import or export; what is opened
//! afterwards sees the pool as it is then.
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
mod kill;
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
mod writer;

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
pub use property::{
    Properties, Property, PropertySource, XATTR_ON, exclude_properties, kernel_properties,
};
pub use status::{Health, PoolStatus, ScanFunction, ScanState, ScanStatus, VdevStatus};
pub use transfer::{ReceiveOutcome, ReceiveRequest, ResumePoint, SendFlags, SendRequest};
pub use wake::ThreadWaker;
pub use writer::SoleWriter;
