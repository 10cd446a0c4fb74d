//! What a gate found wrong: collected to the end, so that one run shows everything.

use std::fmt::Display;

use anyhow::{Result, bail};

/// The findings of one gate.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<String>);

impl Findings {
    /// Notes one finding; it should begin with the place that it is about.
    pub(crate) fn add(&mut self, finding: impl Display) {
        self.0.push(finding.to_string());
    }

    /// The findings so far.
    #[cfg(test)]
    pub(crate) fn lines(&self) -> &[String] {
        &self.0
    }

    /// Prints every finding, sorted, and fails if there is one.
    pub(crate) fn end(mut self, gate: &str) -> Result<()> {
        self.0.sort();
        self.0.dedup();
        for line in &self.0 {
            eprintln!("{gate}: {line}");
        }
        match self.0.len() {
            0 => Ok(()),
            count => bail!("{gate}: {count} findings"),
        }
    }
}
