//! Questions, tables and the live display on a real terminal.
//!
//! Each test starts itself again with a pseudo terminal (or pipes) for stdin, stdout and stderr;
//! there it plays its scene, here it reads what that printed and presses the keys.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::termios::{LocalFlags, tcgetattr};
use zbackup::error::{Error, Phase};
use zbackup::interrupt::Interrupt;
use zbackup::model::VolumePath;
use zbackup::monitor::Monitor;
use zbackup::report::{DiskReport, DiskState, Outcome, Report};
use zbackup::terminal::{Approval, ColorChoice, Settings, Terminal, WantedDisk};

/// Set in the process that plays the scene.
const STAGE: &str = "ZBACKUP_TEST_STAGE";
/// What comes between the scene's own output and that of the test harness.
const CURTAIN: &str = "=====\n";
/// Asks for a passphrase.
const PROMPT: &str = "Passphrase: ";

/// The terminal's size.
const ROWS: NonZero<u16> = NonZero::new(24).unwrap();
const COLUMNS: NonZero<u16> = NonZero::new(80).unwrap();
const SIZE: Winsize = Winsize {
    ws_row: ROWS.get(),
    ws_col: COLUMNS.get(),
    ws_xpixel: 0,
    ws_ypixel: 0,
};

/// Held while a process is started: a terminal opened meanwhile would be inherited, and not end.
static ALONE: Mutex<()> = Mutex::new(());

/// `None` in the process that plays `scene`, which has played it then.
fn stage(test: &str, scene: impl FnOnce()) -> Option<Command> {
    if std::env::var_os(STAGE).is_some() {
        print!("\n{CURTAIN}");
        std::io::stdout().flush().unwrap();
        scene();
        print!("{CURTAIN}");
        return None;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(STAGE, "1")
        .env("TERM", "xterm")
        .env_remove("NO_COLOR");
    Some(command)
}

/// What `command` printed on a terminal, where each of `keys` answers a question.
fn played(command: Command, keys: &[&str]) -> String {
    played_after("", command, keys)
}

/// The same, where somebody has typed already before the program started.
fn played_after(typed_before: &str, mut command: Command, keys: &[&str]) -> String {
    let (master, mut child) = {
        let _alone = ALONE.lock();
        let OpenptyResult { master, slave } = openpty(&SIZE, None).unwrap();
        for side in [&master, &slave] {
            fcntl(side, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
        }
        type_before(&master, typed_before);
        let stdio = || Stdio::from(slave.try_clone().unwrap());
        command.stdin(stdio()).stdout(stdio()).stderr(stdio());
        (master, command.spawn().unwrap())
    };
    // The terminal ends when nobody holds it any longer.
    drop(command);
    let transcript = converse(master, keys);
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}: {transcript}");
    let scene: Vec<_> = transcript.split(CURTAIN).collect();
    assert_eq!(scene.len(), 3, "{transcript}");
    scene[1].into()
}

/// What `command` printed on the terminal from which it was started, whatever `lead_away` has led
/// elsewhere.
fn played_on_controlling(
    command: Command,
    lead_away: impl FnOnce(&mut Command),
    keys: &[&str],
) -> String {
    played_on_controlling_after("", command, lead_away, keys)
}

/// The same, where somebody has typed already before the program started.
fn played_on_controlling_after(
    typed_before: &str,
    mut command: Command,
    lead_away: impl FnOnce(&mut Command),
    keys: &[&str],
) -> String {
    let (master, mut child) = {
        let _alone = ALONE.lock();
        let OpenptyResult { master, slave } = openpty(&SIZE, None).unwrap();
        for side in [&master, &slave] {
            fcntl(side, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
        }
        type_before(&master, typed_before);
        let stdio = || Stdio::from(slave.try_clone().unwrap());
        command.stdin(stdio()).stdout(stdio()).stderr(stdio());
        lead_away(&mut command);
        let terminal = slave.as_raw_fd();
        // SAFETY: all calls are async-signal-safe, and the descriptor is open until the exec.
        unsafe {
            command.pre_exec(move || {
                libc::setsid();
                libc::ioctl(terminal, libc::TIOCSCTTY, 0);
                // Held open to the end, or it would count as closed before it is asked on.
                libc::fcntl(terminal, libc::F_SETFD, 0);
                Ok(())
            });
        }
        (master, command.spawn().unwrap())
    };
    drop(command);
    let transcript = converse(master, keys);
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}: {transcript}");
    transcript
}

type LeadAway = fn(&mut Command);

/// Without stderr, without stdin, without any of the three.
const LED_AWAY: [LeadAway; 3] = [
    |command| {
        command.stderr(Stdio::null());
    },
    |command| {
        command.stdin(Stdio::null());
    },
    |command| {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::null());
    },
];

