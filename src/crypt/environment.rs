//! Makes libdevmapper fit the udev that this machine has.

use std::fs;
use std::path::Path;

use super::error::{Error, ErrorKind};

/// Where udev looks for rules.
const RULE_DIRECTORIES: [&str; 4] = [
    "/etc/udev/rules.d",
    "/run/udev/rules.d",
    "/usr/lib/udev/rules.d",
    "/lib/udev/rules.d",
];
/// The rule that answers libdevmapper's "tell me when you are done" (Debian: package dmsetup).
const NOTIFY_RULE: &str = "95-dm-notify.rules";
const DISABLE_UDEV: &str = "DM_DISABLE_UDEV";

/// Makes sure that opening a container cannot wait for an answer that never comes.
///
/// libdevmapper asks udev to report when it has handled a new mapping and waits without end. That is
/// right if udevd runs with the device-mapper rules. If it runs without them (minimal images that
/// lack the package dmsetup), nothing ever answers, so `DM_DISABLE_UDEV=1` is set and libdevmapper
/// makes the nodes below `/dev/mapper` itself. If no udevd runs, libdevmapper finds that out on its
/// own, by `/run/udev/control`; the variable is set then too, in case udevd starts later.
///
/// Call it once at the start of the process. Changing the environment is only sound while there is
/// one thread: if the variable is needed and other threads exist, it is left alone and this fails
/// with [`ErrorKind::InvalidRequest`].
pub fn prepare_environment() -> Result<(), Error> {
    if std::env::var_os(DISABLE_UDEV).is_some() || udev_answers(Path::new("/")) {
        return Ok(());
    }
    let tasks = "/proc/self/task";
    let threads = fs::read_dir(tasks)
        .map_err(|error| Error::from_io(ErrorKind::Io, "opendir", tasks, &error))?
        .count();
    if threads != 1 {
        return Err(Error::refused(
            ErrorKind::InvalidRequest,
            "setenv",
            DISABLE_UDEV,
            format!("{threads} threads are running, the environment can no longer be changed"),
        ));
    }
    log::debug!("no udev with device-mapper rules here: libdevmapper makes its nodes itself");
    // SAFETY: setenv(3) races only with other threads that read or write the environment, and this
    // process has one thread, which was just counted and cannot start another in between.
    unsafe { std::env::set_var(DISABLE_UDEV, "1") };
    Ok(())
}

/// True if udevd runs and has the rule that reports back.
fn udev_answers(root: &Path) -> bool {
    let below_root = |path: &str| root.join(path.trim_start_matches('/'));
    below_root("/run/udev/control").exists()
        && RULE_DIRECTORIES
            .iter()
            .any(|directory| below_root(directory).join(NOTIFY_RULE).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn udev_answers_only_with_daemon_and_rule() {
        let root = tempfile::tempdir().unwrap();
        let make = |path: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        assert!(!udev_answers(root.path()));
        make("run/udev/control");
        assert!(
            !udev_answers(root.path()),
            "a daemon without the rule never answers"
        );
        make("usr/lib/udev/rules.d/95-dm-notify.rules");
        assert!(udev_answers(root.path()));
        fs::remove_file(root.path().join("run/udev/control")).unwrap();
        assert!(
            !udev_answers(root.path()),
            "the rule without a daemon neither"
        );
    }
}
