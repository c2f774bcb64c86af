//! `snapshot SNAPSHOT…`: takes snapshots of one pool, all at the same moment, or none.

use std::collections::BTreeMap;
use std::error::Error;

use openzfs::{Lzc, SnapshotName};

fn main() -> Result<(), Box<dyn Error>> {
    let names = std::env::args().skip(1);
    let names: Vec<_> = names
        .map(|name| SnapshotName::new(&name))
        .collect::<Result<_, _>>()?;
    Lzc::open()?.snapshot(&names, &BTreeMap::new())?;
    Ok(())
}
