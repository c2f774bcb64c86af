//! Finding a pool on one device, and importing it.
//!
//! The kernel does not ask who used a pool last; `zpool` does, in user space, and so does
//! [`Importable::needs_force`].

use std::path::{Path, PathBuf};

use super::capture::with_captured_stdout;
use super::error::{Error, ErrorKind};
use super::handle::{Libzfs, Session};
use super::kill::end_if_killed;
use super::nvlist::{NvList, NvListRef, Value, c_text};
use super::pool::{c_path, text_of};
use super::status::{self, Health, VdevStatus};
use crate::ffi;
use crate::name::{Guid, PoolName};

/// A pool that was found on a device and is not imported here.
#[derive(Debug)]
#[non_exhaustive]
pub struct Importable {
    /// Its name, as the host that had it last called it.
    pub name: PoolName,
    /// Its identity.
    pub guid: Guid,
    /// True if the host that had it last exported it.
    pub is_exported: bool,
    /// Its health if it were imported: only an online or degraded pool can be.
    pub health: Health,
    /// The devices that it lies on, as an import would see them.
    pub vdevs: Vec<VdevStatus>,
    /// The host that had it last; `None` if that host has no hostid.
    pub hostid: Option<u64>,
    /// That host's name.
    pub hostname: Option<String>,
    /// When it was last written to, seconds since the epoch.
    pub last_write_seconds: Option<u64>,
    /// Features that this kernel module lacks and without which it cannot be written, or not even read.
    pub unsupported_features: Vec<String>,
    /// True if those features allow a read-only import.
    pub can_import_readonly: bool,
    /// The host that may still have it imported; `None` if the pool may be imported.
    pub needs_force: Option<ForeignHost>,
    config: NvList,
}

/// A host that had the pool last and did not export it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForeignHost {
    /// The host's id; `None` if it has none.
    pub hostid: Option<u64>,
    /// Its name.
    pub hostname: Option<String>,
    /// The multihost heartbeat says that it is using the pool right now.
    pub is_active: bool,
}

/// How to import a pool. Datasets are never mounted by an import.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// Import it without writing to it.
    pub readonly: bool,
    /// Directory below which its mountpoints are put.
    pub altroot: Option<PathBuf>,
    /// Its name while it is imported. The name on its disk stays as it is.
    pub temporary_name: Option<PoolName>,
    /// Import it even if [`Importable::needs_force`] names a host.
    pub force: bool,
}

impl Libzfs {
    /// The pools on one device node (or file), and only there. Pools that are imported here already
    /// are left out.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the device does not exist.
    #[doc(alias = "zpool_search_import")]
    pub fn search(&self, device: &Path) -> Result<Vec<Importable>, Error> {
        const CALL: &str = "zpool_search_import";
        Error::injected(CALL, device.display())?;
        // libzfs 2.1 would write to standard error about a path that does not exist.
        std::fs::metadata(device).map_err(|error| {
            let code = error.raw_os_error().unwrap_or(0);
            Error::from_code(CALL, device.display(), code)
        })?;
        let configs = self.search_configs(device);
        // The kernel tries to import what is found.
        end_if_killed();
        let configs = configs?;
        let Some(configs) = &configs else {
            return Ok(Vec::new());
        };
        let this_host = ThisHost::now();
        configs
            .view()
            .pairs()
            .filter_map(|(_, value)| match value {
                Value::List(config) => Some(importable(config, &this_host)),
                _ => None,
            })
            .collect()
    }

    /// `{guid: configuration}` of the pools on `device`; `None` if there is none.
    fn search_configs(&self, device: &Path) -> Result<Option<NvList>, Error> {
        let c_device = c_path("zpool_search_import", device)?;
        let mut paths = [c_device.as_ptr().cast_mut()];
        let mut arguments = ffi::importargs_t {
            path: paths.as_mut_ptr(),
            paths: 1,
            can_be_active: ffi::B_FALSE,
            // With `scan` the given paths are read, not libblkid's old cache.
            scan: ffi::B_TRUE,
            ..Default::default()
        };
        Ok(self.search_import(&mut arguments))
    }

