//! Makes `src/ffi.rs` from the installed headers of libzfs, libzfs_core and libcryptsetup.
//!
//! The libraries change between OpenZFS releases, so the bindings are made from what is installed
//! here and never checked in. Two things differ enough to need a `cfg`:
//!
//! - `zfs_libpc`: pool search takes a `libpc_handle_t` (OpenZFS 2.2 and later). Found by looking at
//!   the bindings, since distributions carry such changes back.
//! - `zfs_2_2`, `zfs_2_3`, `zfs_2_4`: at least that release, by pkg-config's word.
//!
//! What is missing ends in one sentence that names the Debian package to install.

use std::env;
use std::panic;
use std::path::{Path, PathBuf};

/// Functions of libzfs, libzfs_core, libnvpair and libzutil that `src/zfs` calls.
///
/// A list of names, not a pattern: what libzfs would fork or print for is not to be within reach.
const ZFS_FUNCTIONS: &[&str] = &[
    // libnvpair
    "nvlist_(alloc|free|dup|next_nvpair|exists)",
    "nvlist_add_(boolean|boolean_value|int32|uint32|uint64|string|nvlist|uint64_array)",
    "nvlist_lookup_(boolean_value|int32|uint32|uint64|string|nvlist|uint64_array|nvlist_array)",
    "nvpair_(name|type)",
    "nvpair_value_(boolean_value|int32|uint32|int64|uint64|string|nvlist|uint64_array|nvlist_array)",
    // libzfs: handle, pools
    "libzfs_(init|fini|errno|error_init|error_action|error_description|print_on_error)",
    "zpool_(iter|open_canfail|close|get_name|get_state_str|refresh_stats)",
    "zpool_(get_config|get_prop|get_prop_int)",
    "zpool_(search_import|import_props|export|clear)",
    "get_system_hostid",
    // libzfs: datasets
    "zfs_(open|close|get_name|get_type|refresh_properties|mount_at|is_mounted)",
    "zfs_iter_(filesystems|snapshots)",
    "zfs_get_(all_props|user_props)",
    "zfs_prop_(get|get_int|get_written_int|set|inherit|init)",
    "zfs_prop_(get_type|index_to_string|string_to_index|to_name)",
    "zfs_(name_to_prop|send_progress|send_resume_token_to_nvlist)",
    "zprop_iter",
    // libzfs_core
    "libzfs_core_init",
    "lzc_(channel_program|exists|create|rename|destroy|rollback_to|sync)",
    "lzc_(snapshot|bookmark|get_bookmarks|destroy_bookmarks|destroy_snaps)",
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
    "ZPOOL_LOAD_.*",
    "ZPOOL_NO_REWIND",
    "ZPROP_(SOURCE|VALUE|SOURCE_VAL_RECVD|N_MORE_ERRORS|CONT|INVAL)",
];

/// What `src/crypt` needs of libcryptsetup.
const CRYPT_FUNCTIONS: &[&str] = &[
    "crypt_(init|init_by_name|free|load|get_type|get_device_name|status|set_log_callback)",
    "crypt_activate_by_(volume_key|passphrase|keyfile_device_offset)",
    "crypt_deactivate_by_name",
    "crypt_(keyfile_device_read|safe_free)",
];
const CRYPT_TYPES: &[&str] = &["crypt_params_tcrypt", "crypt_status_info"];
const CRYPT_CONSTANTS: &[&str] = &[
    "CRYPT_TCRYPT.*",
    "CRYPT_LUKS.*",
    "CRYPT_ACTIVATE_.*",
    "CRYPT_ANY_SLOT",
    "CRYPT_LOG_.*",
    "CRYPT_DEACTIVATE_.*",
];

/// A library as pkg-config knows it, and what to install where it is missing.
struct Needed {
    pkg_config_name: &'static str,
    minimum_version: &'static str,
    /// The start of its headers' names.
    headers: &'static [&'static str],
    install: &'static str,
}

const LIBZFS: Needed = Needed {
    pkg_config_name: "libzfs",
    minimum_version: "2.1",
    headers: &[
        "libzfs",
        "libnvpair",
        "libuutil",
        "libzutil",
        "zfs_",
        "sys/",
    ],
    install: "the Debian package libzfslinux-dev, which is in the component contrib",
};
const LIBZFS_CORE: Needed = Needed {
    pkg_config_name: "libzfs_core",
    ..LIBZFS
};
const LIBCRYPTSETUP: Needed = Needed {
    pkg_config_name: "libcryptsetup",
    minimum_version: "2.6",
    headers: &["libcryptsetup"],
    install: "the Debian package libcryptsetup-dev, which is in the component main, \
              or build with --no-default-features",
};

/// libclang and the headers of its own, such as `stddef.h`.
const INSTALL_LIBCLANG: &str =
    "install the Debian package libclang-dev, which is in the component main";

fn main() {
    println!("cargo::rerun-if-changed=wrapper.h");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(zfs_libpc, zfs_2_2, zfs_2_3, zfs_2_4)");
    if let Ok(script) = env::current_exe() {
        // For the tests of what it says where something is missing.
        println!("cargo::rustc-env=ZBACKUP_BUILD_SCRIPT={}", script.display());
    }
    if let Err(message) = make_bindings() {
        // Cargo shows this line and fails the build; a panic would bury it in a backtrace.
        println!("cargo::error={message}");
    }
}

