//! Properties of datasets: reading them, and making the list that the kernel wants for setting them.

use std::collections::BTreeMap;
use std::ffi::{c_char, c_int, c_void};

use super::error::{Error, ErrorKind};
use super::handle::ZfsHandle;
use super::lzc::Lzc;
use super::nvlist::{NvList, NvListRef, Value, c_text};
use super::pool::{buffer_text, text_of};
use crate::ffi;
use crate::snapshot::DatasetKind;

/// Where a property's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PropertySource {
    /// Set on the dataset itself.
    Local,
    /// It is not set anywhere.
    Default,
    /// Set on the named dataset above.
    Inherited(String),
    /// Came with a send stream.
    Received,
    /// Set for this mount only.
    Temporary,
    /// A fact that cannot be set, such as `used`.
    None,
}

/// A property's value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// The value as `zfs get -p` shows it: numbers in full, no units.
    pub value: String,
    /// Where it comes from.
    pub source: PropertySource,
}

/// A dataset's properties by name, native ones and the user's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, Property>);

impl Properties {
    /// The property `name`.
    pub fn get(&self, name: &str) -> Option<&Property> {
        self.0.get(name)
    }

    /// The value of `name`.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.get(name).map(|property| property.value.as_str())
    }

    /// The value of `name` if it is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.value(name)?.parse().ok()
    }

    /// All properties, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Property)> {
        self.0
            .iter()
            .map(|(name, property)| (name.as_str(), property))
    }

    /// The properties that are set on the dataset itself, by name.
    pub fn local(&self) -> impl Iterator<Item = (&str, &str)> {
        self.iter()
            .filter(|(_, property)| property.source == PropertySource::Local)
            .map(|(name, property)| (name, property.value.as_str()))
    }
}

impl FromIterator<(String, Property)> for Properties {
    fn from_iter<I: IntoIterator<Item = (String, Property)>>(properties: I) -> Self {
        Self(properties.into_iter().collect())
    }
}

/// A property with a colon in its name is the user's own; ZFS keeps it and never interprets it.
pub(super) fn is_user_property(name: &str) -> bool {
    name.contains(':')
}

/// The native properties of a handle's dataset, those with no value left out.
pub(super) fn native_properties(handle: &ZfsHandle) -> Vec<(String, Property)> {
    // SAFETY: the handle is open.
    let kind = unsafe { ffi::zfs_get_type(handle.as_ptr()) };
    native_property_numbers(kind)
        .into_iter()
        .filter_map(|number| Some((native_name(number), native_property(handle, number)?)))
        .collect()
}

/// The numbers of the properties that a type of dataset has.
fn native_property_numbers(kind: ffi::zfs_type_t) -> Vec<c_int> {
    unsafe extern "C" fn collect(number: c_int, numbers: *mut c_void) -> c_int {
        // SAFETY: zprop_iter passes on the pointer from below, which nobody else uses meanwhile.
        unsafe { &mut *numbers.cast::<Vec<c_int>>() }.push(number);
        ffi::ZPROP_CONT as c_int
    }
    let mut numbers = Vec::new();
    // SAFETY: callback and argument belong together; the tables behind it are only read.
    unsafe {
        ffi::zprop_iter(
            Some(collect),
            (&raw mut numbers).cast(),
            ffi::B_FALSE,
            ffi::B_FALSE,
            kind,
        );
    }
    numbers
}

fn native_name(number: c_int) -> String {
    // SAFETY: `number` is one that zprop_iter gave; the name is a constant of libzfs.
    let name =
        unsafe { std::ffi::CStr::from_ptr(ffi::zfs_prop_to_name(number as ffi::zfs_prop_t)) };
    name.to_string_lossy().into_owned()
}

