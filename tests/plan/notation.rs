//! Histories and decisions in one line each, so that a table row shows its whole case.
//!
//! A dataset, oldest first: `@a=1 @b=2/foreign #b=2 #c=3 +5` is
//!
//! - `@a=1`: zbackup's own snapshot named `a` with guid 1, with 10 bytes of data of its own.
//!   Flags: `/foreign` (not zbackup's), `/empty` (no data of its own), `/held`,
//!   `/cloned` (as `clone` beside the dataset), `/iv=7`.
//! - `#c=3`: a bookmark of a snapshot with guid 3 (`/iv=7` too)
//! - `+5`: 5 bytes written since the newest snapshot
//! - `encrypted`, `zvol`, `placeholder` (an unused one), `parent` (it has children), `atime`,
//!   `readonly` (set on it), `partly-listed`
//! - `resume=3<1` an interrupted receive to guid 3 from guid 1, `resume=3<` a full one into a dataset
//!   in use, `first=3` one into a new dataset, which is `inconsistent` since; then `/raw` and
//!   `/of=tank/home@x` (its name on the sender)
//! - `split`: it lacks the large blocks that the other side has
//! - `lacks=large_dnode`: it uses this feature, which the other side's pool lacks
//! - `key=3`: encrypted with this key, by the salt; `key=3<backup/secret` of that encryption root;
//!   then `heir=tank/p/a`, which is encrypted with it too
//! - `checked=20` up to there a run has destroyed doubtful bookmarks of its ledger; anything else stands
//!   there as it is
//! - `made=15` when the dataset itself was made
//! - `receiving=3,4` what zbackup noted before it received there
//! - `log=5/25/40` its pool's log goes back to 5 and tells of receives at 25 and 40: the bookmarks
//!   are sifted by that
//! - `-`: it does not exist

use std::collections::{BTreeMap, BTreeSet};

use openzfs::{
    Bookmark, Createtxg, DatasetKind, DatasetName, Guid, ResumeState, Snapshot, SnapshotName,
    StreamFeature,
};
use zbackup::model::VolumePath;
use zbackup::model::marks::{CHECKED_PROPERTY, CREATED_PROPERTY, RECEIVING_PROPERTY};
use zbackup::model::{Dataset, Features, Past, Side, WrappingKey};
use zbackup::plan::{
    Action, BaseSource, Conflict, Overwrite, Plan, Point, Step, Transfer, UpToDate, VolumePlan,
    proof,
};

/// Bytes of every snapshot that is not `/empty`.
const SNAPSHOT_BYTES: u64 = 10;

pub fn guid(text: &str) -> Guid {
    text.parse()
        .unwrap_or_else(|_| panic!("{text:?} is no guid"))
}

pub fn volume(text: &str) -> VolumePath {
    VolumePath::new(text).unwrap()
}

pub fn dataset_name(text: &str) -> DatasetName {
    DatasetName::new(text).unwrap()
}

/// A side with nothing but its root dataset and what `top` adds; everything is allowed on it.
pub fn side(top: &str) -> Side {
    let top = dataset_name(top);
    let pool = top.pool();
    let root = dataset(pool.as_str(), "").unwrap();
    Side {
        pool_guid: Guid(pool.as_str().len() as u64),
        datasets: BTreeMap::from([(pool.root(), root)]),
        pool,
        top,
        free_bytes: 1 << 40,
        leftovers: BTreeSet::new(),
        used_features: BTreeSet::new(),
        unreadable: BTreeMap::new(),
        others: BTreeMap::new(),
        log_reset_bytes: 0,
        features: Features {
            embedded_data: true,
            large_blocks: true,
            lz4_compress: true,
            zstd_compress: true,
            encryption: true,
            bookmarks: true,
            bookmark_v2: true,
            bookmark_written: true,
            extensible_dataset: true,
            large_dnode: true,
            large_microzap: true,
            longname: true,
        },
    }
}

/// Adds the dataset of `volume`, where `notation` says that there is one.
pub fn add(side: &mut Side, volume: &str, notation: &str) {
    if notation == "-" {
        return;
    }
    let name = self::volume(volume).below(&side.top).unwrap();
    if let Some(dataset) = dataset(name.as_str(), notation) {
        side.datasets.insert(name, dataset);
    }
}