/// Types, and waits until that has arrived: until the terminal has shown it.
fn type_before(master: &OwnedFd, typed: &str) {
    let mut master = File::from(master.try_clone().unwrap());
    master.write_all(typed.as_bytes()).unwrap();
    let mut shown = vec![0; typed.replace('\n', "\r\n").len()];
    master.read_exact(&mut shown).unwrap();
}

/// Reads until the terminal is closed; presses the next of `keys` whenever a question stands there.
fn converse(master: OwnedFd, keys: &[&str]) -> String {
    let mut master = File::from(master);
    let (mut keys, mut answered) = (keys.iter(), 0_usize);
    let mut transcript = String::new();
    let mut buffer = [0; 4096];
    // A terminal that nobody holds any longer reads as EIO.
    while let Ok(length @ 1..) = master.read(&mut buffer) {
        transcript += &String::from_utf8_lossy(&buffer[..length]);
        let questions = ["/n] ", "/N] ", PROMPT].map(|end| transcript.matches(end).count());
        while answered < questions.iter().sum() {
            // A question too many gets Ctrl-D, or the test would never end.
            let key = keys.next().unwrap_or(&"\x04");
            master.write_all(key.as_bytes()).unwrap();
            answered += 1;
        }
    }
    assert_eq!(keys.next(), None, "a question too few: {transcript}");
    transcript.replace("\r\n", "\n")
}

/// What `command` printed into pipes, with nobody at stdin and without the terminal that this test may
/// have been started from.
fn piped(mut command: Command) -> Output {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // SAFETY: setsid(2) is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            libc::setsid();
            Ok(())
        });
    }
    let child = {
        let _alone = ALONE.lock();
        command.spawn().unwrap()
    };
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn verbose() -> Settings {
    Settings {
        verbose: true,
        ..Settings::default()
    }
}

fn victims(number: usize) -> Vec<String> {
    (1..=number).map(|n| format!("tank/home@{n}")).collect()
}

#[test]
fn verbose_asks_and_enter_means_yes() {
    let scene = || {
        let terminal = Terminal::new(verbose());
        assert_eq!(terminal.approve("unlock /dev/sdb1"), Approval::Yes);
        assert_eq!(terminal.approve("import backup"), Approval::No);
        assert_eq!(terminal.approve("import backup"), Approval::No);
    };
    let Some(command) = stage("verbose_asks_and_enter_means_yes", scene) else {
        return;
    };
    // The last one is Ctrl-D: the end of input.
    let shown = played(command, &["\n", "what\n", "no\n", "\x04"]);
    assert_eq!(
        shown,
        "\
unlock /dev/sdb1? [Y/n] 
import backup? [Y/n] what
Please answer y or n.
import backup? [Y/n] no
import backup? [Y/n] 
"
    );
}

