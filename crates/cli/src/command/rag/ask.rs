//! `tally rag ask`: an answer from the nearest passages, with citations and a receipt.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tally_attribution::{
    attributor::{Attributor, Retrieved},
    retrieval::Passages,
};
use tally_core::Digest;
use tally_engine::{ARITHMETIC, Engine, Language};

use super::{super::ask as plain, Verdict, add::Encoder, files, read, score_text};
use crate::{
    args,
    context::Context,
    home::Home,
    output::{Output, quoted},
    rag::{Prompt, Quoted, one_line},
};

/// How many of the nearest are tried for each passage wanted: those that do not fit are passed over.
const TRIED_PER_PASSAGE: usize = 4;

/// The passages of a question, with their scores.
struct Found {
    prompt: Prompt,
    scores: Vec<i64>,
    /// How many were nearer than the last one and did not fit.
    left_out: usize,
}

pub(super) fn run(args: &args::RagAsk, context: &Context) -> Result<Verdict> {
    let home = context.open_home()?;
    let how = &args.answering;
    let nonce = plain::nonce_of(how.nonce.as_deref())?;
    let question = plain::read_prompt(&args.question)?;
    ensure!(!question.trim().is_empty(), "the question is empty");
    let all = passages_of(args, &home)?;
    let (engine, language) = plain::answering(&home, &how.model, context)?;
    let found = find(args, &question, &all, &home, (&engine, &language), context)?;
    let (turns, label) = (found.prompt.turns(), found.prompt.label());
    let request = plain::request_of(how, &engine, turns, Some(label));
    let asking = plain::Asking {
        home: &home,
        engine: &engine,
        language: &language,
        request: &request,
        nonce: &nonce,
        how,
    };
    let datasets = std::cell::RefCell::new(vec![]);
    let retrieved = |attributor: &Attributor| {
        let known = datasets_of(&found.prompt, attributor);
        let bound = found.prompt.passages.iter().zip(&known).filter_map(|(passage, dataset)| {
            let (document, start, end) = (passage.document, passage.start, passage.end);
            Some(Retrieved { dataset: (*dataset)?, document, start, end })
        });
        let bound = bound.collect();
        datasets.replace(known);
        bound
    };
    let (answered, path) = asking.answer(&retrieved, context)?;
    let datasets = datasets.into_inner();
    let mut told = plain::told(&answered, &nonce, &path);
    told["citations"] = citations(&found, &datasets);
    told["passages_left_out"] = found.left_out.into();
    context.output.json(&told)?;
    cite(&found, &datasets, context.output)?;
    plain::report(&answered, &nonce, &path, context.output)?;
    Ok(Verdict::Satisfied)
}

/// The passages to search, all by one encoder.
fn passages_of(args: &args::RagAsk, home: &Home) -> Result<Vec<Passages>> {
    let known = files(home)?;
    for name in &args.from {
        ensure!(
            known.iter().any(|(known, _)| known == name),
            "no passages `{}`\n\nhint: `tally rag list` shows those there are",
            quoted(name)
        );
    }
    let wanted = known.iter().filter(|(name, _)| args.from.is_empty() || args.from.contains(name));
    let all: Vec<Passages> = wanted.map(|(_, path)| read(path)).collect::<Result<_>>()?;
    let first = all.first().context(
        "there are no passages to answer from\n\nhint: `tally rag add FOLDER --model ENCODER`",
    )?;
    for passages in &all {
        ensure!(
            passages.encoder() == first.encoder() && passages.width() == first.width(),
            "passages by two encoders, {} and {}, cannot be compared\n\nhint: choose by `--from NAME`",
            first.encoder(),
            passages.encoder()
        );
        ensure!(
            passages.arithmetic() == ARITHMETIC,
            "the passages are in arithmetic `{}`, this release computes in `{ARITHMETIC}`\n\nhint: add the texts again",
            quoted(passages.arithmetic())
        );
    }
    Ok(all)
}

