//! Name-value lists: how ZFS passes everything that is not a plain argument.
//!
//! [`NvList`] owns its memory. [`NvListRef`] looks into a list that something else owns: an
//! [`NvList`], or a pool or dataset handle. Neither needs a kernel module.

use std::borrow::Cow;
use std::ffi::{CStr, CString, c_char};
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::ptr::{self, NonNull};
use std::slice;

use super::error::{Error, ErrorKind};
use crate::ffi;

/// A list that this value owns.
///
/// ```
/// use openzfs::{NvList, Value};
///
/// # fn main() -> Result<(), openzfs::Error> {
/// let mut inner = NvList::new();
/// inner.add_u64("guid", 7)?;
/// let mut list = NvList::new();
/// list.add_text("name", "tank")?;
/// list.add_list("vdev_tree", inner.view())?;
///
/// let view = list.view(); // borrows: what it gives cannot outlive the list
/// assert_eq!(view.lookup_text("name").as_deref(), Some("tank"));
/// let tree = view.lookup_list("vdev_tree").unwrap();
/// assert_eq!((tree.lookup_u64("guid"), tree.lookup_u64("size")), (Some(7), None));
/// for (name, value) in view.pairs() {
///     if let Value::List(_) = value {
///         assert_eq!(name, "vdev_tree");
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct NvList {
    raw: NonNull<ffi::nvlist_t>,
}

// SAFETY: libnvpair keeps a list in memory from malloc and has no thread-local or global state; one
// thread at a time may use it, whichever that is. (Lookups move a cursor inside, hence no Sync.)
unsafe impl Send for NvList {}

/// A look into a list that lives as long as `'a`.
#[derive(Clone, Copy)]
pub struct NvListRef<'a> {
    raw: NonNull<ffi::nvlist_t>,
    owner: PhantomData<&'a NvList>,
}

