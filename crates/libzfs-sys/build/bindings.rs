//! How bindings are made of the C headers that are installed here.
//!
//! What is missing ends in one sentence that names the package to install.

use std::env;
use std::panic;
use std::path::PathBuf;

/// C libraries of one origin, and what of them is to be bound.
pub struct Bindings {
    /// As pkg-config knows them.
    pub libraries: &'static [Library],
    /// The file that includes all their headers.
    pub header: &'static str,
    /// Patterns of the names that are within reach, and of no others.
    pub functions: &'static [&'static str],
    pub types: &'static [&'static str],
    pub constants: &'static [&'static str],
    /// What to install if a library or one of its headers is missing.
    pub install: Packages,
    /// How the names of its headers begin.
    pub headers: &'static [&'static str],
}

pub struct Library {
    pub pkg_config_name: &'static str,
    pub minimum_version: &'static str,
}

/// What to install, in the words of each distribution. Fedora's names are those that `dnf install` looks
/// up in what packages provide.
pub struct Packages {
    pub debian: &'static str,
    pub fedora: &'static str,
    pub arch: &'static str,
    pub nixos: &'static str,
    /// Another way out, if there is one.
    pub or_else: &'static str,
}

impl std::fmt::Display for Packages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "install {} (Debian), {} (Fedora), {} (Arch) or {} (NixOS){}",
            self.debian, self.fedora, self.arch, self.nixos, self.or_else
        )
    }
}

/// libclang and the headers of its own, such as `stddef.h`.
const LIBCLANG: Packages = Packages {
    debian: "libclang-dev",
    fedora: "clang-devel",
    arch: "clang",
    nixos: "rustPlatform.bindgenHook",
    or_else: "",
};

const PKG_CONFIG: Packages = Packages {
    debian: "pkg-config",
    fedora: "pkgconf-pkg-config",
    arch: "pkgconf",
    nixos: "pkg-config",
    or_else: "",
};

impl Bindings {
    /// Writes `bindings.rs` into cargo's directory for it, and tells cargo what to link. Returns the
    /// version of the first library, and the bindings.
    pub fn make(&self) -> Result<(String, String), String> {
        println!("cargo::rerun-if-changed={}", self.header);
        let libraries = self
            .libraries
            .iter()
            .map(|library| self.find(library))
            .collect::<Result<Vec<_>, _>>()?;
        let out: PathBuf = env::var_os("OUT_DIR")
            .ok_or("cargo sets no OUT_DIR")?
            .into();
        let text = self.generate(self.builder(&libraries))?.to_string();
        let path = out.join("bindings.rs");
        std::fs::write(&path, &text).map_err(|error| format!("{}: {error}", path.display()))?;
        let version = libraries.into_iter().next().map(|first| first.version);
        Ok((version.unwrap_or_default(), text))
    }

    /// Asks pkg-config, which also prints the link flags for cargo.
    fn find(&self, needed: &Library) -> Result<pkg_config::Library, String> {
        let found = pkg_config::Config::new()
            .atleast_version(needed.minimum_version)
            .probe(needed.pkg_config_name);
        // Other headers, other bindings: an upgrade changes these directories.
        for path in found.iter().flat_map(|library| &library.include_paths) {
            println!("cargo::rerun-if-changed={}", path.display());
        }
        found.map_err(|error| match error {
            pkg_config::Error::Command { .. } => {
                format!("pkg-config cannot be run: {PKG_CONFIG}")
            }
            _ => format!(
                "{} {} or later is not installed: {}",
                needed.pkg_config_name, needed.minimum_version, self.install
            ),
        })
    }

    fn builder(&self, libraries: &[pkg_config::Library]) -> bindgen::Builder {
        let include_flags = libraries
            .iter()
            .flat_map(|library| &library.include_paths)
            .map(|path| format!("-I{}", path.display()));
        let mut builder = bindgen::Builder::default()
            .header(self.header)
            // libspl's sys/stat.h wants struct stat64.
            .clang_arg("-D_GNU_SOURCE")
            .clang_args(include_flags)
            .rust_target(rust_target())
            .rust_edition(bindgen::RustEdition::Edition2024)
            .prepend_enum_name(false)
            .derive_default(true)
            .generate_comments(false)
            .layout_tests(true)
            // Casts such as those of CRYPT_ACTIVATE_* are for clang itself to evaluate.
            .clang_macro_fallback();
        if let Some(out) = env::var_os("OUT_DIR") {
            builder = builder.clang_macro_fallback_build_dir(out);
        }
        for name in self.functions {
            builder = builder.allowlist_function(name);
        }
        for name in self.types {
            builder = builder.allowlist_type(name);
        }
        for name in self.constants {
            builder = builder.allowlist_var(name);
        }
        builder
    }

    /// Runs bindgen. It loads libclang at run time, and panics if that is not installed.
    fn generate(&self, builder: bindgen::Builder) -> Result<bindgen::Bindings, String> {
        let silent = panic::take_hook();
        panic::set_hook(Box::new(|_| {}));
        let generated = panic::catch_unwind(panic::AssertUnwindSafe(|| builder.generate()));
        panic::set_hook(silent);
        match generated {
            Ok(Ok(bindings)) => Ok(bindings),
            Ok(Err(error)) => Err(self.unreadable_headers(&error.to_string())),
            Err(_) => Err(format!("libclang cannot be loaded: {LIBCLANG}")),
        }
    }

    /// What to do about headers that clang cannot read. pkg-config may know a library whose headers are
    /// gone.
    fn unreadable_headers(&self, diagnostics: &str) -> String {
        let missing = diagnostics.lines().find_map(|line| {
            let (before, _) = line.split_once("' file not found")?;
            before.rsplit('\'').next()
        });
        let Some(header) = missing else {
            let diagnostics = diagnostics.trim().replace('\n', " ");
            return format!("bindgen cannot read the C headers: {diagnostics}");
        };
        let is_ours = self.headers.iter().any(|start| header.starts_with(start));
        let install = if is_ours { &self.install } else { &LIBCLANG };
        format!("the C header {header} is not installed: {install}")
    }
}

/// The oldest Rust that the bindings are for. Without this it would be the one that bindgen finds.
fn rust_target() -> bindgen::RustTarget {
    let version = env!("CARGO_PKG_RUST_VERSION");
    version.parse().expect("bindgen knows this release of Rust")
}
