//! How much memory this process can still get: what the machine has left, and what its control
//! groups allow.

#![cfg_attr(target_os = "macos", allow(dead_code, reason = "the files are those of Linux"))]

use std::{fs, path::Path};

/// The files of a control group, and what its `memory.stat` calls pages of files, which the system
/// takes back before it refuses anything.
struct Names {
    limit: &'static str,
    usage: &'static str,
    files: [&'static str; 2],
}

const VERSION_2: Names =
    Names { limit: "memory.max", usage: "memory.current", files: ["inactive_file", "active_file"] };
const VERSION_1: Names = Names {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    files: ["total_inactive_file", "total_active_file"],
};

/// Bytes that this process can get without swapping: the least of what Linux estimates for the
/// machine and what each control group has left; on macOS what the system states as free. `None`
/// where nothing says so.
#[must_use]
pub fn available() -> Option<u64> {
    #[cfg(target_os = "macos")]
    return speckv_cpu::memory::available();
    #[cfg(not(target_os = "macos"))]
    available_in(Path::new("/"))
}

/// As [`available`], with `proc` and `sys` under `root`.
fn available_in(root: &Path) -> Option<u64> {
    let machine =
        fs::read_to_string(root.join("proc/meminfo")).ok().and_then(|text| machine(&text));
    machine.into_iter().chain(groups(root)).min()
}

fn machine(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// What each control group of this process has left, its parents included: a limit binds everything
/// below it. In a container the groups' paths are often those of the machine outside; the folder of
/// the mount is then the container's own.
fn groups(root: &Path) -> Vec<u64> {
    let text = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mut rooms = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (mount, names) = match controllers {
            "" => (root.join("sys/fs/cgroup"), VERSION_2),
            list if list.split(',').any(|name| name == "memory") => {
                (root.join("sys/fs/cgroup/memory"), VERSION_1)
            }
            _ => continue,
        };
        let folders =
            Path::new(path.trim_start_matches('/')).ancestors().map(|folder| mount.join(folder));
        rooms.extend(folders.filter_map(|folder| room(&folder, &names)));
    }
    rooms
}

/// Bytes that a group may still take; `None` where it has no limit.
fn room(folder: &Path, names: &Names) -> Option<u64> {
    let number =
        |name: &str| fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
    let limit = number(names.limit)?; // "max" is none
    let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let of_files = |line: &str| {
        let (name, bytes) = line.split_once(' ')?;
        names.files.contains(&name).then(|| bytes.parse::<u64>().ok()).flatten()
    };
    let files = stat.lines().filter_map(of_files).fold(0, u64::saturating_add);
    Some(limit.saturating_sub(number(names.usage).unwrap_or(0).saturating_sub(files)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with these files.
    fn machine_with(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().expect("inside")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        available_in(root.path())
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal: 9 kB\nMemAvailable:   1000 kB\n");

    #[test]
    fn available_memory_is_read_as_linux_writes_it() {
        assert_eq!(machine_with(&[MEMINFO]), Some(1000 * 1024));
        assert_eq!(machine_with(&[("proc/meminfo", "MemTotal: 9 kB\n")]), None);
        assert_eq!(machine_with(&[("proc/meminfo", "MemAvailable: much\n")]), None);
        assert_eq!(machine_with(&[]), None);
    }

    #[test]
    fn a_group_has_its_limit_less_what_it_uses_but_for_pages_of_files() {
        let files = [
            MEMINFO,
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/b/memory.max", "500000\n"),
            ("sys/fs/cgroup/a/b/memory.current", "300000\n"),
            (
                "sys/fs/cgroup/a/b/memory.stat",
                "anon 7\nfile 9\ninactive_file 50000\nactive_file 20000\n",
            ),
        ];
        assert_eq!(machine_with(&files), Some(500_000 - (300_000 - 70_000)));
        let with = |more: &[(&'static str, &'static str)]| machine_with(&[&files, more].concat());
        assert_eq!(
            with(&[("sys/fs/cgroup/a/memory.max", "90000")]),
            Some(90_000),
            "a parent's limit binds"
        );
        assert_eq!(
            with(&[("sys/fs/cgroup/a/memory.max", "max")]),
            Some(270_000),
            "max is no limit"
        );
        assert_eq!(with(&[("sys/fs/cgroup/a/b/memory.max", "max")]), Some(1000 * 1024));
        assert_eq!(
            with(&[("sys/fs/cgroup/a/b/memory.current", "900000")]),
            Some(0),
            "never below nothing"
        );
    }

    #[test]
    fn groups_of_the_first_version_count_where_memory_is_theirs() {
        let files = [
            MEMINFO,
            ("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/1\n0::/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "400000"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "100000"),
            ("sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 30000\n"),
        ];
        assert_eq!(machine_with(&files), Some(330_000));
        let unlimited = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712");
        assert_eq!(machine_with(&[&files[..], &[unlimited]].concat()), Some(1000 * 1024));
    }
}
