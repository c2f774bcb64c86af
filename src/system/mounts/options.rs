//! The options of mounts, as words of the mount table and as flags of `mount(2)`.

use nix::mount::MsFlags;

use super::table::Mount;

/// The flag is newer than nix's list.
const MS_NOSYMFOLLOW: MsFlags = MsFlags::from_bits_retain(libc::MS_NOSYMFOLLOW);

/// The flags that give a mount these options.
///
/// # Errors
/// For a word that is not known, such as `idmapped`: the mount could not be restored as it was.
pub fn flags(options: &str) -> Result<MsFlags, String> {
    let mut flags = MsFlags::empty();
    for word in options.split(',') {
        flags |= match word {
            "rw" => MsFlags::empty(),
            "ro" => MsFlags::MS_RDONLY,
            "nosuid" => MsFlags::MS_NOSUID,
            "nodev" => MsFlags::MS_NODEV,
            "noexec" => MsFlags::MS_NOEXEC,
            "noatime" => MsFlags::MS_NOATIME,
            "nodiratime" => MsFlags::MS_NODIRATIME,
            "relatime" => MsFlags::MS_RELATIME,
            "nosymfollow" => MS_NOSYMFOLLOW,
            _ => return Err(format!("its option {word} could not be given to it again")),
        };
    }
    // Otherwise the kernel would keep the present setting.
    if !flags.intersects(MsFlags::MS_NOATIME | MsFlags::MS_RELATIME) {
        flags |= MsFlags::MS_STRICTATIME;
    }
    Ok(flags)
}

/// The options of a file system that were given to `mount(2)` and are not in its properties: they have
/// to be given again, with `ro` if `readonly` says so.
pub fn of_file_system(mount: &Mount, readonly: bool) -> String {
    let mut words = vec![if readonly { "ro" } else { "defaults" }];
    words.extend(words_of(&mount.super_options).filter(|word| {
        let name = word.split('=').next().unwrap_or_default();
        let names = [
            "sync",
            "dirsync",
            "mand",
            "context",
            "fscontext",
            "defcontext",
            "rootcontext",
        ];
        names.contains(&name)
    }));
    words.join(",")
}

/// Those of them that are flags, except `ro`.
pub(super) fn flags_of_file_system(mount: &Mount) -> MsFlags {
    let flag = |word| match word {
        "sync" => MsFlags::MS_SYNCHRONOUS,
        "dirsync" => MsFlags::MS_DIRSYNC,
        "mand" => MsFlags::MS_MANDLOCK,
        _ => MsFlags::empty(),
    };
    words_of(&mount.super_options).map(flag).collect()
}

/// True if no mount of this file system can be written to.
pub fn is_readonly(mount: &Mount) -> bool {
    has(mount, "ro")
}

fn has(mount: &Mount, wanted: &str) -> bool {
    words_of(&mount.super_options).any(|word| word == wanted)
}

/// The kernel puts the labels of `SELinux` in quotation marks, since they can contain commas.
fn words_of(options: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    options.split(move |character| {
        is_quoted ^= character == '"';
        character == ',' && !is_quoted
    })
}

/// In which ways a mount differs from an earlier one.
pub(super) fn differences(old: &Mount, now: &Mount) -> Vec<String> {
    let tied = |mount: &Mount| {
        let propagation = mount.propagation;
        let words = [
            (propagation.shared.is_some(), "shared"),
            (propagation.master.is_some(), "slave"),
            (propagation.unbindable, "unbindable"),
        ];
        let words: Vec<_> = words
            .iter()
            .filter(|(is, _)| *is)
            .map(|(_, word)| *word)
            .collect();
        if words.is_empty() {
            "private".to_owned()
        } else {
            words.join(" and ")
        }
    };
    let written = |mount: &Mount| {
        if is_readonly(mount) {
            "read-only"
        } else {
            "writable"
        }
    };
    // libzfs does not accept it as an option. What properties decide too, such as noxattr, may have
    // become otherwise with them.
    let lazy = |mount: &Mount| {
        let word = if has(mount, "lazytime") {
            "lazytime"
        } else {
            "without lazytime"
        };
        word.to_owned()
    };
    let aspects = [
        (old.options.clone(), now.options.clone()),
        (tied(old), tied(now)),
        (written(old).to_owned(), written(now).to_owned()),
        (lazy(old), lazy(now)),
    ];
    let differences = aspects.into_iter().filter(|(old, now)| old != now);
    differences
        .map(|(old, now)| format!("it was {old} and is {now}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::table::Table;
    use super::*;

    #[test]
    fn every_word_is_a_flag_or_an_error() {
        let flag = |text: &str| flags(text).unwrap();
        assert_eq!(flag("rw,relatime"), MsFlags::MS_RELATIME);
        assert_eq!(flag("rw"), MsFlags::MS_STRICTATIME);
        assert_eq!(
            flag("ro,nosuid,nodev,noexec,noatime"),
            MsFlags::MS_RDONLY
                | MsFlags::MS_NOSUID
                | MsFlags::MS_NODEV
                | MsFlags::MS_NOEXEC
                | MsFlags::MS_NOATIME
        );
        assert!(flag("rw,relatime,nosymfollow").contains(MS_NOSYMFOLLOW));
        assert!(flags("rw,idmapped").unwrap_err().contains("idmapped"));
    }

    #[test]
    fn a_label_with_commas_is_one_option() {
        let line = "2 1 0:5 / /a rw - zfs tank/a rw,context=\"u:r:t:s0:c1,c2\",sync,xattr";
        let mount = Table::parse(line.as_bytes()).all()[0].clone();
        let options = of_file_system(&mount, false);
        assert_eq!(options, "defaults,context=\"u:r:t:s0:c1,c2\",sync");
    }

    #[test]
    fn what_is_not_as_it_was_is_told() {
        let mount = |text: &str| Table::parse(text.as_bytes()).all()[0].clone();
        let old = mount("2 1 0:5 / /a rw,nosuid shared:3 - zfs tank/a rw,xattr");
        let new = mount("9 1 0:5 / /a rw,nosuid shared:4 - zfs tank/a rw,xattr,noacl");
        assert_eq!(differences(&old, &new), <[String; 0]>::default());
        let lazy = mount("2 1 0:5 / /a rw,nosuid shared:3 - zfs tank/a rw,lazytime,noxattr");
        assert_eq!(
            differences(&lazy, &old),
            ["it was lazytime and is without lazytime"]
        );
        let new = mount("9 1 0:5 / /a rw - zfs tank/a ro");
        assert_eq!(
            differences(&old, &new),
            [
                "it was rw,nosuid and is rw",
                "it was shared and is private",
                "it was writable and is read-only"
            ]
        );
    }
}
