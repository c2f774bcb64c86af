//! The same with a container on the disk: its mapping keeps the device that is gone, so zbackup has
//! nothing to wait for.

use super::pulled::{first_pull, next_pull, right_after_the_restart};
use crate::support::Container;

#[test]
fn step_1_in_the_middle_of_a_transfer_on_a() {
    first_pull(Container::Luks2);
}

#[test]
fn step_2_during_the_inventory_on_a() {
    next_pull(Container::Luks2, "disk-inventory");
}

#[test]
fn step_3_before_the_export_on_a() {
    next_pull(Container::Luks2, "zpool_export");
}

#[test]
// walks: pulled-locked
fn step_4_the_next_run_is_right_on_a() {
    right_after_the_restart(Container::Luks2);
}