/// The same for one that no volume of the run is about.
pub fn add_other(side: &mut Side, volume: &str, notation: &str) {
    let name = self::volume(volume).below(&side.top).unwrap();
    if let Some(dataset) = dataset(name.as_str(), notation) {
        side.others.insert(name, dataset);
    }
}

/// Reads the notation of one dataset; `None` for `-`.
pub fn dataset(name: &str, notation: &str) -> Option<Dataset> {
    if notation == "-" {
        return None;
    }
    let mut dataset = Dataset {
        name: dataset_name(name),
        guid: Guid(9999),
        kind: DatasetKind::Filesystem,
        snapshots: vec![],
        listed_from: Createtxg(0),
        createtxg: Createtxg(0),
        bookmarks: vec![],
        doubtful: vec![],
        past: None,
        resume: None,
        inconsistent: false,
        encrypted: false,
        written_bytes: 0,
        referenced_bytes: 100_000,
        placeholder: false,
        has_children: false,
        objset: 0,
        activity: None,
        atime: false,
        local_properties: std::collections::BTreeMap::new(),
        own_properties: std::collections::BTreeMap::new(),
        file_properties: std::collections::BTreeMap::new(),
        may_use: BTreeSet::new(),
        peer_lacks: BTreeSet::new(),
        is_split: false,
        logical_bytes: 100_000,
        available_bytes: 1 << 40,
        key: None,
    };
    let mut createtxg = 0;
    for word in notation.split_whitespace() {
        createtxg += 10;
        add_word(&mut dataset, name, word, Createtxg(createtxg));
    }
    if dataset.past.is_some() {
        proof::sift(&mut dataset);
    }
    Some(dataset)
}

fn add_word(dataset: &mut Dataset, name: &str, word: &str, createtxg: Createtxg) {
    match word {
        "encrypted" => dataset.encrypted = true,
        "zvol" => dataset.kind = DatasetKind::Volume,
        "placeholder" => dataset.placeholder = true,
        "parent" => dataset.has_children = true,
        "split" => dataset.is_split = true,
        "inconsistent" => dataset.inconsistent = true,
        "atime" => dataset.atime = true,
        "readonly" => {
            let local = &mut dataset.local_properties;
            local.insert("readonly".into(), "on".into());
        }
        "partly-listed" => dataset.listed_from = Createtxg(1),
        _ => {
            if let Some(text) = word.strip_prefix('@') {
                let snapshot = snapshot(&dataset.name, text, createtxg);
                dataset.snapshots.push(snapshot);
            } else if let Some(text) = word.strip_prefix('#') {
                add_bookmark(dataset, text, createtxg);
            } else if let Some(bytes) = word.strip_prefix('+') {
                dataset.written_bytes = bytes.parse().unwrap();
            } else if let Some(name) = word.strip_prefix("lacks=") {
                let all = StreamFeature::ALL.into_iter();
                dataset
                    .peer_lacks
                    .extend(all.filter(|feature| feature.name() == name));
            } else if let Some(text) = word.strip_prefix("key=") {
                let (salt, root) = text.split_once('<').unwrap_or((text, name));
                dataset.encrypted = true;
                dataset.key = Some(WrappingKey {
                    root: dataset_name(root),
                    salt: Some(salt.parse().unwrap()),
                    wrapped: None,
                    heirs: Vec::new(),
                });
            } else if let Some(text) = word.strip_prefix("log=") {
                let mut txgs = text.split('/').map(|txg| Createtxg(txg.parse().unwrap()));
                let known_from = txgs.next().unwrap();
                let received_at = txgs.collect();
                dataset.past = Some(Past {
                    known_from,
                    received_at,
                });
            } else if let Some(guids) = word.strip_prefix("receiving=") {
                let local = &mut dataset.local_properties;
                local.insert(RECEIVING_PROPERTY.into(), guids.into());
            } else if let Some(txg) = word.strip_prefix("made=") {
                dataset.createtxg = Createtxg(txg.parse().unwrap());
            } else if let Some(up_to) = word.strip_prefix("checked=") {
                let note = match up_to.parse() {
                    Ok(txg) => dataset.checked_note(Createtxg(txg)),
                    Err(_) => up_to.to_owned(),
                };
                let local = &mut dataset.local_properties;
                local.insert(CHECKED_PROPERTY.into(), note);
            } else if let Some(heir) = word.strip_prefix("heir=") {
                let key = dataset.key.as_mut().expect("a key before its heirs");
                key.heirs.push(dataset_name(heir));
            } else if let Some(text) = word.strip_prefix("first=") {
                dataset.resume = Some(resume(text));
                dataset.inconsistent = true;
            } else if let Some(text) = word.strip_prefix("resume=") {
                dataset.resume = Some(resume(text));
            } else {
                panic!("what is {word:?}?");
            }
        }
    }
}

