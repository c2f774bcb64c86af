//! Tells the compiler what the installed libzfs has, as `libzfs-sys` found it:
//!
//! - `zfs_libpc`: the search for pools takes a `libpc_handle_t`.
//! - `zfs_2_2`, `zfs_2_3`, `zfs_2_4`: at least that release.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(zfs_libpc, zfs_2_2, zfs_2_3, zfs_2_4)");
    if env::var_os("DEP_ZFS_LIBPC").is_some() {
        println!("cargo::rustc-cfg=zfs_libpc");
    }
    let version = env::var("DEP_ZFS_VERSION").unwrap_or_default();
    let mut parts = version.split('.').map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (parts.next(), parts.next()) else {
        println!(
            "cargo::error=pkg-config gives {version:?} as the version of libzfs, not a number"
        );
        return;
    };
    for known_minor in 2..=4 {
        if (major, minor) >= (2, known_minor) {
            println!("cargo::rustc-cfg=zfs_2_{known_minor}");
        }
    }
}