fn make_bindings() -> Result<(), String> {
    let with_cryptsetup = env::var_os("CARGO_FEATURE_CRYPTSETUP").is_some();
    let zfs = find(&LIBZFS)?;
    let mut libraries = vec![find(&LIBZFS_CORE)?];
    if with_cryptsetup {
        libraries.push(find(&LIBCRYPTSETUP)?);
    }
    let version = zfs.version.clone();
    libraries.push(zfs);

    let out: PathBuf = env::var_os("OUT_DIR")
        .ok_or("cargo sets no OUT_DIR")?
        .into();
    let bindings = generate(builder(&libraries, with_cryptsetup, &out))?;
    let text = bindings.to_string();
    write(&out.join("bindings.rs"), &text)?;
    emit_cfgs(&version, &text)
}

/// Asks pkg-config, which also prints the link flags for cargo.
fn find(needed: &Needed) -> Result<pkg_config::Library, String> {
    let found = pkg_config::Config::new()
        .atleast_version(needed.minimum_version)
        .probe(needed.pkg_config_name);
    // Other headers, other bindings: an upgrade changes these directories.
    for path in found.iter().flat_map(|library| &library.include_paths) {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    found.map_err(|error| match error {
        pkg_config::Error::Command { .. } => {
            "pkg-config cannot be run: install the Debian package pkg-config, which is in the component main".into()
        }
        _ => format!(
            "{} {} or later is not installed: install {}",
            needed.pkg_config_name, needed.minimum_version, needed.install
        ),
    })
}

fn builder(
    libraries: &[pkg_config::Library],
    with_cryptsetup: bool,
    out: &Path,
) -> bindgen::Builder {
    let include_flags = libraries
        .iter()
        .flat_map(|library| &library.include_paths)
        .map(|path| format!("-I{}", path.display()));
    let mut builder = bindgen::Builder::default()
        .header("wrapper.h")
        // libspl's sys/stat.h wants struct stat64.
        .clang_arg("-D_GNU_SOURCE")
        .clang_args(include_flags)
        .rust_target(rust_target())
        .rust_edition(bindgen::RustEdition::Edition2024)
        .prepend_enum_name(false)
        .derive_default(true)
        .generate_comments(false)
        .layout_tests(true)
        // CRYPT_ACTIVATE_* and friends are casts that only clang itself can evaluate.
        .clang_macro_fallback()
        .clang_macro_fallback_build_dir(out);
    builder = allow(builder, ZFS_FUNCTIONS, ZFS_TYPES, ZFS_CONSTANTS);
    if with_cryptsetup {
        builder = builder.clang_arg("-DZBACKUP_CRYPTSETUP");
        builder = allow(builder, CRYPT_FUNCTIONS, CRYPT_TYPES, CRYPT_CONSTANTS);
    }
    builder
}

/// The oldest Rust that the bindings are for. Without this it would be the one that bindgen finds.
fn rust_target() -> bindgen::RustTarget {
    let version = env!("CARGO_PKG_RUST_VERSION");
    version.parse().expect("bindgen knows this release of Rust")
}

fn allow(
    mut builder: bindgen::Builder,
    functions: &[&str],
    types: &[&str],
    constants: &[&str],
) -> bindgen::Builder {
    for function in functions {
        builder = builder.allowlist_function(function);
    }
    for name in types {
        builder = builder.allowlist_type(name);
    }
    for constant in constants {
        builder = builder.allowlist_var(constant);
    }
    builder
}

/// Runs bindgen. It loads libclang at run time and panics where there is none.
fn generate(builder: bindgen::Builder) -> Result<bindgen::Bindings, String> {
    let silent = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let generated = panic::catch_unwind(panic::AssertUnwindSafe(|| builder.generate()));
    panic::set_hook(silent);
    match generated {
        Ok(Ok(bindings)) => Ok(bindings),
        Ok(Err(error)) => Err(unreadable_headers(&error.to_string())),
        Err(_) => Err(format!("libclang cannot be loaded: {INSTALL_LIBCLANG}")),
    }
}

/// What to do about headers that clang cannot read. pkg-config may know a library whose headers are
/// gone.
fn unreadable_headers(diagnostics: &str) -> String {
    let missing = diagnostics.lines().find_map(|line| {
        let (before, _) = line.split_once("' file not found")?;
        before.rsplit('\'').next()
    });
    let Some(header) = missing else {
        let diagnostics = diagnostics.trim().replace('\n', " ");
        return format!("bindgen cannot read the C headers: {diagnostics}");
    };
    let is_of = |needed: &&Needed| needed.headers.iter().any(|start| header.starts_with(start));
    let install = match [&LIBZFS, &LIBCRYPTSETUP].into_iter().find(is_of) {
        Some(needed) => format!("install {} (again)", needed.install),
        None => INSTALL_LIBCLANG.into(),
    };
    format!("the C header {header} is not installed: {install}")
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

fn emit_cfgs(version: &str, bindings: &str) -> Result<(), String> {
    if bindings.contains("pub struct libpc_handle ") {
        println!("cargo::rustc-cfg=zfs_libpc");
    }
    let mut parts = version.split('.').map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (parts.next(), parts.next()) else {
        return Err(format!(
            "pkg-config gives {version:?} as libzfs version, not a number"
        ));
    };
    for known_minor in 2..=4 {
        if (major, minor) >= (2, known_minor) {
            println!("cargo::rustc-cfg=zfs_2_{known_minor}");
        }
    }
    Ok(())
}
