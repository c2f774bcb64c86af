//! Which transfer is started next.
//!
//! Pure bookkeeping: small transfers run side by side, because every receive waits for two or three
//! transaction groups and many can share them; large transfers run one at a time, because a
//! spinning disk would seek between them; a child waits for the stream that makes its parent.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::VolumePath;

/// From this size on a transfer counts as large.
const LARGE_BYTES: u64 = 64 << 20;

/// Small transfers that run side by side are together no larger than this: their pipes pin as much
/// memory, or twice that at most.
const TOGETHER_BYTES: u64 = LARGE_BYTES;

/// What the order of transfers depends on, for one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its place in the plan.
    pub index: usize,
    /// The volume.
    pub volume: VolumePath,
    /// It may start only after this volume has arrived.
    pub waits_for: Option<VolumePath>,
    /// Expected size; unknown counts as large.
    pub estimated_bytes: Option<u64>,
}

impl Job {
    fn is_large(&self) -> bool {
        self.estimated_bytes
            .is_none_or(|bytes| bytes >= LARGE_BYTES)
    }
}

/// The answer of [`Queue::next`].
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Start this job.
    Start(Job),
    /// This job cannot be done: the volume for which it waits did not arrive.
    Orphan(Job),
    /// Nothing can start until a running job has ended.
    Wait,
    /// All jobs have been started.
    Empty,
}

/// The transfers that wait or run.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: Vec<Job>,
    running: BTreeMap<usize, Job>,
    /// Volumes whose transfers wait or run.
    to_come: BTreeSet<VolumePath>,
    arrived: BTreeSet<VolumePath>,
    /// Some volume did not arrive, or will not: only then can there be orphans.
    has_losses: bool,
}

impl Queue {
    /// Jobs in the order of the plan.
    pub fn new(jobs: Vec<Job>) -> Self {
        let to_come: BTreeSet<_> = jobs.iter().map(|job| job.volume.clone()).collect();
        let mut parents = jobs.iter().filter_map(|job| job.waits_for.as_ref());
        Self {
            has_losses: parents.any(|parent| !to_come.contains(parent)),
            to_come,
            waiting: jobs,
            ..Self::default()
        }
    }

    /// Takes the next job that may start now.
    pub fn next(&mut self) -> Next {
        if let Some(place) = self.orphan() {
            let job = self.waiting.remove(place);
            self.to_come.remove(&job.volume);
            return Next::Orphan(job);
        }
        let large_runs = self.running.values().any(Job::is_large);
        let small = self.running.values().filter(|job| !job.is_large());
        let together_bytes: u64 = small.filter_map(|job| job.estimated_bytes).sum();
        let fits = |job: &Job| match job.estimated_bytes {
            Some(bytes) if !job.is_large() => together_bytes + bytes <= TOGETHER_BYTES,
            _ => !large_runs,
        };
        match self
            .waiting
            .iter()
            .position(|job| fits(job) && self.has_parent(job))
        {
            Some(place) => {
                let job = self.waiting.remove(place);
                self.running.insert(job.index, job.clone());
                Next::Start(job)
            }
            None if self.waiting.is_empty() => Next::Empty,
            None => Next::Wait,
        }
    }

    /// Notes that a started job has ended.
    pub fn finished(&mut self, index: usize, arrived: bool) {
        let Some(job) = self.running.remove(&index) else {
            return;
        };
        self.to_come.remove(&job.volume);
        if arrived {
            self.arrived.insert(job.volume);
        } else {
            self.has_losses = true;
        }
    }

    /// True if nothing runs and nothing waits.
    pub fn is_done(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    /// Takes all jobs that have not been started.
    pub fn drain(&mut self) -> Vec<Job> {
        std::mem::take(&mut self.waiting)
    }

    fn has_parent(&self, job: &Job) -> bool {
        job.waits_for
            .as_ref()
            .is_none_or(|parent| self.arrived.contains(parent))
    }

    /// The place of a job whose parent has not arrived and will not: it neither waits nor runs.
    fn orphan(&self) -> Option<usize> {
        if !self.has_losses {
            return None;
        }
        self.waiting.iter().position(|job| {
            let parent = job.waits_for.as_ref();
            parent.is_some_and(|parent| {
                !self.arrived.contains(parent) && !self.to_come.contains(parent)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `"/a+9"` is 9 MiB, `"/a"` of unknown size, `"/a/b<+9"` waits for `/a`.
    fn queue(jobs: &[&str]) -> Queue {
        let volume = |name: &str| VolumePath::new(name).unwrap();
        let job = |(index, text): (usize, &&str)| {
            let (name, size) = text
                .split_once('+')
                .map_or((*text, None), |(name, size)| (name, Some(size)));
            let (name, waits) = name
                .strip_suffix('<')
                .map_or((name, false), |name| (name, true));
            Job {
                index,
                volume: volume(name),
                waits_for: waits.then(|| volume(name.rsplit_once('/').unwrap().0)),
                estimated_bytes: size.map(|mib| mib.parse::<u64>().unwrap() << 20),
            }
        };
        Queue::new(jobs.iter().enumerate().map(job).collect())
    }

    fn started(queue: &mut Queue) -> Vec<usize> {
        let mut started = Vec::new();
        while let Next::Start(job) = queue.next() {
            started.push(job.index);
        }
        started
    }

    #[test]
    fn small_ones_run_together_large_ones_alone() {
        let mut queue = queue(&["/a+1", "/b+100", "/c", "/d+2"]);
        assert_eq!(
            started(&mut queue),
            [0, 1, 3],
            "/c has an unknown size and waits for /b"
        );
        assert_eq!(queue.next(), Next::Wait);
        queue.finished(1, true);
        assert_eq!(started(&mut queue), [2]);
        assert_eq!(queue.next(), Next::Empty);
    }

    #[test]
    fn what_waits_for_a_volume_that_is_no_job_is_an_orphan_at_once() {
        let mut queue = queue(&["/home/vic<+1", "/srv+1"]);
        assert!(matches!(queue.next(), Next::Orphan(job) if job.index == 0));
        assert_eq!(started(&mut queue), [1]);
    }

    #[test]
    fn small_ones_run_together_as_far_as_memory_allows() {
        let mut queue = queue(&["/a+60", "/b+5", "/c+4", "/d+1", "/e+100"]);
        assert_eq!(started(&mut queue), [0, 2, 4], "/b and /d do not fit");
        queue.finished(0, true);
        assert_eq!(started(&mut queue), [1, 3]);
    }

    #[test]
    fn a_child_waits_for_the_stream_that_makes_its_parent() {
        let mut queue = queue(&["/home+1", "/home/vic<+1", "/srv+1"]);
        assert_eq!(started(&mut queue), [0, 2]);
        queue.finished(0, true);
        assert_eq!(started(&mut queue), [1]);
        assert!(!queue.is_done());
    }

    #[test]
    fn what_waits_for_a_failed_volume_is_an_orphan_down_to_the_last() {
        let mut queue = queue(&[
            "/home+1",
            "/home/vic<+1",
            "/home/vic/mail<+1",
            "/home/old+1",
        ]);
        assert_eq!(started(&mut queue), [0, 3], "/home/old waits for nobody");
        queue.finished(0, false);
        assert!(matches!(queue.next(), Next::Orphan(job) if job.index == 1));
        assert!(matches!(queue.next(), Next::Orphan(job) if job.index == 2));
        queue.finished(3, true);
        assert!(queue.is_done());
    }
}
