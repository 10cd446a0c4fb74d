//! What compiling a grammar takes, found out before this process does it.

use std::{fmt, time::Duration};

use tally_core::computation::Grammar;

/// Most memory that the grammars of one request take together.
const MEMORY_BYTES_MAX: u64 = 512 << 20;
/// Most time that compiling them takes together.
const TIME_MAX: Duration = Duration::from_secs(10);

/// Compiles a grammar where it can do no harm.
///
/// Some grammars take minutes and gigabytes to compile, and nothing within a process can stop it.
pub trait Rehearsal: fmt::Debug + Send + Sync + 'static {
    /// Compiles it, forgets the result and says what it took.
    ///
    /// # Errors
    /// Why the grammar is refused, in words for the client.
    fn rehearse(&self, grammar: &Grammar) -> Result<Rehearsed, String>;
}

/// What compiling a grammar took.
#[derive(Clone, Copy, Debug)]
pub struct Rehearsed {
    /// Memory at its peak.
    pub memory_bytes: u64,
    /// Time of a processor.
    pub time: Duration,
}

impl Rehearsed {
    /// Whether as many outputs can each have the grammar compiled for them.
    pub(crate) fn require_for(self, outputs: usize) -> Result<(), String> {
        let outputs = u32::try_from(outputs).unwrap_or(u32::MAX);
        let memory_bytes = self.memory_bytes.saturating_mul(outputs.into());
        let time = self.time.saturating_mul(outputs);
        if memory_bytes <= MEMORY_BYTES_MAX && time <= TIME_MAX {
            return Ok(());
        }
        Err(format!(
            "the grammar is too complex for {outputs} answers: it takes {} MiB and {} ms, the limits are {} MiB and {} ms",
            memory_bytes >> 20,
            time.as_millis(),
            MEMORY_BYTES_MAX >> 20,
            TIME_MAX.as_millis()
        ))
    }
}
