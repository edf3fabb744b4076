//! Joules that the machine's own counters measure.
//!
//! Linux lists the counters of processors and memory under `/sys/class/powercap` (RAPL of Intel
//! and AMD). Reading them often needs root. Where there are none, or they cannot be read, the
//! reason is a value ([`NoCounter`]), so that a report can state it.

#![expect(clippy::disallowed_methods, reason = "power is energy by the clock")]

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// Where Linux lists counters of energy.
const POWERCAP: &str = "/sys/class/powercap";

/// Time that the idle machine is measured.
pub const IDLE: Duration = Duration::from_secs(1);

/// Why no energy is counted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCounter {
    /// The system lists no counter.
    #[error("this machine lists no energy counter in {}", .0.display())]
    Absent(PathBuf),
    /// There is a counter that this process may not read, or that is broken.
    #[error("{} cannot be read: {reason}", path.display())]
    Unreadable {
        /// The counter's file.
        path: PathBuf,
        /// The system's reason.
        reason: String,
    },
}

/// One counter: microjoules that begin again at 0 after a maximum.
#[derive(Debug, Clone)]
struct Zone {
    name: String,
    path: PathBuf,
    range: u64, // microjoules
    last: u64,  // microjoules
    sum: u64,   // microjoules since the counter was opened
}

/// The counters of this machine's processor packages and memory.
#[derive(Debug, Clone)]
pub struct EnergyCounter {
    zones: Vec<Zone>,
}

impl EnergyCounter {
    /// The counters of this machine.
    ///
    /// # Errors
    /// See [`NoCounter`].
    pub fn open() -> Result<Self, NoCounter> {
        Self::open_in(Path::new(POWERCAP))
    }

    /// The counters in a folder that is laid out as Linux's powercap.
    ///
    /// Packages are counted, and memory beside them (`dram`). Parts of a package and the whole
    /// platform (`psys`) are not: they would count the same joules twice.
    ///
    /// # Errors
    /// See [`NoCounter`].
    pub fn open_in(folder: &Path) -> Result<Self, NoCounter> {
        let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        let mut zones = Vec::new();
        for path in paths {
            let name = fs::read_to_string(path.join("name")).unwrap_or_default();
            let name = name.trim();
            if !name.starts_with("package") && name != "dram" {
                continue;
            }
            let last = number(&path.join("energy_uj"))?;
            let range = number(&path.join("max_energy_range_uj"))?;
            zones.push(Zone { name: name.to_owned(), path, range, last, sum: 0 });
        }
        if zones.is_empty() {
            return Err(NoCounter::Absent(folder.to_owned()));
        }
        Ok(EnergyCounter { zones })
    }

    /// Joules since the counter was opened. To be called at least once while a counter goes round,
    /// which takes minutes at full load.
    ///
    /// # Errors
    /// A counter that can no longer be read.
    pub fn joules(&mut self) -> Result<f64, NoCounter> {
        for zone in &mut self.zones {
            let now = number(&zone.path.join("energy_uj"))?;
            // The counter has begun again.
            let more = now.checked_sub(zone.last).unwrap_or_else(|| zone.range - zone.last + now);
            zone.sum += more;
            zone.last = now;
        }
        Ok(self.zones.iter().map(|zone| zone.sum as f64 / 1e6).sum())
    }

    /// What is counted: `Linux powercap: package-0, dram`.
    #[must_use]
    pub fn source(&self) -> String {
        let names: Vec<&str> = self.zones.iter().map(|zone| zone.name.as_str()).collect();
        format!("Linux powercap: {}", names.join(", "))
    }
}

fn number(path: &Path) -> Result<u64, NoCounter> {
    let unreadable = |reason: String| NoCounter::Unreadable { path: path.to_owned(), reason };
    let text =
        fs::read_to_string(path).map_err(|error: io::Error| unreadable(error.to_string()))?;
    text.trim().parse().map_err(|_| unreadable(format!("expected a number, got {text:?}")))
}

/// Energy of some work.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Energy {
    /// Joules of the machine while the work went on.
    pub joules: f64,
    /// Watts of the machine before the work.
    pub idle_watts: f64,
    /// Seconds of the work.
    pub seconds: f64,
    /// What was counted.
    pub source: String,
}

impl Energy {
    /// Joules of the work: what the idle machine would have taken is subtracted.
    #[must_use]
    pub fn net_joules(&self) -> f64 {
        self.balance().max(0.0)
    }

    /// The same, below zero where the machine took less than before: differences of balances are
    /// those of the work between them.
    #[must_use]
    pub fn balance(&self) -> f64 {
        self.joules - self.idle_watts * self.seconds
    }
}

/// Measures the energy of work: first the idle machine, then the work.
#[derive(Debug)]
pub struct EnergyMeter {
    counter: EnergyCounter,
    idle_watts: f64,
    start: f64, // joules
    began: Instant,
}

