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
    let sentence = "libzfs 2.1 or later is not installed: \
                    install the Debian package libzfslinux-dev, which is in the component contrib";
    assert_eq!(nothing, [sentence]);
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
    let end = "is not installed: install the Debian package libzfslinux-dev, \
               which is in the component contrib (again)";
    assert!(missing[0].starts_with("the C header lib"), "{missing:?}");
    assert!(missing[0].ends_with(end), "{missing:?}");
}

#[test]
fn a_missing_libclang_names_its_package() {
    let missing = errors(|script, out| {
        std::fs::write(out.join("libclang.so"), "no library").unwrap();
        script.env("LIBCLANG_PATH", out);
    });
    let sentence = "libclang cannot be loaded: \
                    install the Debian package libclang-dev, which is in the component main";
    assert_eq!(missing, [sentence]);
}

#[test]
fn a_missing_pkg_config_names_its_package() {
    let missing = errors(|script, _| {
        script.env("PKG_CONFIG", "/nonexistent/pkg-config");
    });
    let sentence = "pkg-config cannot be run: \
                    install the Debian package pkg-config, which is in the component main";
    assert_eq!(missing, [sentence]);
}
