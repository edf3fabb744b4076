//! Linux's counters of processor packages and memory.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::NoCounter;

/// One counter: microjoules that begin again at 0 after a maximum.
#[derive(Debug, Clone)]
struct Zone {
    name: String,
    path: PathBuf,
    range: u64, // microjoules
    last: u64,  // microjoules
    sum: u64,   // microjoules since the counter was opened
}

/// The counters that are counted, at least one.
#[derive(Debug, Clone)]
pub(super) struct Zones(Vec<Zone>);

impl Zones {
    /// Those in a folder that is laid out as Linux's powercap.
    pub(super) fn open_in(folder: &Path) -> Result<Self, NoCounter> {
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
        Ok(Zones(zones))
    }

    /// Joules since they were opened.
    pub(super) fn joules(&mut self) -> Result<f64, NoCounter> {
        for zone in &mut self.0 {
            let now = number(&zone.path.join("energy_uj"))?;
            // The counter has begun again.
            let more = now.checked_sub(zone.last).unwrap_or_else(|| zone.range - zone.last + now);
            zone.sum += more;
            zone.last = now;
        }
        Ok(self.0.iter().map(|zone| zone.sum as f64 / 1e6).sum())
    }

    pub(super) fn names(&self) -> String {
        let names: Vec<&str> = self.0.iter().map(|zone| zone.name.as_str()).collect();
        names.join(", ")
    }
}

fn number(path: &Path) -> Result<u64, NoCounter> {
    let unreadable = |reason: String| NoCounter::Unreadable { path: path.to_owned(), reason };
    let text =
        fs::read_to_string(path).map_err(|error: io::Error| unreadable(error.to_string()))?;
    text.trim().parse().map_err(|_| unreadable(format!("expected a number, got {text:?}")))
}
