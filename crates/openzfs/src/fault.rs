//! Faults on demand, for tests of what a run leaves behind when something goes wrong.
//!
//! With the feature `fault-injection`, `ZBACKUP_FAULT=PLACE:KIND[:NTH]` makes something happen when
//! a run comes to PLACE for the NTH time (the first, unless it says so). A place is the name of a C
//! function or system call, and the fault strikes just before the call; `stream-middle` and `stream-end` are
//! in a transfer, `disk-inventory` is where the imported disk is read, `verdict` where the kernel is asked
//! whether a closed disk is free, `thread-NAME` where a thread of that name is started. KIND is `error`,
//! `panic`, `missing` (a kernel that never has this call), or a signal's name.
//!
//! The released program is built without that feature: there each place is an empty function.

/// The words of the error if the kernel is to lack the call.
pub const MISSING: &str = "this kernel does not have it";

/// Strikes here if this is the place.
///
/// # Errors
/// The injected error's words.
#[cfg(not(feature = "fault-injection"))]
#[inline]
pub fn at(_place: &str) -> Result<(), &'static str> {
    Ok(())
}

/// Strikes here if this is the place.
///
/// # Errors
/// The injected error's words.
#[cfg(feature = "fault-injection")]
pub fn at(place: &str) -> Result<(), &'static str> {
    injection::at(place)
}

#[cfg(feature = "fault-injection")]
mod injection {
    use std::str::FromStr;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    struct Fault {
        place: String,
        kind: Kind,
        /// How often the place is still to be passed without a fault.
        passes: AtomicU32,
    }

    enum Kind {
        Error,
        Panic,
        Missing,
        Signal(Signal),
    }

    pub(super) fn at(place: &str) -> Result<(), &'static str> {
        static FAULT: OnceLock<Option<Fault>> = OnceLock::new();
        let wanted = FAULT.get_or_init(|| {
            let text = std::env::var("ZBACKUP_FAULT").ok()?;
            Some(parse(&text).expect("ZBACKUP_FAULT is PLACE:KIND[:NTH]"))
        });
        let Some(fault) = wanted.as_ref().filter(|fault| fault.place == place) else {
            return Ok(());
        };
        let is_missing = matches!(fault.kind, Kind::Missing);
        // Below zero, the fault has struck already and never does again.
        if !is_missing && fault.passes.fetch_sub(1, Ordering::Relaxed) != 0 {
            return Ok(());
        }
        log::warn!("fault injected at {place}");
        match fault.kind {
            Kind::Error => Err("injected fault"),
            Kind::Missing => Err(super::MISSING),
            Kind::Panic => panic!("injected fault at {place}"),
            Kind::Signal(signal) => {
                kill(Pid::this(), signal).expect("a signal to this process");
                Ok(())
            }
        }
    }

    fn parse(text: &str) -> Option<Fault> {
        let mut parts = text.split(':');
        let place = parts.next()?.to_owned();
        let kind = match parts.next()? {
            "error" => Kind::Error,
            "panic" => Kind::Panic,
            "missing" => Kind::Missing,
            signal => Kind::Signal(Signal::from_str(signal).ok()?),
        };
        let nth = parts
            .next()
            .map_or(Some(1), |number| number.parse::<u32>().ok())?;
        let passes = AtomicU32::new(nth.checked_sub(1)?);
        Some(Fault {
            place,
            kind,
            passes,
        })
    }
}
