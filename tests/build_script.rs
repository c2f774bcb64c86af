//! What `build.rs` says where something is missing: one sentence with the package to install.

#[path = "../crates/libzfs-sys/tests/build_script/script.rs"]
mod script;

use std::process::Command;

fn errors(change: impl FnOnce(&mut Command)) -> Vec<String> {
    script::errors(env!("ZBACKUP_BUILD_SCRIPT"), |script, _| {
        change(script.env("CARGO_FEATURE_CRYPTSETUP", "1"));
    })
}

#[test]
fn with_everything_there_is_no_error() {
    assert_eq!(errors(|_| ()), [""; 0]);
}

#[test]
fn a_missing_library_names_its_package() {
    let missing = errors(|script| {
        script
            .env("PKG_CONFIG_LIBDIR", "/nonexistent")
            .env_remove("PKG_CONFIG_PATH");
    });
    let sentence = "libcryptsetup 2.6 or later is not installed: install libcryptsetup-dev (Debian), \
                    'pkgconfig(libcryptsetup)' (Fedora), cryptsetup (Arch) or cryptsetup (NixOS), \
                    or build with --no-default-features";
    assert_eq!(missing, [sentence]);
}

#[test]
fn without_cryptsetup_nothing_is_needed() {
    let missing = errors(|script| {
        script
            .env("PKG_CONFIG_LIBDIR", "/nonexistent")
            .env_remove("CARGO_FEATURE_CRYPTSETUP");
    });
    assert_eq!(missing, [""; 0]);
}
