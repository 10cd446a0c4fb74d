//! The program as tests run it.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

/// Runs a command to its end.
pub(crate) fn tally(home: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tally"))
        .args(arguments)
        .env("TALLY_HOME", home)
        .env_remove("TALLY_KERNELS")
        .output()
        .unwrap()
}

/// What a command said on stdout.
pub(crate) fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a command said on stderr.
pub(crate) fn complaint(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What a command said in JSON.
pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stdout)))
}

/// What a command says that must be refused, with exit status 2.
pub(crate) fn refused(home: &Path, arguments: &[&str]) -> String {
    let output = tally(home, arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output));
    complaint(&output)
}

/// The JSON of a command, which must succeed.
pub(crate) fn told(home: &Path, arguments: &[&str]) -> Value {
    told_with(0, home, arguments)
}

/// The JSON of a command, which must end with this status.
pub(crate) fn told_with(status: i32, home: &Path, arguments: &[&str]) -> Value {
    let output = tally(home, &[arguments, &["--json"]].concat());
    let (complaint, said) = (complaint(&output), text(&output));
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {complaint}{said}");
    json(&output)
}

/// A running `tally` that is ended when the test ends, and the address it listens on.
pub(crate) struct Running {
    child: Child,
    /// Where it listens.
    pub(crate) url: String,
}

impl Running {
    /// Starts a command that serves and waits until it says where.
    pub(crate) fn start(home: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tally"))
            .args(arguments)
            .args(["--listen", "127.0.0.1:0"])
            .env("TALLY_HOME", home)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let url = lines.find_map(|line| {
            let line = line.unwrap();
            let at = line.find("http://127.0.0.1:")?;
            line[at..].split(' ').next().map(str::to_owned)
        });
        // What it says later is read, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url: url.unwrap() }
    }

    /// Sends a body and returns the whole answer, as it stands on the wire.
    pub(crate) fn post(&self, path: &str, body: &str) -> String {
        self.post_with(path, "", body)
    }

    /// Sends a body with further headers, each ended by a line break.
    pub(crate) fn post_with(&self, path: &str, headers: &str, body: &str) -> String {
        let address = self.url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
