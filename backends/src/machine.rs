//! How much memory there is: the machine's, or what its container leaves of it.

/// Where nothing can be asked: wasm32 has an address space of 4 GiB at most, and hosts that give less do not say so.
const UNKNOWN: u64 = if cfg!(target_family = "wasm") { 256 << 20 } else { 2 << 30 };

/// Memory that this process may use, in bytes: the machine's, or less where a control group (version 1 or 2) limits it.
///
/// On systems that cannot be asked a fixed number stands in: 256 MiB under WASI, else 2 GiB.
///
/// ```
/// assert!(halite_backends::machine_memory() >= 16 << 20);
/// ```
pub fn machine_memory() -> u64 {
    system::memory().unwrap_or(UNKNOWN)
}

#[cfg(target_os = "linux")]
mod system {
    use std::path::{Path, PathBuf};

    /// Where control groups are, by custom.
    const GROUPS: &str = "/sys/fs/cgroup";

    pub(super) fn memory() -> Option<u64> {
        let of_machine = total(&read(Path::new("/proc/meminfo"))?)?;
        let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
        let limits = limit_files(&groups).into_iter().filter_map(|file| limit(&read(&file)?));
        Some(limits.fold(of_machine, u64::min))
    }

    fn read(path: &Path) -> Option<String> {
        std::fs::read_to_string(path).ok()
    }

    /// The bytes that `/proc/meminfo` calls `MemTotal`, which it gives in KiB.
    pub(super) fn total(meminfo: &str) -> Option<u64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    }

    /// The bytes in a group's file of limits; `None` where it says `max` (version 2), or more than there ever is
    /// (version 1 has no word for it).
    pub(super) fn limit(file: &str) -> Option<u64> {
        file.trim().parse().ok().filter(|&bytes: &u64| bytes < 1 << 60)
    }

    /// The files that may limit a process of these groups, as `/proc/self/cgroup` lists them: those of each group and of
    /// all above it. Inside a container the list may name groups that only the host sees; then the top one is ours.
    pub(super) fn limit_files(groups: &str) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for line in groups.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { continue };
            let (top, name) = match controllers {
                "" => (PathBuf::from(GROUPS), "memory.max"),
                some if some.split(',').any(|one| one == "memory") => {
                    (Path::new(GROUPS).join("memory"), "memory.limit_in_bytes")
                }
                _ => continue,
            };
            let group = top.join(group.trim_start_matches('/'));
            files.extend(group.ancestors().take_while(|above| above.starts_with(&top)).map(|above| above.join(name)));
        }
        files
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub(super) fn memory() -> Option<u64> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::system::{limit, limit_files, total};
    use std::path::PathBuf;

    #[test]
    fn what_the_machine_says() {
        assert_eq!(total("MemTotal:       24689300 kB\nMemFree:  1 kB\n"), Some(24_689_300 << 10));
        assert_eq!(total("MemFree: 1 kB\n"), None);
        assert_eq!(total("MemTotal: much kB"), None);
    }

    #[test]
    fn what_a_group_says() {
        assert_eq!(limit("67108864\n"), Some(64 << 20));
        assert_eq!(limit("max\n"), None);
        assert_eq!(limit("9223372036854771712\n"), None);
        assert_eq!(limit(""), None);
    }

    #[test]
    fn all_groups_above_count() {
        let files = limit_files("0::/user.slice/run-1.scope\n");
        let expected = ["user.slice/run-1.scope/", "user.slice/", ""];
        assert_eq!(files, expected.map(|group| PathBuf::from(format!("/sys/fs/cgroup/{group}memory.max"))));
        let files = limit_files("5:cpu,memory:/docker/ab\n4:cpuset:/x\nnonsense\n");
        let expected = ["docker/ab/", "docker/", ""];
        let file = |group| PathBuf::from(format!("/sys/fs/cgroup/memory/{group}memory.limit_in_bytes"));
        assert_eq!(files, expected.map(file));
    }
}
