//! `tally model`: import, list, show, check and verify models.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use tally_engine::{
    Model,
    import::{Options, Progress, Stage, convert, write_model},
    model::WeightKind,
};

mod check;
mod plot;
mod sign;
mod verify;

use super::{Verdict, read_limited};
use crate::{
    args,
    context::Context,
    home::Home,
    models,
    output::{Output, quoted},
};

/// Text by which headroom is measured when none is given.
const CALIBRATION: &str = include_str!("../../../../models/default/calibration.txt");
const CALIBRATION_BYTES_MAX: u64 = 16 << 20;

pub(crate) fn run(args: &args::Model, context: &Context) -> Result<Verdict> {
    match args {
        args::Model::Import(import) => run_import(import, &context.open_home()?, context.output)?,
        args::Model::List => list(&context.open_home()?, context.output)?,
        args::Model::Check(check) => return check::run(check, context),
        args::Model::Verify(verify) => return verify::run(verify, context),
        args::Model::Sign(sign) => sign::run(sign, context.output)?,
        args::Model::Show { model } => show(model, &context.open_home()?, context.output)?,
    }
    Ok(Verdict::Satisfied)
}

fn run_import(args: &args::Import, home: &Home, output: Output) -> Result<()> {
    let name = match &args.name {
        Some(name) => name.clone(),
        None => name_of(&args.source)?,
    };
    let path = models::path_of(home, &name)?;
    if name == models::DEFAULT_NAME || path.try_exists()? {
        bail!("there is a model `{name}` already\n\nhint: choose another name with `--name`");
    }
    let calibration = calibration_text(args.calibration.as_deref())?;
    let bar = output.bar("converting", 1);
    let options = Options {
        weights: args.weights.map(|weights| match weights {
            args::Weights::Int8 => WeightKind::Int8,
            args::Weights::Int8Groups => WeightKind::Int8Groups,
            args::Weights::Int4 => WeightKind::Int4,
        }),
        calibration_text: &calibration,
        context: args.context,
    };
    let bytes = convert(&args.source, &options, &mut |progress| show_progress(&bar, progress))
        .with_context(|| format!("cannot import {}", args.source.display()))?;
    bar.finish_and_clear();
    let model = Model::parse(&bytes).context("the converted model")?;
    let root = model.root();
    write_model(&path, &bytes).with_context(|| format!("cannot write {}", path.display()))?;
    output.json(
        &json!({"name": name, "root": root.to_string(), "path": path, "bytes": bytes.len()}),
    )?;
    output.line(&format!("imported `{name}`, root {root}, {} bytes", bytes.len()))?;
    output.note(&match model.configuration().pooling {
        None => format!(
            "\nhint: `tally policy accept {name}` lets your home's policy accept its receipts"
        ),
        Some(_) => format!("\nhint: tally embed --model {name} 'A text.' 'Another.'"),
    });
    Ok(())
}

/// The text of a file, or the one that is in the program.
fn calibration_text(path: Option<&Path>) -> Result<String> {
    match path {
        Some(path) => String::from_utf8(read_limited(path, CALIBRATION_BYTES_MAX)?)
            .with_context(|| format!("calibration text {} is not UTF-8", path.display())),
        None => Ok(CALIBRATION.to_owned()),
    }
}

fn show_progress(bar: &ProgressBar, progress: Progress) {
    bar.set_message(match progress.stage {
        Stage::Weights => "weights",
        Stage::Calibration => "calibration",
    });
    bar.set_length(progress.total);
    bar.set_position(progress.done);
}

/// The folder's name, or the file's without `.gguf`.
fn name_of(source: &Path) -> Result<String> {
    let full =
        fs::canonicalize(source).with_context(|| format!("cannot open {}", source.display()))?;
    let is_file = full.extension().is_some_and(|extension| extension == "gguf");
    let name = if is_file { full.file_stem() } else { full.file_name() };
    Ok(name.unwrap_or_default().to_string_lossy().into_owned())
}

const fn weights_name(weights: WeightKind) -> &'static str {
    match weights {
        WeightKind::Int8 => "int8",
        WeightKind::Int8Groups => "int8-groups",
        WeightKind::Int4 => "int4",
    }
}

fn list(home: &Home, output: Output) -> Result<()> {
    let mut known = vec![(models::DEFAULT_NAME.to_owned(), Ok(models::load_default()?))];
    for (name, path) in models::imported(home)? {
        known.push((name, models::load_file(&path)));
    }
    let documents: Vec<Value> = known
        .iter()
        .map(|(name, model)| match model {
            Ok(model) => json!({"name": name, "root": model.root().to_string()}),
            Err(error) => json!({"name": name, "unreadable": format!("{error:#}")}),
        })
        .collect();
    output.json(&Value::Array(documents))?;
    for (name, model) in &known {
        let shown = match model {
            Ok(model) => model.root().to_string(),
            Err(error) => format!("unreadable: {error:#}"),
        };
        output.line(&format!("{name:<24} {}", quoted(&shown)))?;
    }
    Ok(())
}

fn show(name: &str, home: &Home, output: Output) -> Result<()> {
    let model = models::load(home, name)?;
    let manifest = model.manifest();
    let configuration = model.configuration();
    let provenance = &manifest.provenance;
    let converter = format!("{} {}", provenance.converter, provenance.version);
    let sources: Vec<Value> = provenance
        .sources
        .iter()
        .map(|source| {
            json!({"name": source.name, "bytes": source.size_bytes, "sha256": source.digest.to_string()})
        })
        .collect();
    output.json(&json!({
        "root": model.root().to_string(),
        "arithmetic": manifest.arithmetic,
        "family": manifest.family,
        "converter": converter,
        "configuration": {
            "layers": configuration.layers,
            "width": configuration.width,
            "hidden": configuration.hidden,
            "heads": configuration.heads,
            "kv_heads": configuration.kv_heads,
            "head_dim": configuration.head_dim,
            "vocabulary": configuration.vocabulary,
            "context": configuration.context,
            "tied": configuration.tied,
            "residual_bits": configuration.residual_bits,
            "weights": weights_name(configuration.weights),
            "window": configuration.window.map(|window| window.len),
            "has_head_norms": configuration.head_norm_epsilon.is_some(),
        },
        "sources": sources,
        "parts": manifest.parts.len(),
    }))?;
    output.line(&format!("root          {}", model.root()))?;
    output.line(&format!("arithmetic    {}", manifest.arithmetic))?;
    output.line(&format!("converter     {}", converter))?;
    let weights = weights_name(configuration.weights);
    output.line(&format!("family        {}, weights in {weights}", manifest.family))?;
    for (name, value) in [
        ("layers", configuration.layers),
        ("width", configuration.width),
        ("heads", configuration.heads),
        ("vocabulary", configuration.vocabulary),
        ("context", configuration.context),
    ] {
        output.line(&format!("{name:<13} {value}"))?;
    }
    output.line(&format!("parts         {}", manifest.parts.len()))?;
    output.line("converted from")?;
    for source in &provenance.sources {
        output.line(&format!("  {} {:>12} {}", source.digest, source.size_bytes, source.name))?;
    }
    Ok(())
}
