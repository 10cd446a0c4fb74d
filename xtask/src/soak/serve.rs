//! `cargo xtask soak serve` and `restart`: a node under load, and a node that is killed under load.
//!
//! The load is of real clients (`xtask/python/load.py`): they stream, leave, read slowly, send too
//! much and send nonsense. Every answer that came whole must replay; memory must stay flat; what a
//! client was told of must be there after a kill.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::clients::PYTHON;
use crate::process::memory_now_bytes;
use crate::python;
use crate::repo::{Repo, stdout};
use crate::tally::Tally;

const LOAD: &str = "xtask/python/load.py";
/// How much more memory the last quarter of a run may take than the second, in thousandths and bytes.
const GROWTH_PER_MILLE_MAX: u64 = 1_100;
const GROWTH_BYTES_MAX: u64 = 32 << 20;
/// Clients of a node that is killed.
const KILLED_CLIENTS: &str = "50";

/// Loads a node for a while; says what came of it.
pub(super) fn load(repo: &Repo, seconds: u64, clients: u32) -> Result<String> {
    let tally = Tally::build(repo)?;
    let python = python::environment(repo, "clients", PYTHON)?;
    // Kept prefixes would fill a larger cache during the whole run: memory is flat once it is full.
    let node = tally.start(&["serve", "--listen", "127.0.0.1:0", "--cache-mib", "16"])?;
    let folder = tempfile::tempdir()?;
    let is_done = Arc::new(AtomicBool::new(false));
    let (watched, process) = (Arc::clone(&is_done), node.id());
    let watching = std::thread::spawn(move || watch_memory(process, &watched));
    let mut load = Command::new(&python);
    load.arg(repo.root().join(LOAD)).arg(&node.url).arg(folder.path());
    let told = stdout(load.args([seconds.to_string(), clients.to_string()]))?;
    is_done.store(true, Ordering::Relaxed);
    let memory = watching.join().map_err(|_| anyhow::anyhow!("the watcher of memory failed"))??;
    let told: Value = serde_json::from_str(told.trim())?;
    ensure!(told["failures"] == serde_json::json!([]), "{told}");
    node.stop()?;
    let count = tally.judge(folder.path())?;
    ensure!(count > 0, "no answer came whole");
    let fsck = tally.command().args(["log", "fsck"]).stdout(Stdio::null()).status()?;
    ensure!(fsck.success(), "fsck of the log finds a fault");
    let (early, late) = flat(&memory)?;
    Ok(format!(
        "{}, {} receipts, {count} of them verified and replayed, memory {} MiB then {} MiB",
        told["counts"],
        told["receipts"],
        early >> 20,
        late >> 20
    ))
}

/// Resident memory of a process in bytes, twice a second.
fn watch_memory(process: u32, is_done: &AtomicBool) -> Result<Vec<u64>> {
    let mut samples = vec![];
    while !is_done.load(Ordering::Relaxed) {
        samples.push(memory_now_bytes(&process.to_string())?);
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok(samples)
}

/// The means of the second and the last quarter, if they do not differ by more than is allowed.
fn flat(samples: &[u64]) -> Result<(u64, u64)> {
    let quarter = samples.len() / 4;
    ensure!(quarter > 0, "the run is too short to tell whether memory is flat");
    let mean = |part: &[u64]| part.iter().sum::<u64>() / part.len() as u64;
    let (early, late) = (mean(&samples[quarter..2 * quarter]), mean(&samples[3 * quarter..]));
    let limit = early * GROWTH_PER_MILLE_MAX / 1000 + GROWTH_BYTES_MAX;
    ensure!(late <= limit, "memory grows: {early} bytes, later {late} bytes");
    Ok((early, late))
}

/// Kills a node under load, again and again; nothing that a client was told of may be missing.
pub(super) fn restart(repo: &Repo, rounds: u64) -> Result<String> {
    let tally = Tally::build(repo)?;
    let python = python::environment(repo, "clients", PYTHON)?;
    let mut count = 0;
    for round in 0..rounds {
        let folder = tempfile::tempdir()?;
        let node = tally.start(&["serve", "--listen", "127.0.0.1:0"])?;
        let mut load = Command::new(&python);
        load.arg(repo.root().join(LOAD)).arg(&node.url).arg(folder.path());
        load.args(["120", KILLED_CLIENTS, "--until-gone"]).stdout(Stdio::null());
        let mut load = load.spawn()?;
        // Another moment each time, after the first answers.
        wait_for_first(folder.path())?;
        std::thread::sleep(Duration::from_millis(200 + 97 * (round % 17)));
        node.kill()?;
        load.wait()?;
        let node = tally.start(&["serve", "--listen", "127.0.0.1:0"])?;
        let ids = fs::read_to_string(folder.path().join("ids"))?;
        for id in ids.lines() {
            require_receipt(&node.url, id).with_context(|| format!("round {round}"))?;
            count += 1;
        }
        tally.judge(folder.path()).with_context(|| format!("round {round}"))?;
        node.stop()?;
        eprint!("\rrestart: round {} of {rounds}, {count} receipts", round + 1);
    }
    eprintln!();
    let fsck = tally.command().args(["log", "fsck"]).stdout(Stdio::null()).status()?;
    ensure!(fsck.success(), "fsck of the log finds a fault");
    Ok(format!("{count} receipts told of, none missing after the restart"))
}

/// Waits until some client was told of a receipt.
fn wait_for_first(folder: &Path) -> Result<()> {
    for _ in 0..600 {
        if folder.join("ids").exists() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    anyhow::bail!("no client was told of a receipt within 30 s")
}

fn require_receipt(url: &str, id: &str) -> Result<()> {
    let address = format!("{url}/v1/receipts/{id}");
    let mut curl = Command::new("curl");
    let status = curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", &address]).output()?;
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    ensure!(status == "200", "receipt {id} is missing after the restart: status {status}");
    Ok(())
}
