//! Somebody types `--force` on a terminal, with stdin, stdout or stderr led elsewhere, and expects to
//! be asked before anything is destroyed; or to find nothing destroyed.

use crate::support::container::PASSPHRASE_FILE;
use crate::support::world::{CONFIG, assert_nothing_open};
use crate::support::{Container, Dialogue, World, sh};

/// A host whose volume has a snapshot that only `--force` gives up, and a disk that is ahead.
fn world() -> World {
    let world = World::with_container(&["/home"], Container::Luks2);
    sh("echo a > /tank/home/a");
    world.backup();
    sh("echo mine > /tank/home/mine; zfs snapshot tank/home@mine");
    world.tamper(|| crate::support::world::advance_on_disk("home", "theirs", "echo b"));
    world
}

/// Types `line`, answers the questions, and insists on the exit code and on what is left of the host's.
#[track_caller]
fn typed(line: &str, answers: &[(&str, &str)], expected: i32, left: &str) -> String {
    let mut talk = Dialogue::in_shell(line);
    for (question, answer) in answers {
        talk.sees(question).types(answer);
    }
    let (code, screen) = talk.ends();
    assert_eq!(code, expected, "{line}: {screen}");
    assert_eq!(
        sh("cat /tank/home/mine 2>/dev/null || true"),
        left,
        "{line}"
    );
    assert_nothing_open();
    screen
}

#[test]
fn whoever_sits_at_a_terminal_is_asked_wherever_the_output_goes() {
    let world = world();
    let list = "tank/home@mine";
    let ask = "[y/N]";

    // The log goes to a file, and Enter is a no. So is the end of a job in the background.
    let to_a_file = "zbackup os --force /home 2>/tmp/log";
    let screen = typed(to_a_file, &[(ask, "")], 3, "mine");
    assert!(screen.contains(list), "{screen}");
    let logged = sh("cat /tmp/log");
    assert!(logged.contains(list), "the log has it too: {logged}");
    let screen = typed(
        "set -m; nohup \"$ZBACKUP_BIN\" os --force /home >/tmp/log 2>&1 </dev/null & wait $!",
        &[],
        3,
        "mine",
    );
    assert!(screen.contains("background"), "{screen}");
    // A pipe that says yes is not the one who was asked.
    typed("yes | zbackup os --force /home", &[(ask, "n")], 3, "mine");

    // A passphrase is asked for as well.
    let config = world.config();
    let without = config.replace(&format!("passphrase-file = {PASSPHRASE_FILE}\n"), "");
    std::fs::write(CONFIG, without).unwrap();
    let passphrase = ("Passphrase of", "correct horse battery staple");
    let all_led_away = "zbackup os --force /home </dev/null >/tmp/table 2>/tmp/log";
    typed(all_led_away, &[passphrase, (ask, "y")], 0, "");
    assert_eq!(sh("cat /tank/home/news"), "b");
}
