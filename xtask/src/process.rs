//! What the system tells of a process; `self` is this one.

use std::{fs, thread, time::Duration};

use anyhow::{Context as _, Result};

/// Bytes of memory that a process has had at most.
pub(crate) fn memory_peak_bytes(process: &str) -> Result<u64> {
    memory_bytes(process, "VmHWM:")
}

/// Bytes of memory that a process has now.
pub(crate) fn memory_now_bytes(process: &str) -> Result<u64> {
    memory_bytes(process, "VmRSS:")
}

fn memory_bytes(process: &str, field: &str) -> Result<u64> {
    let path = format!("/proc/{process}/status");
    let status = fs::read_to_string(&path).context(path)?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let line = line.with_context(|| format!("the system tells no {field} of process {process}"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

/// Processor time that a process has taken, in hundredths of a second; `self` is this one.
pub(crate) fn processor_ticks(process: &str) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The program's name, in brackets, may hold spaces; user and system time are fields 14 and 15
    // of proc(5), of which two stand before the rest.
    let (_, fields) = stat.rsplit_once(')').context("the system tells nothing of the process")?;
    let field = |at: usize| -> Result<u64> {
        Ok(fields.split_whitespace().nth(at).context("a field is missing")?.parse()?)
    };
    Ok(field(11)? + field(12)?)
}

/// Processor time, in hundredths of a second, that this process takes in one second of waiting.
pub(crate) fn idle_ticks() -> Result<u64> {
    let before = processor_ticks("self")?;
    thread::sleep(Duration::from_secs(1));
    Ok(processor_ticks("self")? - before)
}
