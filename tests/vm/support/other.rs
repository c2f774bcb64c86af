//! Somebody else's program, which uses what a run needs.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A program that lives until this is dropped.
pub struct Other(Child);

impl Other {
    /// Does this, then waits to be killed.
    pub fn starts(command: &str) -> Self {
        let mut child = Command::new("bash")
            .args(["-ec", &format!("{command}; exec sleep infinity")])
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash starts");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .expect("it is ready");
        assert_eq!(line, "ready\n", "{command}");
        Self(child)
    }

    /// The same, in a mount namespace of its own.
    pub fn in_a_container(propagation: &str, command: &str) -> Self {
        Self::starts(&format!(
            "exec unshare -m --propagation {propagation} bash -ec '{command}; echo ready; exec sleep infinity'"
        ))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// How it is named in a message, up to its number.
    pub fn name(&self) -> String {
        format!("sleep (pid {}", self.pid())
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
