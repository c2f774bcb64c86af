//! Running streams: which is next, in which thread, how far it is, and what became of it.

mod blame;
pub(in crate::replicate) mod damage;
pub(in crate::replicate) mod outcome;
pub(in crate::replicate) mod progress;
pub(in crate::replicate) mod queue;
pub(in crate::replicate) mod stream;
pub(in crate::replicate) mod transfers;
pub(in crate::replicate) mod volume;