fn native_property(handle: &ZfsHandle, number: c_int) -> Option<Property> {
    let mut value = vec![0_u8; ffi::ZFS_MAXPROPLEN as usize];
    let mut from = vec![0_u8; ffi::ZFS_MAXPROPLEN as usize];
    let mut source = ffi::ZPROP_SRC_NONE;
    // SAFETY: the handle is open; both buffers are as long as said, and libzfs ends them with NUL.
    let code = unsafe {
        ffi::zfs_prop_get(
            handle.as_ptr(),
            number as ffi::zfs_prop_t,
            value.as_mut_ptr().cast::<c_char>(),
            value.len(),
            &raw mut source,
            from.as_mut_ptr().cast::<c_char>(),
            from.len(),
            ffi::B_TRUE,
        )
    };
    let source = match source {
        ffi::ZPROP_SRC_LOCAL => PropertySource::Local,
        ffi::ZPROP_SRC_DEFAULT => PropertySource::Default,
        ffi::ZPROP_SRC_INHERITED => PropertySource::Inherited(buffer_text(&from)),
        ffi::ZPROP_SRC_RECEIVED => PropertySource::Received,
        ffi::ZPROP_SRC_TEMPORARY => PropertySource::Temporary,
        _ => PropertySource::None,
    };
    (code == 0).then(|| Property {
        value: buffer_text(&value),
        source,
    })
}

/// The native properties that came with the handle, with values spelled as in [`native_properties`].
pub(super) fn reported_properties(handle: &ZfsHandle) -> Vec<(String, Property)> {
    // SAFETY: the handle is open; the list is the handle's and is read here and now.
    let list = unsafe { NvListRef::from_raw(ffi::zfs_get_all_props(handle.as_ptr())) };
    let Some(list) = list else { return Vec::new() };
    let dataset = handle.name();
    list.pairs()
        .filter_map(|(name, entry)| {
            let Value::List(entry) = entry else {
                return None;
            };
            let value = reported_value(&name, entry)?;
            Some((name.into_owned(), property_in(entry, value, &dataset)))
        })
        .collect()
}

/// The kernel gives numbers for keywords; this gives the keyword.
fn reported_value(name: &str, entry: NvListRef<'_>) -> Option<String> {
    let value = text_of(ffi::ZPROP_VALUE);
    if let Some(text) = entry.lookup_text(value) {
        return Some(text.into_owned());
    }
    let number = entry.lookup_u64(value)?;
    let c_name = c_text("zfs_name_to_prop", name).ok()?;
    // SAFETY: the name ends in NUL; the tables were made when libzfs was opened.
    let property = unsafe { ffi::zfs_name_to_prop(c_name.as_ptr()) };
    let is_known = property as c_int != ffi::ZPROP_INVAL as c_int;
    // SAFETY: `property` is a valid one.
    let is_index = is_known && unsafe { ffi::zfs_prop_get_type(property) } == ffi::PROP_TYPE_INDEX;
    let keyword = is_index.then(|| keyword(property, number)).flatten();
    Some(keyword.unwrap_or_else(|| number.to_string()))
}

/// The keyword that a property has if nobody has set it, which [`Dataset::reported_properties`]
/// leaves out. `None` for a property without keywords, and for one that this OpenZFS does not know.
///
/// [`Dataset::reported_properties`]: super::Dataset::reported_properties
#[doc(alias = "zfs_prop_default_numeric")]
pub fn default_keyword(name: &str) -> Result<Option<String>, Error> {
    Lzc::open()?;
    let c_name = c_text("zfs_name_to_prop", name)?;
    // SAFETY: the name ends in NUL; the tables have been made by `Lzc::open`.
    let property = unsafe { ffi::zfs_name_to_prop(c_name.as_ptr()) };
    if property as c_int == ffi::ZPROP_INVAL as c_int {
        return Ok(None);
    }
    // SAFETY: `property` is a valid one.
    let (kind, default) = unsafe {
        (
            ffi::zfs_prop_get_type(property),
            ffi::zfs_prop_default_numeric(property),
        )
    };
    let is_index = kind == ffi::PROP_TYPE_INDEX;
    Ok(is_index.then(|| keyword(property, default)).flatten())
}

/// The word for a number of a valid property, such as `lz4`.
fn keyword(property: ffi::zfs_prop_t, number: u64) -> Option<String> {
    let mut text = std::ptr::null();
    // SAFETY: `property` is a valid one and `text` a place for a pointer.
    let code = unsafe { ffi::zfs_prop_index_to_string(property, number, &raw mut text) };
    if code != 0 || text.is_null() {
        return None;
    }
    // SAFETY: a constant of libzfs that ends in NUL.
    let text = unsafe { std::ffi::CStr::from_ptr(text) };
    Some(text.to_string_lossy().into_owned())
}

