//! What is unmounted on the host for a short time, mounted again as it was, or mounted for the first time.

pub(in crate::replicate) mod again;
pub(in crate::replicate) mod arrival;
pub(in crate::replicate) mod followers;
pub(in crate::replicate) mod places;
pub(in crate::replicate) mod remount;
pub(in crate::replicate) mod unmounted;
