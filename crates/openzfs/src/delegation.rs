//! What `zfs allow` lets users do on a dataset. No stream carries that, and it is no property.

use std::ptr;

use super::dataset::Dataset;
use super::error::Error;
use super::nvlist::NvList;
use crate::ffi;

impl Dataset<'_> {
    /// Lets users do on this dataset what a delegation made on `other` lets them do there, in
    /// addition to what they may already do here. Permissions from above `other` are left out.
    ///
    /// Returns whether there was anything to copy.
    #[doc(alias = "zfs_get_fsacl")]
    #[doc(alias = "zfs_set_fsacl")]
    pub fn take_over_delegation(&self, other: &Dataset<'_>) -> Result<bool, Error> {
        let delegations = other.delegations()?;
        let own = delegations
            .as_ref()
            .and_then(|list| list.view().lookup_list(other.name().as_str()));
        let Some(own) = own.filter(|own| own.pairs().next().is_some()) else {
            return Ok(false);
        };
        // SAFETY: the handle is open, and of a file system or zvol, which libzfs asserts. The list is
        // read only, and lives as long as `delegations`.
        let code = unsafe { ffi::zfs_set_fsacl(self.as_ptr(), ffi::B_FALSE, own.as_ptr()) };
        self.check("zfs_set_fsacl", code)?;
        Ok(true)
    }

    /// By the name of the dataset on which it was delegated, this one or one above it.
    fn delegations(&self) -> Result<Option<NvList>, Error> {
        let mut list = ptr::null_mut();
        // SAFETY: the handle is open. libzfs allocates the list and leaves it to us, or leaves the
        // pointer as it is if it fails.
        let (code, list) = unsafe {
            let code = ffi::zfs_get_fsacl(self.as_ptr(), &raw mut list);
            (code, NvList::from_raw(list))
        };
        self.check("zfs_get_fsacl", code)?;
        Ok(list)
    }
}
