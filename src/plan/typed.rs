//! Commands that the user is told to type.

use crate::next::next;

/// These commands, one after the other. A run closes the disk, so commands about its pool need it
/// opened again.
pub fn commands(on_disk: bool, commands: &[String]) -> String {
    let all = commands.join(", ");
    if on_disk {
        next!("on-disk", "`zbackup open --rw`, {all}, `zbackup close`")
    } else {
        all
    }
}
