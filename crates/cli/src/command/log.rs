//! `tally log`: checkpoint, inclusion proofs, and the deep look at everything stored.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tally_core::{Digest, tree::LeafIndex};
use tally_log::{Posix, Storage, fsck};

use super::Verdict;
use crate::{
    args,
    context::{Context, now_ms},
    home::Home,
    node,
    output::Colour,
};

pub(crate) fn run(args: &args::Log, context: &Context) -> Result<Verdict> {
    match args {
        args::Log::Checkpoint => checkpoint(context),
        args::Log::Proof { entry } => proof(entry, context),
        args::Log::Fsck => fsck(context),
    }
}

/// The home, if it has a log: looking at a log never begins one.
fn existing_log(context: &Context) -> Result<Home> {
    let home = context.existing_home()?;
    ensure!(
        home.log().is_dir(),
        "this home has no log yet: {}\n\nhint: `tally ask` makes one",
        context.home_path().display()
    );
    Ok(home)
}

fn checkpoint(context: &Context) -> Result<Verdict> {
    let node = node::open(&existing_log(context)?)?;
    node.publish(now_ms()? / 1000)?;
    let signed = node
        .sequencer()
        .with_log(|log| Ok(log.checkpoint_cosigned().unwrap_or(log.checkpoint()).encode()))?;
    context.output.json(&json!({"checkpoint": signed}))?;
    context.output.piece(&signed)?;
    Ok(Verdict::Satisfied)
}

fn proof(entry: &str, context: &Context) -> Result<Verdict> {
    let node = node::open(&existing_log(context)?)?;
    let index = match (Digest::parse_hex(entry), entry.parse()) {
        (Some(digest), _) => node
            .sequencer()
            .with_log(|log| log.lookup(&digest))?
            .with_context(|| format!("no entry of this log has the digest {digest}"))?,
        (None, Ok(index)) => LeafIndex(index),
        (None, Err(_)) => anyhow::bail!(
            "`{entry}` is neither an index nor the 64 hexadecimal digits of a receipt digest"
        ),
    };
    let proof = node.sequencer().prove(index)?.encode();
    context.output.json(&json!({"index": index.0, "proof": proof}))?;
    context.output.piece(&proof)?;
    Ok(Verdict::Satisfied)
}

fn fsck(context: &Context) -> Result<Verdict> {
    let home = existing_log(context)?;
    let keys = home.load_or_create_keys()?;
    let (log, cosigner) = keys.verifiers()?;
    let output = context.output;
    let bar = output.bar("log", 1);
    let storage: Arc<dyn Storage> = Arc::new(Posix::new(home.log()));
    // What the cosigner last saw must be in the log: a log restored from a backup shows here.
    let seen = keys.seen(Arc::new(Posix::create(home.cosigner())?))?.into_iter().collect();
    let expected = fsck::Expected { log, cosigners: vec![cosigner], seen };
    let report = fsck::fsck(&storage, &expected, &mut |progress| {
        bar.set_length(progress.total_bytes);
        bar.set_position(progress.done_bytes);
    })?;
    bar.finish_and_clear();
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    output.json(&json!({
        "entries": report.size.get(),
        "root": report.root.map(|root| root.to_string()),
        "checkpoints": report.checkpoint_count,
        "tiles": report.tile_count,
        "cosignatures": report.cosignature_count,
        "indexed": report.indexed_count,
        "findings": findings,
    }))?;
    for finding in &findings {
        output.line(&format!("{} {finding}", output.paint(Colour::Red, "damage:")))?;
    }
    output.line(&format!(
        "{} entries, {} checkpoints, {} tiles and {} cosignatures derived again: {} findings",
        report.size,
        report.checkpoint_count,
        report.tile_count,
        report.cosignature_count,
        findings.len(),
    ))?;
    Ok(if report.is_sound() { Verdict::Satisfied } else { Verdict::NotSatisfied })
}