#[test]
fn an_interrupt_ends_a_question() {
    let scene = || {
        let terminal = Terminal::new(verbose());
        let (interrupt, signal) = nix::unistd::pipe().unwrap();
        terminal.interrupted_by(interrupt);
        nix::unistd::write(&signal, b"!").unwrap();
        assert_eq!(terminal.approve("import backup"), Approval::No);
    };
    if let Some(command) = stage("an_interrupt_ends_a_question", scene) {
        // Even an answer that is there already comes too late.
        let shown = played_after("y\n", command, &[]);
        assert_eq!(shown, "import backup? [Y/n] \n");
    }
}

#[test]
fn what_was_typed_before_the_question_destroys_nothing() {
    let scene = || {
        let terminal = Terminal::new(Settings::default());
        assert!(!terminal.approve_destruction("backup/home loses:", &victims(1)));
    };
    let name = "what_was_typed_before_the_question_destroys_nothing";
    if let Some(command) = stage(name, scene) {
        played_after("yes\n", command, &["\n"]);
    }
}

#[test]
fn yes_says_each_step_but_never_destroys() {
    let scene = || {
        let terminal = Terminal::new(Settings {
            yes: true,
            ..verbose()
        });
        assert_eq!(terminal.approve("import backup"), Approval::Yes);
        assert!(!terminal.approve_destruction("backup/home would lose:", &victims(47)));
        assert!(terminal.approve_destruction("backup/home would lose:", &victims(1)));
    };
    let Some(command) = stage("yes_says_each_step_but_never_destroys", scene) else {
        return;
    };
    assert_eq!(
        played(command, &["\n", "yes\n"]),
        "\
import backup
backup/home would lose:
  tank/home@1
  tank/home@2
  tank/home@3
  tank/home@4
  tank/home@5
  tank/home@6
  tank/home@7
  tank/home@8
  tank/home@9
  tank/home@10
  tank/home@11
  tank/home@12
  tank/home@13
  tank/home@14
  tank/home@15
  tank/home@16
  tank/home@17
  tank/home@18
  tank/home@19
  tank/home@20
  tank/home@21
  tank/home@22
  tank/home@23
  tank/home@24
  tank/home@25
  tank/home@26
  tank/home@27
  tank/home@28
  tank/home@29
  tank/home@30
  tank/home@31
  tank/home@32
  tank/home@33
  tank/home@34
  tank/home@35
  tank/home@36
  tank/home@37
  tank/home@38
  tank/home@39
  tank/home@40
  tank/home@41
  tank/home@42
  tank/home@43
  tank/home@44
  tank/home@45
  tank/home@46
  tank/home@47
Destroy this for ever (47 in all)? [y/N] 
backup/home would lose:
  tank/home@1
Destroy this for ever (1 in all)? [y/N] yes
"
    );
}

#[test]
fn without_a_terminal_force_is_the_consent_and_verbose_an_error() {
    let scene = || {
        let terminal = Terminal::new(verbose());
        let error = terminal.check_verbosity().unwrap_err();
        assert_eq!(error.exit.code(), 2);
        assert_eq!(terminal.approve("import backup"), Approval::No);
        assert!(terminal.approve_destruction("backup/home loses:", &victims(1)));
        let yes = Settings {
            yes: true,
            ..verbose()
        };
        Terminal::new(yes).check_verbosity().unwrap();
    };
    let name = "without_a_terminal_force_is_the_consent_and_verbose_an_error";
    if let Some(command) = stage(name, scene) {
        assert_eq!(
            text(&piped(command).stderr),
            "backup/home loses:\n  tank/home@1\nDestroying this (1 in all): --force allows it\n"
        );
    }
}

