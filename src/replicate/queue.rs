//! Which transfer is started next.
//!
//! Pure bookkeeping: small transfers run side by side, because every receive waits for a
//! transaction group and several can share one; of the large ones only one runs at a time, because
//! a spinning disk would seek between them; a child waits for the stream that makes its parent.

use std::collections::{BTreeMap, BTreeSet};

use crate::name::DatasetName;

/// From this size on a transfer counts as large.
const LARGE_BYTES: u64 = 64 << 20;

/// One transfer, as far as the order matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its place in the plan.
    pub index: usize,
    /// The dataset it writes.
    pub target: DatasetName,
    /// It makes the target: children have to wait.
    pub creates: bool,
    /// Expected size; unknown counts as large.
    pub estimated_bytes: Option<u64>,
}

impl Job {
    fn is_large(&self) -> bool {
        self.estimated_bytes
            .is_none_or(|bytes| bytes >= LARGE_BYTES)
    }
}

/// What [`Queue::next`] has to say.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Start this one.
    Start(Job),
    /// This one cannot be done: the dataset above it, at this target, did not arrive.
    Orphan(Job, DatasetName),
    /// Nothing can start until something that runs has ended.
    Wait,
    /// All have been started.
    Empty,
}

/// The transfers that wait and that run.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: Vec<Job>,
    running: BTreeMap<usize, Job>,
    failed: BTreeSet<DatasetName>,
}

impl Queue {
    /// Jobs in the order of the plan.
    pub fn new(jobs: Vec<Job>) -> Self {
        Self {
            waiting: jobs,
            ..Self::default()
        }
    }

    /// Takes the next job that may start now.
    pub fn next(&mut self) -> Next {
        if let Some((place, parent)) = self.orphan() {
            return Next::Orphan(self.waiting.remove(place), parent);
        }
        let large_runs = self.running.values().any(Job::is_large);
        let place = self
            .waiting
            .iter()
            .position(|job| !(large_runs && job.is_large()) && !self.waits_for_parent(job));
        match place {
            Some(place) => {
                let job = self.waiting.remove(place);
                self.running.insert(job.index, job.clone());
                Next::Start(job)
            }
            None if self.waiting.is_empty() => Next::Empty,
            None => Next::Wait,
        }
    }

    /// A job that was started has ended.
    pub fn finished(&mut self, index: usize, arrived: bool) {
        if let Some(job) = self.running.remove(&index)
            && job.creates
            && !arrived
        {
            self.failed.insert(job.target);
        }
    }

    /// True where nothing runs.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// True where everything has been started.
    pub fn is_exhausted(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes everything that has not been started.
    pub fn drain(&mut self) -> Vec<Job> {
        std::mem::take(&mut self.waiting)
    }

    fn orphan(&self) -> Option<(usize, DatasetName)> {
        self.waiting.iter().enumerate().find_map(|(place, job)| {
            let parent = self
                .failed
                .iter()
                .find(|parent| job.creates && job.target.is_within(parent))?;
            Some((place, parent.clone()))
        })
    }

    fn waits_for_parent(&self, job: &Job) -> bool {
        job.creates
            && self
                .waiting
                .iter()
                .chain(self.running.values())
                .any(|other| {
                    other.creates && other.index != job.index && job.target.is_within(&other.target)
                })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `"/a+9"` creates backup/a with 9 MiB; `"/a"` updates it with an unknown size.
    fn queue(jobs: &[&str]) -> Queue {
        let job = |(index, text): (usize, &&str)| {
            let (name, size) = text
                .split_once('+')
                .map_or((*text, None), |(name, size)| (name, Some(size)));
            Job {
                index,
                target: DatasetName::new(&format!("backup{}", name.trim_end_matches('!'))).unwrap(),
                creates: name.ends_with('!'),
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
    fn a_child_waits_for_the_stream_that_makes_its_parent() {
        let mut queue = queue(&["/home!+1", "/home/vic!+1", "/srv+1"]);
        assert_eq!(started(&mut queue), [0, 2]);
        queue.finished(0, true);
        assert_eq!(started(&mut queue), [1]);
    }

    #[test]
    fn a_child_of_a_failed_parent_is_an_orphan() {
        let mut queue = queue(&["/home!+1", "/home/vic!+1", "/home/old+1"]);
        assert_eq!(
            started(&mut queue),
            [0, 2],
            "/home/old exists already and waits for nobody"
        );
        queue.finished(0, false);
        assert!(matches!(queue.next(), Next::Orphan(job, _) if job.index == 1));
        queue.finished(2, true);
        assert!(queue.is_idle());
    }
}
