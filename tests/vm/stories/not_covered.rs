//! Somebody makes a new dataset, or one below a volume that is not `recursive`, and believes for a year
//! that it is on the disk like the rest.

use serde_json::{Value, json};

use crate::support::{World, sh};

/// What the document says is in no volume.
fn names(document: &Value) -> Vec<&str> {
    let names = document["not_covered"].as_array().unwrap();
    names.iter().filter_map(Value::as_str).collect()
}

#[test]
// walks: not-covered
fn what_is_in_no_volume_is_counted_and_named_below_the_table() {
    let mut world = World::new(&["/home", "/deep", "/deep/er"]);
    let covered = ["-n", "--json", "usb"];
    assert_eq!(
        world.zbackup(&covered).exits(0).json()["not_covered"],
        json!([])
    );
    sh("zfs create tank/home/vic; zfs create tank/left-out
        zfs create -V 8M tank/machine; zfs create -o mountpoint=legacy tank/docker
        for layer in 1 2 3 4 5; do zfs create -o mountpoint=legacy tank/docker/layer$layer; done
        zfs create -o org.zbackup:skip=yes tank/scratch; zfs create tank/scratch/below
        zfs create tank/half-zbackup-arriving; zfs create -o canmount=off tank/parent
        zfs create tank/parent/child; zfs create -V 48M tank/swap
        udevadm wait --timeout=30 /dev/zvol/tank/swap; mkswap /dev/zvol/tank/swap; swapon /dev/zvol/tank/swap");
    world.host("exclude = left-out");
    let world = &world;

    let expected = [
        "tank/docker",
        "tank/docker/layer1",
        "tank/docker/layer2",
        "tank/docker/layer3",
        "tank/docker/layer4",
        "tank/docker/layer5",
        "tank/home/vic",
        "tank/machine",
        "tank/parent/child",
    ];
    let runs = [&["-n", "--json", "usb"][..], &["--json", "usb"]].map(|run| world.zbackup(run));
    sh("swapoff /dev/zvol/tank/swap; zfs set org.zbackup:skip=yes tank/swap");
    for run in runs {
        assert_eq!(names(&run.exits(0).json()), expected);
    }
    let table = world.zbackup(&["-n", "usb"]).exits(0);
    let table = table.says(
        "9 datasets: tank/docker and 5 below it, tank/machine, tank/home/vic, tank/parent/child",
    );
    table.says("`exclude`");

    // The way out that it names.
    sh("zfs set org.zbackup:skip=yes tank/docker tank/machine tank/parent/child tank/home/vic");
    let run = world.zbackup(&["-n", "--json", "usb"]).exits(0);
    assert_eq!(names(&run.json()), [""; 0]);
    // What comes home goes nowhere, so that nothing is said of it.
    sh("zfs inherit org.zbackup:skip tank/docker");
    let run = world.zbackup(&["-n", "--json", "os"]).exits(0);
    assert_eq!(names(&run.json()), [""; 0]);
}
