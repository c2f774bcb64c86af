//! How ZFS names and numbers are written in the `--json` document: as text. JSON readers lose
//! the last digits of numbers above 2^53, and a guid may have twenty.

use std::fmt::Display;

use serde::{Serialize, Serializer};

/// One value.
pub fn text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// One value that may be missing.
#[expect(clippy::ref_option, reason = "serde hands the field over like that")]
pub fn if_any<S: Serializer>(
    value: &Option<impl Display>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    value
        .as_ref()
        .map(ToString::to_string)
        .serialize(serializer)
}

/// A list.
pub fn list<S: Serializer>(values: &[impl Display], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(ToString::to_string))
}

/// A list that may be missing.
#[expect(clippy::ref_option, reason = "serde hands the field over like that")]
pub fn list_if_any<S: Serializer>(
    values: &Option<Vec<impl Display>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match values {
        Some(values) => list(values, serializer),
        None => serializer.serialize_none(),
    }
}
