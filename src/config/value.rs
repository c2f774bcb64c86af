//! Which values are valid, key by key.

use std::num::NonZeroUsize;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use openzfs::{Guid, PoolName};

use crate::model::VolumePath;
use crate::next::next;

use super::error::Refusal;
use super::ini::{Entry, ValueLine};
use super::selection::Exclude;
use super::{Encryption, PartUuid, PoolSelector};

/// Largest PIM that VeraCrypt itself takes; above it its iteration count would overflow.
const MAX_PIM: u32 = 2_147_468;
/// More transfers at once than this must be a typing error: each takes two threads and a pipe.
const MAX_PARALLEL: usize = 64;

/// What is wrong with a value, and in which line.
pub(super) type Refused = Vec<(usize, Refusal)>;

/// The value of a key that takes one line.
pub(super) fn single<T>(
    entry: &Entry,
    parse: impl FnOnce(&str) -> Result<T, Refusal>,
) -> Result<T, Refused> {
    let lines: Vec<&ValueLine> = filled_lines(entry).collect();
    match lines.as_slice() {
        [] => {
            let allowed = "write a value, or leave the key out";
            Err(vec![(entry.line, Refusal::new("an empty value", allowed))])
        }
        [only] => parse(&only.text).map_err(|refusal| vec![(only.line, refusal)]),
        [_, second, ..] => {
            let allowed = "this key takes one line; another key must not be indented deeper";
            Err(vec![(
                second.line,
                Refusal::new(format!("{:?} goes on", second.text), allowed),
            )])
        }
    }
}

/// `volume`: at least one, each once.
pub(super) fn volumes(entry: &Entry) -> Result<Vec<VolumePath>, Refused> {
    let mut volumes: Vec<VolumePath> = Vec::new();
    let mut refused = Vec::new();
    for line in filled_lines(entry) {
        match volume(&line.text) {
            Ok(volume) if volumes.contains(&volume) => {
                let found = format!("{volume} is listed twice");
                refused.push((line.line, Refusal::new(found, "once is enough")));
            }
            Ok(volume) => volumes.push(volume),
            Err(refusal) => refused.push((line.line, refusal)),
        }
    }
    if volumes.is_empty() && refused.is_empty() {
        let allowed = "list at least one volume, one a line, such as /home";
        refused.push((entry.line, Refusal::new("an empty list", allowed)));
    }
    if refused.is_empty() {
        Ok(volumes)
    } else {
        Err(refused)
    }
}

/// `exclude`: globs, one a line; none is allowed, and overrides `[DEFAULT]`.
pub(super) fn exclude(entry: &Entry) -> Result<Exclude, Refused> {
    let refused: Refused = filled_lines(entry)
        .filter_map(|line| {
            let error = Exclude::compile(&line.text).err()?;
            Some((line.line, bad_glob(&line.text, &error)))
        })
        .collect();
    if !refused.is_empty() {
        return Err(refused);
    }
    let globs = filled_lines(entry).map(|line| line.text.as_str());
    Exclude::new(globs).map_err(|error| vec![(entry.line, bad_glob("the list", &error))])
}

fn bad_glob(glob: &str, error: &globset::Error) -> Refusal {
    let found = format!("{glob:?} is no glob: {}", error.kind());
    Refusal::new(
        found,
        "a glob is a volume path with * ** ? [ab] {a,b}, such as /home/*/cache",
    )
}

fn filled_lines(entry: &Entry) -> impl Iterator<Item = &ValueLine> {
    entry.value.iter().filter(|line| !line.text.is_empty())
}

/// A volume path, with or without its leading slash.
pub(super) fn volume(text: &str) -> Result<VolumePath, Refusal> {
    VolumePath::new(text).map_err(|error| {
        Refusal::new(
            error.to_string(),
            "write it relative to the pool, such as /home/vic",
        )
    })
}

/// A boolean, as Python's `getboolean` takes it.
pub(super) fn boolean(text: &str) -> Result<bool, Refusal> {
    match text.to_lowercase().as_str() {
        "1" | "yes" | "true" | "on" => Ok(true),
        "0" | "no" | "false" | "off" => Ok(false),
        _ => Err(Refusal::new(
            format!("{text:?}"),
            "allowed are yes, no, true, false, on, off, 1, 0",
        )),
    }
}

/// How many snapshots to keep.
pub(super) fn keep_last(text: &str) -> Result<NonZeroUsize, Refusal> {
    let allowed = "a whole number from 1 on is allowed; without this key all are kept";
    number(text)
        .and_then(NonZeroUsize::new)
        .ok_or_else(|| Refusal::new(format!("{text:?}"), allowed))
}

/// How many transfers at once.
pub(super) fn parallel(text: &str) -> Result<NonZeroUsize, Refusal> {
    number(text)
        .and_then(NonZeroUsize::new)
        .filter(|parallel| parallel.get() <= MAX_PARALLEL)
        .ok_or_else(|| {
            let allowed = format!("a whole number from 1 to {MAX_PARALLEL} is allowed");
            Refusal::new(format!("{text:?}"), allowed)
        })
}

