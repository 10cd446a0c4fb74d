//! llama.cpp as a child process: built from the package index's source into a virtual environment.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// What is built, with the instructions of this machine; the GNU compiler of Debian 12 otherwise
/// removes the stores to the tile configuration, and llama.cpp ends on the first large batch.
const CMAKE_ARGUMENTS: &str = "-DGGML_NATIVE=ON -DCMAKE_CXX_FLAGS='-fno-tree-dse -fno-dse'";
const PACKAGES: [&str; 2] = ["llama-cpp-python==0.3.36", "gguf==0.19.0"];

/// The environment's interpreter; builds the environment first where it is not there.
pub(crate) fn python(folder: &Path) -> Result<PathBuf> {
    let python = folder.join("bin/python");
    let has_llama = |python: &Path| {
        let mut command = Command::new(python);
        command.args(["-c", "import llama_cpp, gguf"]).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !has_llama(&python) {
        eprintln!("building llama.cpp in {}: ten minutes and more", folder.display());
        run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        let mut install = Command::new(folder.join("bin/pip"));
        install.args(["install", "--quiet", "--no-binary", "llama-cpp-python"]).args(PACKAGES);
        run(install.env("CMAKE_ARGS", CMAKE_ARGUMENTS))?;
    }
    Ok(python)
}

/// Runs a command that must succeed.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}

/// llama.cpp with one model in memory.
pub(crate) struct Llama {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// The instructions that it was built for.
    pub(crate) system: String,
}

impl Llama {
    pub(crate) fn start(python: &Path, script: &Path, model: &Path) -> Result<Self> {
        let mut command = Command::new(python);
        command.arg(script).arg(model).stderr(Stdio::null());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let requests = child.stdin.take().context("no standard input")?;
        let answers = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut llama = Self { child, requests, answers, system: String::new() };
        llama.system = llama.line()?;
        Ok(llama)
    }

    /// How long an act takes: `prefill 512 2` is 512 tokens on two threads.
    pub(crate) fn measure(&mut self, act: &str, count: u32, threads: usize) -> Result<Duration> {
        writeln!(self.requests, "{act} {count} {threads}")?;
        Ok(Duration::from_nanos(self.line()?.trim().parse()?))
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        ensure!(!line.is_empty(), "llama.cpp ended early");
        Ok(line)
    }
}

impl Drop for Llama {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
