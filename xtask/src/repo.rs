//! The repository's own files: those that git tracks or would track.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// The root of the repository and the files in it, by path relative to the root.
#[derive(Debug)]
pub(crate) struct Repo {
    root: PathBuf,
    files: Vec<String>,
}

impl Repo {
    /// Finds the repository around the current folder and lists its files.
    pub(crate) fn open() -> Result<Self> {
        let top = stdout(Command::new("git").args(["rev-parse", "--show-toplevel"]))?;
        let root = PathBuf::from(top.trim_end());
        let list = stdout(
            Command::new("git")
                .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
                .current_dir(&root),
        )?;
        let mut files: Vec<String> = list
            .split_terminator('\0')
            .filter(|path| root.join(path).is_file())
            .map(str::to_owned)
            .collect();
        files.sort();
        ensure!(!files.is_empty(), "git lists no file in {}", root.display());
        Ok(Self { root, files })
    }

    /// The root folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// All files, sorted, with `/` between folders.
    pub(crate) fn files(&self) -> &[String] {
        &self.files
    }

    /// The files whose path ends in `suffix`.
    pub(crate) fn ending<'a>(&'a self, suffix: &'a str) -> impl Iterator<Item = &'a str> {
        self.files.iter().map(String::as_str).filter(move |path| path.ends_with(suffix))
    }

    /// The text of one file.
    pub(crate) fn text(&self, path: &str) -> Result<String> {
        std::fs::read_to_string(self.root.join(path)).with_context(|| format!("cannot read {path}"))
    }

    /// The text of one file, `None` if there is no such file.
    pub(crate) fn text_if_any(&self, path: &str) -> Result<Option<String>> {
        self.root.join(path).is_file().then(|| self.text(path)).transpose()
    }

    /// A command to be run at the root.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        command
    }
}

/// Runs a command to its end and takes its standard output; its failure is an error.
pub(crate) fn stdout(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Runs a command to its end with its output shown; its failure is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
