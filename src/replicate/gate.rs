//! What every receive waits for.

use std::sync::{Condvar, Mutex, PoisonError};

/// Closed until its key is dropped.
#[derive(Debug, Default)]
pub struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

/// Opens the gate when it is dropped, so also where the work that it stands for panics.
#[derive(Debug)]
pub(super) struct Key<'a>(&'a Gate);

impl Gate {
    /// The key to it.
    pub fn key(&self) -> Key<'_> {
        Key(self)
    }

    /// Returns once the gate is open.
    pub fn wait(&self) {
        let is_open = self.is_open.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.opened.wait_while(is_open, |is_open| !*is_open);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Key<'_> {
    fn drop(&mut self) {
        let gate = self.0;
        *gate.is_open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        gate.opened.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn nobody_passes_before_the_key_is_dropped_and_everybody_after() {
        let gate = Gate::default();
        let key = gate.key();
        let (passes, passed) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..3 {
                let passes = passes.clone();
                let gate = &gate;
                scope.spawn(move || {
                    gate.wait();
                    passes.send(()).unwrap();
                });
            }
            assert!(passed.try_recv().is_err());
            drop(key);
        });
        assert_eq!(passed.try_iter().count(), 3);
        gate.wait();
    }

    #[test]
    fn a_panic_opens_it() {
        let gate = Gate::default();
        let work = || {
            let _key = gate.key();
            panic!("a bug");
        };
        catch_unwind(AssertUnwindSafe(work)).unwrap_err();
        gate.wait();
    }
}
