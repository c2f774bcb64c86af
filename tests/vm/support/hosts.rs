//! Two hosts and one disk between them.

use super::sh;
use super::world::{CONFIG, World};

/// Where the second host's pool lies.
const OTHER_DISK: &str = "/dev/disk/by-id/virtio-HOST2";

/// Two hosts, of which one at a time is there: `tank` of the world, and `cave`.
pub struct Hosts {
    pub world: World,
    /// Guids of their pools.
    pub guids: [String; 2],
}

impl Hosts {
    /// Both pools, with these volumes on `tank`, whose host this machine is at first.
    pub fn new(volumes: &[&str]) -> Self {
        let world = World::new(volumes);
        sh(&format!(
            "zpool create -f -O mountpoint=/cave -O atime=off cave {OTHER_DISK}"
        ));
        let guids = ["tank", "cave"].map(|pool| sh(&format!("zpool get -Hpo value guid {pool}")));
        sh("zpool export cave");
        Self { world, guids }
    }

    /// Writes a configuration in which both hosts have a section; these are lines of the default one
    /// and of each of the two.
    pub fn configure(&self, defaults: &str, first: &str, second: &str) {
        let [tank, cave] = &self.guids;
        let config = format!(
            "[DEFAULT]\n{defaults}\n[USB device]\npartuuid = {}\nbackup_pool = backup\n\n\
             [host one]\nguid = {tank}\n{first}\n[host two]\nguid = {cave}\n{second}\n",
            self.world.usb.partuuid()
        );
        std::fs::write(CONFIG, config).expect("the configuration is written");
    }

    /// Makes this machine the host with the pool `to`. A zvol that udev still looks at would keep
    /// its pool from being exported.
    pub fn travel(&self, from: &str, to: &str) {
        sh(&format!(
            "udevadm settle; zpool export {from}
             zpool import -d /dev/disk/by-id -o cachefile=none {to}"
        ));
    }
}