/// The user's properties of a handle's dataset, inherited ones too.
pub(super) fn user_properties(handle: &ZfsHandle) -> Vec<(String, Property)> {
    // SAFETY: the handle is open; the list is the handle's and is read here and now.
    let list = unsafe { NvListRef::from_raw(ffi::zfs_get_user_props(handle.as_ptr())) };
    let Some(list) = list else { return Vec::new() };
    user_properties_in(list, &handle.name())
}

/// `{name: {value, source}}`, and the source is the name of the dataset on which it is set.
fn user_properties_in(list: NvListRef<'_>, dataset: &str) -> Vec<(String, Property)> {
    list.pairs()
        .filter_map(|(name, _)| {
            let entry = list.lookup_list(&name)?;
            let value = entry.lookup_text(text_of(ffi::ZPROP_VALUE))?.into_owned();
            Some((name.into_owned(), property_in(entry, value, dataset)))
        })
        .collect()
}

fn property_in(entry: NvListRef<'_>, value: String, dataset: &str) -> Property {
    let source = entry.lookup_text(text_of(ffi::ZPROP_SOURCE));
    Property {
        value,
        source: source_of(source.as_deref(), dataset),
    }
}

fn source_of(source: Option<&str>, dataset: &str) -> PropertySource {
    match source {
        None => PropertySource::None,
        Some("") => PropertySource::Default,
        Some(source) if source == dataset => PropertySource::Local,
        Some(source) if source == text_of(ffi::ZPROP_SOURCE_VAL_RECVD) => PropertySource::Received,
        Some(source) => PropertySource::Inherited(source.into()),
    }
}

/// Properties in the form that `lzc_create` and a receive take: numbers and keywords as
/// numbers, texts as texts.
///
/// Values are spelled as [`Dataset::properties`](super::Dataset::properties) gives them.
///
/// # Errors
/// [`ErrorKind::Invalid`] for a name that is no property of the loaded kernel module, or for a value
/// that it cannot have.
#[doc(alias = "zfs_valid_proplist")]
pub fn kernel_properties<'a>(
    properties: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<NvList, Error> {
    Lzc::open()?;
    let mut list = NvList::new();
    for (name, value) in properties {
        add_kernel_property(&mut list, name, value)?;
    }
    Ok(list)
}

/// Marks properties in a receive's list so that they are not taken from the stream (`zfs receive -x`).
pub fn exclude_properties<'a>(
    list: &mut NvList,
    names: impl IntoIterator<Item = &'a str>,
) -> Result<(), Error> {
    names.into_iter().try_for_each(|name| list.add_flag(name))
}

fn add_kernel_property(list: &mut NvList, name: &str, value: &str) -> Result<(), Error> {
    if is_user_property(name) {
        return list.add_text(name, value);
    }
    let c_name = c_text("zfs_name_to_prop", name)?;
    // SAFETY: the name ends in NUL; the tables have been made by `Lzc::open`.
    let property = unsafe { ffi::zfs_name_to_prop(c_name.as_ptr()) };
    if property as c_int == ffi::ZPROP_INVAL as c_int {
        return Err(invalid(name, "there is no such property"));
    }
    // SAFETY: `property` is a valid one.
    match unsafe { ffi::zfs_prop_get_type(property) } {
        ffi::PROP_TYPE_STRING => list.add_text(name, value),
        ffi::PROP_TYPE_NUMBER => list.add_u64(name, kernel_number(property, name, value)?),
        _ => list.add_u64(name, kernel_index(property, name, value)?),
    }
}

/// `none` is the kernel's "no limit": all ones for the counts of datasets, 0 for sizes.
fn kernel_number(property: ffi::zfs_prop_t, name: &str, value: &str) -> Result<u64, Error> {
    let is_count = matches!(
        property,
        ffi::ZFS_PROP_FILESYSTEM_LIMIT | ffi::ZFS_PROP_SNAPSHOT_LIMIT
    );
    match value {
        "none" if is_count => Ok(u64::MAX),
        "none" => Ok(0),
        _ => value
            .parse()
            .map_err(|_| invalid(name, &format!("{value:?} is no number"))),
    }
}

