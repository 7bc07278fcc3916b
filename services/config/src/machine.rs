//! How much memory there is: the smaller of what the machine has and what the process's cgroup allows.

use std::path::Path;

/// Where nothing can be learnt.
const UNKNOWN: u64 = 4 << 30;
/// Control groups without a limit say a number near this, or more.
const NO_LIMIT: u64 = 1 << 60;

/// Half of the memory that there is. Bytes. The other half is for the page cache, which the store lives on, and for others.
#[must_use]
pub fn default_memory_total() -> u64 {
    memory_under(Path::new("/")).unwrap_or(UNKNOWN) / 2
}

/// The memory that there is, by the files under a root directory; `None` where they say nothing.
fn memory_under(root: &Path) -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    let machine = read("proc/meminfo").and_then(|text| of_machine(&text));
    let groups = read("proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(&groups).into_iter().filter_map(|path| limit(&read(&path)?));
    limits.chain(machine).min()
}

/// What /proc/meminfo says.
fn of_machine(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Where limits of a process may stand that is in these groups: of its own group and of all around it, in both versions.
/// Inside a container the process's own path may not be there, and the limit stands at the root.
fn limit_files(groups: &str) -> Vec<String> {
    let mut files =
        vec!["sys/fs/cgroup/memory.max".to_owned(), "sys/fs/cgroup/memory/memory.limit_in_bytes".to_owned()];
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (mount, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            of if of.split(',').any(|controller| controller == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let path = path.trim_matches('/');
        let ends = path.char_indices().filter(|(_, letter)| *letter == '/').map(|(at, _)| at).chain([path.len()]);
        files.extend(ends.filter(|end| *end > 0).map(|end| format!("{mount}/{}/{file}", &path[..end])));
    }
    files
}

/// What a limit's file says; `None` for no limit.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse::<u64>().ok().filter(|bytes| *bytes < NO_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_counts() {
        const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:       16777216 kB\nMemFree: 1 kB\n");
        let v1 = ("proc/self/cgroup", "3:cpu,cpuacct:/a\n2:memory:/a/b\n");
        let v2 = ("proc/self/cgroup", "0::/a/b\n");
        type Case<'a> = (&'a [(&'a str, &'a str)], Option<u64>);
        let cases: &[Case<'_>] = &[
            (&[], None),
            (&[MEMINFO], Some(16 << 30)),
            (&[MEMINFO, ("sys/fs/cgroup/memory.max", "max\n")], Some(16 << 30)),
            (&[MEMINFO, ("sys/fs/cgroup/memory.max", "536870912\n")], Some(512 << 20)),
            (&[MEMINFO, v2, ("sys/fs/cgroup/a/memory.max", "1048576\n")], Some(1 << 20)),
            (&[MEMINFO, v2, ("sys/fs/cgroup/a/b/memory.max", "2097152\n")], Some(2 << 20)),
            (&[MEMINFO, v1, ("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "4194304\n")], Some(4 << 20)),
            (&[MEMINFO, v1, ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")], Some(16 << 30)),
        ];
        for (files, expected) in cases {
            let root = tempfile::tempdir().unwrap();
            for (path, text) in *files {
                let path = root.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            assert_eq!(memory_under(root.path()), *expected, "{files:?}");
        }
    }
}