#[test]
fn the_question_goes_to_the_terminal_wherever_stdin_and_stderr_lead() {
    let scene = || {
        let terminal = Terminal::new(Settings::default());
        assert!(!terminal.approve_destruction("tank/home loses:", &victims(1)));
        assert!(terminal.approve_destruction("tank/home loses:", &victims(1)));
        Terminal::new(verbose()).check_verbosity().unwrap();
    };
    let name = "the_question_goes_to_the_terminal_wherever_stdin_and_stderr_lead";
    if stage(name, scene).is_none() {
        return;
    }
    let question = "  tank/home@1\nDestroy this for ever (1 in all)? [y/N] ";
    for lead_away in LED_AWAY {
        let command = stage(name, || ()).unwrap();
        let shown = played_on_controlling(command, lead_away, &["\n", "y\n"]);
        assert_eq!(shown.matches(question).count(), 2, "{shown}");
    }
}

#[test]
fn in_the_background_nobody_consents() {
    let scene = || {
        let terminal = Terminal::new(Settings::default());
        assert!(!terminal.approve_destruction("tank/home loses:", &victims(1)));
    };
    let name = "in_the_background_nobody_consents";
    let Some(command) = stage(name, scene) else {
        return;
    };
    let shell = in_shell("\"$0\" \"$@\" 2>/dev/null & wait $!", &command);
    let shown = played_on_controlling(shell, |_| (), &[]);
    assert!(shown.contains("in the background"), "{shown}");
}

#[test]
fn a_terminal_that_cannot_be_asked_on_is_no_consent() {
    let scene = || {
        let terminal = Terminal::new(Settings::default());
        assert!(!terminal.approve_destruction("tank/home loses:", &victims(1)));
    };
    let name = "a_terminal_that_cannot_be_asked_on_is_no_consent";
    let Some(mut command) = stage(name, scene) else {
        return;
    };
    // Another's terminal is left for the output, and no controlling one.
    let OpenptyResult {
        master: _shown,
        slave,
    } = openpty(None, None).unwrap();
    command.stdin(Stdio::null()).stderr(Stdio::null());
    command.stdout(Stdio::from(slave));
    // SAFETY: setsid(2) is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            libc::setsid();
            Ok(())
        });
    }
    assert!(command.status().unwrap().success());
}

/// A shell with job control, for which `"$0" "$@"` is `command`.
fn in_shell(line: &str, command: &Command) -> Command {
    let mut shell = Command::new("bash");
    shell.args(["-mc", line]);
    shell.arg(command.get_program()).args(command.get_args());
    shell.env(STAGE, "1");
    shell
}

fn passphrase(terminal: &Terminal) -> Result<Vec<u8>, String> {
    let typed = terminal.passphrase("Passphrase", 16);
    typed
        .map(|typed| typed.to_vec())
        .map_err(|error| error.to_string())
}

#[test]
fn a_passphrase_is_not_shown_wherever_stdin_and_stderr_lead() {
    let scene = || {
        let terminal = Terminal::new(Settings::default());
        assert_eq!(
            passphrase(&terminal).as_deref(),
            Ok(&b"\x1as\xc3\xa8cret"[..])
        );
        assert_eq!(passphrase(&terminal).as_deref(), Ok(&b""[..]));
    };
    let name = "a_passphrase_is_not_shown_wherever_stdin_and_stderr_lead";
    if stage(name, scene).is_none() {
        return;
    }
    for lead_away in LED_AWAY.into_iter().chain([(|_| ()) as LeadAway]) {
        let command = stage(name, || ()).unwrap();
        // Ctrl-Z stops nothing: the terminal would be left without echo.
        let keys = ["\x1as\u{e8}cret\n", "\n"];
        let shown = played_on_controlling_after("too early\n", command, lead_away, &keys);
        let asked = format!("{PROMPT}\n{PROMPT}\n");
        assert!(shown.contains(&asked), "{shown}");
    }
}