/// One value of a list.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Value<'a> {
    /// A name without a value: its presence is what counts.
    Flag,
    /// `DATA_TYPE_BOOLEAN_VALUE`
    Bool(bool),
    /// `DATA_TYPE_INT32`
    I32(i32),
    /// `DATA_TYPE_UINT32`
    U32(u32),
    /// `DATA_TYPE_INT64`
    I64(i64),
    /// `DATA_TYPE_UINT64`
    U64(u64),
    /// `DATA_TYPE_STRING`; bytes that are no UTF-8 are replaced.
    Text(Cow<'a, str>),
    /// `DATA_TYPE_NVLIST`
    List(NvListRef<'a>),
    /// `DATA_TYPE_UINT64_ARRAY`
    U64s(&'a [u64]),
    /// `DATA_TYPE_NVLIST_ARRAY`
    Lists(Vec<NvListRef<'a>>),
    /// A type that is not needed here, by its `data_type_t` number.
    Other(i32),
}

impl NvList {
    /// An empty list in which a name occurs once: adding it again replaces the value.
    #[doc(alias = "nvlist_alloc")]
    pub fn new() -> Self {
        let mut raw = ptr::null_mut();
        // SAFETY: nvlist_alloc writes a fresh list to `raw`; flag 0 (KM_SLEEP) is what user space passes.
        let code = unsafe { ffi::nvlist_alloc(&raw mut raw, ffi::NV_UNIQUE_NAME, 0) };
        match NonNull::new(raw) {
            Some(raw) if code == 0 => Self { raw },
            // Its only failure with these arguments; Rust's own collections abort on it too.
            _ => std::alloc::handle_alloc_error(std::alloc::Layout::new::<ffi::nvlist_t>()),
        }
    }

    /// Takes over a list that a C function handed out; `None` if it handed out nothing.
    ///
    /// # Safety
    /// `raw` is null or a list that the caller has to free and that nothing else uses.
    pub(super) unsafe fn from_raw(raw: *mut ffi::nvlist_t) -> Option<Self> {
        NonNull::new(raw).map(|raw| Self { raw })
    }

    /// A list from the kernel's encoding in memory; `None` for anything else.
    #[doc(alias = "nvlist_unpack")]
    pub fn unpack(packed: &mut [u8]) -> Option<Self> {
        let mut raw = ptr::null_mut();
        // SAFETY: the bytes are as many as said and ours alone. libnvpair looks at no others, copies
        // what it keeps, and writes a list that is ours to free if it returns 0.
        unsafe {
            let code =
                ffi::nvlist_unpack(packed.as_mut_ptr().cast(), packed.len(), &raw mut raw, 0);
            if code == 0 { Self::from_raw(raw) } else { None }
        }
    }

    /// The list for a C function that reads it.
    pub(super) fn as_ptr(&self) -> *mut ffi::nvlist_t {
        self.raw.as_ptr()
    }

    /// A view of the whole list.
    pub fn view(&self) -> NvListRef<'_> {
        NvListRef {
            raw: self.raw,
            owner: PhantomData,
        }
    }

    /// Adds `name` without a value.
    #[doc(alias = "nvlist_add_boolean")]
    pub fn add_flag(&mut self, name: &str) -> Result<(), Error> {
        let key = c_text("nvlist_add_boolean", name)?;
        // SAFETY: the list is ours alone and alive, `key` ends in NUL; libnvpair copies both.
        let code = unsafe { ffi::nvlist_add_boolean(self.as_ptr(), key.as_ptr()) };
        Error::check("nvlist_add_boolean", name, code)
    }

    /// Adds a truth value.
    #[doc(alias = "nvlist_add_boolean_value")]
    pub fn add_bool(&mut self, name: &str, value: bool) -> Result<(), Error> {
        let key = c_text("nvlist_add_boolean_value", name)?;
        // SAFETY: as in `add_flag`; boolean_t is 0 or 1.
        let code = unsafe {
            ffi::nvlist_add_boolean_value(self.as_ptr(), key.as_ptr(), ffi::boolean_t::from(value))
        };
        Error::check("nvlist_add_boolean_value", name, code)
    }

    /// Adds a signed 32-bit number.
    #[doc(alias = "nvlist_add_int32")]
    pub fn add_i32(&mut self, name: &str, value: i32) -> Result<(), Error> {
        let key = c_text("nvlist_add_int32", name)?;
        // SAFETY: as in `add_flag`.
        let code = unsafe { ffi::nvlist_add_int32(self.as_ptr(), key.as_ptr(), value) };
        Error::check("nvlist_add_int32", name, code)
    }

    /// Adds a 32-bit number.
    #[doc(alias = "nvlist_add_uint32")]
    pub fn add_u32(&mut self, name: &str, value: u32) -> Result<(), Error> {
        let key = c_text("nvlist_add_uint32", name)?;
        // SAFETY: as in `add_flag`.
        let code = unsafe { ffi::nvlist_add_uint32(self.as_ptr(), key.as_ptr(), value) };
        Error::check("nvlist_add_uint32", name, code)
    }

    /// Adds a 64-bit number.
    #[doc(alias = "nvlist_add_uint64")]
    pub fn add_u64(&mut self, name: &str, value: u64) -> Result<(), Error> {
        let key = c_text("nvlist_add_uint64", name)?;
        // SAFETY: as in `add_flag`.
        let code = unsafe { ffi::nvlist_add_uint64(self.as_ptr(), key.as_ptr(), value) };
        Error::check("nvlist_add_uint64", name, code)
    }

    /// Adds a text without NUL.
    #[doc(alias = "nvlist_add_string")]
    pub fn add_text(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let key = c_text("nvlist_add_string", name)?;
        let value = c_text("nvlist_add_string", value)?;
        // SAFETY: as in `add_flag`; the value ends in NUL and is copied too.
        let code = unsafe { ffi::nvlist_add_string(self.as_ptr(), key.as_ptr(), value.as_ptr()) };
        Error::check("nvlist_add_string", name, code)
    }

    /// Adds a copy of another list.
    #[doc(alias = "nvlist_add_nvlist")]
    pub fn add_list(&mut self, name: &str, value: NvListRef<'_>) -> Result<(), Error> {
        let key = c_text("nvlist_add_nvlist", name)?;
        // SAFETY: as in `add_flag`; `value` is alive for this call and copied deeply.
        let code =
            unsafe { ffi::nvlist_add_nvlist(self.as_ptr(), key.as_ptr(), value.raw.as_ptr()) };
        Error::check("nvlist_add_nvlist", name, code)
    }

    /// Adds a copy of some 64-bit numbers.
    #[doc(alias = "nvlist_add_uint64_array")]
    pub fn add_u64s(&mut self, name: &str, values: &[u64]) -> Result<(), Error> {
        let key = c_text("nvlist_add_uint64_array", name)?;
        let count = ffi::uint_t::try_from(values.len()).map_err(|_| {
            Error::found(
                "nvlist_add_uint64_array",
                name,
                ErrorKind::Invalid,
                "too many numbers",
            )
        })?;
        // SAFETY: as in `add_flag`; libnvpair copies `count` numbers and, though 2.1 declares the
        // pointer without const, writes none.
        let code = unsafe {
            ffi::nvlist_add_uint64_array(
                self.as_ptr(),
                key.as_ptr(),
                values.as_ptr().cast_mut(),
                count,
            )
        };
        Error::check("nvlist_add_uint64_array", name, code)
    }
}

impl Default for NvList {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for NvList {
    fn drop(&mut self) {
        // SAFETY: the list is ours, and every NvListRef into it has ended by its lifetime.
        unsafe { ffi::nvlist_free(self.as_ptr()) }
    }
}

impl fmt::Debug for NvList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

/// The lookup of a number. A macro, since releases declare these functions with or without const,
/// which a call accepts and a function pointer would not.
macro_rules! lookup_number {
    ($list:expr, $name:expr, $function:ident) => {{
        let key = CString::new($name).ok()?;
        let mut value = Default::default();
        // SAFETY: the list is alive for 'a, `key` ends in NUL, and the function writes one number of
        // its type if it returns 0, and nothing else.
        let code = unsafe { ffi::$function($list.raw.as_ptr(), key.as_ptr(), &raw mut value) };
        (code == 0).then_some(value)
    }};
}

/// The number in a pair of the function's own type; a macro like [`lookup_number`].
macro_rules! pair_number {
    ($pair:expr, $function:ident) => {{
        let mut value = Default::default();
        ffi::$function($pair, &raw mut value);
        value
    }};
}

impl<'a> NvListRef<'a> {
    /// A list that some handle owns; `None` for a null pointer.
    ///
    /// # Safety
    /// `raw` is null or a list that stays as it is for all of `'a`.
    pub(super) unsafe fn from_raw(raw: *mut ffi::nvlist_t) -> Option<Self> {
        NonNull::new(raw).map(|raw| Self {
            raw,
            owner: PhantomData,
        })
    }

    /// The list for a C function that only reads it.
    pub(super) fn as_ptr(self) -> *mut ffi::nvlist_t {
        self.raw.as_ptr()
    }

    /// A copy with its own memory.
    #[doc(alias = "nvlist_dup")]
    pub fn to_owned(self) -> NvList {
        let mut raw = ptr::null_mut();
        // SAFETY: the list is alive; nvlist_dup writes a deep copy of it to `raw`.
        let code = unsafe { ffi::nvlist_dup(self.raw.as_ptr(), &raw mut raw, 0) };
        match NonNull::new(raw) {
            Some(raw) if code == 0 => NvList { raw },
            _ => std::alloc::handle_alloc_error(std::alloc::Layout::new::<ffi::nvlist_t>()),
        }
    }

    /// True if `name` is in the list, with whatever value.
    #[doc(alias = "nvlist_exists")]
    pub fn contains(self, name: &str) -> bool {
        let Ok(key) = CString::new(name) else {
            return false;
        };
        // SAFETY: the list is alive for 'a, `key` ends in NUL.
        unsafe { ffi::nvlist_exists(self.raw.as_ptr(), key.as_ptr()) != 0 }
    }

    /// The truth value `name`; `None` if it is absent or of another type.
    #[doc(alias = "nvlist_lookup_boolean_value")]
    pub fn lookup_bool(self, name: &str) -> Option<bool> {
        let value: ffi::boolean_t = lookup_number!(self, name, nvlist_lookup_boolean_value)?;
        Some(value != 0)
    }

    /// The signed 32-bit number `name`; `None` if it is absent or of another type.
    #[doc(alias = "nvlist_lookup_int32")]
    pub fn lookup_i32(self, name: &str) -> Option<i32> {
        lookup_number!(self, name, nvlist_lookup_int32)
    }

    /// The 32-bit number `name`; `None` if it is absent or of another type.
    #[doc(alias = "nvlist_lookup_uint32")]
    pub fn lookup_u32(self, name: &str) -> Option<u32> {
        lookup_number!(self, name, nvlist_lookup_uint32)
    }

    /// The 64-bit number `name`; `None` if it is absent or of another type.
    #[doc(alias = "nvlist_lookup_uint64")]
    pub fn lookup_u64(self, name: &str) -> Option<u64> {
        lookup_number!(self, name, nvlist_lookup_uint64)
    }

    /// The text `name`; `None` if it is absent or of another type.
    #[doc(alias = "nvlist_lookup_string")]
    pub fn lookup_text(self, name: &str) -> Option<Cow<'a, str>> {
        let key = CString::new(name).ok()?;
        let mut value: *mut c_char = ptr::null_mut();
        // SAFETY: as in `contains`. 2.1 has `char **` here and later releases `const char **`, which
        // the cast bridges; either way the text stays the list's.
        let code = unsafe {
            ffi::nvlist_lookup_string(self.raw.as_ptr(), key.as_ptr(), (&raw mut value).cast())
        };
        // SAFETY: on success `value` is a NUL-terminated text inside the list, alive for 'a.
        (code == 0).then(|| unsafe { borrowed_text(value) })
    }

    /// The list `name`; `None` if it is absent or of another type.
    #[doc(alias = "nvlist_lookup_nvlist")]
    pub fn lookup_list(self, name: &str) -> Option<NvListRef<'a>> {
        let mut key_found = ptr::null_mut();
        let key = CString::new(name).ok()?;
        // SAFETY: as in `contains`; on success the inner list belongs to this one, alive for 'a.
        unsafe {
            let code =
                ffi::nvlist_lookup_nvlist(self.raw.as_ptr(), key.as_ptr(), &raw mut key_found);
            if code == 0 {
                Self::from_raw(key_found)
            } else {
                None
            }
        }
    }

    /// The bytes `name`; `None` if they are absent or of another type.
    #[doc(alias = "nvlist_lookup_uint8_array")]
    pub fn lookup_bytes(self, name: &str) -> Option<&'a [u8]> {
        let key = CString::new(name).ok()?;
        let (mut values, mut count) = (ptr::null_mut(), 0);
        // SAFETY: as in `lookup_u64s`, with bytes.
        unsafe {
            let code = ffi::nvlist_lookup_uint8_array(
                self.raw.as_ptr(),
                key.as_ptr(),
                &raw mut values,
                &raw mut count,
            );
            (code == 0).then(|| slice_or_empty(values, count))
        }
    }

    /// The 64-bit numbers `name`; `None` if they are absent or of another type.
    #[doc(alias = "nvlist_lookup_uint64_array")]
    pub fn lookup_u64s(self, name: &str) -> Option<&'a [u64]> {
        let key = CString::new(name).ok()?;
        let (mut values, mut count) = (ptr::null_mut(), 0);
        // SAFETY: as in `contains`; on success `values` points at `count` numbers inside the list,
        // 8-byte aligned as libnvpair aligns every value, alive for 'a.
        unsafe {
            let code = ffi::nvlist_lookup_uint64_array(
                self.raw.as_ptr(),
                key.as_ptr(),
                &raw mut values,
                &raw mut count,
            );
            (code == 0).then(|| slice_or_empty(values, count))
        }
    }

    /// The lists `name`; `None` if they are absent or of another type.
    #[doc(alias = "nvlist_lookup_nvlist_array")]
    pub fn lookup_lists(self, name: &str) -> Option<Vec<NvListRef<'a>>> {
        let key = CString::new(name).ok()?;
        let (mut values, mut count) = (ptr::null_mut(), 0);
        // SAFETY: as in `lookup_u64s`; the array holds pointers to lists that belong to this one.
        unsafe {
            let code = ffi::nvlist_lookup_nvlist_array(
                self.raw.as_ptr(),
                key.as_ptr(),
                &raw mut values,
                &raw mut count,
            );
            (code == 0).then(|| lists_of(values, count))
        }
    }

    /// All names and values, in the order in which they were added.
    #[doc(alias = "nvlist_next_nvpair")]
    pub fn pairs(self) -> impl Iterator<Item = (Cow<'a, str>, Value<'a>)> {
        let mut pair: *mut ffi::nvpair_t = ptr::null_mut();
        std::iter::from_fn(move || {
            // SAFETY: the list is alive for 'a and cannot change meanwhile; `pair` is null for the
            // first one or what the call before returned.
            pair = unsafe { ffi::nvlist_next_nvpair(self.raw.as_ptr(), pair) };
            // SAFETY: a pair that is not null belongs to the list and is alive for 'a.
            (!pair.is_null()).then(|| unsafe { (pair_name(pair), pair_value(pair)) })
        })
    }
}

