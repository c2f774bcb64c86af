//! Which `[host…]` section this machine is.

use openzfs::PoolStatus;

use crate::config::{Config, Host};
use crate::error::{Error, Exit, Phase};
use crate::next::next;
use crate::text::Text;

/// Finds the one `[host…]` section whose pool is imported here.
///
/// `pools` are all imported pools. Exit 2 if no section fits, with the section to paste, and if several do.
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
        .next(next!(
            "several-hosts",
            "Only one [host…] section may name a pool that is imported here: remove the other one."
        ))
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
    let mut next = Text::from(next!(
        "no-host",
        "Add a section for this host, with the guid of the pool that holds its volumes. If its pool has got \
         a new guid (zpool reguid), put that into the section that there is:"
    ));
    let is_free = |section: &String| config.hosts.iter().all(|host| host.section != *section);
    let mut free_sections = (1..).map(|number| format!("host{number}")).filter(is_free);
    let is_disks = |pool: &&PoolStatus| {
        let mut disks = config.devices.iter();
        disks.any(|device| device.pool.matches(&pool.name, pool.guid))
    };
    let (disks, hosts): (Vec<_>, Vec<_>) = pools.iter().partition(is_disks);
    // A pool that only has the same name as a disk's counts as a host's if there is no other.
    for pool in if hosts.is_empty() { disks } else { hosts } {
        let section = free_sections.next().unwrap_or_default();
        next.append(Text::lines([
            "",
            &format!("[{section}]"),
            &format!("# pool {}", pool.name),
            &format!("guid = {}", pool.guid),
        ]));
    }
    if pools.is_empty() {
        next = next!(
            "no-pools",
            "No pool is imported on this machine: import the one that holds its volumes first."
        )
        .into();
    }
    Error::new(Phase::Host, message)
        .next(next)
        .exit(Exit::Usage)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use openzfs::{Guid, PoolName};

    fn config() -> Config {
        let text = "[DEFAULT]\nvolume = /home\n\
                    [USB device]\npartuuid = 11111111-1111-4111-8111-111111111111\nbackup_pool = backup\n\
                    [host2]\nguid = 2\n[hostname]\nguid = 3\n";
        Config::parse(Path::new("zbackup.ini"), text).unwrap()
    }

    fn pool(name: &str, guid: u64) -> PoolStatus {
        PoolStatus::new(PoolName::new(name).unwrap(), Guid(guid))
    }

    #[test]
    fn the_section_whose_pool_is_here() {
        let config = config();
        let pools = [pool("backup", 9), pool("tank", 3)];
        let (host, found) = find(&config, &pools).unwrap();
        assert_eq!((host.section.as_str(), found.guid), ("hostname", Guid(3)));
    }

    #[test]
    fn several_that_match_are_named() {
        let error = find(&config(), &[pool("tank", 3), pool("root", 2)]).unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        assert!(error.message.contains("[host2] and [hostname]"), "{error}");
    }

    #[test]
    fn a_section_to_paste_has_a_free_name_and_is_not_the_disks() {
        let pools = [pool("backup", 9), pool("tank", 7), pool("root", 8)];
        let error = find(&config(), &pools).unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        let next = error.next.unwrap().ended();
        assert!(next.contains("[host1]\n# pool tank\nguid = 7\n"), "{next}");
        assert!(next.contains("[host3]\n# pool root\nguid = 8\n"), "{next}");
        assert!(!next.contains("pool backup"), "{next}");
    }
}
