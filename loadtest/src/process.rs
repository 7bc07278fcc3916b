//! CPU time and memory of a process, from `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// Clock ticks per second in `/proc/<pid>/stat`: fixed at 100 in the kernel's interface to user space.
const TICKS_PER_SECOND: u64 = 100;

/// CPU time used so far, user and system, by all threads.
pub fn cpu(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    parse_cpu(&text).with_context(|| format!("no CPU times in {path}"))
}

/// The fields are counted from behind the command, which may hold spaces and brackets of its own.
fn parse_cpu(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 1000 / TICKS_PER_SECOND))
}

/// Resident memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Now, in KiB.
    pub resident_kib: u64,
    /// The most there ever was, in KiB.
    pub peak_kib: u64,
}

/// The resident memory of a process.
pub fn memory(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let field = |name: &str| -> Option<u64> {
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse().ok())
    };
    let (resident, peak) = (field("VmRSS:"), field("VmHWM:"));
    let (Some(resident_kib), Some(peak_kib)) = (resident, peak) else {
        anyhow::bail!("no VmRSS or VmHWM in {path}");
    };
    Ok(Memory { resident_kib, peak_kib })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_any_command() {
        let stat = "7 (a (odd) name) S 1 1 1 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 8 0 1 1 1";
        assert_eq!(parse_cpu(stat), Some(Duration::from_secs(3)));
    }

    #[test]
    fn this_process_has_memory_and_a_peak_of_at_least_that() {
        let memory = memory(std::process::id()).unwrap();
        assert!(memory.resident_kib > 0 && memory.peak_kib >= memory.resident_kib / 2);
    }
}