/// How old a scrub may be; `None` is `never`.
pub(super) fn scrub_every(text: &str) -> Result<Option<Duration>, Refusal> {
    const DAY: u64 = 86_400;
    if text.eq_ignore_ascii_case("never") {
        return Ok(None);
    }
    let units = [("d", DAY), ("w", 7 * DAY)];
    let mut seconds = units.iter().filter_map(|(unit, unit_seconds)| {
        number::<u64>(text.strip_suffix(unit)?)?.checked_mul(*unit_seconds)
    });
    seconds
        .next()
        .filter(|seconds| *seconds > 0)
        .map(|seconds| Some(Duration::from_secs(seconds)))
        .ok_or_else(|| {
            let allowed = "days or weeks are allowed, such as 90d or 12w, or never";
            Refusal::new(format!("{text:?}"), allowed)
        })
}

/// True if a pool that lacks a device prevents a run.
pub(super) fn degraded(text: &str) -> Result<bool, Refusal> {
    match text.to_lowercase().as_str() {
        "warn" => Ok(false),
        "refuse" => Ok(true),
        _ => Err(Refusal::new(
            format!("{text:?}"),
            "allowed are warn and refuse",
        )),
    }
}

/// VeraCrypt's personal iterations multiplier.
pub(super) fn pim(text: &str) -> Result<u32, Refusal> {
    number(text).filter(|pim| *pim <= MAX_PIM).ok_or_else(|| {
        let allowed = format!("a whole number from 0 to {MAX_PIM} is allowed");
        Refusal::new(format!("{text:?}"), allowed)
    })
}

/// A pool's guid, in decimal as `zpool get guid` shows it.
pub(super) fn guid(text: &str) -> Result<Guid, Refusal> {
    number(text)
        .filter(|guid| *guid != 0)
        .map(Guid)
        .ok_or_else(|| {
            let allowed = next!(
                "config-guid",
                "a pool guid in decimal is allowed, as `zpool get guid` shows it"
            );
            Refusal::new(format!("{text:?}"), allowed)
        })
}

/// A pool by name, or by its guid. A pool's name never starts with a digit.
pub(super) fn pool(text: &str) -> Result<PoolSelector, Refusal> {
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        return guid(text).map(PoolSelector::Guid);
    }
    PoolName::new(text)
        .map(PoolSelector::Name)
        .map_err(|error| {
            Refusal::new(
                error.to_string(),
                "the name of a pool is allowed, or its guid in decimal",
            )
        })
}

/// A partition of a GPT or MBR disk.
pub(super) fn partuuid(text: &str) -> Result<PartUuid, Refusal> {
    PartUuid::new(text).map_err(|error| {
        let allowed = "allowed is a name as in /dev/disk/by-partuuid, such as \
                       09353f9f-c554-11e1-8897-5c260a0e9ee6 (GPT) or 1a2b3c4d-01 (MBR)";
        Refusal::new(error.to_string(), allowed)
    })
}

/// `none` stands for a disk that is not encrypted, if `[DEFAULT]` says otherwise.
pub(super) fn encryption(text: &str) -> Result<Option<Encryption>, Refusal> {
    match text.to_lowercase().as_str() {
        "truecrypt" => Ok(Some(Encryption::Truecrypt)),
        "veracrypt" => Ok(Some(Encryption::Veracrypt)),
        "luks" => Ok(Some(Encryption::Luks)),
        "none" => Ok(None),
        _ => Err(Refusal::new(
            format!("{text:?}"),
            "allowed are truecrypt, veracrypt, luks, none",
        )),
    }
}

/// A file; the current directory must not matter.
pub(super) fn absolute_path(text: &str) -> Result<PathBuf, Refusal> {
    if Path::new(text).is_absolute() {
        Ok(text.into())
    } else {
        Err(Refusal::new(
            format!("{text:?} is relative"),
            "an absolute path is allowed",
        ))
    }
}

/// A file with the passphrase; `none` stands for a container that keyfiles alone open.
pub(super) fn passphrase_file(text: &str) -> Result<Option<PathBuf>, Refusal> {
    match text {
        "none" => Ok(None),
        _ => absolute_path(text).map(Some),
    }
}

/// `keyfile`: at least one file, one a line.
pub(super) fn keyfiles(entry: &Entry) -> Result<Vec<PathBuf>, Refused> {
    let mut files = Vec::new();
    let mut refused = Vec::new();
    for line in filled_lines(entry) {
        match absolute_path(&line.text) {
            Ok(file) => files.push(file),
            Err(refusal) => refused.push((line.line, refusal)),
        }
    }
    if files.is_empty() && refused.is_empty() {
        let allowed = "list at least one file, one a line, or leave the key out";
        refused.push((entry.line, Refusal::new("an empty list", allowed)));
    }
    if refused.is_empty() {
        Ok(files)
    } else {
        Err(refused)
    }
}

/// A directory that the disk's volumes are mounted below.
pub(super) fn mount_point(text: &str) -> Result<PathBuf, Refusal> {
    let path = absolute_path(text)?;
    let below_root = path.components().skip(1);
    if below_root.clone().count() == 0
        || below_root
            .into_iter()
            .any(|part| part == Component::ParentDir)
    {
        let allowed = "a directory of the disk's own is allowed, such as /mnt/usb";
        return Err(Refusal::new(
            format!("{text:?} may cover the running system"),
            allowed,
        ));
    }
    Ok(path)
}

/// Decimal digits alone: no sign, no blanks, no `1_000`.
fn number<N: std::str::FromStr>(text: &str) -> Option<N> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}
