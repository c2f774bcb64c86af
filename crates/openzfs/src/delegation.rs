//! What `zfs allow` has let users do on a dataset. No stream carries that, nor is it a property.

use std::ptr;

use super::dataset::Dataset;
use super::error::Error;
use super::nvlist::NvList;
use crate::ffi;

impl Dataset<'_> {
    /// Lets users do on this dataset what they may do on `other` by a delegation that was made there,
    /// besides what they may do here already. Permissions that come from above `other` are left out.
    ///
    /// Returns whether there was anything to take over.
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

    /// By the name of the dataset where it was delegated, this one or one above it.
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
