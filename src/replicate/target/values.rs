//! Values of properties.

pub(in crate::replicate) use crate::replicate::zfs::Values;

/// The kernel answers EBUSY if a receive is to set it, so it is set when the volume has arrived.
pub(in crate::replicate) const SET_LATER: &str = "longname";

/// Values that are written in the code.
pub(in crate::replicate) fn values<const N: usize>(pairs: [(&str, &str); N]) -> Values {
    let owned = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    owned.into()
}
