//! The C interfaces of libzfs, libzfs_core and libnvpair, as bindgen makes them from the installed
//! headers.
//!
//! Only a list of functions is within reach: what libzfs would start programs or print for is not on
//! it. There are no rules here that the C headers do not have; the crate `openzfs` is where calls
//! become safe.
#![allow(
    clippy::all,
    clippy::pedantic,
    clippy::undocumented_unsafe_blocks,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unsafe_op_in_unsafe_fn,
    unused_imports
)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
