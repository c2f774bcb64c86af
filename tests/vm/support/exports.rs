//! What the kernel exports by NFS, as exportfs and mountd tell it, which are not here.

use super::{sh, try_sh};

/// A directory that the kernel exports to everybody. `exportfs` ends that.
pub struct Exports;

impl Exports {
    pub fn of(path: &str) -> Self {
        // exportfs is not here.
        sh(&format!(
            "modprobe nfsd
             printf '#!/bin/sh\ndate +%%s > /proc/net/rpc/nfsd.export/flush\n' > /usr/local/bin/exportfs
             chmod +x /usr/local/bin/exportfs
             echo 'nfsd 127.0.0.1 2147483647 everybody' > /proc/net/rpc/auth.unix.ip/channel
             echo 'everybody {path} 2147483647 8192 65534 65534 1' > /proc/net/rpc/nfsd.export/channel"
        ));
        Self
    }
}

impl Drop for Exports {
    fn drop(&mut self) {
        try_sh("exportfs -u; rm /usr/local/bin/exportfs");
    }
}
