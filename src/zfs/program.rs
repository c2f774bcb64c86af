//! User properties of many datasets and snapshots in one call.
//!
//! Setting them one by one costs a transaction group each. A channel program, a few lines of Lua
//! that the kernel runs between two transactions, sets them all in one. The kernel writes what
//! such a program returns into the pool's history, so it returns only what failed.

use std::ptr;

use super::error::{Error, ErrorKind};
use super::lzc::Lzc;
use super::nvlist::{NvList, Value, c_text};
use crate::ffi;
use crate::name::PoolName;

/// One user property of one dataset or snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PropertyChange {
    /// The dataset or snapshot.
    pub subject: String,
    /// A name with a colon.
    pub property: String,
    /// The value, below 8192 bytes.
    pub value: String,
}

impl PropertyChange {
    /// `property` of `subject` becomes `value`.
    pub fn new(subject: &str, property: &str, value: &str) -> Self {
        Self {
            subject: subject.into(),
            property: property.into(),
            value: value.into(),
        }
    }
}

/// Sets every property of the argument and returns the error number of each that failed.
const PROGRAM: &str = r#"
arguments = ...
failed = {}
for subject, properties in pairs(arguments["set"]) do
    for property, value in pairs(properties) do
        code = zfs.sync.set_prop(subject, property, value)
        if code ~= 0 then failed[subject] = code end
    end
end
return failed
"#;

/// Changes in one call: each takes some twenty instructions of Lua and a few hundred bytes.
const CHANGES_A_CALL: usize = 1000;
/// The kernel's own default limits, which are far above what a call of that size needs.
const INSTRUCTION_LIMIT: u64 = 10_000_000;
const MEMORY_LIMIT_BYTES: u64 = 10 << 20;

impl Lzc {
    /// Sets user properties in `pool`; not all or nothing.
    ///
    /// # Errors
    /// The first change that failed; the others are made all the same.
    #[doc(alias = "lzc_channel_program")]
    pub fn set_user_properties(
        self,
        pool: &PoolName,
        changes: &[PropertyChange],
    ) -> Result<(), Error> {
        let mut first_failure = Ok(());
        for chunk in changes.chunks(CHANGES_A_CALL) {
            let result = self.set_some(pool, chunk);
            first_failure = first_failure.and(result);
        }
        first_failure
    }

    fn set_some(self, pool: &PoolName, changes: &[PropertyChange]) -> Result<(), Error> {
        const CALL: &str = "lzc_channel_program";
        let arguments = arguments(changes)?;
        let (c_pool, program) = (c_text(CALL, pool.as_str())?, c_text(CALL, PROGRAM)?);
        let mut output = ptr::null_mut();
        // SAFETY: names and list are alive for the call and the texts end in NUL; the list that
        // comes back is ours to free.
        let (code, output) = unsafe {
            let code = ffi::lzc_channel_program(
                c_pool.as_ptr(),
                program.as_ptr(),
                INSTRUCTION_LIMIT,
                MEMORY_LIMIT_BYTES,
                arguments.as_ptr(),
                &raw mut output,
            );
            (code, NvList::from_raw(output))
        };
        Error::check(CALL, pool, code)?;
        let failed = output
            .as_ref()
            .and_then(|output| output.view().lookup_list("return"));
        let first = failed.and_then(|failed| {
            failed.pairs().find_map(|(subject, value)| match value {
                Value::I64(code) => Some((
                    subject.into_owned(),
                    i32::try_from(code).unwrap_or(libc::EINVAL),
                )),
                _ => None,
            })
        });
        match first {
            Some((subject, code)) => Err(Error::from_code("zfs_prop_set", subject, code)),
            None => Ok(()),
        }
    }
}

/// `{set: {subject: {property: value}}}`
fn arguments(changes: &[PropertyChange]) -> Result<NvList, Error> {
    let mut by_subject: std::collections::BTreeMap<&str, NvList> =
        std::collections::BTreeMap::new();
    for change in changes {
        if !change.property.contains(':') {
            let reason = "only user properties can be set this way";
            return Err(Error::found(
                "lzc_channel_program",
                &change.subject,
                ErrorKind::Invalid,
                reason,
            ));
        }
        by_subject
            .entry(&change.subject)
            .or_default()
            .add_text(&change.property, &change.value)?;
    }
    let mut set = NvList::new();
    for (subject, properties) in &by_subject {
        set.add_list(subject, properties.view())?;
    }
    let mut arguments = NvList::new();
    arguments.add_list("set", set.view())?;
    Ok(arguments)
}
