//! The bookmarks that a run leaves for the next one.

use openzfs::{Createtxg, Guid};
use zbackup::model::ledger::{LedgerError, Peer, bookmark_name, newest_common, parse, update};

use crate::notation::{dataset, dataset_name};

#[test]
fn names_say_whose_and_when() {
    let home = dataset_name("tank/home");
    let host = Peer::host(Guid(u64::MAX));
    let name = bookmark_name(&home, host, Createtxg(77)).unwrap();
    assert_eq!(name.as_str(), "tank/home#zbackup-18446744073709551615-77");
    assert_eq!(parse(name.short()), Some((host, Createtxg(77))));
    let disk = Peer::disk(Guid(7), "09353F9F-c554-11e1-8897-5c260a0e9ee6");
    let name = bookmark_name(&home, disk, Createtxg(77)).unwrap();
    assert_eq!(name.as_str(), "tank/home#zbackup-7.09353f9fc5-77");
    assert_eq!(parse(name.short()), Some((disk, Createtxg(77))));
    // Two partitions of a disk with an MBR.
    let [first, second] = ["1a2b3c4d-01", "1a2b3c4d-02"].map(|part| Peer::disk(Guid(7), part));
    assert!(first != second && first.may_be(first.any_part()) && !first.may_be(second));
    // Without room for the partition it goes without, and without any room not at all.
    let tight = dataset_name(&"x".repeat(236));
    let name = bookmark_name(&tight, disk, Createtxg(77)).unwrap();
    assert_eq!(name.short(), "zbackup-7-77");
    let long = dataset_name(&"x".repeat(230));
    assert!(bookmark_name(&long, host, Createtxg(77)).is_err());
}

#[test]
fn other_names_are_nobodys() {
    for short in [
        "zbackup",
        "zbackup-",
        "zbackup-1",
        "zbackup-1-",
        "zbackup-1-2-3",
        "zbackup-2026-11-22",
        "zbackup-+1-2",
        "zbackup-1-02",
        "zbackup-1.-2",
        "zbackup-1.9353f9fc5-2",
        "zbackup-1.09353F9FC5-2",
        "zbackup-1.09353f9fc5c5-2",
        "zbackup-18446744073709551616-1",
        "zrepl_CURSOR_1-2",
        "1-2",
    ] {
        assert_eq!(parse(short), None, "{short}");
    }
}

#[test]
#[rustfmt::skip] // one row, one line
fn each_side_names_what_it_would_send_from() {
    for (why, dataset_notation, peer, expected) in [
        ("the newest of all", "@a=1 @b=2", "@a=1 @b=2", Some("b")),
        ("of its own name", "@a=1 @z=2", "@a=1 @b=2", Some("z")),
        ("the peer has more", "@a=1", "@a=1 @b=2", Some("a")),
        ("it has more itself", "@a=1 @b=2", "@a=1", Some("a")),
        ("the peer's order counts", "@a=1 @b=2", "@b=2 @a=1", Some("a")),
        ("both ways", "@b=2 @a=1", "@a=1 @b=2", Some("b")),
        ("a bookmark stays what it is", "@a=1 #b=2", "@a=1 @b=2", None),
        ("an older one does not matter", "#a=1 @b=2", "@a=1 @b=2", Some("b")),
        ("nothing in common", "@a=1", "@x=8", None),
    ] {
        let here = dataset("tank/home", dataset_notation).unwrap();
        let there = dataset("backup/home", peer).unwrap();
        let found = newest_common(&here, &there).map(|snapshot| snapshot.name.short());
        assert_eq!(found, expected, "{why}");
    }
}

/// Bookmarks to create and to destroy for the host 7, as words like `+#zbackup-7-20`.
fn updated(notation: &str, newest_common: u64) -> String {
    updated_for(Peer::host(Guid(7)), notation, newest_common)
}

fn updated_for(peer: Peer, notation: &str, newest_common: u64) -> String {
    let dataset = dataset("tank/home", notation).unwrap();
    let newest_common = dataset.snapshot(Guid(newest_common)).unwrap();
    let update = update(&dataset.bookmarks, peer, newest_common).unwrap();
    let created = update.create.iter().map(|(bookmark, snapshot)| {
        assert_eq!(snapshot, &newest_common.name);
        format!("+#{}", bookmark.short())
    });
    let destroyed = update
        .destroy
        .iter()
        .map(|name| format!("-#{}", name.short()));
    created.chain(destroyed).collect::<Vec<_>>().join(" ")
}

#[test]
#[rustfmt::skip] // one row, one line
fn one_bookmark_a_peer() {
    // The n-th word of the notation has createtxg 10 n.
    for (why, notation, newest_common, expected) in [
        ("first", "@a=1 @b=2", 2, "+#zbackup-7-20"),
        ("already there", "@a=1 @b=2 #zbackup-7-20=2", 2, ""),
        ("next", "@a=1 #zbackup-7-10=1 @b=2", 2, "+#zbackup-7-30 -#zbackup-7-10"),
        ("two old ones", "#zbackup-7-10=1 #zbackup-7-20=5 @b=2", 2, "+#zbackup-7-30 -#zbackup-7-10 -#zbackup-7-20"),
        ("older and equal", "#zbackup-7-10=1 @b=2 #zbackup-7-20=2", 2, "-#zbackup-7-10"),
        ("another peer's", "#zbackup-77-10=1 @b=2 #zbackup-6-20=2", 2, "+#zbackup-7-20"),
        ("somebody's", "#zbackup-2026-11-22=1 #mine=5 @b=2 #hers=2", 2, "+#zbackup-7-30"),
        ("newer ones stay", "@a=1 @b=2 #zbackup-7-20=2", 1, "+#zbackup-7-10"),
    ] {
        assert_eq!(updated(notation, newest_common), expected, "{why}");
    }
}

#[test]
fn a_taken_name_is_an_error() {
    let dataset = dataset("tank/home", "@a=1 #zbackup-7-10=5").unwrap();
    let error = update(
        &dataset.bookmarks,
        Peer::host(Guid(7)),
        dataset.newest().unwrap(),
    )
    .unwrap_err();
    assert!(matches!(error, LedgerError::NameTaken(name) if name.short() == "zbackup-7-10"));
}

/// A disk that was copied block by block continues from the snapshot that was the newest at that time.
#[test]
fn a_disk_keeps_some_older_ones_and_touches_no_twins() {
    let disk = Peer::disk(Guid(7), "aaaaaaaa-aa");
    let name = |part: &str, number: u64| format!("#zbackup-7{part}-{number}0={number}");
    let mut words: Vec<String> = (1..=3).map(|number| name("", number)).collect();
    words.extend((4..=62).map(|number| name(".aaaaaaaaaa", number)));
    words.push("#zbackup-7.bbbbbbbbbb-10=1".into());
    words.push("@x=99".into());
    assert_eq!(
        updated_for(disk, &words.join(" "), 99),
        "+#zbackup-7.aaaaaaaaaa-640 -#zbackup-7-10 -#zbackup-7-20"
    );
}
