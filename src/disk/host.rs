//! Which `[host…]` section this machine is.

use std::fmt::Write as _;

use crate::config::{Config, Host};
use crate::error::{Error, Exit, Phase};
use crate::zfs::PoolStatus;

/// Finds the one `[host…]` section whose pool is imported here.
///
/// `pools` are all imported pools. Exit 2 where no section fits, with the section to paste, and
/// where several do.
pub fn find<'c>(config: &'c Config, pools: &[PoolStatus]) -> Result<(&'c Host, PoolStatus), Error> {
    let mut matches = config
        .hosts
        .iter()
        .filter_map(|host| Some((host, pools.iter().find(|pool| pool.guid == host.guid)?)));
    let Some((host, pool)) = matches.next() else {
        return Err(no_host(config, pools));
    };
    if let Some((other, _)) = matches.next() {
        return Err(Error::new(
            Phase::Host,
            format!(
                "both [{}] and [{}] of {} are pools of this machine",
                host.section,
                other.section,
                config.path.display()
            ),
        )
        .next(
            "Only one [host…] section may name a pool that is imported here: remove the other one.",
        )
        .exit(Exit::Usage));
    }
    Ok((host, pool.clone()))
}

fn no_host(config: &Config, pools: &[PoolStatus]) -> Error {
    let message = format!(
        "no [host…] section of {} names a pool that is imported here",
        config.path.display()
    );
    // The disk's own pool may be imported; it is never the host's.
    let mut next = String::from(
        "Add a section for this host, with the guid of the pool that holds its volumes:\n",
    );
    let mut number = config.hosts.len();
    for pool in pools.iter().filter(|pool| {
        !config
            .devices
            .iter()
            .any(|device| device.pool.matches(&pool.name, pool.guid))
    }) {
        number += 1;
        let _ = write!(
            next,
            "\n[host{number}]\n# pool {}\nguid = {}\n",
            pool.name, pool.guid
        );
    }
    if pools.is_empty() {
        next = "No pool is imported on this machine: import the one that holds its volumes first."
            .into();
    }
    Error::new(Phase::Host, message)
        .next(next)
        .exit(Exit::Usage)
}
