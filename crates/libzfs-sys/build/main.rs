//! Makes the bindings from the installed headers of libzfs and libzfs_core.
//!
//! The libraries change between OpenZFS releases, so the bindings are made from what is installed
//! here and never checked in. What differs goes to the crates that depend on this one, as cargo's
//! `DEP_ZFS_LIBPC` and `DEP_ZFS_VERSION`:
//!
//! - `LIBPC=1`: the search for pools takes a `libpc_handle_t` (OpenZFS 2.2 and later). Found by
//!   looking at the bindings, since distributions carry such changes back.
//! - `VERSION`: that of libzfs, by pkg-config's word.

mod bindings;

use bindings::{Bindings, Library, Packages};

/// Functions of libzfs, libzfs_core, libnvpair and libzutil that the crate `openzfs` calls.
///
/// A list of names, not a pattern: what libzfs would fork or print for is not to be within reach.
const ZFS_FUNCTIONS: &[&str] = &[
    // libnvpair
    "nvlist_(alloc|free|dup|next_nvpair|exists|unpack)",
    "nvlist_add_(boolean|boolean_value|int32|uint32|uint64|string|nvlist|uint64_array)",
    "nvlist_lookup_(boolean_value|int32|uint32|uint64|string|nvlist|uint8_array|uint64_array|nvlist_array)",
    "nvpair_(name|type)",
    "nvpair_value_(boolean_value|int32|uint32|int64|uint64|string|nvlist|uint64_array|nvlist_array)",
    // libzfs: handle, pools
    "libzfs_(init|fini|errno|error_init|error_action|error_description|print_on_error)",
    "zpool_(iter|open_canfail|close|get_name|get_state_str|refresh_stats)",
    "zpool_(get_config|get_history|get_prop|get_prop_int)",
    "zpool_(search_import|import_props|export|clear)",
    "zpool_(get_errlog|obj_to_path_ds)",
    "get_system_hostid",
    // libzfs: datasets
    "zfs_(open|close|get_name|get_type|refresh_properties|mount_at|is_mounted)",
    "zfs_iter_(filesystems|snapshots)",
    "zfs_get_(all_props|fsacl|user_props)",
    "zfs_set_fsacl",
    "zfs_prop_(get|get_int|get_written_int|set|inherit|init)",
    "zfs_prop_(default_numeric|get_type|index_to_string|string_to_index|to_name)",
    "zfs_(name_to_prop|send_progress|send_resume_token_to_nvlist)",
    "zprop_iter",
    // libzfs_core
    "libzfs_core_init",
    "lzc_(channel_program|exists|create|rename|destroy|rollback_to|sync)",
    "lzc_(snapshot|snaprange_space|bookmark|get_bookmarks|destroy_bookmarks|destroy_snaps)",
    "lzc_(hold|release|get_holds)",
    "lzc_(send_resume_redacted|send_space_resume_redacted|receive_with_cmdprops)",
];

/// Types (with their enumerators) and constants behind those functions.
const ZFS_TYPES: &[&str] = &[
    "boolean_t",
    "data_type_t",
    "dsl_scan_state_t",
    "lzc_(send_flags|dataset_type)",
    "mmp_state_t",
    "pool_(state|scan_func|scan_stat|scrub_cmd)_t",
    "vdev_(state|stat|aux)_t",
    "zfs_(error|errno|prop|type)_t",
    "zpool_(prop|status|wait_activity)_t",
    "zprop_(source|type)_t",
];
const ZFS_CONSTANTS: &[&str] = &[
    "libzfs_config_ops",
    "NV_UNIQUE_NAME",
    "ZAP_MAXVALUELEN",
    "ZFS_IMPORT_.*",
    "ZFS_MAXPROPLEN",
    "ZPOOL_CONFIG_.*",
    "ZPOOL_ERR_(DATASET|OBJECT)",
    "ZPOOL_HIST_(RECORD|CMD|TXG|INT_NAME|INT_STR|DSNAME)",
    "ZPOOL_LOAD_.*",
    "ZPOOL_NO_REWIND",
    "ZPROP_(SOURCE|VALUE|SOURCE_VAL_RECVD|N_MORE_ERRORS|CONT|INVAL)",
];

const ZFS: Bindings = Bindings {
    libraries: &[
        Library {
            pkg_config_name: "libzfs",
            minimum_version: "2.1",
        },
        Library {
            pkg_config_name: "libzfs_core",
            minimum_version: "2.1",
        },
    ],
    header: "wrapper.h",
    functions: ZFS_FUNCTIONS,
    types: ZFS_TYPES,
    constants: ZFS_CONSTANTS,
    install: Packages {
        debian: "libzfslinux-dev, of the component contrib",
        fedora: "'pkgconfig(libzfs)', of the OpenZFS repository",
        arch: "zfs-utils, of the AUR or archzfs",
        nixos: "zfs",
        or_else: "",
    },
    headers: &[
        "libzfs",
        "libnvpair",
        "libuutil",
        "libzutil",
        "zfs_",
        "sys/",
    ],
};

fn main() {
    println!("cargo::rerun-if-changed=build");
    if let Ok(script) = std::env::current_exe() {
        // For the tests of what it says if something is missing.
        println!(
            "cargo::rustc-env=LIBZFS_SYS_BUILD_SCRIPT={}",
            script.display()
        );
    }
    match ZFS.make() {
        Ok((version, bindings)) => {
            println!("cargo::metadata=VERSION={version}");
            if bindings.contains("pub struct libpc_handle ") {
                println!("cargo::metadata=LIBPC=1");
            }
        }
        // Cargo shows this line and fails the build; a panic would bury it in a backtrace.
        Err(message) => println!("cargo::error={message}"),
    }
}
