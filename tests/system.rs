//! What the kernel of this machine tells of other processes.

use std::path::Path;
use std::process::Command;

use zbackup::system::users::{names, of_path};

#[test]
fn a_process_that_uses_a_directory_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut user = Command::new("sleep")
        .arg("60")
        .current_dir(folder.path())
        .spawn()
        .unwrap();
    let found = of_path(folder.path());
    user.kill().unwrap();
    user.wait().unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(names(&found).contains(&format!("(pid {}", user.id())));
    assert_eq!(of_path(Path::new("/nowhere/at/all")), []);
}
