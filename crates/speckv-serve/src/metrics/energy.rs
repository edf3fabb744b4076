//! Joules of answers, where the machine counts them.

use std::{
    sync::{Mutex, atomic::AtomicU64},
    time::Instant,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use speckv_local::energy::NoCounter;

use super::register::add;
use crate::energy::EnergyAccount;

/// Joules of answers.
pub(super) struct EnergyMetrics {
    account: Mutex<EnergyAccount>,
    joules: Counter<f64, AtomicU64>,
    idle_watts: Gauge<f64, AtomicU64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EnergySource {
    source: String,
}

impl EnergyMetrics {
    /// Registers what is counted, or the reason why nothing is.
    pub(super) fn register(
        registry: &mut Registry,
        counted: Result<EnergyAccount, NoCounter>,
    ) -> Option<Self> {
        let source = add(
            registry,
            "energy_source",
            "1 with what counts energy, or 0 with the reason why nothing does",
            Family::<EnergySource, Gauge>::default(),
        );
        let account = match counted {
            Err(reason) => {
                source.get_or_create(&EnergySource { source: reason.to_string() }).set(0);
                return None;
            }
            Ok(account) => account,
        };
        source.get_or_create(&EnergySource { source: account.source() }).set(1);
        Some(EnergyMetrics {
            account: Mutex::new(account),
            joules: add(
                registry,
                "energy_joules",
                "Joules of the machine while answers were made, above those of the idle machine",
                Counter::default(),
            ),
            idle_watts: add(
                registry,
                "energy_idle_watts",
                "Watts of the machine in its last idle time",
                Gauge::default(),
            ),
        })
    }

    /// A time ended in which answers were made (`busy`) or none was.
    pub(super) fn spent(&self, busy: bool, now: Instant) {
        let Ok(mut account) = self.account.lock() else { return };
        if busy {
            self.joules.inc_by(account.worked(now).unwrap_or(0.0));
        } else if account.idled(now).is_ok() {
            self.idle_watts.set(account.idle_watts().unwrap_or(0.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::Metrics;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an account needs a time to begin at")]
    fn joules_are_counted_or_their_absence_is_stated() {
        let folder = tempfile::tempdir().expect("a folder");
        let zone = folder.path().join("intel-rapl:0");
        std::fs::create_dir(&zone).expect("a folder");
        let put = |file: &str, text: &str| std::fs::write(zone.join(file), text).expect("a file");
        put("name", "package-0");
        put("max_energy_range_uj", "262143328850");
        put("energy_uj", "1000000");
        let start = Instant::now();
        let counter = speckv_local::energy::EnergyCounter::open_in(folder.path());
        let account = EnergyAccount::new(counter.expect("a counter"), start);
        let metrics = Metrics::new().with_energy(account);
        assert!(metrics.counts_energy());
        put("energy_uj", "41000000"); // 40 J in 4 s
        metrics.spent(false, start + Duration::from_secs(4));
        put("energy_uj", "141000000"); // 100 J in 2 s
        metrics.spent(true, start + Duration::from_secs(6));
        let text = metrics.text().expect("text");
        for line in [
            "speckv:energy_source{source=\"Linux powercap: package-0\"} 1",
            "speckv:energy_joules_total 80.0",
            "speckv:energy_idle_watts 10.0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        let absent = NoCounter::Absent("/sys/class/powercap".into());
        let text = Metrics::new().with_energy(Err(absent)).text().expect("text");
        assert!(
            text.contains(
                "source=\"this machine lists no energy counter in /sys/class/powercap\"} 0"
            ) && !text.contains("energy_joules"),
            "{text}"
        );
    }
}
