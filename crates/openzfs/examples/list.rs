//! `list DATASET`: a dataset with all that lies below it, and the snapshots of each.

use std::error::Error;

use openzfs::{Dataset, DatasetName, Libzfs};

fn main() -> Result<(), Box<dyn Error>> {
    let name = std::env::args().nth(1).ok_or("list DATASET")?;
    let libzfs = Libzfs::open()?;
    let top = libzfs.dataset(&DatasetName::new(&name)?)?;
    list(&top.ok_or(format!("there is no dataset {name}"))?)
}

fn list(dataset: &Dataset<'_>) -> Result<(), Box<dyn Error>> {
    let used_bytes = dataset.properties().number("used").unwrap_or_default();
    println!("{}\t{used_bytes} bytes", dataset.name());
    for snapshot in dataset.snapshots(None)? {
        println!("{}\t{}", snapshot.name, snapshot.guid);
    }
    dataset.children()?.iter().try_for_each(list)
}
