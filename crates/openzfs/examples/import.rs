//! `import DEVICE`: imports the pool of one device read-only, shows how it is, and exports it again.

use std::error::Error;
use std::path::Path;

use openzfs::{ImportOptions, Libzfs};

fn main() -> Result<(), Box<dyn Error>> {
    let device = std::env::args().nth(1).ok_or("import DEVICE")?;
    let libzfs = Libzfs::open()?;
    for found in libzfs.search(Path::new(&device))? {
        if let Some(host) = &found.needs_force {
            println!("{} may be in use elsewhere: {host}", found.name);
            continue;
        }
        let options = ImportOptions {
            readonly: true,
            ..ImportOptions::default()
        };
        libzfs.import(&found, &options)?;
        let pool = libzfs.pool(&found.name)?.ok_or("it is gone again")?;
        let status = pool.status()?;
        println!(
            "{}\t{}\t{} bytes",
            status.name, status.health, status.size_bytes
        );
        pool.export("an example")?;
    }
    Ok(())
}
