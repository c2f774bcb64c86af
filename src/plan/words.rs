//! Decisions in words for people: for tables, `--json` and the log.

use openzfs::DatasetName;

use super::types::{Action, Conflict, Doubt, InTheWay, Quota, VolumePlan};
use super::{features, typed};
use crate::human::{count, human_bytes};
use crate::model::VolumePath;
use crate::next::next;
use crate::text::shell_word;

impl Action {
    /// The word for it in tables and in `--json`; `None` if there was nothing to decide on.
    pub fn word(&self) -> Option<&'static str> {
        match self {
            Self::UpToDate(_) => Some("up-to-date"),
            Self::Send(transfer) => Some(match transfer.steps.first() {
                Some(step) if step.resume.is_some() => "resume",
                Some(step) if step.base.is_some() => "incremental",
                _ => "full",
            }),
            Self::Conflict(_) => Some("conflict"),
            Self::Impossible(_) => None,
        }
    }
}

impl Conflict {
    /// The word for it in tables and in `--json`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Modified { .. } => "modified",
            Self::Diverged { .. } => "diverged",
            Self::NoCommonSnapshot { .. } => "no-common-snapshot",
            Self::Renamed { .. } | Self::RenamedAway { .. } => "renamed",
            Self::BaseUncertain { .. } => "base-uncertain",
            Self::ForeignResumeState { .. } => "foreign-resume-state",
            Self::EncryptionMismatch { .. } => "encryption-mismatch",
            Self::NeedsFeature { .. } | Self::SplitBlocks => "needs-feature",
            Self::DoesNotFit { .. } => "does-not-fit",
        }
    }

    /// What it is and what can be done about it, in a few sentences. `plan` is the volume's.
    pub fn explain(&self, plan: &VolumePlan) -> String {
        let mut sentences = vec![self.what(plan)];
        sentences.extend(
            plan.refusal
                .as_ref()
                .map(|refusal| format!("What you asked for is refused: {refusal}.")),
        );
        sentences.extend(self.conflict_options(plan));
        sentences.join(" ")
    }

    /// What it is.
    fn what(&self, plan: &VolumePlan) -> String {
        let VolumePlan { source, target, .. } = plan;
        match self {
            Self::Modified {
                base,
                written_bytes,
                atime,
            } => {
                let cause = " Reading alone may have done that, since atime is on there.";
                let cause = if *atime { cause } else { "" };
                let written = human_bytes(*written_bytes);
                format!("{written} were written to {target} since @{base}.{cause}")
            }
            Self::Diverged {
                base,
                newer,
                written_bytes,
            } => {
                let snapshots = match newer.as_slice() {
                    [only] => format!("@{}", only.short()),
                    [first, .., last] => format!(
                        "{} snapshots (@{} to @{})",
                        newer.len(),
                        first.short(),
                        last.short()
                    ),
                    [] => "changes".into(),
                };
                let written = human_bytes(*written_bytes);
                format!(
                    "Both sides went on from @{base}: {target} has {snapshots} with {written}, which \
                     {source} lacks."
                )
            }
            Self::NoCommonSnapshot {
                snapshots,
                referenced_bytes,
                copy_of,
            } => {
                let owner = copy_of
                    .as_ref()
                    .map(|owner| format!(" It is the copy of {owner}."));
                format!(
                    "{target} exists, with {} and {}, and has no snapshot in common with {source}.{}",
                    human_bytes(*referenced_bytes),
                    count(snapshots.len(), "snapshot"),
                    owner.unwrap_or_default(),
                )
            }
            Self::Renamed {
                copy, in_the_way, ..
            } => {
                let in_the_way = match in_the_way {
                    None => String::new(),
                    Some(InTheWay {
                        copy_of: Some(owner),
                    }) => format!(" {target} is the copy of {owner}."),
                    Some(InTheWay { copy_of: None }) => {
                        format!(
                            " {target} is there too, and has no snapshot in common with {source}."
                        )
                    }
                };
                format!("The copy of {source} is {copy}: one of them was renamed.{in_the_way}")
            }
            Self::RenamedAway { now, .. } => format!(
                "{source} does not exist. {now} has its snapshots: it was renamed, and {target} is \
                 its copy."
            ),
            Self::BaseUncertain { base, doubt, .. } => uncertain(plan, base, *doubt),
            Self::ForeignResumeState { received_bytes } => {
                let received = received_bytes
                    .map(|bytes| format!(" of {} so far", human_bytes(bytes)))
                    .unwrap_or_default();
                format!(
                    "{target} holds an interrupted receive{received} that zbackup did not start or \
                     cannot place."
                )
            }
            Self::EncryptionMismatch { reason, .. } => format!("Encryption differs: {reason}."),
            Self::NeedsFeature { features, .. } => features::lack(features, source, target),
            Self::SplitBlocks => format!(
                "{target} has blocks above 128 KiB, which {source} has lost: it was sent without them \
                 (only with -L are they kept), or came over a pool without the feature large_blocks. No \
                 increment from there fits."
            ),
            Self::DoesNotFit {
                needed_bytes,
                free_bytes,
                quota,
                ..
            } => not_fitting([*needed_bytes, *free_bytes], quota.as_ref(), target),
        }
    }

    /// What the user can do; options that lose nothing come first.
    fn conflict_options(&self, plan: &VolumePlan) -> Vec<String> {
        let VolumePlan {
            volume,
            source,
            target,
            ..
        } = plan;
        let word = shell_word(volume);
        let keep = keep_both(plan);
        let force = |what_for: &str| match &plan.remedies.force {
            Ok(()) => next!("force", "{what_for}: --force {word}."),
            // The user asked for this option, and the refusal is already told.
            Err(reason) if plan.refusal.as_ref() == Some(reason) => String::new(),
            Err(reason) => next!(
                "force-refused",
                "--force {word} would be refused: {reason}."
            ),
        };
        let mut ways = match self {
            Self::Modified { atime, .. } => {
                let mut ways = vec![keep, force("To give the changes up")];
                if *atime {
                    let set = next!("atime", "`zfs set atime=off {}`", shell_word(target));
                    let set = typed::commands(plan.remedies.on_disk, &[set]);
                    ways.push(format!("To avoid it: {set}."));
                }
                ways
            }
            Self::Diverged { .. } => vec![keep, force("To give these up, snapshots included")],
            Self::NoCommonSnapshot {
                copy_of: Some(_), ..
            } => vec![keep],
            Self::Renamed {
                along_with,
                in_the_way,
                ..
            } => follow(plan, along_with.as_ref(), in_the_way.as_ref()),
            Self::RenamedAway {
                volume: volume_now, ..
            } => vec![next!(
                "renamed-away",
                "Put {volume_now} in the place of {volume} in the configuration, then: \
                 --follow-rename {}.",
                shell_word(volume_now)
            )],
            Self::NoCommonSnapshot { copy_of: None, .. } => {
                vec![keep, force("To replace it, snapshots included")]
            }
            Self::BaseUncertain { older, .. } => {
                let what_for = match older {
                    Some(older) => {
                        format!("To go on from @{older}, giving up what {target} has after it")
                    }
                    None => "To replace it, snapshots included".into(),
                };
                vec![keep, force(&what_for)]
            }
            Self::SplitBlocks | Self::EncryptionMismatch { can_move: true, .. } => vec![keep],
            Self::EncryptionMismatch {
                can_move: false, ..
            } => vec![next!(
                "encrypt-too",
                "Encrypt {source} too, or leave it out."
            )],
            Self::ForeignResumeState { .. } => {
                vec![
                    next!("foreign-receive", "Let its own tool finish it."),
                    keep,
                    force("To drop it"),
                ]
            }
            Self::NeedsFeature { features, on_disk } => {
                features::enable(features, target, *on_disk)
            }
            Self::DoesNotFit {
                quota,
                fits_with_fewer,
                ..
            } => make_it_fit(plan, quota.as_ref(), *fits_with_fewer),
        };
        ways.retain(|way| !way.is_empty());
        ways
    }
}

