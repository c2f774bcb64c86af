//! The program's executor, on pools in memory.

use zbackup::model::{Side, VolumePath};
use zbackup::monitor::Monitor;
use zbackup::plan::{Action, Plan, Transfer};
use zbackup::replicate::{DiskIdentity, Outcomes, Replication};
use zbackup::report::Outcome;
use zbackup::terminal::{Settings, Terminal};

use super::fake::Fake;

/// What was decided, and on what.
pub struct Planned {
    pub plan: Plan,
    /// Source and target.
    pub sides: [Side; 2],
}

impl Planned {
    /// The first volume's streams.
    pub fn transfer(&self) -> &Transfer {
        match &self.plan.volumes[0].action {
            Action::Send(transfer) => transfer,
            other => panic!("{other:?}"),
        }
    }

    /// Carries it out, unless somebody wants it to end.
    pub fn carry_out(
        &self,
        fake: &Fake,
        partuuid: &str,
        is_interrupted: &(dyn Fn() -> bool + Sync),
    ) -> Outcomes {
        let [source, target] = &self.sides;
        let terminal = Terminal::new(Settings {
            quiet: true,
            ..Settings::default()
        });
        let replication = Replication {
            plan: &self.plan,
            source,
            target,
            forced: &[],
            zfs: fake,
            terminal: &terminal,
            monitor: &Unwatched,
            record: &|_, _| {},
            is_interrupted,
            parallel: 4,
            hostname: "host",
            disk: DiskIdentity {
                section: "USB device",
                partuuid,
            },
        };
        replication.run()
    }
}

/// Nobody looks.
struct Unwatched;

impl Monitor for Unwatched {
    fn begin(&self, _: usize, _: u64) {}
    fn started(&self, _: &VolumePath, _: &str, _: Option<u64>) {}
    fn advanced(&self, _: &VolumePath, _: u64) {}
    fn finished(&self, _: &VolumePath, _: u64, _: f64, _: Option<(Outcome, &str)>) {}
    fn end(&self) {}
}
