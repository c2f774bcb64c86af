//! What the build script says if something is missing: one sentence with the package to install.

mod script;

use std::path::Path;
use std::process::Command;

fn errors(change: impl FnOnce(&mut Command, &Path)) -> Vec<String> {
    script::errors(env!("LIBZFS_SYS_BUILD_SCRIPT"), change)
}

/// A directory in which pkg-config finds `library` with a directory for headers that is empty.
fn without_headers(library: &str, version: &str, below: &Path) -> String {
    let text = format!(
        "Name: {library}\nDescription: without headers\nVersion: {version}\n\
         Cflags: -I{0}\nLibs: -l{library}\n",
        below.display()
    );
    std::fs::write(below.join(format!("{library}.pc")), text).unwrap();
    below.display().to_string()
}

const INSTALL_LIBZFS: &str = "install libzfslinux-dev, of the component contrib (Debian), \
                              'pkgconfig(libzfs)', of the OpenZFS repository (Fedora), \
                              zfs-utils, of the AUR or archzfs (Arch) or zfs (NixOS)";

#[test]
fn with_everything_there_is_no_error() {
    assert_eq!(errors(|_, _| ()), [""; 0]);
}

#[test]
fn a_missing_library_names_its_package() {
    let nothing = errors(|script, _| {
        script
            .env("PKG_CONFIG_LIBDIR", "/nonexistent")
            .env_remove("PKG_CONFIG_PATH");
    });
    assert_eq!(
        nothing,
        [format!(
            "libzfs 2.1 or later is not installed: {INSTALL_LIBZFS}"
        )]
    );
}

#[test]
fn missing_headers_name_their_package() {
    let missing = errors(|script, out| {
        for library in ["libzfs", "libzfs_core"] {
            without_headers(library, "2.1.11", out);
        }
        script
            .env("PKG_CONFIG_LIBDIR", out)
            .env_remove("PKG_CONFIG_PATH");
    });
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert!(missing[0].starts_with("the C header lib"), "{missing:?}");
    assert!(missing[0].ends_with(INSTALL_LIBZFS), "{missing:?}");
}

#[test]
fn a_missing_libclang_names_its_package() {
    let missing = errors(|script, out| {
        std::fs::write(out.join("libclang.so"), "no library").unwrap();
        script.env("LIBCLANG_PATH", out);
    });
    let sentence = "libclang cannot be loaded: install libclang-dev (Debian), clang-devel (Fedora), \
                    clang (Arch) or rustPlatform.bindgenHook (NixOS)";
    assert_eq!(missing, [sentence]);
}

#[test]
fn a_missing_pkg_config_names_its_package() {
    let missing = errors(|script, _| {
        script.env("PKG_CONFIG", "/nonexistent/pkg-config");
    });
    let sentence = "pkg-config cannot be run: install pkg-config (Debian), pkgconf-pkg-config (Fedora), \
                    pkgconf (Arch) or pkg-config (NixOS)";
    assert_eq!(missing, [sentence]);
}
