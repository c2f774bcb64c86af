//! What was typed on the command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, ColorChoice, CommandFactory, FromArgMatches, Parser};
use clap::{Subcommand, ValueHint};

use crate::model::VolumePath;
use crate::terminal;
use crate::text::visible;

const AFTER_HELP: &str = "\
Examples:
  zbackup -n usb            what would be carried, changing nothing
  zbackup usb               snapshot the configured volumes and send them to the disk
  zbackup usb /home /srv    the same for these two volumes alone
  zbackup os                on the next host: bring the disk's newer snapshots there
  zbackup -v usb            ask before every single step
  zbackup --wait 300 usb    wait up to five minutes for the disk to be plugged in
  zbackup forget 'USB device 2'   the second disk will not come back
  zbackup open              look at the disk's contents, read-only; `zbackup close` ends it

Exit codes:
  0    done, also when nothing had to be done
  1    failed: not root, no /dev/zfs, another run at work, passphrase, pool
  2    command line or config is wrong; nothing was touched
  3    finished, but some volumes failed, were skipped or refused
  75   the disk is not plugged in
  129, 130, 131, 143   hangup, Ctrl-C, Ctrl-\\, terminated; the disk was closed cleanly

The config is the file of --config, else /etc/zbackup.ini, else ./zbackup.ini where that
belongs to you and nobody else may write it.";

/// The command line, checked as far as it can be without the config.
///
/// [`Parser::parse`] and [`Parser::try_parse_from`] make one; a wrong command line ends with exit
/// code 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cli {
    /// What goes with every command.
    pub options: Options,
    /// What to do.
    pub command: Command,
}

/// Options that every command takes, before or after its name.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Options {
    /// Read this config [default: /etc/zbackup.ini, then ./zbackup.ini]
    #[arg(short, long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,

    /// Show what would be done, and change nothing
    #[arg(short = 'n', long, global = true)]
    pub dry_run: bool,

    /// Answer yes to every question, except to those that destroy something
    #[arg(short, long, global = true)]
    pub yes: bool,

    /// Log in detail, and ask before every single manipulation of the disk
    #[arg(short = 'v', long, global = true)]
    pub verbosity: bool,

    /// Say only what went wrong
    #[arg(short, long, global = true)]
    pub quiet: bool,

    /// Print one JSON document to stdout instead of tables
    #[arg(long, global = true)]
    pub json: bool,

    /// Use colors
    #[arg(long, global = true, value_name = "WHEN", default_value_t = ColorChoice::Auto, value_enum)]
    pub color: ColorChoice,

    /// Wait this long for a disk that is not plugged in yet
    #[arg(long, global = true, value_name = "SECONDS", value_parser = seconds)]
    pub wait: Option<Duration>,

    /// Use the disk of this config section, where several are plugged in
    #[arg(long, global = true, value_name = "SECTION")]
    pub device: Option<String>,

    /// Keep only the newest N of zbackup's own snapshots, on the host and on the disk
    #[arg(short, long, global = true, value_name = "N")]
    pub save_last_snapshots: Option<NonZeroUsize>,

    /// Import the disk's pool although another host used it last and never exported it
    #[arg(long, global = true)]
    pub force_import: bool,
}

impl Cli {
    /// The command line of this process. If it is wrong, this says so and ends the process.
    pub fn from_command_line() -> Self {
        Self::try_parse().unwrap_or_else(|error| {
            // clap repeats typed words as they are, and these may include a name from a disk.
            let arguments = std::env::args_os();
            let visible = arguments.map(|text| visible(&text.to_string_lossy()).into_owned());
            Self::try_parse_from(visible).err().unwrap_or(error).exit()
        })
    }
}

impl Options {
    /// The settings for talking to people.
    pub fn terminal(&self) -> terminal::Settings {
        terminal::Settings {
            quiet: self.quiet,
            verbose: self.verbosity,
            yes: self.yes,
            json: self.json,
            color: match self.color {
                ColorChoice::Auto => terminal::ColorChoice::Auto,
                ColorChoice::Always => terminal::ColorChoice::Always,
                ColorChoice::Never => terminal::ColorChoice::Never,
            },
        }
    }
}

/// What to do with volumes whose two sides do not fit together, for the verbs that send.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct ConflictOptions {
    /// Destroy what only the receiving side has of this volume, where it is in the way (repeatable)
    #[arg(long, value_name = "VOLUME", value_parser = VolumePath::new)]
    pub force: Vec<VolumePath>,

    /// Keep what the receiving side has of this volume under another name, where it is in the way
    /// (repeatable)
    #[arg(long, value_name = "VOLUME", value_parser = VolumePath::new)]
    pub keep_both: Vec<VolumePath>,

    /// Rename the copy of this volume, which was renamed, as the volume is called now (repeatable)
    #[arg(long, value_name = "VOLUME", value_parser = VolumePath::new)]
    pub follow_rename: Vec<VolumePath>,

    /// Send what does not fit by the estimate, too: what has arrived stays until the rest can follow
    #[arg(long)]
    pub try_anyway: bool,
}

