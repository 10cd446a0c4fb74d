//! `tally receipt list`: what is kept, a line each.

use std::{collections::BTreeMap, path::Path};

use anyhow::Result;
use serde_json::{Value, json};
use tally_core::{Digest, commitment::Field};
use tally_engine::Model;
use tally_server::view::time_text;

use super::Verdict;
use crate::{
    args,
    context::Context,
    home::Home,
    models,
    output::{Colour, quoted},
    receipts::{self, Kept},
};

pub(super) fn run(args: &args::List, context: &Context) -> Result<Verdict> {
    let home = context.existing_home().ok();
    let folder = match &args.folder {
        Some(folder) => folder.clone(),
        None => context.existing_home()?.receipts(),
    };
    let found = receipts::list(&folder)?;
    let names = names(home.as_ref(), &found.kept);
    let limit = args.limit.unwrap_or(usize::MAX);
    let output = context.output;
    output.json(&json!({
        "folder": folder,
        "receipts": found.kept.iter().take(limit).map(|kept| to_json(kept, &names)).collect::<Vec<_>>(),
        "unreadable": found.unreadable.iter().map(|(path, error)| {
            json!({"path": path, "error": error})
        }).collect::<Vec<_>>(),
    }))?;
    if !found.kept.is_empty() {
        let title =
            row(["digest", "time (the issuer's)", "kind", "in → out", "model", "open", "asked"]);
        output.line(&output.paint(Colour::Bold, &title))?;
    }
    for kept in found.kept.iter().take(limit) {
        let summary = &kept.summary;
        let model = model_text(summary.model, &names);
        let digest = kept.digest.to_string();
        output.line(&row([
            &digest[..16],
            &time_text(kept.time_ms),
            &summary.kind,
            &summary.outcome,
            &model,
            &open_text(&summary.opened),
            &summary.words,
        ]))?;
    }
    let hidden = found.kept.len().saturating_sub(limit);
    if hidden > 0 {
        output.line(&format!("and {hidden} older ones"))?;
    }
    for (path, error) in &found.unreadable {
        output.note(&format!("no receipt: {}: {error}", path.display()));
    }
    if found.kept.is_empty() {
        output.note(&empty_text(&folder));
    }
    Ok(Verdict::Satisfied)
}

fn empty_text(folder: &Path) -> String {
    format!(
        "no receipts in {}\n\nhint: `tally ask` and `tally proxy` keep theirs there",
        folder.display()
    )
}

/// Names of the models of these receipts, as far as this home knows them.
fn names(home: Option<&Home>, kept: &[Kept]) -> BTreeMap<Digest, String> {
    let mut names = BTreeMap::new();
    // Whether another model is known matters only if there is one.
    if let Ok(default) = models::load_default() {
        names.insert(default.root(), models::DEFAULT_NAME.to_owned());
    }
    let is_named = |names: &BTreeMap<Digest, String>| {
        kept.iter().filter_map(|kept| kept.summary.model).all(|root| names.contains_key(&root))
    };
    for (name, path) in home.and_then(|home| models::imported(home).ok()).unwrap_or_default() {
        if is_named(&names) {
            break;
        }
        if let Ok(model) = Model::open(&path) {
            names.insert(model.root(), name);
        }
    }
    names
}

fn model_text(root: Option<Digest>, names: &BTreeMap<Digest, String>) -> String {
    match root {
        None => "-".into(),
        Some(root) => names.get(&root).cloned().unwrap_or_else(|| root.to_string()[..12].into()),
    }
}

fn open_text(opened: &[String]) -> String {
    match opened.len() {
        0 => "nothing".into(),
        // Controls are there for some answers alone.
        count if count >= Field::ALL.len() - 1 => "everything".into(),
        _ => opened.join(", "),
    }
}

fn to_json(kept: &Kept, names: &BTreeMap<Digest, String>) -> Value {
    let summary = &kept.summary;
    json!({
        "receipt_digest": kept.digest.to_string(),
        "id": kept.id,
        "time_ms": kept.time_ms,
        "time": time_text(kept.time_ms),
        "kind": summary.kind,
        "outcome": summary.outcome,
        "model_root": summary.model.map(|root| root.to_string()),
        "model": summary.model.and_then(|root| names.get(&root)),
        "opened": summary.opened,
        "asked": summary.words,
        "evidence_count": summary.evidence_count,
        "path": kept.path,
    })
}

fn row(cells: [&str; 7]) -> String {
    let [digest, time, kind, outcome, model, open, words] = cells.map(quoted);
    format!("{digest:<16}  {time:<24}  {kind:<10}  {outcome:<22}  {model:<14}  {open:<18}  {words}")
}
