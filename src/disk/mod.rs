//! The disk's life: found, unlocked, imported … exported, locked, safe to unplug.
//!
//! ```text
//!  Partition::find ─► open ──► Imported ──► (the run) ──► close ──► Closing
//!                     unlock,  the pool, from             unmount,  what state it is in,
//!                     import   that device only           export,   and whether the kernel
//!                                                         lock      agrees that it is free
//! ```
//!
//! While the disk is open, [`watch`] notices when the cable is pulled.
//!
//! If an [`Imported`] is dropped without [`close()`](close::close), as in a panic, its guards
//! export the pool and lock the disk.

pub mod close;
pub mod find;
pub mod host;
pub mod lock;
pub mod mount;
pub mod open;
pub mod partition;
pub mod record;
pub mod safe;
mod secret;
mod stage;
pub mod watch;

pub use close::Closing;
pub use find::FoundDisk;
pub use partition::Partition;
pub use stage::{Imported, Unlocked};
