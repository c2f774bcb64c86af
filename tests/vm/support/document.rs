//! The `--json` document's shape, as its readers rely on it. Every document that a test looks at is
//! checked against it.

use serde_json::Value;

/// What a key may hold.
type Kind = fn(&Value) -> bool;

const DOCUMENT: &[(&str, Kind)] = &[
    ("schema", |value| *value == 1),
    ("command", |value| {
        is_one_of(value, &["usb", "os", "open", "close", "forget"])
    }),
    ("dry_run", Value::is_boolean),
    ("host", |value| value.is_null() || has(value, HOST)),
    ("disk", |value| value.is_null() || has(value, DISK)),
    ("volumes", |value| all(value, |one| has(one, VOLUME))),
    ("pruned", |value| all(value, Value::is_string)),
    ("not_covered", |value| all(value, Value::is_string)),
    ("warnings", |value| all(value, Value::is_string)),
    ("disk_state", |value| {
        is_one_of(
            value,
            &["untouched", "closed", "unlocked", "imported", "lost"],
        )
    }),
    ("safe_to_unplug", Value::is_boolean),
    ("exit_code", Value::is_u64),
    ("error", |value| value.is_null() || has(value, ERROR)),
];

const HOST: &[(&str, Kind)] = &[
    ("section", Value::is_string),
    ("pool", Value::is_string),
    ("guid", is_guid),
    ("health", |value| value.is_null() || has(value, HEALTH)),
];

const DISK: &[(&str, Kind)] = &[
    ("section", Value::is_string),
    ("partuuid", Value::is_string),
    ("pool", is_text_or_null),
    ("guid", |value| value.is_null() || is_guid(value)),
    ("encryption", is_text_or_null),
    ("health", |value| value.is_null() || has(value, HEALTH)),
];

const HEALTH: &[(&str, Kind)] = &[
    ("state", Value::is_string),
    ("missing", |value| all(value, Value::is_string)),
    ("errors", |value| all(value, |one| has(one, DAMAGE))),
    ("data_errors", Value::is_u64),
    ("used_percent", Value::is_u64),
    ("scrub_age_seconds", |value| {
        value.is_null() || value.is_u64()
    }),
];

const DAMAGE: &[(&str, Kind)] = &[("volume", Value::is_string), ("file", Value::is_string)];

const VOLUME: &[(&str, Kind)] = &[
    ("volume", Value::is_string),
    ("source", Value::is_string),
    ("target", Value::is_string),
    ("action", |value| {
        let actions = ["up-to-date", "full", "incremental", "resume", "conflict"];
        value.is_null() || is_one_of(value, &actions)
    }),
    ("conflict", is_text_or_null),
    ("base", is_text_or_null),
    ("base_guid", |value| value.is_null() || is_guid(value)),
    ("snapshot", is_text_or_null),
    ("snapshot_guid", |value| value.is_null() || is_guid(value)),
    ("outcome", |value| {
        is_one_of(value, &["planned", "done", "skipped", "refused", "failed"])
    }),
    ("estimated_bytes", |value| value.is_null() || value.is_u64()),
    ("sent_bytes", Value::is_u64),
    ("resumed_bytes", Value::is_u64),
    ("seconds", Value::is_number),
    ("destroys", |value| all(value, Value::is_string)),
    ("reason", is_text_or_null),
];

const ERROR: &[(&str, Kind)] = &[
    ("phase", Value::is_string),
    ("message", Value::is_string),
    ("next", is_text_or_null),
];

/// Insists that this is a document with exactly the keys that it should have.
#[track_caller]
pub fn check(document: &Value, exit_code: i32) {
    let mut document = document.clone();
    // Its own key, in its own document.
    if document["command"] == "forget" {
        let forgotten = document.as_object_mut().unwrap().remove("forgotten");
        assert!(forgotten.is_some_and(|names| all(&names, Value::is_string)));
    }
    assert!(has(&document, DOCUMENT), "{document:#}");
    assert_eq!(document["exit_code"], exit_code, "the process's exit code");
}

/// True for an object with exactly these keys, each of its kind.
fn has(value: &Value, shape: &[(&str, Kind)]) -> bool {
    value.as_object().is_some_and(|object| {
        object.len() == shape.len()
            && shape
                .iter()
                .all(|(key, kind)| object.get(*key).is_some_and(kind))
    })
}

fn all(value: &Value, kind: impl Fn(&Value) -> bool) -> bool {
    value.as_array().is_some_and(|list| list.iter().all(kind))
}

fn is_one_of(value: &Value, words: &[&str]) -> bool {
    value.as_str().is_some_and(|word| words.contains(&word))
}

fn is_text_or_null(value: &Value) -> bool {
    value.is_null() || value.is_string()
}

/// Guids are text: they do not fit into what most readers take for a number.
fn is_guid(value: &Value) -> bool {
    value
        .as_str()
        .is_some_and(|text| text.parse::<u64>().is_ok())
}
