//! A throwaway PostgreSQL server in a temporary folder, on a Unix socket alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

/// Where Debian puts the programs, by version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// Whom the server runs as where this program runs as root, which it refuses.
const ACCOUNT: &str = "postgres";

/// The server; it is stopped when this is dropped, and its folder goes with it.
pub(super) struct Server {
    folder: TempDir,
    programs: PathBuf,
    is_root: bool,
}

impl Server {
    pub(super) fn start() -> Result<Self> {
        let programs = programs()?;
        let folder = tempfile::Builder::new().prefix("ledger").tempdir_in("/tmp")?;
        let id = Command::new("id").arg("-u").output().context("`id -u`")?;
        let is_root = id.stdout.trim_ascii() == b"0";
        if is_root {
            run(Command::new("chown").arg(ACCOUNT).arg(folder.path()))?;
        }
        let server = Self { folder, programs, is_root };
        let (cluster, log) = (server.cluster(), server.folder.path().join("log"));
        let mut initdb = server.program("initdb");
        initdb.args(["--username=tally", "--auth=trust", "--no-sync", "--encoding=UTF8"]);
        run(initdb.arg("--locale=C").arg("--pgdata").arg(&cluster))?;
        let socket = server.folder.path().display();
        let options = format!("-k {socket} -c listen_addresses='' -c fsync=off");
        let mut start = server.program("pg_ctl");
        start.args(["start", "--wait", "--options"]).arg(options);
        run(start.arg("--pgdata").arg(&cluster).arg("--log").arg(log))?;
        Ok(server)
    }

    pub(super) fn url(&self) -> String {
        format!("host={} user=tally dbname=postgres", self.folder.path().display())
    }

    /// What the server calls itself.
    pub(super) fn version(&self) -> String {
        let version = self.program("postgres").arg("--version").output();
        let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        version.unwrap_or_default().trim().to_owned()
    }

    fn cluster(&self) -> PathBuf {
        self.folder.path().join("cluster")
    }

    fn program(&self, name: &str) -> Command {
        let path = self.programs.join(name);
        if !self.is_root {
            return Command::new(path);
        }
        let mut command = Command::new("runuser");
        command.args(["-u", ACCOUNT, "--"]).arg(path);
        // The account may not read the folder that this program was started in.
        command.current_dir("/");
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut stop = self.program("pg_ctl");
        stop.args(["stop", "--wait", "--mode=immediate", "--pgdata"]).arg(self.cluster());
        if let Err(error) = run(&mut stop) {
            eprintln!("warning: {error}");
        }
    }
}

/// The folder of the newest server's programs.
fn programs() -> Result<PathBuf> {
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let programs = versions.map(|version| version.path().join("bin"));
    let newest =
        programs.filter(|path| path.join("initdb").exists()).max_by_key(|path| version(path));
    newest.with_context(|| {
        format!(
            "no PostgreSQL server below {DEBIAN}\n\nhint: `apt-get install postgresql`, or leave \
             it out by `--embedded-alone`"
        )
    })
}

fn version(path: &Path) -> u32 {
    let name = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    name.and_then(|name| name.parse().ok()).unwrap_or(0)
}

fn run(command: &mut Command) -> Result<()> {
    // Output goes to a file: the server inherits it and would keep a pipe open.
    let output = tempfile::tempfile()?;
    command.stdout(output.try_clone()?).stderr(output.try_clone()?);
    let status = command.status().with_context(|| format!("{command:?}"))?;
    if !status.success() {
        use std::io::{Read as _, Seek as _};
        let (mut file, mut said) = (output, String::new());
        file.rewind()?;
        file.read_to_string(&mut said)?;
        ensure!(false, "{command:?} ends with {status}: {}", said.trim());
    }
    Ok(())
}