impl fmt::Debug for NvListRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.pairs()).finish()
    }
}

/// A text for a C function. Our own names have no NUL; a caller's text might.
pub(super) fn c_text(call: &'static str, text: &str) -> Result<CString, Error> {
    CString::new(text).map_err(|_| {
        Error::found(
            call,
            format!("{text:?}"),
            ErrorKind::Invalid,
            "it contains a NUL",
        )
    })
}

/// # Safety
/// `text` is a NUL-terminated text that stays for all of `'a`.
unsafe fn borrowed_text<'a>(text: *const c_char) -> Cow<'a, str> {
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy()
}

/// # Safety
/// `pair` belongs to a list that stays for all of `'a`.
unsafe fn pair_name<'a>(pair: *mut ffi::nvpair_t) -> Cow<'a, str> {
    // SAFETY: nvpair_name gives a NUL-terminated text inside the pair.
    unsafe { borrowed_text(ffi::nvpair_name(pair)) }
}

/// # Safety
/// `pair` belongs to a list that stays for all of `'a`.
unsafe fn pair_value<'a>(pair: *mut ffi::nvpair_t) -> Value<'a> {
    // SAFETY: each nvpair_value_* is called for a pair of its own type only, where it cannot fail;
    // what it points to is inside the list.
    unsafe {
        let kind = ffi::nvpair_type(pair);
        match kind {
            ffi::DATA_TYPE_BOOLEAN => Value::Flag,
            ffi::DATA_TYPE_BOOLEAN_VALUE => {
                let value: ffi::boolean_t = pair_number!(pair, nvpair_value_boolean_value);
                Value::Bool(value != 0)
            }
            ffi::DATA_TYPE_INT32 => Value::I32(pair_number!(pair, nvpair_value_int32)),
            ffi::DATA_TYPE_UINT32 => Value::U32(pair_number!(pair, nvpair_value_uint32)),
            ffi::DATA_TYPE_INT64 => Value::I64(pair_number!(pair, nvpair_value_int64)),
            ffi::DATA_TYPE_UINT64 => Value::U64(pair_number!(pair, nvpair_value_uint64)),
            ffi::DATA_TYPE_STRING => {
                let mut text: *mut c_char = ptr::null_mut();
                ffi::nvpair_value_string(pair, (&raw mut text).cast());
                Value::Text(borrowed_text(text))
            }
            ffi::DATA_TYPE_NVLIST => {
                let mut list = ptr::null_mut();
                ffi::nvpair_value_nvlist(pair, &raw mut list);
                NvListRef::from_raw(list).map_or(Value::Other(kind), Value::List)
            }
            ffi::DATA_TYPE_UINT64_ARRAY => {
                let (mut values, mut count) = (ptr::null_mut(), 0);
                ffi::nvpair_value_uint64_array(pair, &raw mut values, &raw mut count);
                Value::U64s(slice_or_empty(values, count))
            }
            ffi::DATA_TYPE_NVLIST_ARRAY => {
                let (mut values, mut count) = (ptr::null_mut(), 0);
                ffi::nvpair_value_nvlist_array(pair, &raw mut values, &raw mut count);
                Value::Lists(lists_of(values, count))
            }
            _ => Value::Other(kind),
        }
    }
}

