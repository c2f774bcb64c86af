//! Makes the bindings of `src/crypt` from the installed headers of libcryptsetup.

#[path = "crates/libzfs-sys/build/bindings.rs"]
mod bindings;

use bindings::{Bindings, Library, Packages};

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

const CRYPTSETUP: Bindings = Bindings {
    libraries: &[Library {
        pkg_config_name: "libcryptsetup",
        minimum_version: "2.6",
    }],
    header: "wrapper.h",
    functions: CRYPT_FUNCTIONS,
    types: CRYPT_TYPES,
    constants: CRYPT_CONSTANTS,
    install: Packages {
        debian: "libcryptsetup-dev",
        fedora: "'pkgconfig(libcryptsetup)'",
        arch: "cryptsetup",
        nixos: "cryptsetup",
        or_else: ", or build with --no-default-features",
    },
    headers: &["libcryptsetup"],
};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=crates/libzfs-sys/build/bindings.rs");
    if let Ok(script) = std::env::current_exe() {
        // For the tests of what it says if something is missing.
        println!("cargo::rustc-env=ZBACKUP_BUILD_SCRIPT={}", script.display());
    }
    if std::env::var_os("CARGO_FEATURE_CRYPTSETUP").is_none() {
        return;
    }
    if let Err(message) = CRYPTSETUP.make() {
        // Cargo shows this line and fails the build; a panic would bury it in a backtrace.
        println!("cargo::error={message}");
    }
}
