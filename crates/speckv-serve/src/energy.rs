//! Joules that answers take above what the idle machine takes.

use std::time::Instant;

use speckv_local::energy::{EnergyCounter, NoCounter};

/// An idle time shorter than this says too little of the idle machine's power.
const LEAST_IDLE_SECONDS: f64 = 0.5;

/// Splits what the machine's counters count into idle times and work.
///
/// The power of the idle machine is that of the last idle time of at least half a second. Work
/// before the first such time is kept until it is known.
#[derive(Debug)]
pub struct EnergyAccount {
    counter: EnergyCounter,
    since: Instant,
    joules: f64,
    idle_watts: Option<f64>,
    pending: (f64, f64), // joules and seconds of work before the idle power is known
}

impl EnergyAccount {
    /// An account that begins now, with an idle machine.
    ///
    /// # Errors
    /// A counter that cannot be read.
    pub fn new(mut counter: EnergyCounter, now: Instant) -> Result<Self, NoCounter> {
        let joules = counter.joules()?;
        Ok(EnergyAccount { counter, since: now, joules, idle_watts: None, pending: (0.0, 0.0) })
    }

    /// Ends an idle time.
    ///
    /// # Errors
    /// A counter that can no longer be read.
    pub fn idled(&mut self, now: Instant) -> Result<(), NoCounter> {
        let (joules, seconds) = self.read(now)?;
        if seconds >= LEAST_IDLE_SECONDS {
            self.idle_watts = Some(joules / seconds);
        }
        Ok(())
    }

    /// Ends a time of work: its joules above those of the idle machine, or 0 until those are known.
    ///
    /// # Errors
    /// A counter that can no longer be read.
    pub fn worked(&mut self, now: Instant) -> Result<f64, NoCounter> {
        let (joules, seconds) = self.read(now)?;
        self.pending.0 += joules;
        self.pending.1 += seconds;
        let Some(idle) = self.idle_watts else { return Ok(0.0) };
        let (joules, seconds) = std::mem::take(&mut self.pending);
        Ok((joules - idle * seconds).max(0.0))
    }

    /// Watts of the idle machine, once they are known.
    #[must_use]
    pub fn idle_watts(&self) -> Option<f64> {
        self.idle_watts
    }

    /// What is counted.
    #[must_use]
    pub fn source(&self) -> String {
        self.counter.source()
    }

    /// Joules and seconds since the last reading.
    fn read(&mut self, now: Instant) -> Result<(f64, f64), NoCounter> {
        let joules = self.counter.joules()?;
        let read = (joules - self.joules, (now - self.since).as_secs_f64());
        (self.joules, self.since) = (joules, now);
        Ok(read)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an account needs a time to begin at")]
mod tests {
    use std::{fs, path::Path, time::Duration};

    use super::*;

    /// A made-up powercap tree with one package.
    fn count(folder: &Path, joules: u64) {
        let zone = folder.join("intel-rapl:0");
        fs::create_dir_all(&zone).expect("a folder");
        for (file, text) in [
            ("name", "package-0".to_owned()),
            ("max_energy_range_uj", "262143328850".to_owned()),
            ("energy_uj", (joules * 1_000_000).to_string()),
        ] {
            fs::write(zone.join(file), text + "\n").expect("a file");
        }
    }

    fn account(folder: &Path, start: Instant) -> EnergyAccount {
        count(folder, 1000);
        let counter = EnergyCounter::open_in(folder).expect("a counter");
        EnergyAccount::new(counter, start).expect("readable")
    }

    #[test]
    fn work_is_counted_above_the_idle_machine() {
        let folder = tempfile::tempdir().expect("a folder");
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut account = account(folder.path(), start);
        assert_eq!(account.source(), "Linux powercap: package-0");
        count(folder.path(), 1100); // 10 W for 10 s
        account.idled(at(10)).expect("readable");
        assert_eq!(account.idle_watts(), Some(10.0));
        count(folder.path(), 1200); // 50 W for 2 s
        assert_eq!(account.worked(at(12)), Ok(80.0));
        count(folder.path(), 1205); // less than idle
        assert_eq!(account.worked(at(13)), Ok(0.0));
        account.idled(at(13)).expect("readable"); // too short to say anything
        assert_eq!(account.idle_watts(), Some(10.0));
    }

    #[test]
    fn work_before_the_first_idle_time_is_counted_once_that_is_known() {
        let folder = tempfile::tempdir().expect("a folder");
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut account = account(folder.path(), start);
        count(folder.path(), 1050);
        assert_eq!(account.worked(at(1)), Ok(0.0));
        count(folder.path(), 1090); // 20 W for 2 s
        account.idled(at(3)).expect("readable");
        count(folder.path(), 1150); // 60 J in 1 s, 50 J in 1 s before
        assert_eq!(account.worked(at(4)), Ok(110.0 - 2.0 * 20.0));
    }
}
