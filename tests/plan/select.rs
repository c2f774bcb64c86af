//! Which volumes a run is about.

use std::collections::BTreeSet;

use zbackup::model::VolumePath;
use zbackup::plan::{SelectError, select};

use crate::notation::volume;

/// All that the source holds.
const EXISTING: &str = "/home /home-old /home/eve /home/vic /home/vic/mail /srv /srv/www /tmp";

fn volumes<T: FromIterator<VolumePath>>(words: &str) -> T {
    words.split_whitespace().map(volume).collect()
}

fn chosen(
    configured: &str,
    recursive: bool,
    exclude: &str,
    requested: &str,
) -> Result<String, SelectError> {
    let excluded: BTreeSet<VolumePath> = volumes(exclude);
    let configured: Vec<_> = volumes(configured);
    let requested: Vec<_> = volumes(requested);
    let selected = select(
        &configured,
        recursive,
        |volume| excluded.contains(volume),
        &requested,
        &volumes(EXISTING),
    )?;
    let words: Vec<_> = selected.iter().map(VolumePath::as_str).collect();
    Ok(words.join(" "))
}

#[test]
#[rustfmt::skip] // one row, one line
fn the_configuration_lists_volumes_and_their_children() {
    for (why, configured, recursive, exclude, expected) in [
        ("as configured", "/tmp /home", false, "", "/tmp /home"),
        ("each once", "/tmp /home tmp", false, "", "/tmp /home"),
        ("with children", "/srv /home", true, "", "/srv /srv/www /home /home/eve /home/vic /home/vic/mail"),
        ("a child that is configured first", "/home/vic /home", true, "", "/home/vic /home/vic/mail /home /home/eve"),
        ("without one", "/home", true, "/home/eve", "/home /home/vic /home/vic/mail"),
        ("without a tree", "/home", true, "/home/vic", "/home /home/eve"),
        ("configured below what is left out", "/home /home/vic/mail", true, "/home/vic", "/home /home/eve /home/vic/mail"),
        ("left out though configured", "/tmp /home", false, "/tmp", "/home"),
        ("not there, for the plan to say", "/nope /tmp", true, "", "/nope /tmp"),
    ] {
        let selected = chosen(configured, recursive, exclude, "");
        assert_eq!(selected.as_deref(), Ok(expected), "{why}");
    }
}

#[test]
#[rustfmt::skip] // one row, one line
fn the_command_line_picks_among_them() {
    for (why, configured, recursive, requested, expected) in [
        ("one", "/tmp /home /srv", false, "/home", "/home"),
        ("in the configuration's order", "/tmp /home", false, "/home /tmp", "/tmp /home"),
        ("a parent alone", "/home /home/vic", false, "/home", "/home"),
        ("a parent with its children", "/srv /home", true, "/home/vic", "/home/vic /home/vic/mail"),
        ("a child not there, for the plan to say", "/home", true, "/home/joe", "/home/joe"),
    ] {
        let selected = chosen(configured, recursive, "", requested);
        assert_eq!(selected.as_deref(), Ok(expected), "{why}");
    }
}

#[test]
#[rustfmt::skip] // one row, one line
fn the_command_line_cannot_ask_for_more() {
    for (configured, recursive, exclude, requested, expected) in [
        ("/home /tmp", false, "", "/srv", "/srv is not configured; configured are: /home, /tmp"),
        ("/home", false, "", "/home/vic", "/home/vic is not configured; configured are: /home"),
        ("/home/vic", true, "", "/home", "/home is not configured; configured are: /home/vic"),
        ("/home", true, "", "/home-old", "/home-old is not configured; configured are: /home"),
        ("/home", true, "/home/vic", "/home/vic/mail", "/home/vic/mail is left out by `exclude`"),
    ] {
        let error = chosen(configured, recursive, exclude, requested).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}