    #[cfg(not(zfs_libpc))]
    fn search_import(&self, arguments: &mut ffi::importargs_t) -> Option<NvList> {
        let session = self.session();
        // SAFETY: the handle is open; the arguments and the paths in them are alive for the call,
        // which only reads them; libzfs_config_ops are the operations meant for this kind of
        // handle; the list that comes back is ours to free.
        unsafe {
            NvList::from_raw(ffi::zpool_search_import(
                session.as_ptr().cast(),
                arguments,
                &raw const ffi::libzfs_config_ops,
            ))
        }
    }

    #[cfg(zfs_libpc)]
    fn search_import(&self, arguments: &mut ffi::importargs_t) -> Option<NvList> {
        let session = self.session();
        let mut search = ffi::libpc_handle_t {
            lpc_lib_handle: session.as_ptr().cast(),
            lpc_ops: (&raw const ffi::libzfs_config_ops).cast_mut(),
            lpc_printerr: ffi::B_FALSE,
            ..Default::default()
        };
        // SAFETY: the handle is open; the arguments and the paths in them are alive for the call,
        // which only reads them; libzfs_config_ops are the operations meant for this kind of
        // handle; the list that comes back is ours to free.
        unsafe { NvList::from_raw(ffi::zpool_search_import(&raw mut search, arguments)) }
    }

    /// Imports a pool that a search found. Nothing of it is mounted, and it is not remembered for the
    /// next boot.
    ///
    /// # Errors
    /// [`ErrorKind::ForeignHost`] if another host had it last and `force` is off.
    #[doc(alias = "zpool_import_props")]
    pub fn import(&self, pool: &Importable, options: &ImportOptions) -> Result<(), Error> {
        const CALL: &str = "zpool_import_props";
        Error::injected(CALL, &pool.name)?;
        if let (Some(host), false) = (&pool.needs_force, options.force) {
            return Err(Error::found(
                CALL,
                &pool.name,
                ErrorKind::ForeignHost,
                host.to_string(),
            ));
        }
        let properties = import_properties(options)?;
        let name = options.temporary_name.as_ref().unwrap_or(&pool.name);
        let c_name = c_text(CALL, name.as_str())?;
        let mut flags = ffi::ZFS_IMPORT_NORMAL;
        if options.force {
            flags |= ffi::ZFS_IMPORT_ANY_HOST;
        }
        if options.temporary_name.is_some() {
            flags |= ffi::ZFS_IMPORT_TEMP_NAME;
        }
        let (session, fresh) = (self.session(), Session::open()?);
        let call = || {
            // SAFETY: handle, lists and name are alive for the call. libzfs changes neither list
            // for us: it makes its own of the properties and packs the configuration.
            unsafe {
                ffi::zpool_import_props(
                    session.as_ptr(),
                    pool.config.as_ptr(),
                    c_name.as_ptr(),
                    properties.as_ptr(),
                    flags.cast_signed(),
                )
            }
        };
        let called = with_captured_stdout(call);
        end_if_killed();
        let (code, printed) = called.map_err(|error| {
            Error::found("memfd_create", &pool.name, ErrorKind::Io, error.to_string())
        })?;
        if code == 0 {
            self.go_on_with(fresh);
            return Ok(());
        }
        let mut error = session.last_error(CALL, pool.name.as_str());
        if !printed.is_empty() {
            error.description = format!("{}: {printed}", error.description);
        }
        Err(error)
    }
}

impl Importable {
    /// Why an import would fail whatever the options; `None` if nothing is known that would stop it.
    pub fn obstacle(&self, readonly: bool) -> Option<String> {
        if !matches!(self.health, Health::Online | Health::Degraded)
            && self.unsupported_features.is_empty()
        {
            let missing = self.vdevs.iter().filter(|vdev| vdev.is_missing());
            let missing: Vec<_> = missing.map(ToString::to_string).collect();
            let named = if missing.is_empty() {
                String::new()
            } else {
                format!(": {}", missing.join(", "))
            };
            return Some(format!("a device of it is missing or damaged{named}"));
        }
        if self.unsupported_features.is_empty() || (readonly && self.can_import_readonly) {
            return None;
        }
        let features = self.unsupported_features.join(", ");
        Some(format!("this ZFS lacks features that it uses: {features}"))
    }
}

