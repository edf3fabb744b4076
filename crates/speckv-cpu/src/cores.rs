//! Cores that kernels run on by default.

use std::num::NonZeroUsize;
#[cfg(any(test, not(target_os = "macos")))]
use std::path::Path;

/// Number of threads for models where none is asked for: one per core that this process may use,
/// on machines with two kinds of cores one per performance core.
///
/// A section of a pass ends when its last task does. A thread on an efficiency core, several times
/// slower, would make the others wait. What counts as a performance core:
///
/// - macOS: the logical cores of performance level 0 (`hw.perflevel0.logicalcpu`).
/// - Linux: cores with at least half of the largest `cpu_capacity` that the kernel states.
/// - Elsewhere, or where the system states nothing: every core.
#[must_use]
pub fn default_threads() -> NonZeroUsize {
    let allowed = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    performance_cores().map_or(allowed, |fast| fast.min(allowed))
}

/// Performance cores of the machine, where the system distinguishes kinds of cores.
#[cfg(target_os = "macos")]
fn performance_cores() -> Option<NonZeroUsize> {
    // A Mac with one kind of cores does not state it.
    NonZeroUsize::new(usize::try_from(crate::sysctl::number(c"hw.perflevel0.logicalcpu")?).ok()?)
}

/// As above.
#[cfg(not(target_os = "macos"))]
fn performance_cores() -> Option<NonZeroUsize> {
    fast_cores_in(Path::new("/sys/devices/system/cpu"))
}

/// Cores below `folder` (`cpu0`, `cpu1`, ...) with at least half of the largest capacity; `None`
/// where no capacity is stated.
#[cfg(any(test, not(target_os = "macos")))]
fn fast_cores_in(folder: &Path) -> Option<NonZeroUsize> {
    let capacity = |entry: std::fs::DirEntry| {
        let name = entry.file_name();
        name.to_str()?.strip_prefix("cpu")?.parse::<u32>().ok()?;
        let text = std::fs::read_to_string(entry.path().join("cpu_capacity")).ok()?;
        text.trim().parse::<u64>().ok()
    };
    let capacities: Vec<u64> =
        std::fs::read_dir(folder).ok()?.flatten().filter_map(capacity).collect();
    let largest = *capacities.iter().max()?;
    NonZeroUsize::new(capacities.iter().filter(|&&capacity| 2 * capacity >= largest).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fast_of(capacities: &[&str]) -> Option<usize> {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("cpufreq")).expect("a folder that is no core");
        for (core, capacity) in capacities.iter().enumerate() {
            let path = folder.path().join(format!("cpu{core}"));
            std::fs::create_dir(&path).expect("a folder");
            std::fs::write(path.join("cpu_capacity"), capacity).expect("a file");
        }
        fast_cores_in(folder.path()).map(NonZeroUsize::get)
    }

    #[test]
    fn little_cores_do_not_count_and_middle_ones_do() {
        assert_eq!(fast_of(&["446\n"; 4]), Some(4));
        assert_eq!(fast_of(&["446\n", "446\n", "1024\n", "1024\n"]), Some(2));
        assert_eq!(fast_of(&["250", "250", "250", "871", "871", "1024"]), Some(3));
        assert_eq!(fast_of(&["unknown"]), None);
        assert_eq!(fast_of(&[]), None);
    }

    #[test]
    fn the_default_is_at_most_what_the_process_may_use() {
        let allowed = std::thread::available_parallelism().expect("a number of cores");
        assert!(default_threads() <= allowed);
    }
}
