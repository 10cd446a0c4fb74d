//! The crate table of `ARCHITECTURE.md`.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};

/// Which of our crates a crate may depend on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Grant {
    All,
    Only(BTreeSet<String>),
}

/// Where a crate may have unsafe code.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unsafe {
    Forbid,
    /// Files, or folders that end in a slash, relative to the crate.
    Only(Vec<String>),
    /// Code that a tool wrote, which is not in the repository.
    Generated,
}

impl Unsafe {
    /// Whether the file at `inside` (relative to the crate) may have unsafe code.
    pub(super) fn grants(&self, inside: &str) -> bool {
        match self {
            Self::Forbid | Self::Generated => false,
            Self::Only(places) => places.iter().any(|place| match place.ends_with('/') {
                true => inside.starts_with(place.as_str()),
                false => inside == place,
            }),
        }
    }
}

/// Whether a crate may use async libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Async {
    No,
    Yes,
    StartsServer,
}

/// One row of the table.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) may: Grant,
    pub(super) is_no_std: bool,
    pub(super) unsafe_code: Unsafe,
    pub(super) is_async: Async,
    pub(super) planned: bool,
}

/// The package name of a row.
pub(super) fn package_of(row: &str) -> String {
    match row {
        "cli" => "tally".to_owned(),
        "xtask" => "xtask".to_owned(),
        name => format!("tally-{name}"),
    }
}

/// The row of a package name.
pub(super) fn row_of(package: &str) -> &str {
    match package {
        "tally" => "cli",
        name => name.strip_prefix("tally-").unwrap_or(name),
    }
}

const HEADER: [&str; 6] = ["crate", "may depend on", "std", "unsafe", "async", "state"];

/// Reads the table; a row may name only rows above it, so the table has no cycle.
pub(super) fn parse(text: &str) -> Result<Vec<Row>> {
    let mut lines = text.lines().map(cells);
    lines
        .find(|cells| cells.iter().map(String::as_str).eq(HEADER))
        .with_context(|| format!("ARCHITECTURE.md has no table with the header {HEADER:?}"))?;
    let mut rows: Vec<Row> = Vec::new();
    for cells in lines.skip(1).take_while(|cells| !cells.is_empty()) {
        let row = row(&cells)?;
        ensure!(rows.iter().all(|other| other.name != row.name), "{} has two rows", row.name);
        if let Grant::Only(names) = &row.may {
            for name in names {
                ensure!(
                    rows.iter().any(|above| above.name == *name),
                    "{} may depend on {name}, which is no row above it",
                    row.name
                );
            }
        }
        rows.push(row);
    }
    ensure!(!rows.is_empty(), "the crate table is empty");
    Ok(rows)
}

fn cells(line: &str) -> Vec<String> {
    let Some(inner) = line.trim().strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
        return Vec::new();
    };
    inner.split('|').map(|cell| cell.trim().replace('`', "")).collect()
}

fn row(cells: &[String]) -> Result<Row> {
    let [name, may, std, unsafe_code, is_async, state] = cells else {
        bail!("a row of the crate table has {} cells, expected 6: {cells:?}", cells.len());
    };
    Ok(Row {
        name: name.clone(),
        may: match may.as_str() {
            "all" => Grant::All,
            "none of ours" => Grant::Only(BTreeSet::new()),
            names => Grant::Only(list(names).collect()),
        },
        is_no_std: match std.as_str() {
            "no_std + alloc" => true,
            "yes" | "-" => false,
            other => bail!("{name}: std is `{other}`, expected `no_std + alloc`, `yes` or `-`"),
        },
        unsafe_code: match unsafe_code.as_str() {
            "forbid" => Unsafe::Forbid,
            "generated only" => Unsafe::Generated,
            other => match other.strip_prefix("only ") {
                Some(places) => Unsafe::Only(list(places).collect()),
                None => bail!("{name}: unsafe is `{other}`, expected `forbid` or `only PLACES`"),
            },
        },
        is_async: match is_async.as_str() {
            "no" => Async::No,
            "yes" => Async::Yes,
            "only to start the server" => Async::StartsServer,
            other => bail!("{name}: async is `{other}`, expected `yes` or `no`"),
        },
        planned: match state.as_str() {
            "here" => false,
            "planned" => true,
            other => bail!("{name}: state is `{other}`, expected `here` or `planned`"),
        },
    })
}

fn list(text: &str) -> impl Iterator<Item = String> {
    text.split(',').map(|part| part.trim().to_owned())
}
