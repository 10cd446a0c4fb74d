//! What every command gets: where the home is, how to speak, what to compute with.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context as _, Result};

use crate::{args::Global, home::Home, output::Output};

/// The run's surroundings.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) output: Output,
    pub(crate) threads: usize,
    pub(crate) kernels: String,
    home: PathBuf,
}

impl Context {
    pub(crate) fn new(global: &Global, output: Output, user: Option<PathBuf>) -> Result<Self> {
        let home = match (&global.home, user) {
            (Some(home), _) => home.clone(),
            (None, Some(user)) => user.join(".tally"),
            (None, None) => {
                anyhow::bail!("no home folder known\n\nhint: give one with `--home DIR`")
            }
        };
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = global.threads.map_or_else(cores, usize::from);
        Ok(Self { output, threads, kernels: global.kernels.clone(), home })
    }

    /// The home folder, made if it is not there.
    pub(crate) fn open_home(&self) -> Result<Home> {
        Home::open(&self.home)
    }

    /// The home folder, which must be there already.
    pub(crate) fn existing_home(&self) -> Result<Home> {
        Home::existing(&self.home)
    }

    /// Where the home is, whether it exists or not.
    pub(crate) fn home_path(&self) -> &Path {
        &self.home
    }
}

/// Milliseconds since 1970 by the system's clock.
#[expect(clippy::disallowed_methods, reason = "the program's one look at the clock")]
pub(crate) fn now_ms() -> Result<u64> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let since = since.context("the system's clock stands before 1970")?;
    Ok(u64::try_from(since.as_millis())?)
}