/// How to give a copy the new name of its volume, or to leave it as it is.
fn follow(
    plan: &VolumePlan,
    along_with: Option<&VolumePath>,
    in_the_way: Option<&InTheWay>,
) -> Vec<String> {
    let VolumePlan {
        volume,
        source,
        target,
        ..
    } = plan;

    let word = shell_word(volume);
    let anew = next!(
        "renamed-keep-both",
        "To keep that copy as it is and send all of {source} anew: --keep-both {word}."
    );
    let follow = match (along_with, in_the_way) {
        (Some(above), None) => {
            next!(
                "follow-parent",
                "It goes along with its parent: --follow-rename {}.",
                shell_word(above)
            )
        }
        (_, None) => next!(
            "follow-rename",
            "To rename the copy as well: --follow-rename {word}."
        ),
        (
            _,
            Some(InTheWay {
                copy_of: Some(owner),
            }),
        ) => next!(
            "follow-both",
            "To rename both copies as well: --follow-rename {word} --follow-rename {}.",
            shell_word(owner)
        ),
        (_, Some(InTheWay { copy_of: None })) => next!(
            "follow-in-the-way",
            "To rename the copy as well: give {target} another name ({}), then \
             --follow-rename {word}.",
            rename_by_hand(plan)
        ),
    };
    vec![follow, anew]
}

