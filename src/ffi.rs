//! The C interfaces as bindgen made them from the installed headers (see `build.rs`).
//!
//! Private, and without rules of its own: `zfs` and `crypt` are where calls become safe.
#![allow(
    clippy::all,
    clippy::pedantic,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unsafe_op_in_unsafe_fn,
    unused_imports
)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
