//! `tally demo`: everything once, in front of the newcomer's eyes, each step real.

use std::{ops::ControlFlow, path::PathBuf, sync::Arc, time::Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tally_attribution::attributor::Attributor;
use tally_core::computation::Micro;
use tally_engine::{Engine, Language};
use tally_issuer::Node;
use tally_verifier::{Expected, Policy, Receipt, Rejection, UnixTime, verify};

use super::{Verdict, ask, replay, verify as judge};
use crate::{
    answer::{Answered, Answerer, Outcome, conversation},
    context::{Context, now_ms},
    contributions,
    home::{Home, random},
    models, node,
    output::{Colour, Output},
    receipt_file::ReceiptFile,
    receipts,
    request::ChatRequest,
};

const QUESTION: &str = "What is a trigger?";
const TOKENS_MAX: u32 = 120;

pub(crate) fn run(context: &Context) -> Result<Verdict> {
    let output = context.output;
    let stage = open_stage(context)?;
    let told = tell(&stage, output)?;
    step(output, 5, "Verify it offline, with what the client knows: nonce, request, response")?;
    let expected = Expected {
        nonce: Some(&told.nonce),
        request: Some(&told.body),
        response: Some(told.answered.text.as_bytes()),
        receipt_digest: Some(told.answered.issued.digest),
    };
    let now = UnixTime::from_ms(now_ms()?);
    let started = Instant::now();
    let verified = verify(&told.receipt, &stage.policy, &expected, now)
        .context("the demo's own receipt was rejected: this is a defect, please report it")?;
    let verify_micros = started.elapsed().as_micros();
    judge::show_verified(&verified, output)?;
    detail(output, &format!("judged in {verify_micros} µs, without network"))?;

    replay_again(&stage, verified.get(), output)?;

    step(output, 7, "Flip one bit in a copy, and see it rejected")?;
    let (place, rejection) = tamper(&told.receipt, &stage.policy, &expected, now)?;
    detail(output, &format!("bit 0 of byte {place} of {} flipped", told.receipt.len()))?;
    let rejected = output.paint(Colour::Red, "rejected");
    output.line(&format!("   {rejected}, {}: {rejection}", rejection.code()))?;

    show_what_next(output)?;
    output.json(&json!({
        "text": told.answered.text,
        "output_tokens": told.answered.output_count,
        "tokens_per_second": told.answered.tokens_per_second(),
        "receipt": told.path,
        "verify_micros": u64::try_from(verify_micros)?,
        "verified": judge::verified_json(&verified),
        "replayed": true,
        "tampered": {"byte": place, "code": rejection.code(), "text": rejection.to_string()},
    }))?;
    Ok(Verdict::Satisfied)
}

/// What the demo plays with.
struct Stage {
    home: Home,
    policy: Policy,
    node: Node,
    engine: Engine,
    language: Arc<Language>,
    attributor: Attributor,
}

/// What was asked and answered.
struct Told {
    answered: Answered,
    nonce: Vec<u8>,
    body: Vec<u8>,
    path: PathBuf,
    receipt: Vec<u8>,
}

fn open_stage(context: &Context) -> Result<Stage> {
    let output = context.output;
    step(output, 1, "Open a store: keys, log, cosigner, policy")?;
    let home = context.open_home()?;
    let model = models::load_default()?;
    let policy = node::load_or_create_policy(&home, model.root())?;
    let node = node::open(&home)?;
    let place = context.home_path().display();
    detail(output, &format!("{place} (secret keys are readable by you alone)"))?;

    step(output, 2, "Load the model that is inside this program, and hash what it computes with")?;
    let language = Arc::new(Language::of(&model)?);
    let engine = Engine::new(model, ask::kernels(&context.kernels)?, context.threads)?;
    detail(output, &format!("model root {}", engine.model().root()))?;
    let (kernels, threads) = (engine.kernels().name(), context.threads);
    detail(output, &format!("exact integers, {kernels} kernels, {threads} threads"))?;
    let attributor = contributions::attributor_of(&home, &node)?;
    Ok(Stage { home, policy, node, engine, language, attributor })
}

fn tell(stage: &Stage, output: Output) -> Result<Told> {
    let Stage { home, node, engine, language, attributor, .. } = stage;
    step(output, 3, "Answer a prompt")?;
    let request = request(engine);
    let mut nonce = vec![0; 16];
    random(&mut nonce)?;
    output.line(&format!("   {}", output.paint(Colour::Bold, QUESTION)))?;
    output.piece("   ")?;
    let outcome = Answerer { home, node, engine, language, attributor, retrieved: &[] }.answer(
        &request,
        Some(nonce.clone()),
        &mut |text| match output.piece(&text.replace('\n', "\n   ")) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        },
    )?;
    let answered = match outcome {
        Outcome::Answered(answered) => answered,
        Outcome::Refused(_, error) => return Err(error),
    };
    output.line("")?;
    let speed = answered.tokens_per_second().unwrap_or_default();
    detail(output, &format!("{} tokens, {speed} tokens/s", answered.output_count))?;
    detail(output, "the model is tiny: do not believe what it says, only that it said it")?;

    step(output, 4, "Write the receipt: signed, logged, cosigned by this node's own cosigner")?;
    let path = home.receipts().join("demo.receipt");
    ReceiptFile::prepare(&path)?.write(&answered.issued.bundle)?;
    let receipt = receipts::read(&path)?;
    detail(output, &format!("{} ({} bytes)", path.display(), receipt.len()))?;
    Ok(Told { answered, nonce, body: request.encode(), path, receipt })
}