/// The nearest passages that fit the model's context together with the answer.
fn find(
    args: &args::RagAsk,
    question: &str,
    all: &[Passages],
    home: &Home,
    (engine, language): (&Engine, &Language),
    context: &Context,
) -> Result<Found> {
    let encoder = all.first().map(|it| it.encoder().to_string()).unwrap_or_default();
    let vector = Encoder::load(home, &encoder, context)?.question(question)?;
    let top = usize::from(args.top);
    let mut near = vec![];
    for (place, passages) in all.iter().enumerate() {
        let some = passages.nearest(&vector, top * TRIED_PER_PASSAGE)?;
        near.extend(some.into_iter().map(|it| (place, it)));
    }
    // A stable sort: of equals the one that was added first, files by name.
    near.sort_by_key(|(_, it)| std::cmp::Reverse(it.score));
    let mut found = Found {
        prompt: Prompt { passages: vec![], question: question.to_owned() },
        scores: vec![],
        left_out: 0,
    };
    let room = (engine.model().context_len() as usize)
        .saturating_sub(usize::try_from(args.answering.sampling.max_tokens)?);
    let mut passed_over = 0;
    for (place, it) in near {
        let (passage, document, text) =
            all[place].passage(it.passage).context("a passage is not there")?;
        let quoted = Quoted {
            document: document.digest,
            start: passage.start,
            end: passage.end,
            name: one_line(&document.name),
            text: text.to_owned(),
        };
        // Two sets of passages may cut one document in two ways.
        let overlaps = |known: &Quoted| {
            known.document == quoted.document
                && known.start < quoted.end
                && quoted.start < known.end
        };
        if found.prompt.passages.iter().any(overlaps) {
            continue;
        }
        found.prompt.passages.push(quoted);
        if found.prompt.tokens(language)?.len() > room {
            found.prompt.passages.pop();
            passed_over += 1;
            continue;
        }
        found.scores.push(it.score);
        found.left_out = passed_over;
        if found.scores.len() == top {
            break;
        }
    }
    ensure!(
        !found.scores.is_empty(),
        "none of the nearest passages fits: the model's context has {} tokens, the answer may take {}\n\nhint: a smaller `--max-tokens`, or texts added again with a smaller `--passage-bytes`",
        engine.model().context_len(),
        args.answering.sampling.max_tokens
    );
    Ok(found)
}

/// The dataset of each passage: the first that was registered with its document.
fn datasets_of(prompt: &Prompt, attributor: &Attributor) -> Vec<Option<Digest>> {
    let mut known: BTreeMap<Digest, Option<Digest>> =
        prompt.documents().into_iter().map(|document| (document, None)).collect();
    for index in attributor.indices() {
        for document in index.documents() {
            if let Some(dataset) = known.get_mut(&document.digest)
                && dataset.is_none()
            {
                let place = document.contribution as usize;
                *dataset = index.shard().contributions.get(place).copied();
            }
        }
    }
    prompt.passages.iter().map(|passage| known.get(&passage.document).copied().flatten()).collect()
}

fn citations(found: &Found, datasets: &[Option<Digest>]) -> Value {
    let all = found.prompt.passages.iter().zip(&found.scores).zip(datasets).zip(1..);
    let citation = |(((passage, score), dataset), number): (_, u32)| {
        let (passage, dataset): (&Quoted, &Option<Digest>) = (passage, dataset);
        json!({
            "number": number,
            "name": passage.name,
            "document": passage.document.to_string(),
            "start": passage.start,
            "end": passage.end,
            "score": score,
            "dataset": dataset.map(|dataset| dataset.to_string()),
        })
    };
    all.map(citation).collect()
}

fn cite(found: &Found, datasets: &[Option<Digest>], output: Output) -> Result<()> {
    output.line("\n")?;
    let all = found.prompt.passages.iter().zip(&found.scores).zip(datasets).zip(1_u32..);
    for (((passage, score), dataset), number) in all {
        let ground = match dataset {
            Some(dataset) => format!("bound to dataset {}", &dataset.to_string()[..16]),
            None => "not registered: in the prompt, paid nothing".to_owned(),
        };
        output.line(&format!(
            "[{number}] {}, bytes {} to {}, score {} ({ground})",
            quoted(&passage.name),
            passage.start,
            passage.end,
            score_text(*score)
        ))?;
    }
    if found.left_out > 0 && !output.is_json() {
        output
            .note(&format!("({} nearer passages did not fit the model's context)", found.left_out));
    }
    Ok(())
}
