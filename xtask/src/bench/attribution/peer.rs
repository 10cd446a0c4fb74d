//! infini-gram as a child process, over the same documents in the same order.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::texts::Texts;
use crate::python;
use crate::repo::{Repo, run};

const SCRIPT: &str = "xtask/bench/peer_index.py";
const REQUIREMENTS: &str = "xtask/python/infini_gram.txt";

/// infini-gram with its index open.
pub(super) struct InfiniGram {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// How long its index took to build, from texts that were laid out for it.
    pub(super) build: Duration,
    /// Bytes of its index.
    pub(super) bytes: u64,
}

impl InfiniGram {
    /// Builds its index and opens it.
    pub(super) fn start(repo: &Repo, work: &Path, texts: &Texts) -> Result<Self> {
        let interpreter = python::environment(repo, "infini-gram", REQUIREMENTS)?;
        let interpreter = interpreter.to_str().context("the path is not UTF-8")?;
        let folder = work.join("infini-gram");
        fs::create_dir(&folder)?;
        lay_out(texts, &folder)?;
        let started = Instant::now();
        run(repo.command(interpreter).arg(SCRIPT).arg("build").arg(&folder).stdout(Stdio::null()))?;
        let build = started.elapsed();
        let sizes = fs::read_dir(&folder)?.map(|entry| Ok(entry?.metadata()?.len()));
        let bytes = sizes.sum::<Result<u64>>()?;
        let mut command = repo.command(interpreter);
        command.arg(SCRIPT).arg("serve").arg(&folder).stderr(Stdio::null());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let requests = child.stdin.take().context("no standard input")?;
        let answers = BufReader::new(child.stdout.take().context("no standard output")?);
        Ok(Self { child, requests, answers, build, bytes })
    }

    /// One number for each query, and how long all took inside the process.
    pub(super) fn ask(&mut self, act: &str, queries: &[&[u8]]) -> Result<(Duration, Vec<i64>)> {
        let mut line = act.to_owned();
        for query in queries {
            line.push(' ');
            query.iter().try_for_each(|byte| write!(line, "{byte:02x}"))?;
        }
        writeln!(self.requests, "{line}")?;
        line.clear();
        self.answers.read_line(&mut line)?;
        let mut numbers = line.split_whitespace();
        let time =
            Duration::from_nanos(numbers.next().context("infini-gram ended early")?.parse()?);
        let numbers = numbers.map(|number| Ok(number.parse()?)).collect::<Result<Vec<i64>>>()?;
        ensure!(
            numbers.len() == queries.len(),
            "infini-gram answers {} of {}",
            numbers.len(),
            queries.len()
        );
        Ok((time, numbers))
    }
}

impl Drop for InfiniGram {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The results of its first step: every document after a separator, and where each begins.
fn lay_out(texts: &Texts, folder: &Path) -> Result<()> {
    let file = |name: &str| fs::File::create(folder.join(name)).map(BufWriter::new);
    let (mut tokens, mut offsets) = (file("tokenized.0")?, file("offset.0")?);
    let mut offset = 0_u64;
    for text in texts.registered() {
        offsets.write_all(&offset.to_le_bytes())?;
        tokens.write_all(&[0xff])?;
        tokens.write_all(text.as_bytes())?;
        offset += text.len() as u64 + 1;
    }
    tokens.flush()?;
    offsets.flush()?;
    Ok(())
}