fn replay_again(stage: &Stage, receipt: &Receipt, output: Output) -> Result<()> {
    step(output, 6, "Replay it: compute the answer again and compare bit for bit")?;
    let computation = receipt.computation().context("the demo's receipt lacks openings")?;
    let bar = output.bar("replaying", 1);
    let mut on_progress = |done: usize, total: usize| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    };
    let Stage { engine, language, .. } = stage;
    let report = replay::compare(receipt, &computation, engine, language, &mut on_progress);
    bar.finish_and_clear();
    ensure!(report.differs.is_empty(), "the replay differs: {}", report.differs.join("; "));
    for text in &report.same {
        output.line(&format!("   {} {text}", output.paint(Colour::Green, "✓")))?;
    }
    Ok(())
}

fn show_what_next(output: Output) -> Result<()> {
    output.line("")?;
    output.line("That was the whole of it. Try it yourself:")?;
    for command in [
        "ask \"What is a lock?\" --receipt my.receipt",
        "verify my.receipt",
        "inspect my.receipt",
        "replay my.receipt",
    ] {
        output.line(&format!("   cargo run --release -- {command}"))?;
    }
    Ok(())
}

fn request(engine: &Engine) -> ChatRequest {
    ChatRequest {
        model: engine.model().root().to_string(),
        messages: conversation(None, QUESTION),
        max_tokens: TOKENS_MAX,
        temperature: Micro::from_millionths(500_000),
        top_p: Micro::from_millionths(800_000),
        top_k: 0,
        seed: None,
        user: None,
    }
}

/// Flips a bit in the middle of the signed statement and returns the reasoned no.
fn tamper(
    receipt: &[u8],
    policy: &Policy,
    expected: &Expected<'_>,
    now: UnixTime,
) -> Result<(usize, Rejection)> {
    // The signed statement begins within the first bytes and has well over 400.
    let place = 400.min(receipt.len() / 2);
    let mut copy = receipt.to_vec();
    copy[place] ^= 1;
    match verify(&copy, policy, expected, now) {
        Err(rejection) => Ok((place, rejection)),
        Ok(_) => anyhow::bail!("a receipt with a flipped bit was accepted: this is a defect"),
    }
}

fn step(output: Output, number: u32, text: &str) -> Result<()> {
    output.line("")?;
    output.line(&output.paint(Colour::Bold, &format!("{number}. {text}")))
}

fn detail(output: Output, text: &str) -> Result<()> {
    output.line(&format!("   {}", output.paint(Colour::Dim, text)))
}
