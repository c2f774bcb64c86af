//! Stories that take several boots. The disks stay, everything else is new each time; a step whose
//! name ends in `_on_b` runs on a host with another hostid and another name, one whose name ends in
//! `_on_two_processors` on the first host with one processor more.
//!
//! `vm/tests.py` boots once for each step, in the order of their names.

mod pulled;
mod pulled_locked;
mod replugged;
mod two_hosts;
