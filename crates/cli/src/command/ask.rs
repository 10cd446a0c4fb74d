//! `tally ask`: an answer on the terminal, its receipt in a file.

use std::{io::Read as _, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tally_engine::{Engine, Kernels};

use super::{Verdict, parse_nonce, write_receipt};
use crate::{
    answer::{Answered, answer, conversation},
    args,
    context::Context,
    home::{Home, random},
    language::Language,
    models, node,
    output::Colour,
    request::ChatRequest,
};

const PROMPT_BYTES_MAX: u64 = 4 << 20;

pub(crate) fn run(args: &args::Ask, context: &Context) -> Result<Verdict> {
    let home = context.open_home()?;
    let nonce = match &args.nonce {
        Some(text) => parse_nonce(text)?,
        None => {
            let mut nonce = vec![0; 16];
            random(&mut nonce)?;
            nonce
        }
    };
    let model = models::load(&home, &args.model)?;
    let language = Language::of(&model)?;
    let engine = Engine::new(model, kernels(&context.kernels)?, context.threads)?;
    let prompt = read_prompt(&args.prompt)?;
    let request = request_of(args, &engine, &prompt);
    node::load_or_create_policy(&home, models::load_default()?.root())?;
    let node = node::open(&home)?;
    let output = context.output;
    let answered = answer(&node, &engine, &language, &request, Some(nonce.clone()), &mut |text| {
        output.piece(text)
    })?;
    output.line("")?;
    let path = receipt_path(args, &home, &answered);
    write_receipt(&path, &answered.issued.bundle)?;
    let speed = answered.tokens_per_second();
    output.json(&json!({
        "text": answered.text,
        "finish": answered.finish.to_string(),
        "output_tokens": answered.output_count,
        "tokens_per_second": speed.map(|speed| speed.to_string()),
        "nonce": hex::encode(&nonce),
        "receipt": path,
        "receipt_digest": answered.issued.digest.to_string(),
        "log_index": answered.issued.log_index,
    }))?;
    let place = format!("receipt {} (log entry {})", path.display(), answered.issued.log_index);
    if !output.is_json() {
        output.note(&output.paint(Colour::Dim, &place));
    }
    Ok(Verdict::Satisfied)
}

/// The kernels of a name, or the fastest.
pub(super) fn kernels(name: &str) -> Result<Kernels> {
    Ok(if name == "detect" { Kernels::detect() } else { Kernels::named(name)? })
}

fn request_of(args: &args::Ask, engine: &Engine, prompt: &str) -> ChatRequest {
    ChatRequest {
        model: engine.model().root().to_string(),
        messages: conversation(args.system.as_deref(), prompt),
        max_tokens: args.sampling.max_tokens,
        temperature: args.sampling.temperature,
        top_p: args.sampling.top_p,
        top_k: args.sampling.top_k,
        seed: args.sampling.seed,
    }
}

fn read_prompt(prompt: &str) -> Result<String> {
    if prompt != "-" {
        return Ok(prompt.to_owned());
    }
    let mut text = String::new();
    let stdin = std::io::stdin().lock().take(PROMPT_BYTES_MAX.saturating_add(1));
    let mut stdin = stdin;
    stdin.read_to_string(&mut text).context("cannot read the question from stdin")?;
    ensure!(
        text.len() as u64 <= PROMPT_BYTES_MAX,
        "question has more than {PROMPT_BYTES_MAX} bytes"
    );
    Ok(text)
}

fn receipt_path(args: &args::Ask, home: &Home, answered: &Answered) -> PathBuf {
    let digest = answered.issued.digest.to_string();
    args.receipt
        .clone()
        .unwrap_or_else(|| home.receipts().join(format!("{}.receipt", &digest[..16])))
}