impl EnergyMeter {
    /// Measures the idle machine for a time; then the work begins.
    ///
    /// # Errors
    /// A counter that cannot be read.
    pub fn start(mut counter: EnergyCounter, idle: Duration) -> Result<Self, NoCounter> {
        let (before, began) = (counter.joules()?, Instant::now());
        thread::sleep(idle);
        let seconds = began.elapsed().as_secs_f64().max(1e-9);
        let start = counter.joules()?;
        let idle_watts = (start - before) / seconds;
        Ok(EnergyMeter { counter, idle_watts, start, began: Instant::now() })
    }

    /// The energy since the work began.
    ///
    /// # Errors
    /// A counter that can no longer be read.
    pub fn so_far(&mut self) -> Result<Energy, NoCounter> {
        let seconds = self.began.elapsed().as_secs_f64();
        let joules = self.counter.joules()? - self.start;
        let source = self.counter.source();
        Ok(Energy { joules, idle_watts: self.idle_watts, seconds, source })
    }

    /// Watts of the idle machine.
    #[must_use]
    pub fn idle_watts(&self) -> f64 {
        self.idle_watts
    }

    /// What is counted.
    #[must_use]
    pub fn source(&self) -> String {
        self.counter.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A powercap tree with one package that has a part, memory, and a platform.
    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Self {
            let tree = Tree(tempfile::tempdir().expect("a folder"));
            for (zone, name, energy) in [
                ("intel-rapl:0", "package-0", 900),
                ("intel-rapl:0:0", "core", 500),
                ("intel-rapl:0:1", "dram", 100),
                ("intel-rapl:1", "psys", 5000),
            ] {
                tree.put(zone, "name", name);
                tree.put(zone, "max_energy_range_uj", "1000000000");
                tree.count(zone, energy * 1_000_000);
            }
            std::fs::create_dir(tree.0.path().join("intel-rapl")).expect("the control type");
            tree
        }

        fn put(&self, zone: &str, file: &str, text: &str) {
            let folder = self.0.path().join(zone);
            fs::create_dir_all(&folder).expect("a folder");
            fs::write(folder.join(file), format!("{text}\n")).expect("a file");
        }

        fn count(&self, zone: &str, microjoules: u64) {
            self.put(zone, "energy_uj", &microjoules.to_string());
        }

        fn counter(&self) -> EnergyCounter {
            EnergyCounter::open_in(self.0.path()).expect("a counter")
        }
    }

    #[test]
    fn packages_and_memory_are_counted_once() {
        let tree = Tree::new();
        let mut counter = tree.counter();
        assert_eq!(counter.source(), "Linux powercap: package-0, dram");
        assert_eq!(counter.joules(), Ok(0.0));
        tree.count("intel-rapl:0", 903_500_000);
        tree.count("intel-rapl:0:0", 999_000_000); // part of the package
        tree.count("intel-rapl:0:1", 101_000_000);
        tree.count("intel-rapl:1", 9_999_000_000); // the platform holds both
        assert_eq!(counter.joules(), Ok(4.5));
    }

    #[test]
    fn a_counter_that_begins_again_goes_on() {
        let tree = Tree::new();
        let mut counter = tree.counter();
        tree.count("intel-rapl:0", 50_000_000); // 900 J to the end of 1000 J, and 50 J
        assert_eq!(counter.joules(), Ok(150.0));
        tree.count("intel-rapl:0", 60_000_000);
        assert_eq!(counter.joules(), Ok(160.0));
    }

    #[test]
    fn idle_watts_are_subtracted_and_never_make_less_than_nothing() {
        let energy = Energy { joules: 50.0, idle_watts: 10.0, seconds: 2.0, source: String::new() };
        assert_eq!(energy.net_joules(), 30.0);
        assert_eq!(Energy { joules: 5.0, ..energy }.net_joules(), 0.0);
        let tree = Tree::new();
        let mut meter = EnergyMeter::start(tree.counter(), Duration::ZERO).expect("a meter");
        tree.count("intel-rapl:0:1", 107_000_000);
        let energy = meter.so_far().expect("readable");
        assert_eq!((energy.joules, energy.idle_watts), (7.0, 0.0));
        tree.count("intel-rapl:0", 905_000_000);
        assert_eq!(meter.so_far().expect("readable").joules, 12.0, "the work goes on");
    }

    #[test]
    fn absence_and_refusal_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let absent = EnergyCounter::open_in(&folder.path().join("none")).expect_err("no folder");
        assert!(absent.to_string().starts_with("this machine lists no energy counter in "));
        assert!(EnergyCounter::open_in(folder.path()).is_err(), "an empty folder");
        let tree = Tree::new();
        tree.put("intel-rapl:0", "energy_uj", "many");
        let broken = EnergyCounter::open_in(tree.0.path()).expect_err("no number").to_string();
        assert!(broken.contains("energy_uj") && broken.contains("many"), "{broken}");
        fs::remove_file(tree.0.path().join("intel-rapl:0/energy_uj")).expect("removed");
        let refused = EnergyCounter::open_in(tree.0.path()).expect_err("no file").to_string();
        assert!(refused.contains("cannot be read"), "{refused}");
    }
}