impl ConflictOptions {
    /// The volumes of all options.
    pub fn volumes(&self) -> impl Iterator<Item = &VolumePath> {
        self.by_option()
            .into_iter()
            .flat_map(|(_, volumes)| volumes)
    }

    fn by_option(&self) -> [(&'static str, &[VolumePath]); 3] {
        [
            ("--force", &self.force),
            ("--keep-both", &self.keep_both),
            ("--follow-rename", &self.follow_rename),
        ]
    }

    /// Refuses a volume that two options name.
    fn check(&self) -> Result<(), clap::Error> {
        let refuse = |message| Err(clap::Error::raw(ErrorKind::ArgumentConflict, message));
        let options = self.by_option();
        for (index, (option, volumes)) in options.iter().enumerate() {
            if let Some(volume) = repeated(volumes) {
                return refuse(format!("{option} {volume} is given twice"));
            }
            for (other, others) in &options[index + 1..] {
                if let Some(volume) = volumes.iter().find(|volume| others.contains(volume)) {
                    return refuse(format!(
                        "{option} {volume} cannot be used with {other} {volume}"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// The first volume that is named twice.
fn repeated(volumes: &[VolumePath]) -> Option<&VolumePath> {
    let mut numbered = volumes.iter().enumerate();
    numbered
        .find(|(index, volume)| volumes[..*index].contains(volume))
        .map(|(_, volume)| volume)
}

/// The verbs.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Snapshot this host's volumes and send them to the disk
    Usb {
        /// Take only these of the configured volumes, such as /home
        #[arg(value_name = "VOLUME", value_parser = VolumePath::new)]
        volumes: Vec<VolumePath>,

        /// What to do with volumes in conflict.
        #[command(flatten)]
        conflict_options: ConflictOptions,

        /// Leave the disk unlocked and imported at the end, and mounted with `mount-point`
        #[arg(long)]
        keep_open: bool,
    },
    /// Bring the disk's newer snapshots onto this host
    Os {
        /// Take only these of the configured volumes, such as /home
        #[arg(value_name = "VOLUME", value_parser = VolumePath::new)]
        volumes: Vec<VolumePath>,

        /// What to do with volumes in conflict.
        #[command(flatten)]
        conflict_options: ConflictOptions,

        /// Leave the disk unlocked and imported at the end, and mounted with `mount-point`
        #[arg(long)]
        keep_open: bool,
    },
    /// Unlock, import and mount the disk, to look at what it holds
    Open {
        /// Mount for writing too [default: read-only]
        #[arg(long)]
        rw: bool,
    },
    /// Unmount, export and lock a disk that was left open
    Close,
    /// Remove a retired disk's bookmarks from this host; the disk is not needed
    Forget {
        /// The disk's section in the config, or the guid of its pool (with the start of its partuuid,
        /// where several have that)
        #[arg(value_name = "DISK")]
        disk: String,

        /// Do it without a terminal to ask on
        #[arg(long)]
        force: bool,
    },
}

impl Command {
    /// The verb as it is typed.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Usb { .. } => "usb",
            Self::Os { .. } => "os",
            Self::Open { .. } => "open",
            Self::Close => "close",
            Self::Forget { .. } => "forget",
        }
    }
}

// The command line as clap reads it. Apart from `Cli`, because clap compares options only if they
// are typed on the same side of the verb: `-q usb -v` gets past it. (A doc comment would be printed
// by --help.)
#[derive(Debug, Parser)]
#[command(
    name = "zbackup",
    version,
    about = "Carries ZFS snapshots between hosts on a USB disk",
    after_help = AFTER_HELP,
    arg_required_else_help = true,
    max_term_width = 100
)]
struct Typed {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

impl Parser for Cli {}

impl CommandFactory for Cli {
    fn command() -> clap::Command {
        Typed::command()
    }

    fn command_for_update() -> clap::Command {
        Typed::command_for_update()
    }
}

impl FromArgMatches for Cli {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let Typed { options, command } = Typed::from_arg_matches(matches)?;
        let cli = Self { options, command };
        cli.check()?;
        Ok(cli)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Cli {
    fn check(&self) -> Result<(), clap::Error> {
        let conflict = |message| Err(clap::Error::raw(ErrorKind::ArgumentConflict, message));
        if self.options.quiet && self.options.verbosity {
            return conflict("--quiet cannot be used with --verbosity".into());
        }
        let (Command::Usb {
            volumes,
            conflict_options,
            keep_open,
        }
        | Command::Os {
            volumes,
            conflict_options,
            keep_open,
        }) = &self.command
        else {
            if self.options.save_last_snapshots.is_some() {
                let verb = self.command.name();
                return conflict(format!(
                    "--save-last-snapshots cannot be used with {verb}: it removes no old snapshots"
                ));
            }
            return Ok(());
        };
        conflict_options.check()?;
        if self.options.dry_run && *keep_open {
            return conflict(
                "--dry-run cannot be used with --keep-open: it leaves nothing open".into(),
            );
        }
        match repeated(volumes) {
            Some(volume) => conflict(format!("{volume} is given twice")),
            None => Ok(()),
        }
    }
}

fn seconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    // Up to 136 years: a deadline that far off can still be counted.
    text.parse::<u32>()
        .map(|seconds| Duration::from_secs(seconds.into()))
}
