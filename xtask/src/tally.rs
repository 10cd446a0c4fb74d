//! The program `tally` as gates use it: built, with a home of its own, serving for a while.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::repo::{Repo, run, stdout};

/// The program, with a home of its own.
pub(crate) struct Tally {
    program: PathBuf,
    home: TempDir,
}

/// A command that serves until this is dropped.
pub(crate) struct Serving {
    child: Child,
    /// Where it listens.
    pub(crate) url: String,
}

impl Drop for Serving {
    fn drop(&mut self) {
        // One that has ended already needs no end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Serving {
    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as an operator does, and waits until it has.
    pub(crate) fn stop(mut self) -> Result<()> {
        run(Command::new("kill").args(["-TERM", &self.id().to_string()]))?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the program ended with {status}");
        Ok(())
    }

    /// Kills it.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Tally {
    /// Builds the program and makes it a home.
    pub(crate) fn build(repo: &Repo) -> Result<Self> {
        let mut build = repo.command("cargo");
        run(build.args(["build", "--quiet", "--release", "--locked", "--package", "tally"]))?;
        let program = program(repo)?;
        Ok(Self { program, home: tempfile::tempdir()? })
    }

    /// Its home.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// A command in this home.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("TALLY_HOME", self.home.path());
        command
    }

    /// Starts a command that serves and waits until it says where.
    pub(crate) fn start(&self, arguments: &[&str]) -> Result<Serving> {
        let mut child = self.command().args(arguments).stderr(Stdio::piped()).spawn()?;
        let stderr = child.stderr.take().context("the program has no stderr")?;
        let mut serving = Serving { child, url: String::new() };
        let mut lines = BufReader::new(stderr).lines();
        for line in lines.by_ref() {
            let line = line?;
            let found = line.split_whitespace().find(|word| word.starts_with("http://127.0.0.1:"));
            if let Some(url) = found {
                serving.url = url.to_owned();
                break;
            }
        }
        ensure!(!serving.url.is_empty(), "`tally {}` did not start", arguments.join(" "));
        // What it says later must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(serving)
    }

    /// Adds a model of the home to those that its policy accepts.
    pub(crate) fn trust(&self, name: &str) -> Result<()> {
        let shown = self.command().args(["model", "show", name, "--json"]).output()?;
        let shown: serde_json::Value = serde_json::from_slice(&shown.stdout)?;
        let root = shown["root"].as_str().context("`tally model show` tells no root")?;
        let path = self.home.path().join("policy.toml");
        let text = fs::read_to_string(&path)?;
        let (before, after) =
            text.split_once("models = [\n").context("the policy lists no models")?;
        Ok(fs::write(path, format!("{before}models = [\n  \"{root}\",\n{after}"))?)
    }

    /// Verifies and replays every receipt of a folder.
    pub(crate) fn judge(&self, folder: &Path) -> Result<usize> {
        let mut count = 0;
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "receipt") {
                continue;
            }
            for act in ["verify", "replay"] {
                let done = self.command().args([act, "--json"]).arg(&path).output()?;
                let told = String::from_utf8_lossy(&done.stdout);
                ensure!(done.status.success(), "`tally {act}` of {}: {told}", path.display());
            }
            count += 1;
        }
        Ok(count)
    }
}

/// Where cargo puts the program.
fn program(repo: &Repo) -> Result<PathBuf> {
    let mut metadata = repo.command("cargo");
    let told =
        stdout(metadata.args(["metadata", "--format-version", "1", "--no-deps", "--locked"]))?;
    let told: serde_json::Value = serde_json::from_str(&told)?;
    let folder = told["target_directory"].as_str().context("cargo tells no target directory")?;
    Ok(Path::new(folder).join("release/tally"))
}
