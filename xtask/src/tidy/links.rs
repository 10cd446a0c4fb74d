//! Local links in Markdown lead to files and headings that exist.

use std::path::{Component, Path, PathBuf};

use anyhow::Result;

use crate::findings::Findings;
use crate::repo::Repo;

/// Follows every local link of every Markdown file.
pub(super) fn lint(repo: &Repo, findings: &mut Findings) -> Result<()> {
    for path in repo.ending(".md") {
        let text = repo.text(path)?;
        for (line, link) in links(&text) {
            if let Some(fault) = follow(repo, path, &text, &link)? {
                findings.add(format!("{path}:{line}: the link {link} {fault}"));
            }
        }
    }
    Ok(())
}

/// What is wrong with a link, if anything.
fn follow(repo: &Repo, path: &str, text: &str, link: &str) -> Result<Option<&'static str>> {
    if link.contains("://") || link.starts_with("mailto:") {
        return Ok(None);
    }
    let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
    let text = if target.is_empty() {
        text.to_owned()
    } else {
        let folder = Path::new(path).parent().unwrap_or(Path::new(""));
        let Some(file) = normal(&folder.join(target)) else {
            return Ok(Some("leaves the repository"));
        };
        if repo.root().join(&file).is_dir() {
            return Ok(None);
        }
        match repo.text_if_any(&file.display().to_string()) {
            Ok(Some(text)) => text,
            Ok(None) => return Ok(Some("leads nowhere")),
            // What is no text has no heading to lead to.
            Err(_) => return Ok(None),
        }
    };
    let is_found = anchor.is_empty() || headings(&text).any(|heading| heading == anchor);
    Ok((!is_found).then_some("has an anchor that no heading has"))
}

/// Resolves `.` and `..`; `None` if the path leaves the repository.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => parts.push(name),
            Component::CurDir => {}
            Component::ParentDir => parts.pop().then_some(())?,
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts)
}

/// The targets of `[text](target)` outside code, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    let mut is_code = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            continue;
        }
        // Text between backticks is code too: every second part.
        for part in line.split('`').step_by(2) {
            for after in part.split("](").skip(1) {
                if let Some((link, _)) = after.split_once(')') {
                    links.push((number + 1, link.to_owned()));
                }
            }
        }
    }
    links
}

/// The anchors that headings get on the usual forges.
fn headings(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter(|line| line.starts_with('#')).map(|line| {
        line.trim_start_matches('#')
            .trim()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_outside_code_alone() {
        let text = "a [b](c.md) and [`d`](e.md#f)\n```\n[x](y)\n```\n`[p](q)` [r](s)";
        let found: Vec<_> = links(text).into_iter().map(|(_, link)| link).collect();
        assert_eq!(found, ["c.md", "e.md#f", "s"]);
    }

    #[test]
    fn paths_may_climb_but_not_out() {
        assert_eq!(normal(Path::new("docs/../spec/a.md")), Some(PathBuf::from("spec/a.md")));
        assert_eq!(normal(Path::new("docs/../../a.md")), None);
        assert_eq!(normal(Path::new("/a.md")), None);
    }

    #[test]
    fn headings_become_anchors() {
        let anchors: Vec<_> = headings("# The `log`: a, b\n## Who may know whom").collect();
        assert_eq!(anchors, ["the-log-a-b", "who-may-know-whom"]);
    }
}
