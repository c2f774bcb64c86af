//! Shell commands that prepare a test or act as its oracle.

use std::process::Command;
use std::time::Instant;

/// Runs a shell script that must succeed; returns its stdout without the last newline.
#[track_caller]
pub fn sh(script: &str) -> String {
    let (code, stdout, stderr) = try_sh(script);
    assert_eq!(
        code, 0,
        "`{script}` failed\nstdout: {stdout}\nstderr: {stderr}"
    );
    stdout
}

/// Runs a shell script; returns its exit code, stdout and stderr.
pub fn try_sh(script: &str) -> (i32, String, String) {
    let begun = Instant::now();
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .output()
        .expect("bash runs");
    // Shown only where the test fails, or with --nocapture.
    println!(
        "[{:.1} s] {}",
        begun.elapsed().as_secs_f64(),
        first_line(script)
    );
    let text = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes)
            .trim_end_matches('\n')
            .to_owned()
    };
    (
        output.status.code().unwrap_or(-1),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn first_line(script: &str) -> &str {
    script.trim_start().lines().next().unwrap_or_default()
}