#[test]
fn a_passphrase_that_nobody_finishes_leaves_the_terminal_as_it_was() {
    let scene = || {
        let interrupt = Interrupt::install().unwrap();
        let terminal = Terminal::new(verbose());
        terminal.interrupted_by(interrupt.as_fd().try_clone_to_owned().unwrap());
        let settings = || tcgetattr(std::io::stdin()).unwrap();
        let before = settings();
        let fails = |why: &str| {
            let error = format!("/dev/tty: {why}");
            assert_eq!(passphrase(&terminal), Err(error));
            assert_eq!(settings(), before);
        };
        fails("interrupted while asking for the passphrase; the input ended");
        fails("the passphrase or keyfile does not fit; a passphrase has at most 16 bytes");
        fails("interrupted while asking for the passphrase; a signal came");
        assert_eq!(interrupt.caught(), Some(libc::SIGINT));
        assert_eq!(terminal.approve("import backup"), Approval::No);
    };
    let name = "a_passphrase_that_nobody_finishes_leaves_the_terminal_as_it_was";
    let Some(command) = stage(name, scene) else {
        return;
    };
    let block_interrupt = |command: &mut Command| {
        // SAFETY: the call is async-signal-safe.
        unsafe {
            // The threads of the test harness are started before the scene can do that.
            command.pre_exec(|| Ok(SigSet::from_iter([Signal::SIGINT]).thread_block()?));
        }
    };
    let keys = ["s3c\x04\x04", "s3cret, and too long\n", "s3c\x03"];
    let shown = played_on_controlling(command, block_interrupt, &keys);
    assert!(!shown.contains("s3c"), "{shown}");
}