impl std::fmt::Display for ForeignHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = if self.is_active {
            "is using it now"
        } else {
            "had it last and did not export it"
        };
        let name = self.hostname.as_deref().unwrap_or("an unknown host");
        match self.hostid {
            Some(hostid) => write!(f, "{name} (hostid {hostid:08x}) {state}"),
            None => write!(f, "{name} (no hostid) {state}"),
        }
    }
}

fn import_properties(options: &ImportOptions) -> Result<NvList, Error> {
    let mut properties = NvList::new();
    // A disk that comes and goes has no place in the cache that is imported at boot.
    properties.add_text("cachefile", "none")?;
    if options.readonly {
        properties.add_text("readonly", "on")?;
    }
    if let Some(altroot) = &options.altroot {
        let Some(text) = altroot.to_str() else {
            let reason = "the directory is not UTF-8";
            let subject = altroot.display();
            return Err(Error::found(
                "zpool_import_props",
                subject,
                ErrorKind::Invalid,
                reason,
            ));
        };
        properties.add_text("altroot", text)?;
    }
    Ok(properties)
}

/// This machine, as it would be written into a pool's label.
struct ThisHost {
    hostid: u64,
    hostname: String,
}

impl ThisHost {
    #[doc(alias = "get_system_hostid")]
    fn now() -> Self {
        // SAFETY: no arguments; it reads /sys and /etc/hostid.
        let hostid = unsafe { ffi::get_system_hostid() };
        let hostname = nix::unistd::gethostname().unwrap_or_default();
        Self {
            hostid,
            hostname: hostname.to_string_lossy().into_owned(),
        }
    }

    /// Hostids decide if both hosts have one. If either has none (0), the names decide, and a label
    /// without a name belongs to another host.
    fn is(&self, hostid: Option<u64>, hostname: Option<&str>) -> bool {
        match hostid {
            Some(id) if self.hostid != 0 => id == self.hostid,
            _ => hostname == Some(&self.hostname),
        }
    }
}

fn importable(config: NvListRef<'_>, this_host: &ThisHost) -> Result<Importable, Error> {
    let name = required(
        config.lookup_text(text_of(ffi::ZPOOL_CONFIG_POOL_NAME)),
        "a name",
    )?;
    let guid = required(
        config.lookup_u64(text_of(ffi::ZPOOL_CONFIG_POOL_GUID)),
        "a guid",
    )?;
    let state = required(
        config.lookup_u64(text_of(ffi::ZPOOL_CONFIG_POOL_STATE)),
        "a state",
    )?;
    let load_info = config.lookup_list(text_of(ffi::ZPOOL_CONFIG_LOAD_INFO));
    let is_exported = state == u64::from(ffi::POOL_STATE_EXPORTED);
    let (hostid, hostname) = last_host(config, load_info);
    Ok(Importable {
        name: PoolName::new(&name).map_err(|error| bad_label(&error.to_string()))?,
        guid: Guid(guid),
        is_exported,
        health: status::root_health(config)?,
        vdevs: status::leaf_vdevs(config)?,
        last_write_seconds: config.lookup_u64(text_of(ffi::ZPOOL_CONFIG_TIMESTAMP)),
        unsupported_features: load_info.map(unsupported_features).unwrap_or_default(),
        can_import_readonly: load_info
            .is_some_and(|info| info.contains(text_of(ffi::ZPOOL_CONFIG_CAN_RDONLY))),
        needs_force: foreign_host(
            is_exported,
            hostid,
            hostname.as_deref(),
            load_info,
            this_host,
        ),
        hostid,
        hostname,
        config: config.to_owned(),
    })
}

/// The host that had the pool last. The kernel's reading of the pool itself (`load_info`) is newer
/// than the label that the search read.
fn last_host(
    config: NvListRef<'_>,
    load_info: Option<NvListRef<'_>>,
) -> (Option<u64>, Option<String>) {
    let places = [load_info, Some(config)];
    let hostid = places
        .iter()
        .flatten()
        .find_map(|place| place.lookup_u64(text_of(ffi::ZPOOL_CONFIG_HOSTID)))
        .filter(|&hostid| hostid != 0);
    let hostname = places
        .iter()
        .flatten()
        .find_map(|place| place.lookup_text(text_of(ffi::ZPOOL_CONFIG_HOSTNAME)))
        .map(std::borrow::Cow::into_owned);
    (hostid, hostname)
}

