//! `tally model verify`: a public checkpoint converted again, and its root compared.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tally_core::Digest;
use tally_engine::{
    Model,
    import::{Options, convert},
    model::Manifest,
};

use super::{calibration_text, show_progress};
use crate::{
    args,
    command::Verdict,
    context::Context,
    models,
    output::{Colour, quoted},
};

pub(super) fn run(args: &args::VerifyModel, context: &Context) -> Result<Verdict> {
    let output = context.output;
    let model = models::load(&context.open_home()?, &args.model)?;
    let (stated, configuration) = (model.manifest(), model.configuration());
    let text = calibration_text(args.calibration.as_deref())?;
    let calibration = Digest::of_content(text.as_bytes());
    ensure!(
        calibration == stated.provenance.calibration,
        "the model was converted with another calibration text: SHA-256 {}, this one has {calibration}\n\nhint: give the text with `--calibration`",
        stated.provenance.calibration
    );
    let options = Options {
        weights: Some(configuration.weights),
        calibration_text: &text,
        context: Some(configuration.context),
    };
    let bar = output.bar("converting", 1);
    let bytes = convert(&args.source, &options, &mut |progress| show_progress(&bar, progress))
        .with_context(|| format!("cannot convert {}", args.source.display()))?;
    bar.finish_and_clear();
    let again = Model::parse(&bytes).context("the converted model")?;
    let is_same = again.root() == model.root();
    let difference = if is_same { None } else { Some(difference(&model, &again)) };
    output.json(&json!({
        "same": is_same,
        "root": model.root().to_string(),
        "converted_again": again.root().to_string(),
        "difference": difference,
    }))?;
    match &difference {
        None => output.line(&output.paint(
            Colour::Green,
            &format!(
                "✓ {} converted again has the same root, {}",
                args.source.display(),
                again.root()
            ),
        ))?,
        Some(difference) => {
            output.line(&output.paint(Colour::Red, "✗ the roots differ"))?;
            output.line(&format!("  the model          {}", model.root()))?;
            output.line(&format!("  converted again    {}", again.root()))?;
            output.line(&format!("  first difference   {}", quoted(difference)))?;
        }
    }
    Ok(if is_same { Verdict::Satisfied } else { Verdict::NotSatisfied })
}

/// The first thing in which two models differ, in words.
fn difference(model: &Model, again: &Model) -> String {
    let (a, b): (&Manifest, &Manifest) = (model.manifest(), again.manifest());
    for source in &a.provenance.sources {
        match b.provenance.sources.iter().find(|other| other.name == source.name) {
            Some(other) if other.digest == source.digest => {}
            Some(other) => {
                return format!(
                    "source file {}: the model states SHA-256 {}, found {}",
                    source.name, source.digest, other.digest
                );
            }
            None => {
                return format!(
                    "source file {}: the model states it, it is not there",
                    source.name
                );
            }
        }
    }
    if a.provenance.sources.len() != b.provenance.sources.len() {
        return "the source has a file that the model does not state".to_owned();
    }
    let converter = |manifest: &Manifest| {
        format!("{} {}", manifest.provenance.converter, manifest.provenance.version)
    };
    if converter(a) != converter(b) {
        return format!("converter: the model states {}, this is {}", converter(a), converter(b));
    }
    if a.configuration != b.configuration {
        return format!(
            "configuration: {:?}, converted again {:?}",
            a.configuration, b.configuration
        );
    }
    let part = a.parts.iter().find(|part| model.part(&part.name) != again.part(&part.name));
    part.map_or_else(
        || "provenance or the list of parts".to_owned(),
        |part| format!("part {}", part.name),
    )
}
