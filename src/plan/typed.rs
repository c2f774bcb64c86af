//! Commands that somebody is told to type.

use crate::next::next;

/// These, one after the other. A run closes the disk: what is about its pool takes it open again.
pub fn commands(on_disk: bool, commands: &[String]) -> String {
    let all = commands.join(", ");
    if on_disk {
        next!("on-disk", "`zbackup open --rw`, {all}, `zbackup close`")
    } else {
        all
    }
}