#[test]
fn a_passphrase_is_asked_for_once_the_job_is_in_the_foreground() {
    let scene = || {
        // As a run has them.
        let stopping = SigSet::from_iter([Signal::SIGTTIN, Signal::SIGTTOU]);
        stopping.thread_block().unwrap();
        let terminal = Terminal::new(Settings::default());
        assert_eq!(passphrase(&terminal).as_deref(), Ok(&b"s3cret"[..]));
        assert!(SigSet::thread_get_mask().unwrap().contains(Signal::SIGTTOU));
        // What it was at the moment of the question, not when the job was started.
        let settings = tcgetattr(std::io::stdin()).unwrap();
        assert!(settings.local_flags.contains(LocalFlags::ECHO));
    };
    let name = "a_passphrase_is_asked_for_once_the_job_is_in_the_foreground";
    let Some(command) = stage(name, scene) else {
        return;
    };
    // A shell that waits for a command has the terminal in a mode of its own.
    let line = r#"
        usual=$(stty -g); stty raw -echo; own=$(stty -g)
        "$0" "$@" & wait $!
        [ "$(stty -g)" = "$own" ] && printf 'left to the shell\n'
        stty "$usual"; fg
    "#;
    let shown = played_on_controlling(in_shell(line, &command), |_| (), &["s3cret\n"]);
    let (background, foreground) = shown.split_once("left to the shell").expect(&shown);
    assert!(!background.contains(PROMPT), "{shown}");
    assert!(foreground.contains(PROMPT), "{shown}");
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[test]
fn a_job_in_the_background_that_nothing_stops_asks_for_no_passphrase() {
    let scene = || {
        let terminal = Terminal::new(Settings::default());
        let why = "no terminal to ask for the passphrase (tcsetattr: Input/output error)";
        assert_eq!(passphrase(&terminal), Err(format!("/dev/tty: {why}")));
    };
    let name = "a_job_in_the_background_that_nothing_stops_asks_for_no_passphrase";
    if let Some(command) = stage(name, scene) {
        let line = r#"trap '' TTIN TTOU; "$0" "$@" & wait $!"#;
        let shown = played_on_controlling(in_shell(line, &command), |_| (), &[]);
        assert!(!shown.contains(PROMPT), "{shown}");
    }
}

#[test]
fn without_a_terminal_there_is_no_passphrase() {
    let scene = || {
        let terminal = Terminal::new(Settings::default());
        let why = "no terminal to ask for the passphrase (open: No such device or address)";
        assert_eq!(passphrase(&terminal), Err(format!("/dev/tty: {why}")));
    };
    if let Some(command) = stage("without_a_terminal_there_is_no_passphrase", scene) {
        piped(command);
    }
}

#[test]
fn a_passphrase_is_not_asked_for_between_bars() {
    let scene = || {
        let terminal = Terminal::new(Settings::default());
        let progress = terminal.progress();
        // Without the total, which redraws itself whenever it likes.
        let home = VolumePath::new("/home").unwrap();
        progress.started(&home, "full a", Some(4096));
        progress.advanced(&home, 2048);
        passphrase(&terminal).unwrap();
        progress.advanced(&home, 4096);
        terminal.say("done");
    };
    let name = "a_passphrase_is_not_asked_for_between_bars";
    if let Some(command) = stage(name, scene) {
        let shown = played_on_controlling(command, |_| (), &["s3cret\n"]);
        let scene = shown.split(CURTAIN).nth(1).unwrap();
        let (before, after) = scene.split_once(PROMPT).unwrap();
        assert!(before.contains("2.0 KiB of 4.0 KiB"), "{before:?}");
        assert_eq!(screen(before), "");
        assert!(screen(after).contains("done"), "{after:?}");
    }
}

/// Two transfers, one of which fails, with a warning in between.
fn transfers(terminal: &Terminal) {
    let home = VolumePath::new("/home").unwrap();
    let srv = VolumePath::new("/srv").unwrap();
    let progress = terminal.progress();
    progress.begin(2, 4096);
    progress.started(&home, "incremental a → b", Some(4096));
    progress.started(&srv, "full b", None);
    progress.advanced(&home, 2048);
    terminal.warn("atime is on");
    progress.finished(&srv, 0, 0.0, Some((Outcome::Failed, "out of space")));
    progress.finished(&home, 4096, 2.0, None);
    progress.end();
}

#[test]
fn the_live_display_is_torn_by_nothing_and_leaves_no_trace() {
    let scene = || {
        let terminal = Terminal::new(Settings::default());
        zbackup::logging::start(&terminal).unwrap();
        transfers(&terminal);
        terminal.say("done");
    };
    let name = "the_live_display_is_torn_by_nothing_and_leaves_no_trace";
    let Some(command) = stage(name, scene) else {
        return;
    };
    let shown = played(command, &[]);
    let (before, _) = shown.split_once("zbackup: warning").unwrap();
    // A log line begins where the bars were erased.
    assert_eq!(screen(before), "");
    let display = fullest_screen(before);
    for (start, sent) in [
        ("/home ", "2.0 KiB of 4.0 KiB"),
        ("/srv ", "0 B"),
        ("0 of 2 done ", "of 4.0 KiB"),
    ] {
        let line = display.iter().find(|line| line.starts_with(start));
        let line = line.unwrap_or_else(|| panic!("no {start}in: {display:#?}"));
        let words: Vec<_> = line.split_whitespace().collect();
        let eta = words.iter().position(|word| *word == "ETA");
        let eta = eta.unwrap_or_else(|| panic!("no ETA in {line:?}"));
        assert!(words[eta - 1].ends_with("/s"), "no rate in {line:?}");
        assert!(eta + 1 < words.len(), "an ETA without time in {line:?}");
        assert!(line.contains(sent), "no {sent:?} in {line:?}");
    }
    assert_eq!(
        screen(&shown),
        "zbackup: warning: atime is on\n/srv: failed: out of space\ndone"
    );
}

/// The lines to be seen when most of them stood there together, at the latest such moment.
fn fullest_screen(output: &str) -> Vec<String> {
    let redraws = output.match_indices('\u{1b}').map(|(place, _)| place);
    let screens = redraws.map(|place| {
        // A bar fills its line to the last column, so that contents() would take two for one.
        let terminal = terminal_after(&output[..place]);
        let rows = terminal.screen().rows(0, COLUMNS.get());
        rows.filter(|row| !row.is_empty()).collect::<Vec<_>>()
    });
    screens.max_by_key(Vec::len).expect("something was drawn")
}

/// What is to be seen after `output` was printed.
fn screen(output: &str) -> String {
    terminal_after(output).screen().contents()
}

fn terminal_after(output: &str) -> vt100::Parser {
    let mut terminal = vt100::Parser::new(ROWS, COLUMNS, 0);
    terminal.process(output.replace('\n', "\r\n").as_bytes());
    terminal
}

#[test]
fn progress_is_lines_in_a_pipe_and_nothing_when_quiet() {
    let scene = || {
        let terminal = Terminal::new(Settings::default());
        zbackup::logging::start(&terminal).unwrap();
        drop(terminal.ask_for_disk(&[WantedDisk {
            section: "USB device",
            partuuid: "0f3a-01",
        }]));
        transfers(&terminal);
        let quiet = Settings {
            quiet: true,
            ..Settings::default()
        };
        transfers(&Terminal::new(quiet));
    };
    let name = "progress_is_lines_in_a_pipe_and_nothing_when_quiet";
    if let Some(command) = stage(name, scene) {
        // The second warning is the log's, which was started for the first terminal.
        assert_eq!(
            text(&piped(command).stderr),
            "\
Waiting for [USB device] (partition 0f3a-01) to be plugged in (Ctrl-C ends) …
/home: incremental a → b, about 4.0 KiB
/srv: full b
50 % of 4.0 KiB sent, 0 of 2 volumes done
zbackup: warning: atime is on
/srv: failed: out of space
/home: 4.0 KiB in 2.0 s (2.0 KiB/s)
zbackup: warning: atime is on
"
        );
    }
}

/// A run that did nothing but open and close the disk.
fn report() -> Report {
    Report {
        disk: Some(DiskReport {
            section: "USB device".into(),
            partuuid: "0f3a-01".into(),
            pool: None,
            guid: None,
            encryption: None,
            health: None,
        }),
        disk_state: DiskState::Closed,
        safe_to_unplug: true,
        ..Report::new("usb", false)
    }
}

#[test]
fn json_is_all_there_is_on_stdout() {
    let scene = || {
        let terminal = Terminal::new(Settings {
            json: true,
            ..Settings::default()
        });
        terminal.print(&"a table".into()).unwrap();
        terminal.show_report(&report()).unwrap();
    };
    let Some(command) = stage("json_is_all_there_is_on_stdout", scene) else {
        return;
    };
    let output = piped(command);
    let stdout = text(&output.stdout);
    let document = stdout.split(CURTAIN).nth(1).unwrap();
    let document: serde_json::Value = serde_json::from_str(document).unwrap();
    assert_eq!(document["command"], "usb");
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn lines_fit_a_terminal_and_stay_whole_in_a_pipe() {
    let scene = || {
        let report = Report {
            warnings: vec!["word ".repeat(30)],
            disk: None,
            ..report()
        };
        let terminal = Terminal::new(Settings::default());
        terminal.show_report(&report).unwrap();
    };
    let name = "lines_fit_a_terminal_and_stay_whole_in_a_pipe";
    let Some(command) = stage(name, scene) else {
        return;
    };
    let shown = screen(&played(command, &[]));
    let indented = shown.lines().filter(|line| line.starts_with("  word"));
    assert_eq!(indented.count(), 2, "{shown}");
    let stdout = text(&piped(stage(name, || ()).unwrap()).stdout);
    let scene = stdout.split(CURTAIN).nth(1).unwrap();
    assert_eq!(scene, format!("Warning: {}\n", "word ".repeat(30)));
}

#[test]
fn a_full_disk_below_stdout_hides_no_error() {
    let scene = || {
        let mut report = report();
        report.warnings = vec!["printed before the error, and in vain".into()];
        report.end(Some(&Error::new(Phase::Import, "no such pool")));
        let full = File::options().write(true).open("/dev/full").unwrap();
        nix::unistd::dup2_stdout(full).unwrap();
        let terminal = Terminal::new(Settings::default());
        let failure = terminal.show_report(&report).unwrap_err();
        assert_eq!(failure.kind(), std::io::ErrorKind::StorageFull);
        // The harness could not say "ok" there either.
        std::process::exit(0);
    };
    if let Some(command) = stage("a_full_disk_below_stdout_hides_no_error", scene) {
        assert_eq!(text(&piped(command).stderr), "zbackup: no such pool\n");
    }
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let scene = || {
        let show = |color| {
            let settings = Settings {
                color,
                ..Settings::default()
            };
            Terminal::new(settings).show_report(&report()).unwrap();
        };
        show(ColorChoice::Auto);
        show(ColorChoice::Always);
        show(ColorChoice::Never);
    };
    let name = "colours_are_for_terminals_that_want_them";
    let Some(command) = stage(name, scene) else {
        return;
    };
    let plain = "Safe to unplug: USB device\n";
    let green = "\x1b[32mSafe to unplug: USB device\x1b[0m\n";
    assert_eq!(played(command, &[]), [green, green, plain].concat());
    let mut refusing = stage(name, || ()).unwrap();
    refusing.env("NO_COLOR", "1");
    assert_eq!(played(refusing, &[]), [plain, green, plain].concat());
    let stdout = text(&piped(stage(name, || ()).unwrap()).stdout);
    let scene = stdout.split(CURTAIN).nth(1).unwrap();
    assert_eq!(scene, [plain, green, plain].concat());
}

/// Names from a disk, in every way of talking to people.
#[test]
fn names_that_a_terminal_would_obey_are_shown() {
    const NAME: &str = "a\x1b]0;owned\x07\u{9b}35m\x1b[35m\u{202e}\nSafe to unplug: USB device\r\n";
    let scene = || {
        zbackup::terminal::show_panics();
        let terminal = Terminal::new(Settings {
            verbose: true,
            yes: true,
            ..Settings::default()
        });
        zbackup::logging::start(&terminal).unwrap();
        terminal.say(NAME);
        terminal.warn(NAME);
        log::error!("{NAME}");
        let _ = terminal.approve(NAME);
        let _ = terminal.approve_destruction(NAME, &[NAME.into()]);
        drop(terminal.ask_for_disk(&[WantedDisk {
            section: NAME,
            partuuid: NAME,
        }]));
        terminal.print(&NAME.into()).unwrap();
        std::panic::catch_unwind(|| panic!("{NAME}")).unwrap_err();
    };
    let name = "names_that_a_terminal_would_obey_are_shown";
    let Some(command) = stage(name, scene) else {
        return;
    };
    let forged = |text: &str| {
        let obeyed = ["\x1b]0", "\u{9b}", "\x1b[35m", "\u{202e}", "\x07"];
        text.lines().any(|line| line.starts_with("Safe"))
            || obeyed.iter().any(|it| text.contains(it))
    };
    let shown = played(command, &["n\n"]);
    assert!(!forged(&shown), "{shown:?}");
    let output = piped(stage(name, || ()).unwrap());
    let stderr = text(&output.stderr);
    assert!(
        !stderr.contains(|c: char| c.is_control() && c != '\n'),
        "{stderr:?}"
    );
    assert!(!forged(&stderr), "{stderr:?}");
    // One line each: said, warned, logged, approved; two for what is destroyed and one that says so,
    // the disk that is waited for, and the panic.
    let names = stderr
        .lines()
        .filter(|line| line.contains("\\u{1b}]0;owned\\u{7}"));
    assert_eq!(names.count(), 8, "{stderr}");
    let stdout = text(&output.stdout);
    assert!(!forged(stdout.split(CURTAIN).nth(1).unwrap()), "{stdout:?}");
}
