//! Features that a stream uses and the receiving pool lacks.

use zbackup::plan::{StreamBlocks, stream_blocks};

use super::*;
use notation::dataset;

#[test]
#[rustfmt::skip] // one row, one line
fn what_no_flag_keeps_out_of_a_stream_is_a_conflict() {
    let large_dnode = "needs-feature large_dnode";
    let raw = "encrypted lacks=large_blocks lacks=zstd_compress @a=1";
    let microzap = "lacks=large_microzap lacks=large_blocks +5";
    check(
        USB,
        &[
            ["in full", "lacks=large_dnode +5", "-", large_dnode],
            ["incremental", "lacks=large_dnode @a=1 +5", "@a=1", large_dnode],
            ["nothing to send", "lacks=large_dnode @a=1", "@a=1", "up-to-date @a"],
            ["long names", "lacks=longname +5", "-", "needs-feature longname"],
            ["large directories are large blocks", microzap, "-", "needs-feature large_blocks large_microzap"],
            ["large blocks are split", "lacks=large_blocks +5", "-", "full to new"],
            ["zstd is sent in full", "lacks=zstd_compress +5", "-", "full to new"],
            ["but nothing in a raw stream", raw, "-", "needs-feature large_blocks zstd_compress"],
        ],
    );
    check_with(
        USB,
        keep_both_home,
        &[[
            "another name changes nothing",
            "lacks=large_dnode @b=2",
            "@a=1",
            "needs-feature large_dnode; refused: it does not change what the pool can hold",
        ]],
    );
}

#[test]
#[rustfmt::skip] // one row, one line
fn large_blocks_that_were_split_take_no_increment() {
    check(
        OS,
        &[
            ["increment", "split @a=1 @b=2", "@a=1", "needs-feature"],
            ["nothing to send", "split @a=1", "@a=1", "up-to-date @a"],
        ],
    );
    let renamed = "full to @b; renames to tank/home-kept-2026-11-22; leaves out 1";
    check_with(OS, keep_both_home, &[["both", "split @a=1 @b=2", "@a=1", renamed]]);
}

#[test]
fn streams_carry_what_the_pool_takes() {
    let blocks = |large, embedded, compressed| StreamBlocks {
        large,
        embedded,
        compressed,
    };
    for (source, expected) in [
        ("+5", blocks(true, true, true)),
        ("encrypted +5", blocks(true, false, true)),
        ("lacks=large_blocks", blocks(false, true, true)),
        ("lacks=embedded_data", blocks(true, false, true)),
        ("lacks=zstd_compress", blocks(true, true, false)),
        ("lacks=lz4_compress", blocks(true, false, false)),
    ] {
        let source = dataset("tank/home", source).unwrap();
        assert_eq!(stream_blocks(&source), expected);
    }
}

/// Another host stores the same snapshot in another way.
#[test]
fn what_cannot_go_on_with_its_flags_starts_over() {
    let decide = |source: &str| {
        let (source, mut target) = sides(USB, &[["/home", source, "@a=1 resume=2<1"]]);
        let home = target
            .datasets
            .get_mut(&notation::dataset_name("backup/home"));
        home.unwrap().resume.as_mut().unwrap().compressed = true;
        lines(&plan(&policy(USB, &["/home"]), &source, &target)).remove(0)
    };
    assert_eq!(decide("@a=1 @b=2"), "/home: resume @a to @b");
    assert_eq!(
        decide("lacks=zstd_compress @a=1 @b=2"),
        "/home: @a to @b; drops state"
    );
}