/// # Safety
/// `values` points at `count` numbers that stay for all of `'a`, or `count` is 0.
unsafe fn slice_or_empty<'a, T>(values: *const T, count: ffi::uint_t) -> &'a [T] {
    if count == 0 {
        return &[];
    }
    // SAFETY: the caller's promise; u32 fits usize on every Linux.
    unsafe { slice::from_raw_parts(values, count as usize) }
}

/// # Safety
/// `values` points at `count` lists that stay for all of `'a`, or `count` is 0.
unsafe fn lists_of<'a>(values: *mut *mut ffi::nvlist_t, count: ffi::uint_t) -> Vec<NvListRef<'a>> {
    // SAFETY: the caller's promise.
    let one = |index| unsafe { NvListRef::from_raw(*values.add(index)) };
    (0..count as usize).filter_map(one).collect()
}

// Pointers of both kinds have one size, on which the casts of `char **` above rely.
const _: () = assert!(mem::size_of::<*mut c_char>() == mem::size_of::<*const c_char>());

#[cfg(test)]
mod tests {
    //! Round trips through the real libnvpair: what goes in comes out, and only as what it is.

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_type_comes_back() {
        let mut inner = NvList::new();
        inner.add_text("color", "green").unwrap();
        let mut list = NvList::new();
        list.add_flag("flag").unwrap();
        list.add_bool("bool", true).unwrap();
        list.add_i32("i32", -7).unwrap();
        list.add_u32("u32", u32::MAX).unwrap();
        list.add_u64("u64", u64::MAX).unwrap();
        list.add_text("text", "straße").unwrap();
        list.add_list("list", inner.view()).unwrap();
        list.add_u64s("u64s", &[1, 2, 3]).unwrap();
        list.add_u64s("none", &[]).unwrap();
        drop(inner);

        let view = list.view();
        assert!(view.contains("flag"));
        assert_eq!(view.lookup_bool("bool"), Some(true));
        assert_eq!(view.lookup_i32("i32"), Some(-7));
        assert_eq!(view.lookup_u32("u32"), Some(u32::MAX));
        assert_eq!(view.lookup_u64("u64"), Some(u64::MAX));
        assert_eq!(view.lookup_text("text").as_deref(), Some("straße"));
        assert_eq!(
            view.lookup_list("list")
                .unwrap()
                .lookup_text("color")
                .unwrap(),
            "green"
        );
        assert_eq!(view.lookup_u64s("u64s"), Some(&[1, 2, 3][..]));
        assert_eq!(view.lookup_u64s("none"), Some(&[][..]));
        assert_eq!(
            format!("{view:?}"),
            r#"{"flag": Flag, "bool": Bool(true), "i32": I32(-7), "u32": U32(4294967295), "#
                .to_owned()
                + r#""u64": U64(18446744073709551615), "text": Text("straße"), "#
                + r#""list": List({"color": Text("green")}), "u64s": U64s([1, 2, 3]), "none": U64s([])}"#
        );
    }

