//! A build script that runs again, in a directory of its own and with an environment in which something
//! is not there.

use std::path::Path;
use std::process::Command;

/// Runs it and returns what cargo would show as errors.
pub fn errors(script: &str, change: impl FnOnce(&mut Command, &Path)) -> Vec<String> {
    let out = tempfile::tempdir().unwrap();
    let mut script = Command::new(script);
    script
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("OUT_DIR", out.path())
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