fn snapshot(dataset: &DatasetName, text: &str, createtxg: Createtxg) -> Snapshot {
    let (head, flags) = head_and_flags(text);
    let (short, guid_text) = head.split_once('=').expect("@name=guid");
    let mut snapshot = Snapshot {
        name: dataset.snapshot(short).unwrap(),
        guid: guid(guid_text),
        createtxg,
        creation_seconds: 0,
        used_bytes: 0,
        referenced_bytes: 100,
        written_bytes: SNAPSHOT_BYTES,
        holds: 0,
        clones: Vec::new(),
        ivset_guid: None,
        user_properties: BTreeMap::from([(CREATED_PROPERTY.into(), "2026-11-22".into())]),
        received_properties: BTreeMap::new(),
    };
    for flag in flags {
        match flag {
            "foreign" => snapshot.user_properties.clear(),
            "empty" => snapshot.written_bytes = 0,
            "held" => snapshot.holds = 1,
            "cloned" => snapshot.clones = vec![dataset.parent().unwrap().join("clone").unwrap()],
            _ => snapshot.ivset_guid = Some(guid(flag.strip_prefix("iv=").expect(flag))),
        }
    }
    snapshot
}

/// A bookmark beside its snapshot has that one's createtxg, as in a real pool.
fn add_bookmark(dataset: &mut Dataset, text: &str, createtxg: Createtxg) {
    let (head, flags) = head_and_flags(text);
    let (short, guid_text) = head.split_once('=').expect("#name=guid");
    let guid = guid(guid_text);
    dataset.bookmarks.push(Bookmark {
        name: dataset.name.bookmark(short).unwrap(),
        guid,
        createtxg: dataset.snapshot(guid).map_or(createtxg, |s| s.createtxg),
        ivset_guid: flags
            .first()
            .map(|flag| self::guid(flag.strip_prefix("iv=").expect(flag))),
    });
}

fn resume(text: &str) -> ResumeState {
    let mut state = ResumeState {
        token: format!("1-{text}"),
        to_name: "tank/home@zbackup-2026-11-20".into(),
        to_guid: Guid(0),
        from_guid: None,
        object: 1,
        offset: 0,
        received_bytes: 4,
        large_blocks: false,
        embedded: false,
        compressed: false,
        raw: false,
    };
    let (range, name) = match text.split_once("/of=") {
        Some((range, name)) => (range, Some(name)),
        None => (text, None),
    };
    if let Some(name) = name {
        state.to_name = SnapshotName::new(name).unwrap().to_string();
    }
    let (range, flags) = head_and_flags(range);
    state.raw = flags.contains(&"raw");
    let (to, from) = range.split_once('<').unwrap_or((range, ""));
    state.to_guid = guid(to);
    state.from_guid = (!from.is_empty()).then(|| guid(from));
    state
}

fn head_and_flags(text: &str) -> (&str, Vec<&str>) {
    let mut parts = text.split('/');
    (parts.next().unwrap_or_default(), parts.collect())
}

/// A plan, one line a volume: `/home: @a to new`.
pub fn lines(plan: &Plan) -> Vec<String> {
    let line = |volume: &VolumePlan| format!("{}: {}", volume.volume, decision(volume));
    plan.volumes.iter().map(line).collect()
}

/// What was decided, in one line: `@a to @b, @b to new; leaves out 2`.
pub fn decision(volume: &VolumePlan) -> String {
    let mut parts = match &volume.action {
        Action::UpToDate(UpToDate::Equal(name)) => vec![format!("up-to-date @{}", name.short())],
        Action::UpToDate(UpToDate::TargetAhead(name)) => vec![format!("ahead @{}", name.short())],
        Action::Impossible(reason) => vec![format!("impossible: {reason}")],
        Action::Send(transfer) => self::transfer(transfer),
        Action::Conflict(conflict) => vec![self::conflict(conflict)],
    };
    let parent = volume.waits_for.iter();
    parts.extend(parent.map(|parent| format!("waits for {parent}")));
    let refusal = volume.refusal.iter();
    parts.extend(refusal.map(|refusal| format!("refused: {refusal}")));
    parts.join("; ")
}

