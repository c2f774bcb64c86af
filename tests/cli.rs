//! Goal: what is typed is understood, and what cannot be meant ends with exit code 2 and a reason.

use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ColorChoice, CommandFactory, Parser};
use zbackup::cli::{Cli, Command, ConflictOptions};
use zbackup::model::VolumePath;
use zbackup::text::shell_word;

fn typed(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(["zbackup"].into_iter().chain(line.split_whitespace()))
}

fn accepted(line: &str) -> Cli {
    typed(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn clap_finds_no_fault_in_the_definition() {
    Cli::command().debug_assert();
}

#[test]
fn the_verbs() {
    let keep_open = false;
    let conflict_options = ConflictOptions::default();
    assert_eq!(
        accepted("usb").command,
        Command::Usb {
            volumes: Vec::new(),
            conflict_options: conflict_options.clone(),
            keep_open
        }
    );
    let volumes = ["/home/vic", "/srv"]
        .map(|path| VolumePath::new(path).unwrap())
        .to_vec();
    let command = Command::Usb {
        volumes,
        conflict_options: conflict_options.clone(),
        keep_open: true,
    };
    assert_eq!(accepted("usb home/vic --keep-open /srv").command, command);
    let command = Command::Os {
        volumes: vec![VolumePath::new("/srv").unwrap()],
        conflict_options,
        keep_open: true,
    };
    assert_eq!(accepted("os srv --keep-open").command, command);
    assert_eq!(accepted("open").command, Command::Open { rw: false });
    assert_eq!(accepted("open --rw").command, Command::Open { rw: true });
    assert_eq!(accepted("close").command, Command::Close);
    let forget = |disk: &str, force| Command::Forget {
        disk: disk.into(),
        force,
    };
    assert_eq!(accepted("forget 77").command, forget("77", false));
    assert_eq!(accepted("forget --force x").command, forget("x", true));
    for verb in ["usb", "os", "open", "close"] {
        assert_eq!(accepted(verb).command.name(), verb);
    }
    assert_eq!(accepted("forget 77").command.name(), "forget");
}

#[test]
fn without_options_everything_is_off() {
    let options = accepted("usb").options;
    assert_eq!(
        (options.config, options.wait, options.device),
        (None, None, None)
    );
    assert_eq!(options.color, ColorChoice::Auto);
    let switches = [
        options.dry_run,
        options.yes,
        options.verbosity,
        options.quiet,
        options.json,
        options.force_import,
    ];
    assert_eq!(switches, [false; 6]);
}

#[test]
fn options_stand_on_either_side_of_the_verb() {
    let short = "-c /etc/z.ini -n -y -v --json --color never --wait 90 --device USB --force-import";
    let long = "--config /etc/z.ini --dry-run --yes --verbosity --json --color=never --wait=90 \
                --device=USB --force-import";
    for options in [short, long] {
        for line in [
            format!("{options} open --rw"),
            format!("open {options} --rw"),
        ] {
            let options = accepted(&line).options;
            assert_eq!(options.config, Some(PathBuf::from("/etc/z.ini")), "{line}");
            assert_eq!(options.wait, Some(Duration::from_secs(90)), "{line}");
            assert_eq!(options.device.as_deref(), Some("USB"), "{line}");
            assert_eq!(options.color, ColorChoice::Never, "{line}");
            let switches = [
                options.dry_run,
                options.yes,
                options.verbosity,
                options.json,
                options.force_import,
            ];
            assert_eq!(switches, [true; 5], "{line}");
        }
    }
    assert!(accepted("-q usb").options.quiet && accepted("usb --quiet").options.quiet);
}

#[test]
fn ways_out_of_conflicts_are_named_by_volume() {
    let cli = accepted("usb --force home --keep-both /srv --force /var/lib");
    let Command::Usb {
        conflict_options, ..
    } = cli.command
    else {
        panic!("{cli:?}")
    };
    let named: Vec<_> = conflict_options.volumes().map(VolumePath::as_str).collect();
    assert_eq!(named, ["/home", "/var/lib", "/srv"]);
    assert_eq!(conflict_options.keep_both.len(), 1);
    assert!(!cli.options.force_import, "that is another option");
}

/// What a next step names is typed into a shell, and arrives as it was.
#[test]
fn a_volume_of_any_name_comes_through_the_shell() {
    let names = [
        "/home/my data",
        "/home/x --force /home",
        "/home/-n",
        "/home/ ends in blanks ",
    ];
    for option in ["--force", "--keep-both", "--follow-rename"] {
        let words = names.map(|name| format!("{option} {}", shell_word(name)));
        let line = format!("printf '%s\\0' zbackup usb {}", words.join(" "));
        let shell = std::process::Command::new("sh")
            .args(["-c", &line])
            .output();
        let typed = String::from_utf8(shell.unwrap().stdout).unwrap();
        let cli = Cli::try_parse_from(typed.split_terminator('\0')).unwrap();
        let Command::Usb {
            conflict_options, ..
        } = cli.command
        else {
            panic!("{cli:?}")
        };
        let named: Vec<_> = conflict_options.volumes().map(VolumePath::as_str).collect();
        assert_eq!(named, names, "{line}");
    }
}

#[test]
fn how_many_snapshots_stay() {
    let number = |line| accepted(line).options.save_last_snapshots.map(usize::from);
    assert_eq!(number("usb"), None);
    assert_eq!(number("-s 3 usb"), Some(3));
    assert_eq!(number("usb --save-last-snapshots=1"), Some(1));
}

#[test]
fn a_device_is_named_as_its_section() {
    let cli = Cli::try_parse_from(["zbackup", "usb", "--device", "USB device 2"]).unwrap();
    assert_eq!(cli.options.device.as_deref(), Some("USB device 2"));
}

#[test]
fn the_terminal_hears_of_its_options() {
    let settings = accepted("-v --json usb -y --color always")
        .options
        .terminal();
    assert!(settings.verbose && settings.json && settings.yes && !settings.quiet);
    assert_eq!(settings.color, zbackup::terminal::ColorChoice::Always);
    assert!(accepted("usb -q").options.terminal().quiet);
}

#[test]
fn what_cannot_be_meant() {
    use ErrorKind::{
        ArgumentConflict, InvalidSubcommand, InvalidValue, MissingRequiredArgument,
        UnknownArgument, ValueValidation,
    };
    let cases = [
        (
            "-q -v usb",
            ArgumentConflict,
            "--quiet cannot be used with --verbosity",
        ),
        (
            "-q usb -v",
            ArgumentConflict,
            "--quiet cannot be used with --verbosity",
        ),
        (
            "usb -v -q",
            ArgumentConflict,
            "--quiet cannot be used with --verbosity",
        ),
        (
            "-n usb --keep-open",
            ArgumentConflict,
            "--dry-run cannot be used with --keep-open",
        ),
        (
            "usb -n --keep-open",
            ArgumentConflict,
            "--dry-run cannot be used with --keep-open",
        ),
        (
            "-n os --keep-open",
            ArgumentConflict,
            "--dry-run cannot be used with --keep-open",
        ),
        ("os srv /srv", ArgumentConflict, "/srv is given twice"),
        ("usb home /home", ArgumentConflict, "/home is given twice"),
        (
            "usb --force home --force /home",
            ArgumentConflict,
            "--force /home is given twice",
        ),
        (
            "usb --keep-both home --force /srv --keep-both /home",
            ArgumentConflict,
            "--keep-both /home is given twice",
        ),
        (
            "usb --force /srv --force /home --keep-both home",
            ArgumentConflict,
            "--force /home cannot be used with --keep-both /home",
        ),
        ("usb --force", InvalidValue, "--force <VOLUME>"),
        ("usb --force /", ValueValidation, "the pool itself"),
        ("open --force /home", UnknownArgument, "--force"),
        ("usb /", ValueValidation, "the pool itself is not a volume"),
        ("usb /home@monday", ValueValidation, "'@' is not allowed"),
        ("usb --wait soon", ValueValidation, "--wait <SECONDS>"),
        ("usb --wait -1", UnknownArgument, "-1"),
        ("usb --color red", InvalidValue, "auto, always, never"),
        ("usb --rw", UnknownArgument, "--rw"),
        ("open --keep-open", UnknownArgument, "--keep-open"),
        ("open /home", UnknownArgument, "/home"),
        ("close /home", UnknownArgument, "/home"),
        ("usb -s 0", ValueValidation, "--save-last-snapshots <N>"),
        (
            "open -s 3",
            ArgumentConflict,
            "--save-last-snapshots cannot be used with open",
        ),
        ("forget", MissingRequiredArgument, "<DISK>"),
        ("usd", InvalidSubcommand, "usb"),
    ];
    for (line, kind, reason) in cases {
        let error = typed(line).expect_err(line);
        assert_eq!(error.kind(), kind, "{line}: {error}");
        assert!(error.to_string().contains(reason), "{line}: {error}");
        assert!(
            error.to_string().ends_with("try '--help'.\n"),
            "{line}: {error}"
        );
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn no_verb_is_a_call_for_help() {
    let error = typed("").unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(
        error
            .to_string()
            .contains("Usage: zbackup [OPTIONS] <COMMAND>"),
        "{error}"
    );
    assert_eq!(typed("-n").unwrap_err().exit_code(), 2);
}

#[test]
fn version_and_help_are_no_errors() {
    let version = typed("--version").unwrap_err();
    assert_eq!(
        version.to_string(),
        concat!("zbackup ", env!("CARGO_PKG_VERSION"), "\n")
    );
    assert_eq!(version.exit_code(), 0);
    let help = typed("--help").unwrap_err();
    assert_eq!(help.exit_code(), 0);
    let help = help.to_string();
    assert!(
        help.starts_with("Carries ZFS snapshots between hosts on a USB disk\n\nUsage:"),
        "{help}"
    );
    for word in [
        "usb ",
        "open ",
        "close ",
        "forget ",
        "--dry-run",
        "Examples:",
        "Exit codes:",
        "  75 ",
    ] {
        assert!(help.contains(word), "{word} in\n{help}");
    }
}

/// What does not work yet must not be promised.
#[test]
fn help_lists_only_what_is_there() {
    let verbs: Vec<String> = Cli::command()
        .get_subcommands()
        .map(|verb| verb.get_name().to_owned())
        .collect();
    assert_eq!(verbs, ["usb", "os", "open", "close", "forget"]);
}

#[cfg(not(feature = "fault-injection"))]
#[test]
fn the_program_knows_no_faults_on_demand() {
    let program = std::fs::read(env!("CARGO_BIN_EXE_zbackup")).expect("the program");
    let found = |word: &str| {
        program
            .windows(word.len())
            .any(|window| window == word.as_bytes())
    };
    // A word that must be there shows that the search works.
    assert!(found("Safe to unplug"));
    assert!(!found("ZBACKUP_FAULT"));
}

/// A script may take what it types from the name of a disk.
#[test]
fn what_was_typed_is_repeated_without_what_a_terminal_obeys() {
    for argument in ["\u{1b}[32mSafe\nzbackup: forged", "--\u{202e}x\u{9b}2J"] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_zbackup"))
            .arg(argument)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("\\u{"), "{said:?}");
        let is_plain = |c: char| c == '\n' || !(c.is_control() || c == '\u{202e}');
        assert!(said.chars().all(is_plain), "{said:?}");
        assert!(
            said.lines().all(|line| !line.starts_with("zbackup:")),
            "{said:?}"
        );
    }
}
