//! What is done to the receiving side around a stream: it checks again what was approved, makes way,
//! replaces datasets, and sets properties.

pub(in crate::replicate) mod approved;
pub(in crate::replicate) mod consent;
pub(in crate::replicate) mod leftovers;
pub(in crate::replicate) mod memory;
pub(in crate::replicate) mod overwrite;
pub(in crate::replicate) mod placeholder;
pub(in crate::replicate) mod properties;
pub(in crate::replicate) mod quiet;
pub(in crate::replicate) mod rename;
pub(in crate::replicate) mod replace;
pub(in crate::replicate) mod stale;
pub(in crate::replicate) mod taken_over;
pub(in crate::replicate) mod usage;
pub(in crate::replicate) mod values;
pub(in crate::replicate) mod witness;
