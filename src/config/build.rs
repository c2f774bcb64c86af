//! From sections to a [`Config`]: what is required, and what must not be combined.

use std::path::Path;

use super::error::{Place, Problems};
use super::ini::{Document, Section};
use super::key::Kind;
use super::settings::{Setting, Settings};
use super::{
    Config, ConfigError, DEFAULT_PARALLEL, DEFAULT_SCRUB_EVERY, Device, Encryption, Host, Selection,
};
use crate::model::VolumePath;

/// Stands for a value that is missing because its error was reported.
struct Reported;

impl Config {
    /// Reads the text of a config. `path` is only used in messages and in the result.
    ///
    /// Fails with [`ConfigError::Invalid`], which holds everything that is wrong.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let mut problems = Problems::new(path.into());
        let document = Document::parse(text, &mut problems);
        let mut builder = Builder::new(&document, &mut problems);
        for section in &document.sections {
            builder.add(section);
        }
        let (devices, hosts) = builder.finish(document.last_line);
        problems.or_value(Self {
            path: path.into(),
            devices,
            hosts,
            warnings: Vec::new(),
        })
    }
}

struct Builder<'a> {
    problems: &'a mut Problems,
    defaults: Settings,
    devices: Vec<Device>,
    hosts: Vec<Host>,
    device_sections: usize,
    host_sections: usize,
}

impl<'a> Builder<'a> {
    /// Reads `[DEFAULT]` first: it may come after the sections that inherit from it.
    fn new(document: &Document, problems: &'a mut Problems) -> Self {
        let mut defaults = Settings::default();
        for section in &document.sections {
            if section.name == super::ini::DEFAULT {
                defaults.read(section, Kind::Default, problems);
            }
        }
        let (devices, hosts) = (Vec::new(), Vec::new());
        Self {
            problems,
            defaults,
            devices,
            hosts,
            device_sections: 0,
            host_sections: 0,
        }
    }

    fn add(&mut self, section: &Section) {
        match Kind::of(&section.name) {
            Ok(Kind::Default) => {}
            Ok(Kind::Device) => self.add_device(section),
            Ok(Kind::Host) => self.add_host(section),
            // A header without a name was reported when it was read.
            Err(_) if section.name.is_empty() => {}
            Err(refusal) => {
                self.problems
                    .refuse(Place::section(section.line, &section.name), refusal);
            }
        }
    }

    fn add_device(&mut self, section: &Section) {
        self.device_sections += 1;
        let mut own = Settings::default();
        own.read(section, Kind::Device, self.problems);
        let mut all = own.clone();
        all.inherit(&self.defaults);
        let encryption = self.encryption(section, &all);
        let selection = self.device_selection(section, &own, &all);
        let partuuid = self.required(section, "partuuid", &all.partuuid);
        let pool = self.required(section, "backup_pool", &all.backup_pool);
        let (Ok(partuuid), Ok(pool), Ok(encryption), Ok(selection)) =
            (partuuid, pool, encryption, selection)
        else {
            return;
        };
        if let Some(twin) = self
            .devices
            .iter()
            .find(|device| device.partuuid == partuuid)
        {
            let found = format!("the same as in [{}]", twin.section);
            let place = place_within(section, "partuuid", &all.partuuid);
            self.problems
                .add(place, found, "every disk has a partuuid of its own");
        }
        self.devices.push(Device {
            section: section.name.clone(),
            line: section.line,
            partuuid,
            pool,
            encryption,
            without_passphrase: all.passphrase_file.value() == Some(None),
            passphrase_file: all.passphrase_file.value().flatten(),
            keyfiles: all.keyfiles.value().unwrap_or_default(),
            pim: all.pim.value(),
            hidden: all.hidden.value().unwrap_or(false),
            mount_point: all.mount_point.value(),
            keep_last: all.keep_last.value(),
            scrub_every: all.scrub_every.value().unwrap_or(Some(DEFAULT_SCRUB_EVERY)),
            refuses_degraded: all.refuses_degraded.value().unwrap_or(false),
            selection,
        });
    }

