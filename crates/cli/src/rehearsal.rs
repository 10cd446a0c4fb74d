//! Grammars of strangers, compiled in a process of their own that the operating system limits.
//!
//! The program calls itself with a hidden command, which takes a grammar from stdin, sets its own
//! limits, compiles, and tells what that took.

use std::{
    fs,
    io::{Read as _, Write as _},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    process::{Resource, Rlimit, setrlimit},
    time::{ClockId, clock_gettime},
};
use tally_core::{
    cbor::Cbor as _,
    computation::{Controls, Grammar},
};
use tally_engine::grammar;
use tally_server::rehearsal::{Rehearsal, Rehearsed};

use crate::command::Verdict;

/// Name of the hidden command.
pub(crate) const COMMAND: &str = "rehearse-grammar";
/// Most bytes of a grammar with what surrounds it.
const INPUT_BYTES_MAX: u64 = 1 << 20;
/// Most time of a processor.
const SECONDS_MAX: u64 = 3;
/// Most memory, of which the program itself and a stack to compile on take some 500 MiB of addresses.
const ADDRESS_BYTES_MAX: u64 = 1280 << 20;
/// Most bytes of what the process tells.
const TOLD_BYTES_MAX: u64 = 4096;

/// Compiles in a process of its own.
#[derive(Debug)]
pub(crate) struct InChild;

impl Rehearsal for InChild {
    fn rehearse(&self, grammar: &Grammar) -> Result<Rehearsed, String> {
        rehearse(grammar).map_err(|error| format!("{error:#}"))
    }
}

/// Compiles a grammar in a process of its own.
pub(crate) fn rehearse(grammar: &Grammar) -> Result<Rehearsed> {
    let failed = "cannot start a process to compile the grammar in";
    // The program that runs, even if its file was replaced meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command.arg(COMMAND).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().context(failed)?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let input = Controls { grammar: Some(grammar.clone()), ..Controls::default() }.encode();
    // A process that is gone already says why by its end.
    let _ = stdin.map(|mut stdin| stdin.write_all(&input));
    let mut told = String::new();
    let reading = stdout.map(|stdout| stdout.take(TOLD_BYTES_MAX).read_to_string(&mut told));
    let status = child.wait().context(failed)?;
    reading.transpose().context(failed)?;
    match status.code() {
        Some(0) => read_told(&told),
        Some(1) => Err(anyhow::anyhow!("{}", told.trim_end())),
        _ => Err(anyhow::anyhow!(
            "the grammar is too complex: compiling it takes more than {SECONDS_MAX} s or {} MiB",
            ADDRESS_BYTES_MAX >> 20
        )),
    }
}

fn read_told(told: &str) -> Result<Rehearsed> {
    let mut words = told.split_whitespace();
    let mut number = || words.next().and_then(|word| word.parse().ok()).context("it tells nothing");
    let (memory_bytes, time) = (number()?, Duration::from_micros(number()?));
    Ok(Rehearsed { memory_bytes, time })
}

/// The hidden command: the other end of [`rehearse`].
pub(crate) fn run() -> Result<Verdict> {
    limit(Resource::Cpu, SECONDS_MAX)?;
    limit(Resource::As, ADDRESS_BYTES_MAX)?;
    limit(Resource::Core, 0)?;
    let mut input = vec![];
    std::io::stdin().lock().take(INPUT_BYTES_MAX).read_to_end(&mut input)?;
    let grammar = Controls::parse(&input)?.grammar.context("there is no grammar")?;
    let before = peak_bytes()?;
    let outcome = grammar::rehearse(&grammar);
    let memory = peak_bytes()?.saturating_sub(before);
    let mut stdout = std::io::stdout().lock();
    match outcome {
        Ok(()) => {
            writeln!(stdout, "{memory} {}", processor_micros()?)?;
            Ok(Verdict::Satisfied)
        }
        Err(error) => {
            writeln!(stdout, "{error}")?;
            Ok(Verdict::NotSatisfied)
        }
    }
}

fn limit(resource: Resource, value: u64) -> Result<()> {
    setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })
        .context("cannot limit this process")
}

/// The most memory that this process has had.
fn peak_bytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let size = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: u64 = size.context("the system tells no memory")?.trim().parse()?;
    Ok(kib * 1024)
}

/// Time of a processor that this process has had.
fn processor_micros() -> Result<u64> {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    ensure!(time.tv_sec >= 0 && time.tv_nsec >= 0, "the system tells no time");
    Ok(u64::try_from(time.tv_sec)? * 1_000_000 + u64::try_from(time.tv_nsec)? / 1_000)
}
