//! What `build.rs` says where something is missing: one sentence with the package to install.
//!
//! The build script that built this crate runs again, in a directory of its own and with an
//! environment in which something is not there.

use std::path::Path;
use std::process::Command;

/// Runs it and returns what cargo would show as errors.
fn errors(change: impl FnOnce(&mut Command, &Path)) -> Vec<String> {
    let out = tempfile::tempdir().unwrap();
    let mut script = Command::new(env!("ZBACKUP_BUILD_SCRIPT"));
    script
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("OUT_DIR", out.path())
        .env("CARGO_FEATURE_CRYPTSETUP", "1")
        .env_remove("RUST_BACKTRACE");
    change(&mut script, out.path());
    let output = script.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    stdout
        .lines()
        .filter_map(|line| line.strip_prefix("cargo::error="))
        .map(str::to_owned)
        .collect()
}

#[test]
fn with_everything_there_is_no_error() {
    assert_eq!(errors(|_, _| ()), [""; 0]);
}

#[test]
fn a_missing_library_names_its_package() {
    let missing = errors(|script, _| {
        script
            .env("PKG_CONFIG_LIBDIR", "/nonexistent")
            .env_remove("PKG_CONFIG_PATH");
    });
    let sentence = "libcryptsetup 2.6 or later is not installed: install the Debian package \
                    libcryptsetup-dev, which is in the component main, \
                    or build with --no-default-features";
    assert_eq!(missing, [sentence]);
}

#[test]
fn without_cryptsetup_nothing_is_needed() {
    let missing = errors(|script, _| {
        script
            .env("PKG_CONFIG_LIBDIR", "/nonexistent")
            .env_remove("CARGO_FEATURE_CRYPTSETUP");
    });
    assert_eq!(missing, [""; 0]);
}
