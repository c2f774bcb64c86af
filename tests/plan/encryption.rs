//! Volumes that ZFS itself encrypts: raw, or not at all.

use super::*;

#[test]
#[rustfmt::skip] // one row, one line
fn encrypted_volumes_go_raw() {
    check(
        USB,
        &[
            ["in full", "encrypted @a=1", "-", "raw full to @a"],
            ["incremental", "encrypted @a=1/iv=5 +5", "encrypted @a=1/iv=5", "raw @a to new"],
            ["IV set not known", "encrypted @a=1 +5", "encrypted @a=1/iv=5", "raw @a to new"],
            ["a bookmark with IV set", "encrypted #a=1/iv=5 +5", "encrypted @a=1/iv=5", "raw #a to new"],
            ["one without is no base", "encrypted #a=1 +5", "encrypted @a=1", "no-common-snapshot @a"],
            ["an older snapshot is", "encrypted @a=1 #b=2 +5", "encrypted @a=1 @b=2", "diverged @a @b"],
            ["a bookmark of a clear one needs none", "#a=1 +5", "@a=1", "#a to new"],
        ],
    );
}

#[test]
#[rustfmt::skip] // one row, one line
fn raw_streams_suffer_no_newer_snapshot() {
    check(
        OS,
        &[
            ["empty", "encrypted @a=1 @b=2", "encrypted @a=1 @x=8/empty", "diverged @a @x"],
            ["clear ones do", "@a=1 @b=2", "@a=1 @x=8/empty", "@a to @b"],
        ],
    );
}

#[test]
#[rustfmt::skip] // one row, one line
fn a_claimed_intent_log_is_no_change() {
    check(
        OS,
        &[
            ["claimed", "encrypted @a=1 @b=2", "encrypted @a=1 +8192", "raw @a to @b"],
            ["more than that", "encrypted @a=1 @b=2", "encrypted @a=1 +8193", "modified @a+8193"],
            ["not encrypted", "@a=1 @b=2", "@a=1 +8192", "modified @a+8192"],
        ],
    );
}

#[test]
fn encryption_must_be_the_same_on_both_sides() {
    let to_clear = "encryption-mismatch: backup/home is encrypted, tank/home is not";
    let to_encrypted = "encryption-mismatch: tank/home is encrypted, backup/home is not";
    let empty_parent = "encryption-mismatch: tank/home is an empty parent with a key of its own";
    let ivset = "encryption-mismatch: the IV sets of tank/home@a and of its namesake on the source \
                 differ: one of them was once received from a stream that was not raw";
    let rows = [
        ["to clear", "encrypted @a=1 @b=2", "@a=1", to_clear],
        ["to encrypted", "@a=1 @b=2", "encrypted @a=1", to_encrypted],
        [
            "to encrypted files",
            "@a=1 @b=2",
            "encrypted +5",
            to_encrypted,
        ],
        ["even where equal", "@a=1", "encrypted @a=1", to_encrypted],
        [
            "to a clear parent",
            "encrypted @a=1",
            "placeholder",
            to_clear,
        ],
        [
            "to an encrypted parent",
            "@a=1",
            "encrypted placeholder",
            to_encrypted,
        ],
        [
            "both",
            "encrypted @a=1",
            "encrypted placeholder",
            empty_parent,
        ],
        [
            "IV sets",
            "encrypted @a=1/iv=5 @b=2",
            "encrypted @a=1/iv=6",
            ivset,
        ],
        [
            "IV set of a bookmark",
            "encrypted #a=1/iv=5 @b=2",
            "encrypted @a=1/iv=6",
            ivset,
        ],
    ];
    check(OS, &rows);
    let refused: Vec<String> = rows
        .iter()
        .map(|row| {
            let refusal = if row[3] == ivset {
                "--force brings increments alone, and no increment fits here"
            } else {
                "--force does not turn an encrypted dataset into a clear one, or back"
            };
            format!("{}; refused: {refusal}", row[3])
        })
        .collect();
    let forced: Vec<Row<'_>> = rows
        .iter()
        .zip(&refused)
        .map(|(row, refused)| [row[0], row[1], row[2], refused.as_str()])
        .collect();
    check_with(OS, force_home, &forced);
    check_with(
        OS,
        keep_both_home,
        &[[
            "beside it",
            "@a=1",
            "encrypted @a=1",
            "full to @a; renames to tank/home-kept-2026-11-22",
        ]],
    );
}