    #[test]
    fn another_type_or_name_is_none() {
        let mut list = NvList::new();
        list.add_u64("number", 1).unwrap();
        let view = list.view();
        assert_eq!(view.lookup_u32("number"), None);
        assert!(view.lookup_text("number").is_none());
        assert!(view.lookup_list("number").is_none());
        assert!(view.lookup_lists("number").is_none());
        assert_eq!(view.lookup_u64("absent"), None);
        assert_eq!(view.lookup_u64("num\0ber"), None);
        assert!(!view.contains("absent"));
    }

    #[test]
    fn adding_again_replaces() {
        let mut list = NvList::new();
        list.add_u64("x", 1).unwrap();
        list.add_text("x", "two").unwrap();
        assert_eq!(list.view().pairs().count(), 1);
        assert_eq!(list.view().lookup_text("x").unwrap(), "two");
    }

    #[test]
    fn a_nul_is_refused() {
        let mut list = NvList::new();
        assert_eq!(
            list.add_text("x", "a\0b").unwrap_err().kind,
            ErrorKind::Invalid
        );
        assert_eq!(
            list.add_u64("a\0b", 1).unwrap_err().kind,
            ErrorKind::Invalid
        );
        assert_eq!(list.view().pairs().count(), 0);
    }

    #[test]
    fn a_copy_outlives_its_original() {
        let mut list = NvList::new();
        list.add_u64("x", 1).unwrap();
        let copy = list.view().to_owned();
        list.add_u64("x", 2).unwrap();
        drop(list);
        assert_eq!(copy.view().lookup_u64("x"), Some(1));
    }

    proptest! {
        #[test]
        fn any_texts_and_numbers_come_back(
            entries in proptest::collection::btree_map("[a-z:]{1,20}", ("[^\0]{0,40}", any::<u64>()), 0..20)
        ) {
            let mut list = NvList::new();
            for (name, (text, number)) in &entries {
                let mut inner = NvList::new();
                inner.add_text("text", text).unwrap();
                inner.add_u64("number", *number).unwrap();
                list.add_list(name, inner.view()).unwrap();
            }
            prop_assert_eq!(list.view().pairs().count(), entries.len());
            for (name, (text, number)) in &entries {
                let inner = list.view().lookup_list(name).unwrap();
                prop_assert_eq!(&inner.lookup_text("text").unwrap(), text);
                prop_assert_eq!(inner.lookup_u64("number"), Some(*number));
            }
        }
    }
}
