//! Values of properties.

use std::collections::BTreeMap;

use openzfs::kernel_properties;

/// The kernel answers EBUSY where a receive is to set it: it is set when the volume has arrived.
pub(in crate::replicate) const SET_LATER: &str = "longname";

/// Property values by name, spelled as ZFS shows them.
pub(in crate::replicate) type Values = BTreeMap<String, String>;

/// True if the ZFS that is installed here knows the property, and this value of it.
pub(in crate::replicate) fn zfs_has(name: &str, value: &str) -> bool {
    kernel_properties([(name, value)]).is_ok()
}

/// Written down in the code.
pub(in crate::replicate) fn values<const N: usize>(pairs: [(&str, &str); N]) -> Values {
    let owned = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    owned.into()
}