fn transfer(transfer: &Transfer) -> Vec<String> {
    let steps: Vec<_> = transfer.steps.iter().map(step).collect();
    let raw = if transfer.raw { "raw " } else { "" };
    let mut parts = vec![format!("{raw}{}", steps.join(", "))];
    match &transfer.overwrite {
        Overwrite::Nothing => {}
        Overwrite::Placeholder => parts.push("into placeholder".into()),
        Overwrite::RollBack { written_bytes } => parts.push(format!("rolls back {written_bytes}")),
        Overwrite::Destroy {
            snapshots,
            written_bytes,
        } => parts.push(format!("destroys {}+{written_bytes}", shorts(snapshots))),
        Overwrite::Replace { snapshots, .. } => {
            parts.push(format!("replaces {}", shorts(snapshots)));
        }
        Overwrite::KeepBoth { renamed_to } => parts.push(format!("renames to {renamed_to}")),
    }
    let stale = transfer.stale_bookmarks.iter();
    parts.extend(stale.map(|bookmark| format!("forgets #{}", bookmark.short())));
    if transfer.drops_resume_state {
        parts.push("drops state".into());
    }
    if transfer.left_out > 0 {
        parts.push(format!("leaves out {}", transfer.left_out));
    }
    parts
}

fn step(step: &Step) -> String {
    let to = match &step.to {
        Point::Existing { name, .. } => format!("to @{}", name.short()),
        Point::New(_) => "to new".into(),
    };
    let verb = if step.resume.is_some() { "resume " } else { "" };
    match step.base.as_ref().map(|base| &base.source) {
        None => format!("{verb}full {to}"),
        Some(BaseSource::Snapshot(name)) => format!("{verb}@{} {to}", name.short()),
        Some(BaseSource::Bookmark(name)) => format!("{verb}#{} {to}", name.short()),
    }
}

fn conflict(conflict: &Conflict) -> String {
    let word = conflict.word();
    match conflict {
        Conflict::Modified {
            base,
            written_bytes,
            atime,
        } => {
            let atime = if *atime { " atime" } else { "" };
            format!("{word} @{base}+{written_bytes}{atime}")
        }
        Conflict::Diverged { base, newer, .. } => format!("{word} @{base} {}", shorts(newer)),
        Conflict::NoCommonSnapshot { snapshots, .. } => format!("{word} {}", shorts(snapshots)),
        Conflict::BaseUncertain {
            base,
            doubt,
            snapshots,
            older,
        } => {
            let from = older.as_ref().map(|older| format!(" from @{older}"));
            let (from, gone) = (from.unwrap_or_default(), shorts(snapshots));
            format!("{word} @{base} {doubt:?}{from}: {gone}")
        }
        Conflict::EncryptionMismatch { reason, .. } => format!("{word}: {reason}"),
        Conflict::NeedsFeature { features, .. } => {
            let names: Vec<_> = features.iter().map(|feature| feature.name()).collect();
            format!("{word} {}", names.join(" "))
        }
        Conflict::Renamed {
            copy,
            along_with,
            in_the_way,
        } => {
            let above = along_with.iter().map(|above| format!("along with {above}"));
            let owner = in_the_way.iter().map(|other| match &other.copy_of {
                Some(owner) => format!("over {owner}"),
                None => "over another".into(),
            });
            let parts = [word.into(), format!("from {copy}")].into_iter();
            parts
                .chain(above)
                .chain(owner)
                .collect::<Vec<_>>()
                .join(" ")
        }
        Conflict::RenamedAway { now, .. } => format!("{word} to {now}"),
        Conflict::ForeignResumeState { .. }
        | Conflict::SplitBlocks
        | Conflict::DoesNotFit { .. } => word.into(),
    }
}

fn shorts(names: &[SnapshotName]) -> String {
    let shorts: Vec<_> = names
        .iter()
        .map(|name| format!("@{}", name.short()))
        .collect();
    shorts.join(" ")
}