#[test]
fn nothing_clear_goes_below_what_is_encrypted() {
    let below = |parent: &str| {
        format!(
            "encryption-mismatch: {parent} is encrypted, so tank/p/home below it would be encrypted \
             with its key, and backup/p/home is not encrypted"
        )
    };
    let decide = |parent: [&str; 2], home: [&str; 2], change: fn(&mut Policy)| {
        let volumes = [["/p/home", home[0], home[1]], ["/p", parent[0], parent[1]]];
        lines(&run_with(OS, &volumes, change))[0].replace("/p/home: ", "")
    };
    let plain = |_: &mut Policy| {};
    let there = ["-", "encrypted @x=8"];
    assert_eq!(decide(there, ["@a=1", "-"], plain), below("tank/p"));
    // Whatever way a new dataset would come about.
    let kept = |policy: &mut Policy| {
        policy.keep_both.insert(volume("/p/home"));
    };
    let forced = |policy: &mut Policy| {
        policy.force.insert(volume("/p/home"));
    };
    assert_eq!(
        decide(there, ["@a=1", "placeholder"], plain),
        below("tank/p")
    );
    assert_eq!(decide(there, ["@a=1", "@x=8"], kept), below("tank/p"));
    assert_eq!(
        decide(there, ["@a=1", "@x=8"], forced),
        below("tank/p") + "; refused: --force does not change what is above the volume"
    );
    assert_eq!(decide(there, ["@a=1 @b=2", "@a=1"], plain), "@a to @b");
    assert_eq!(
        decide(there, ["encrypted @a=1", "-"], plain),
        "raw full to @a"
    );
    // What is above may come with this run only.
    let coming = ["encrypted @x=8", "-"];
    assert_eq!(decide(coming, ["@a=1", "-"], plain), below("tank/p"));
    let clear = ["@x=8", "-"];
    assert_eq!(
        decide(clear, ["@a=1", "-"], plain),
        "full to @a; waits for /p"
    );
}

#[test]
fn a_pool_without_the_feature_takes_no_encrypted_volume() {
    let (source, mut target) = sides(USB, &[["/home", "encrypted @a=1", "-"]]);
    target.features.encryption = false;
    let plan = plan(&policy(USB, &["/home"]), &source, &target);
    assert_eq!(lines(&plan), ["/home: needs-feature encryption"]);
}

#[test]
#[rustfmt::skip] // one row, one line
fn a_key_that_was_changed_travels() {
    check(
        USB,
        &[
            ["the same", "key=1 @a=1", "key=1 @a=1", "up-to-date @a"],
            ["changed", "key=2 @a=1", "key=1 @a=1", "raw @a to new"],
            ["with what another disk has had", "key=2 @a=1 @b=2/empty", "key=1 @a=1", "raw @a to @b"],
            ["not over what is newer", "key=2 @a=1", "key=1 @a=1 @x=8", "ahead @x"],
        ],
    );
    check(OS, &[["the host's may be newer", "key=1 @a=1", "key=2 @a=1", "up-to-date @a"]]);
}

/// What is encrypted with one key on the host gets the disk's key as a whole, or not at all.
#[test]
fn nothing_is_locked_out() {
    let decide = |parent: [&str; 2], child: [&str; 2]| {
        let volumes = [["/p", parent[0], parent[1]], ["/p/a", child[0], child[1]]];
        lines(&run(OS, &volumes))
    };
    let (old, new) = ("key=1 @a=1 @b=2", "key=2 heir=tank/p/a @a=1");
    let (child_old, child_new) = ("key=1<backup/p/a @a=1 @b=2", "key=2<tank/p @a=1");
    let both = decide([old, new], [child_old, child_new]);
    assert_eq!(both, ["/p: raw @a to @b", "/p/a: raw @a to @b"]);
    for (parent, child) in [
        ([old, new], ["key=1 @a=1", child_new]),
        (["key=1 @a=1", new], [child_old, child_new]),
        ([old, new], ["key=3 @a=1 @b=2", child_new]),
    ] {
        let decided = decide(parent, child);
        let sent = decided.iter().any(|line| line.ends_with(": raw @a to @b"));
        assert!(!sent, "{decided:?}");
    }
    // A child with a key of its own is in nobody's way.
    let own = decide(["key=1 @a=1", "key=2 @a=1"], [child_old, "key=2 @a=1"]);
    assert_eq!(own, ["/p: up-to-date @a", "/p/a: raw @a to @b"]);
}