/// Keywords, such as `lz4`, have numbers.
fn kernel_index(property: ffi::zfs_prop_t, name: &str, value: &str) -> Result<u64, Error> {
    let c_value = c_text("zfs_prop_string_to_index", value)?;
    let mut index = 0;
    // SAFETY: `property` is a valid one, the value ends in NUL, `index` is a u64 to write to.
    let code = unsafe { ffi::zfs_prop_string_to_index(property, c_value.as_ptr(), &raw mut index) };
    match code {
        0 => Ok(index),
        _ => Err(invalid(
            name,
            &format!("{value:?} is not one of its values"),
        )),
    }
}

/// What `xattr=on` means here. OpenZFS 2.3 changed the meaning, and shows the long word only for the
/// other kind: it is the only word in the tables of 2.1 to 2.4 whose meaning differs between releases.
pub const XATTR_ON: &str = if cfg!(zfs_2_3) { "sa" } else { "dir" };

fn invalid(name: &str, reason: &str) -> Error {
    Error::found(
        "zfs_name_to_prop",
        format!("property {name}"),
        ErrorKind::Invalid,
        reason,
    )
}

/// Setting these makes libzfs unmount, share or start other programs.
pub(super) fn sets_mounts_or_shares(name: &str) -> bool {
    matches!(
        name,
        "mountpoint" | "sharenfs" | "sharesmb" | "zoned" | "volsize"
    )
}

/// A kind as `zfs_open` takes it.
pub(super) fn kind_of(raw: ffi::zfs_type_t) -> DatasetKind {
    if raw == ffi::ZFS_TYPE_VOLUME {
        DatasetKind::Volume
    } else {
        DatasetKind::Filesystem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_properties_are_texts_and_excluded_ones_flags() {
        let mut list = NvList::new();
        add_kernel_property(&mut list, "org.zbackup:created", "1").unwrap();
        exclude_properties(&mut list, ["mountpoint"]).unwrap();
        assert_eq!(list.view().lookup_text("org.zbackup:created").unwrap(), "1");
        assert!(list.view().contains("mountpoint"));
        assert!(list.view().lookup_text("mountpoint").is_none());
    }

    /// Each further libzfs handle fills the tables anew, and nothing that reads them waits for that.
    #[test]
    fn tables_are_whole_while_they_are_filled_again() {
        const FILLINGS: usize = 100;
        let fill = || {
            let _lock = super::super::handle::library_lock();
            // SAFETY: no arguments; the lock keeps other threads from filling the same tables.
            unsafe { ffi::zfs_prop_init() };
        };
        fill();
        std::thread::scope(|threads| {
            let filling = threads.spawn(|| (0..FILLINGS).for_each(|_| fill()));
            while !filling.is_finished() {
                for (property, word) in [
                    (ffi::ZFS_PROP_COMPRESSION, "zstd-19"),
                    (ffi::ZFS_PROP_VOLMODE, "none"),
                ] {
                    let number = kernel_index(property, "", word).unwrap();
                    assert_eq!(keyword(property, number).as_deref(), Some(word));
                }
            }
        });
    }

    #[test]
    fn the_long_word_for_xattr_on_means_the_same() {
        {
            let _lock = super::super::handle::library_lock();
            // SAFETY: as above.
            unsafe { ffi::zfs_prop_init() };
        }
        let number = |word| kernel_index(ffi::ZFS_PROP_XATTR, "xattr", word).unwrap();
        assert_eq!(number(XATTR_ON), number("on"));
    }

    #[test]
    fn a_user_property_knows_where_it_was_set() {
        let mut list = NvList::new();
        for (name, source) in [("a:1", "tank/home"), ("b:2", "tank"), ("c:3", "$recvd")] {
            let mut entry = NvList::new();
            entry.add_text("value", "x").unwrap();
            entry.add_text("source", source).unwrap();
            list.add_list(name, entry.view()).unwrap();
        }
        let properties: Properties = user_properties_in(list.view(), "tank/home")
            .into_iter()
            .collect();
        assert_eq!(properties.get("a:1").unwrap().source, PropertySource::Local);
        assert_eq!(
            properties.get("b:2").unwrap().source,
            PropertySource::Inherited("tank".into())
        );
        assert_eq!(
            properties.get("c:3").unwrap().source,
            PropertySource::Received
        );
        assert_eq!(properties.local().collect::<Vec<_>>(), [("a:1", "x")]);
    }
}