    fn add_host(&mut self, section: &Section) {
        self.host_sections += 1;
        let mut all = Settings::default();
        all.read(section, Kind::Host, self.problems);
        all.inherit(&self.defaults);
        let guid = self.required(section, "guid", &all.guid);
        let selection = self.selection(section, &all);
        let (Ok(guid), Ok(selection)) = (guid, selection) else {
            return;
        };
        if let Some(twin) = self.hosts.iter().find(|host| host.guid == guid) {
            let found = format!("the same as in [{}]", twin.section);
            let place = place_within(section, "guid", &all.guid);
            self.problems
                .add(place, found, "every host has a pool guid of its own");
        }
        let host = Host {
            section: section.name.clone(),
            line: section.line,
            guid,
            selection,
            keep_last: all.keep_last.value(),
            scrub_every: all.scrub_every.value().unwrap_or(Some(DEFAULT_SCRUB_EVERY)),
            prefix: all.prefix.value(),
            intermediate: all.intermediate.value().unwrap_or(false),
            parallel: all.parallel.value().unwrap_or(DEFAULT_PARALLEL),
        };
        self.refuse_shared_copies(&host);
        self.hosts.push(host);
    }

    fn required<T: Clone>(
        &mut self,
        section: &Section,
        key: &str,
        setting: &Setting<T>,
    ) -> Result<T, Reported> {
        if matches!(setting, Setting::Absent) {
            let place = Place::key(section.line, &section.name, key);
            self.problems
                .add(place, "missing", "set it here or in [DEFAULT]");
        }
        setting.value().ok_or(Reported)
    }

    /// `truecrypt` and `encryption` together, and the keys that are useful only with some of them.
    fn encryption(
        &mut self,
        section: &Section,
        all: &Settings,
    ) -> Result<Option<Encryption>, Reported> {
        if matches!(all.truecrypt, Setting::Refused(_))
            || matches!(all.encryption, Setting::Refused(_))
        {
            return Err(Reported);
        }
        let encryption = match (all.truecrypt.value(), &all.encryption) {
            (Some(true), Setting::Set(None | Some(Encryption::Luks), place)) => {
                let allowed = "one of the two is allowed: set truecrypt = no for this disk";
                let found = format!("does not go with truecrypt = yes in [{}]", section.name);
                self.problems.add(place.clone(), found, allowed);
                return Err(Reported);
            }
            (Some(false), Setting::Set(Some(Encryption::Truecrypt), place)) => {
                let found = format!("does not go with truecrypt = no in [{}]", section.name);
                self.problems
                    .add(place.clone(), found, "leave one of the two out");
                return Err(Reported);
            }
            (Some(true), Setting::Absent) => Some(Encryption::TruecryptOrVeracrypt),
            (_, encryption) => encryption.value().flatten(),
        };
        self.refuse_useless_keys(section, all, encryption);
        self.refuse_secrets(section, all, encryption);
        Ok(encryption)
    }

    /// Refuses passphrases and keyfiles that cannot open a container together, or that leave nothing to
    /// open it.
    fn refuse_secrets(
        &mut self,
        section: &Section,
        all: &Settings,
        encryption: Option<Encryption>,
    ) {
        let is_luks = encryption == Some(Encryption::Luks);
        if let (true, Setting::Set(keyfiles, place)) = (is_luks, &all.keyfiles) {
            if matches!(all.passphrase_file, Setting::Set(Some(_), _)) {
                let found = format!("does not go with the passphrase-file of [{}]", section.name);
                let allowed = "LUKS takes one of the two: leave one out";
                self.problems.add(place.clone(), found, allowed);
            }
            if keyfiles.len() > 1 {
                let found = format!("{} files", keyfiles.len());
                let allowed = "LUKS takes one keyfile: only TrueCrypt and VeraCrypt take several";
                self.problems.add(place.clone(), found, allowed);
            }
        }
        if let (Some(_), Setting::Set(None, place), Setting::Absent) =
            (encryption, &all.passphrase_file, &all.keyfiles)
        {
            let found = format!("leaves nothing to open [{}] with", section.name);
            let allowed = "none is allowed with a keyfile";
            self.problems.add(place.clone(), found, allowed);
        }
    }

    /// Refuses a key that would have no effect: its author expects one.
    fn refuse_useless_keys(
        &mut self,
        section: &Section,
        all: &Settings,
        encryption: Option<Encryption>,
    ) {
        use Encryption::{Luks, Truecrypt, TruecryptOrVeracrypt, Veracrypt};
        let encrypted = encryption.is_some();
        let has_pim = matches!(encryption, Some(Veracrypt | TruecryptOrVeracrypt));
        let has_hidden = matches!(
            encryption,
            Some(Truecrypt | Veracrypt | TruecryptOrVeracrypt)
        );
        let hidden = all
            .hidden
            .place()
            .filter(|_| all.hidden.value() == Some(true));
        let useless = [
            (
                all.pim.place().filter(|_| !has_pim),
                "only VeraCrypt has a PIM",
            ),
            (
                hidden.filter(|_| !has_hidden),
                "only TrueCrypt and VeraCrypt have hidden volumes",
            ),
            (
                all.passphrase_file.place().filter(|_| !encrypted),
                "only an encrypted disk has a use for it",
            ),
            (
                all.keyfiles.place().filter(|_| !encrypted),
                "only an encrypted disk has a use for it",
            ),
        ];
        let encryption = match encryption {
            None => "is not encrypted",
            Some(Luks) => "is encrypted with LUKS",
            Some(Truecrypt | Veracrypt | TruecryptOrVeracrypt) => "is encrypted with TrueCrypt",
        };
        for (place, allowed) in useless {
            if let Some(place) = place {
                let found = format!("of no use: [{}] {encryption}", section.name);
                self.problems.add(place.clone(), found, allowed);
            }
        }
    }