fn foreign_host(
    is_exported: bool,
    hostid: Option<u64>,
    hostname: Option<&str>,
    load_info: Option<NvListRef<'_>>,
    this_host: &ThisHost,
) -> Option<ForeignHost> {
    let mmp_state = load_info
        .and_then(|info| info.lookup_u64(text_of(ffi::ZPOOL_CONFIG_MMP_STATE)))
        .unwrap_or(ffi::MMP_STATE_INACTIVE.into());
    let is_active = mmp_state == u64::from(ffi::MMP_STATE_ACTIVE);
    let is_ours = is_exported || this_host.is(hostid, hostname);
    if is_ours && mmp_state == u64::from(ffi::MMP_STATE_INACTIVE) {
        return None;
    }
    Some(ForeignHost {
        hostid,
        hostname: hostname.map(Into::into),
        is_active,
    })
}

fn unsupported_features(load_info: NvListRef<'_>) -> Vec<String> {
    let Some(features) = load_info.lookup_list(text_of(ffi::ZPOOL_CONFIG_UNSUP_FEAT)) else {
        return Vec::new();
    };
    features
        .pairs()
        .map(|(name, _)| name.into_owned())
        .collect()
}

fn required<T>(value: Option<T>, what: &str) -> Result<T, Error> {
    value.ok_or_else(|| bad_label(&format!("its label lacks {what}")))
}

fn bad_label(description: &str) -> Error {
    Error::found(
        "zpool_search_import",
        "a pool's label",
        ErrorKind::Invalid,
        description,
    )
}

#[cfg(test)]
mod tests {
    //! The host check, on labels made by hand; searching and importing need a kernel.

    use super::*;

    const HERE: u64 = 0xaaaa;

    fn host(hostid: u64) -> ThisHost {
        ThisHost {
            hostid,
            hostname: "here".into(),
        }
    }

    /// The host that forbids taking a pool, for a label of `hostid` and `hostname`.
    fn forbids(this: &ThisHost, hostid: Option<u64>, hostname: &str, is_exported: bool) -> bool {
        foreign_host(is_exported, hostid, Some(hostname), None, this).is_some()
    }

    #[test]
    fn an_exported_pool_is_free() {
        assert!(!forbids(&host(HERE), Some(0xbbbb), "there", true));
        assert!(!forbids(&host(0), None, "there", true));
    }

    #[test]
    fn hostids_decide_where_both_have_one() {
        assert!(forbids(&host(HERE), Some(0xbbbb), "here", false));
        assert!(!forbids(&host(HERE), Some(HERE), "renamed", false));
    }

    #[test]
    fn names_decide_where_one_has_no_hostid() {
        assert!(forbids(&host(0), None, "there", false));
        assert!(!forbids(&host(0), None, "here", false));
        assert!(forbids(&host(0), Some(0xbbbb), "there", false));
        assert!(forbids(&host(HERE), None, "there", false));
        assert!(!forbids(&host(HERE), None, "here", false));
        assert!(foreign_host(false, None, None, None, &host(0)).is_some());
    }

    #[test]
    fn a_heartbeat_forbids_even_our_own() {
        let mut info = NvList::new();
        info.add_u64("mmp_state", ffi::MMP_STATE_ACTIVE.into())
            .unwrap();
        let found = foreign_host(
            true,
            Some(HERE),
            Some("here"),
            Some(info.view()),
            &host(HERE),
        );
        assert!(found.unwrap().is_active);
    }

    #[test]
    fn the_kernels_reading_goes_before_the_label() {
        let mut config = NvList::new();
        config.add_u64("hostid", 1).unwrap();
        config.add_text("hostname", "label").unwrap();
        let mut info = NvList::new();
        info.add_u64("hostid", 2).unwrap();
        let (hostid, hostname) = last_host(config.view(), Some(info.view()));
        assert_eq!((hostid, hostname.as_deref()), (Some(2), Some("label")));
    }

    #[test]
    fn a_label_without_its_facts_is_an_error() {
        assert!(importable(NvList::new().view(), &host(HERE)).is_err());
    }
}
