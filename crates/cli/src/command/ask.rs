//! `tally ask`: an answer on the terminal, its receipt in a file.

use std::{
    io::Read as _,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tally_attribution::attributor::{Attributor, Retrieved};
use tally_core::computation::FinishReason;
use tally_engine::{Engine, Kernels, Language};
use tally_issuer::Issued;

use super::{Verdict, parse_nonce, write_new};
use crate::{
    answer::{Answered, Answerer, Outcome, conversation},
    args,
    context::Context,
    contributions,
    home::{Home, random},
    models, node,
    output::Output,
    receipt_file::ReceiptFile,
    receipts,
    request::{ChatRequest, Turn},
};

const PROMPT_BYTES_MAX: u64 = 4 << 20;

pub(crate) fn run(args: &args::Ask, context: &Context) -> Result<Verdict> {
    let home = context.open_home()?;
    let how = &args.answering;
    let nonce = nonce_of(how.nonce.as_deref())?;
    let (engine, language) = answering(&home, &how.model, context)?;
    let prompt = read_prompt(&args.prompt)?;
    ensure!(!prompt.trim().is_empty(), "the question is empty");
    let request = request_of(how, &engine, conversation(args.system.as_deref(), &prompt), None);
    let asking = Asking {
        home: &home,
        engine: &engine,
        language: &language,
        request: &request,
        nonce: &nonce,
        how,
    };
    let (answered, path) = asking.answer(&|_| vec![], context)?;
    context.output.json(&told(&answered, &nonce, &path))?;
    report(&answered, &nonce, &path, context.output)?;
    Ok(Verdict::Satisfied)
}

/// The user's nonce, or a random one.
pub(super) fn nonce_of(given: Option<&str>) -> Result<Vec<u8>> {
    match given {
        Some(text) => parse_nonce(text),
        None => {
            let mut nonce = vec![0; 16];
            random(&mut nonce)?;
            Ok(nonce)
        }
    }
}

/// An engine with a model that answers questions, and its language.
pub(super) fn answering(home: &Home, name: &str, context: &Context) -> Result<(Engine, Language)> {
    let model = models::load(home, name)?;
    ensure!(
        model.configuration().pooling.is_none(),
        "model `{name}` is a sentence encoder and answers nothing\n\nhint: `tally embed` makes vectors with it"
    );
    let language = Language::of(&model)?;
    Ok((Engine::new(model, kernels(&context.kernels)?, context.threads)?, language))
}

/// A question on its way to an answer on the terminal, with a receipt that is kept.
pub(super) struct Asking<'a> {
    pub(super) home: &'a Home,
    pub(super) engine: &'a Engine,
    pub(super) language: &'a Language,
    pub(super) request: &'a ChatRequest,
    pub(super) nonce: &'a [u8],
    pub(super) how: &'a args::Answering,
}

impl Asking<'_> {
    /// Answers; `retrieved` says which registered documents the request holds.
    pub(super) fn answer(
        &self,
        retrieved: &dyn Fn(&Attributor) -> Vec<Retrieved>,
        context: &Context,
    ) -> Result<(Answered, PathBuf)> {
        let home = self.home;
        node::load_or_create_policy(home, models::load_default()?.root())?;
        // A place that cannot be written shows now, before anything is computed and logged.
        let receipt = self.how.receipt.as_deref();
        let wanted = receipt.map(ReceiptFile::prepare_new).transpose()?;
        if let Some(path) = self.how.request_out.as_deref() {
            ensure!(
                receipt != Some(path),
                "receipt and request cannot both be written to {}",
                path.display()
            );
            write_new(path, &self.request.encode())?;
        }
        let node = node::open(home)?;
        let output = context.output;
        let is_stopped = stop_flag()?;
        let attributor = contributions::attributor_of(home, &node)?;
        let answerer = Answerer {
            home,
            node: &node,
            engine: self.engine,
            language: self.language,
            attributor: &attributor,
            retrieved: &retrieved(&attributor),
        };
        let outcome = answerer.answer(self.request, Some(self.nonce.to_vec()), &mut |text| {
            // Nobody reads any more, or somebody wants it to end.
            match output.piece(text).is_err() || is_stopped.load(Ordering::Relaxed) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })?;
        let issued = match &outcome {
            Outcome::Answered(answered) => &answered.issued,
            Outcome::Refused(issued, _) => issued,
        };
        let path = keep(home, issued, wanted)?;
        match outcome {
            Outcome::Answered(answered) => Ok((answered, path)),
            Outcome::Refused(issued, error) => Err(error.context(format!(
                "there is no answer; receipt {} (log entry {}) says so",
                path.display(),
                issued.log_index
            ))),
        }
    }
}

/// Keeps the receipt in the home, and where the user wants it; returns the place to name.
fn keep(home: &Home, issued: &Issued, wanted: Option<ReceiptFile>) -> Result<PathBuf> {
    let path = receipts::path_of(&home.receipts(), &issued.digest);
    let kept = ReceiptFile::prepare(&path)?.write(&issued.bundle)?;
    match wanted {
        Some(file) => file
            .write(&issued.bundle)
            .with_context(|| format!("the receipt is kept in {}", kept.display())),
        None => Ok(kept),
    }
}

/// What is told of an answer in JSON.
pub(super) fn told(answered: &Answered, nonce: &[u8], path: &Path) -> Value {
    json!({
        "text": answered.text,
        "finish": answered.finish.to_string(),
        "output_tokens": answered.output_count,
        "tokens_per_second": answered.tokens_per_second(),
        "nonce": hex::encode(nonce),
        "receipt": path,
        "receipt_digest": answered.issued.digest.to_string(),
        "log_index": answered.issued.log_index,
    })
}

/// Ends an answer on the terminal: how it ended, and where its receipt is.
pub(super) fn report(answered: &Answered, nonce: &[u8], path: &Path, output: Output) -> Result<()> {
    let (index, nonce) = (answered.issued.log_index, hex::encode(nonce));
    output.line("")?;
    if !output.is_json() {
        if answered.finish == FinishReason::Length {
            let count = answered.output_count;
            output.note(&format!("(cut off at {count} tokens: `--max-tokens` allows more)"));
        }
        output.note(&format!("receipt {} (log entry {index}, your nonce {nonce})", path.display()));
    }
    Ok(())
}

/// A flag that an interrupt or a request to end sets, so that what was said gets its receipt.
fn stop_flag() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    ctrlc::set_handler(move || set.store(true, Ordering::Relaxed))
        .context("cannot take notice of interrupts")?;
    Ok(flag)
}

/// The kernels of a name, or the fastest.
pub(super) fn kernels(name: &str) -> Result<Kernels> {
    Ok(if name == "detect" { Kernels::detect() } else { Kernels::named(name)? })
}

/// The request for an answer in a conversation.
pub(super) fn request_of(
    how: &args::Answering,
    engine: &Engine,
    messages: Vec<Turn>,
    user: Option<String>,
) -> ChatRequest {
    ChatRequest {
        model: engine.model().root().to_string(),
        messages,
        max_tokens: how.sampling.max_tokens,
        temperature: how.sampling.temperature,
        top_p: how.sampling.top_p,
        top_k: how.sampling.top_k,
        seed: how.sampling.seed,
        user,
    }
}

pub(super) fn read_prompt(prompt: &str) -> Result<String> {
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