    /// Only its own list limits a disk to some volumes; keys that narrow a list need such a list.
    fn device_selection(
        &mut self,
        section: &Section,
        own: &Settings,
        all: &Settings,
    ) -> Result<Option<Selection>, Reported> {
        if !matches!(own.volume, Setting::Absent) {
            return self.selection(section, all).map(Some);
        }
        let useless = [own.recursive.place(), own.exclude.place()];
        for place in useless.into_iter().flatten() {
            let allowed =
                "list the disk's volumes in this section, or set it in [host…] or [DEFAULT]";
            self.problems
                .add(place.clone(), "of no use without volume", allowed);
        }
        Ok(None)
    }

    fn selection(&mut self, section: &Section, all: &Settings) -> Result<Selection, Reported> {
        let volumes = self.required(section, "volume", &all.volume)?;
        let exclude = all.exclude.value().unwrap_or_default();
        let recursive = all.recursive.value().unwrap_or(false);
        if let Some(place) = all.exclude.place()
            && volumes.iter().all(|volume| exclude.matches(volume))
        {
            let found = format!("leaves no volume of [{}]", section.name);
            self.problems
                .add(place.clone(), found, "at least one volume must remain");
        }
        Ok(Selection {
            volumes,
            recursive,
            exclude,
        })
    }

    /// Refuses copies shared by hosts, unless they give the same `prefix`.
    fn refuse_shared_copies(&mut self, host: &Host) {
        let place = Place::section(host.line, &host.section);
        for volume in &host.selection.volumes {
            let Ok(copy) = copy_path(host, volume) else {
                let found = format!("the copy of {volume} has too long a name");
                let allowed = "255 bytes are allowed for prefix and volume together";
                self.problems.add(place.clone(), found, allowed);
                continue;
            };
            for other in self
                .hosts
                .iter()
                .filter(|other| other.prefix != host.prefix)
            {
                if let Some(other_copy) = meeting(host, &copy, other) {
                    let other = &other.section;
                    let found = format!(
                        "the copy of {volume} is {copy}, which meets {other_copy} of [{other}]"
                    );
                    let allowed = "give the hosts one prefix, or prefixes that lie apart";
                    self.problems.add(place.clone(), found, allowed);
                }
            }
        }
    }

    fn finish(self, last_line: usize) -> (Vec<Device>, Vec<Host>) {
        let missing = [
            (
                self.device_sections,
                "no [USB device] section",
                "add one with partuuid and backup_pool",
            ),
            (
                self.host_sections,
                "no [host…] section",
                "add one with the guid of the host's pool",
            ),
        ];
        for (sections, found, allowed) in missing {
            if sections == 0 {
                self.problems.add(Place::line(last_line), found, allowed);
            }
        }
        (self.devices, self.hosts)
    }
}

/// Where the copy of `volume` is below the backup pool.
fn copy_path(host: &Host, volume: &VolumePath) -> Result<VolumePath, openzfs::InvalidName> {
    match &host.prefix {
        Some(prefix) => VolumePath::new(&format!("{prefix}{volume}")),
        None => Ok(volume.clone()),
    }
}

/// The copy of `other` that would be the same dataset as `copy` of `host`, or lie in it or around it.
fn meeting(host: &Host, copy: &VolumePath, other: &Host) -> Option<VolumePath> {
    let copies = other.selection.volumes.iter();
    let mut copies = copies.filter_map(|volume| copy_path(other, volume).ok());
    copies.find(|other_copy| {
        copy == other_copy
            || (host.selection.recursive && other_copy.is_within(copy))
            || (other.selection.recursive && copy.is_within(other_copy))
    })
}

/// The place of a setting of `section`; the section's header if the setting is inherited.
fn place_within<T: Clone>(section: &Section, key: &str, setting: &Setting<T>) -> Place {
    match setting.place() {
        Some(place) if place.section.as_ref() == Some(&section.name) => place.clone(),
        _ => Place::key(section.line, &section.name, key),
    }
}