/// How to keep the target: by this program, or by hand if the program would move datasets that may not be
/// named.
fn keep_both(plan: &VolumePlan) -> String {
    let volume = &plan.volume;
    match &plan.remedies.keep_both {
        Ok(children) => {
            let all = [volume].into_iter().chain(children);
            let options: Vec<_> = all
                .map(|volume| next!("keep-both", "--keep-both {}", shell_word(volume)))
                .collect();
            next!("keep-both", "To keep both: {}.", options.join(" "))
        }
        Err(reason) => {
            let steps = rename_by_hand(plan);
            let why = match plan.refusal.as_ref() {
                Some(refusal) if refusal == reason => String::new(),
                _ if reason.is_empty() => String::new(),
                _ => next!(
                    "keep-both-refused",
                    " (--keep-both {} would be refused: {reason})",
                    shell_word(volume)
                ),
            };
            next!(
                "keep-by-hand",
                "To keep both{why}: {steps}, then run the same command again."
            )
        }
    }
}

/// The command that renames the target, to a name that the next run does not take for a copy's new name.
fn rename_by_hand(plan: &VolumePlan) -> String {
    let target = &plan.target;
    let aside = format!("{target}-kept-aside");
    let [target, aside] = [shell_word(target), shell_word(&aside)];
    let rename = next!("keep-by-hand", "`zfs rename {target} {aside}`");
    typed::commands(plan.remedies.on_disk, &[rename])
}

/// What is to be sent, what is free, and which quota limits it.
fn not_fitting(
    [needed_bytes, free_bytes]: [u64; 2],
    quota: Option<&Quota>,
    target: &DatasetName,
) -> String {
    let by_quota =
        quota.map(|Quota { dataset, property }| format!(" by the {property} of {dataset}"));
    format!(
        "About {} are to be sent to {target}, and {} are left for it{}.",
        human_bytes(needed_bytes),
        human_bytes(free_bytes),
        by_quota.unwrap_or_default()
    )
}

/// Why an increment from the target's newest snapshot is not made.
fn uncertain(plan: &VolumePlan, base: &str, doubt: Doubt) -> String {
    let VolumePlan { source, target, .. } = plan;
    let why = match doubt {
        Doubt::Undone => format!(
            "another tool has received into {source} since, which may have taken it back behind @{base}"
        ),
        Doubt::Untold => format!(
            "the log of the pool {} does not tell whether it was merely destroyed or {source} was \
             taken back behind it",
            source.pool()
        ),
    };
    format!(
        "{target} ends at @{base}, of which {source} has only a bookmark, and {why}. An increment from \
         there could lack what went back."
    )
}

/// What the user can do to make it fit.
fn make_it_fit(plan: &VolumePlan, quota: Option<&Quota>, fits_with_fewer: bool) -> Vec<String> {
    let VolumePlan { source, target, .. } = plan;
    let room = match quota {
        Some(Quota { dataset, property }) => {
            let set = next!("quota", "`zfs set {property}=… {}`", shell_word(dataset));
            let set = typed::commands(plan.remedies.on_disk, &[set]);
            format!("Raise that {property} ({set})")
        }
        None => next!("does-not-fit", "Make room on the pool {}", target.pool()),
    };
    let mut ways = vec![format!("{room}, or leave {source} out.")];
    ways.extend(fits_with_fewer.then(|| {
        "To let go of zbackup's own older snapshots on both sides, which makes room enough: -s 1."
            .into()
    }));
    ways.push(
        "It is an estimate, and the pool may compress better: --try-anyway sends it all the same, and \
         loses nothing."
            .into(),
    );
    ways
}
