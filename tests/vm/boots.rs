//! Stories that take several boots. The disks stay, everything else is new each time; a step whose
//! name ends in `_on_b` runs on a host with another hostid and another name.
//!
//! `vm/run` boots once for each step, in the order of their names.

mod pulled;
mod pulled_locked;
mod two_hosts;
