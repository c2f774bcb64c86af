//! Which old snapshots go, and which never do.

use std::num::NonZeroUsize;

use zbackup::plan::retention::{needed_for, prunable};

use crate::notation::{dataset, guid};

fn pruned(notation: &str, keep: usize, protected: &str) -> String {
    let dataset = dataset("tank/home", notation).unwrap();
    let keep = NonZeroUsize::new(keep).unwrap();
    let protected = protected.split_whitespace().map(guid).collect();
    let names: Vec<_> = prunable(&dataset, keep, &protected)
        .iter()
        .map(|snapshot| format!("@{}", snapshot.name.short()))
        .collect();
    names.join(" ")
}

#[test]
#[rustfmt::skip] // one row, one line
fn the_newest_own_ones_stay() {
    for (why, notation, keep, protected, expected) in [
        ("two of four", "@a=1 @b=2 @c=3 @d=4", 2, "", "@a @b"),
        ("all but one", "@a=1 @b=2 @c=3", 1, "", "@a @b"),
        ("fewer than asked for", "@a=1 @b=2", 3, "", ""),
        ("just as many", "@a=1 @b=2", 2, "", ""),
        ("none at all", "", 1, "", ""),
        ("others' never go", "@a=1/foreign @b=2 @c=3", 1, "", "@b"),
        ("others' are not counted", "@a=1 @b=2 @c=3/foreign @d=4/foreign", 1, "", "@a"),
        ("held ones stay", "@a=1/held @b=2 @c=3", 1, "", "@b"),
        ("bases stay", "@a=1 @b=2 @c=3 @d=4", 1, "2", "@a @c"),
        ("an interrupted receive's base stays", "@a=1 @b=2 @c=3 resume=9<1", 1, "", "@b"),
    ] {
        assert_eq!(pruned(notation, keep, protected), expected, "{why}");
    }
}

#[test]
#[rustfmt::skip] // one row, one line
fn what_a_peer_needs_here() {
    for (why, peer, here, expected) in [
        ("the newest common one", "@a=1 @b=2", "@a=1 @b=2 @c=3", "2"),
        ("not where a bookmark holds it", "@a=1 @b=2", "@a=1 @b=2 #b=2 @c=3", ""),
        ("nor where only that is left", "@a=1 @b=2", "@a=1 #b=2 @c=3", ""),
        ("an older bookmark does not", "@a=1 @b=2", "@a=1 #a=1 @b=2", "2"),
        ("an encrypted one without IV set does not", "encrypted @a=1 @b=2", "encrypted @a=1 @b=2 #b=2", "2"),
        ("one with it does", "encrypted @b=2", "encrypted @b=2 #b=2/iv=5", ""),
        ("an interrupted receive", "@a=1 resume=2<1", "#a=1 @b=2 @c=3", "1 2"),
        ("an interrupted first one", "resume=2<", "@b=2 @c=3", "2"),
        ("nothing common", "@x=8", "@a=1", ""),
    ] {
        let needed = needed_for(
            &dataset("backup/home", peer).unwrap(),
            &dataset("tank/home", here).unwrap(),
        );
        let words: Vec<_> = needed.iter().map(ToString::to_string).collect();
        assert_eq!(words.join(" "), expected, "{why}");
    }
}
