//! The index over some 100 MB of manual pages beside infini-gram: building, counting, whole answers
//! and proofs; counts and owners of both must be equal.
#![expect(clippy::cast_precision_loss, reason = "times are printed with a few digits")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use tally_attribution::index::{Builder, Index, Shards, prove};
use tally_attribution::ownership::{Corpus as _, Ownership};
use tally_core::Digest;
use tally_core::cbor::Cbor as _;
use tally_core::philox::block;
use tally_core::trace::{Claim, PROOF_BYTES_MAX, TraceProof, verify_spans};

use crate::process::{memory_peak_bytes, processor_ticks};
use crate::python;
use crate::repo::Repo;

mod peer;
mod texts;

use peer::InfiniGram;
use texts::Texts;

/// Bytes of a window.
const WINDOW: usize = 32;
/// Bytes of an answer: 600 tokens of four bytes.
const ANSWER_BYTES: usize = 2_400;
/// Ticks of a processor in a second, as Linux counts them for programs.
const TICKS: f64 = 100.0;
/// Parts of texts that are counted by both.
const COUNTS: usize = 4_000;

/// What is measured and with what.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Bytes of text
    #[arg(long, default_value_t = 100_000_000)]
    bytes: usize,
    /// Answers of 600 tokens
    #[arg(long, default_value_t = 200)]
    answers: usize,
    /// Answers of which every window is compared with infini-gram's
    #[arg(long, default_value_t = 20)]
    compared: usize,
    /// Folder with texts; Debian's manual pages if absent
    #[arg(long)]
    texts: Option<PathBuf>,
    /// Measures ours alone
    #[arg(long)]
    alone: bool,
}

/// Measures everything and prints it as rows.
pub(crate) fn run(repo: &Repo, options: &Options) -> Result<()> {
    let folder = match &options.texts {
        Some(folder) => folder.clone(),
        None => texts::download(&python::target(repo).join("attribution-texts"))?,
    };
    let texts = Texts::read(&folder, options.bytes)?;
    println!("{texts}\n\n| what | ours | infini-gram | ratio |\n|---|---|---|---|");
    let work = tempfile::tempdir_in(python::target(repo))?;
    let (index, build) = bench_build(&texts, work.path())?;
    let mut peer = match options.alone {
        true => None,
        false => Some(InfiniGram::start(repo, work.path(), &texts)?),
    };
    let table = |peer: &InfiniGram| peer.bytes as f64 / texts.bytes as f64;
    row("build, s", build.as_secs_f64(), peer.as_ref().map(|peer| peer.build.as_secs_f64()));
    row(
        "bytes per byte of text",
        index.file_bytes() as f64 / texts.bytes as f64,
        peer.as_ref().map(table),
    );
    bench_counts(&texts, &index, peer.as_mut())?;
    let answers: Vec<Vec<u8>> =
        (0..options.answers).map(|number| answer_of(&texts, number)).collect();
    bench_answers(&index, &answers, options.compared, peer.as_mut())?;
    bench_proofs(&index, &answers)
}

/// One row; a ratio above 1 is in our favour.
fn row(what: &str, ours: f64, theirs: Option<f64>) {
    let theirs_text = theirs.map_or(String::new(), |theirs| format!("{theirs:.2}"));
    let ratio = theirs.map_or(String::new(), |theirs| format!("{:.1}", theirs / ours));
    println!("| {what} | {ours:.2} | {theirs_text} | {ratio} |");
}

/// The value below which that many of a hundred lie.
fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values
        .get((values.len() * percent / 100).min(values.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

/// Processor time that this process has taken so far; others' work on the machine does not enter it.
fn processor_seconds() -> Result<f64> {
    Ok(processor_ticks("self")? as f64 / TICKS)
}

fn bench_build(texts: &Texts, folder: &Path) -> Result<(Index, Duration)> {
    let mut builder = Builder::new();
    for (collection, documents) in &texts.collections {
        builder.contribution(Digest::of_content(collection.as_bytes()))?;
        for (name, text) in documents {
            builder.document(name, text.as_bytes())?;
        }
    }
    let (started, used) = (Instant::now(), processor_seconds()?);
    let mut marks = vec![];
    let mut mark = |_: u32| marks.push(started.elapsed());
    let index = builder.build(&folder.join("shard.index"), &mut mark)?;
    let build = started.elapsed();
    // It is told first that nothing is done, and then that the suffixes are sorted.
    row("build, of it sorting, s", marks.get(1).copied().unwrap_or_default().as_secs_f64(), None);
    row("build, processor time, s", processor_seconds()? - used, None);
    row(
        "memory while building, two copies of the text included, bytes per byte",
        memory_peak_bytes("self")? as f64 / texts.bytes as f64,
        None,
    );
    let (started, used) = (Instant::now(), processor_seconds()?);
    index.verify(&mut |_| ())?;
    row("verification of an opened index, s", started.elapsed().as_secs_f64(), None);
    row("verification, processor time, s", processor_seconds()? - used, None);
    Ok((index, build))
}

/// Numbers that look random and are the same in every run.
struct Draw(u32, u32);

impl Draw {
    fn below(&mut self, limit: usize) -> usize {
        self.1 += 1;
        let [word, ..] = block([self.0, self.1, 0, 0], [600, 32]);
        word as usize % limit.max(1)
    }

    /// A part of some text, between characters.
    fn part<'a>(&mut self, texts: &[&'a str], len: usize) -> &'a str {
        let text = texts[self.below(texts.len())];
        let mut start = self.below(text.len().saturating_sub(len) + 1);
        let mut end = (start + len).min(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        &text[start..end.max(start)]
    }
}

/// Half copied from registered texts with an edit every 80 bytes or so, half from texts that are not
/// registered.
fn answer_of(texts: &Texts, number: usize) -> Vec<u8> {
    let mut draw = Draw(u32::try_from(number).unwrap_or_default(), 0);
    let (registered, held_out) = (texts.registered(), texts.held_out());
    let mut answer: Vec<u8> = vec![];
    while answer.len() < ANSWER_BYTES {
        let len = 100 + draw.below(300);
        let mut copied = draw.part(&registered, len).as_bytes().to_vec();
        for _ in 0..copied.len() / 80 {
            let at = draw.below(copied.len());
            if copied[at].is_ascii_alphabetic() {
                copied[at] = b'a' + u8::try_from(draw.below(26)).unwrap_or_default();
            }
        }
        answer.extend(copied);
        answer.extend(draw.part(&held_out, len).as_bytes());
    }
    answer.truncate(ANSWER_BYTES);
    answer
}

fn bench_counts(texts: &Texts, index: &Index, peer: Option<&mut InfiniGram>) -> Result<()> {
    let mut draw = Draw(u32::MAX, 0);
    let (registered, held_out) = (texts.registered(), texts.held_out());
    let queries: Vec<&[u8]> = (0..COUNTS)
        .map(|number| {
            let len = 1 + draw.below(48);
            let from = if number % 2 == 0 { &registered } else { &held_out };
            draw.part(from, len).as_bytes()
        })
        .filter(|query| !query.is_empty())
        .collect();
    let started = Instant::now();
    let counts: Vec<usize> = queries.iter().map(|query| index.interval(query).len()).collect();
    let ours = started.elapsed().as_secs_f64() * 1e6 / queries.len() as f64;
    let Some(peer) = peer else {
        row("count of a text of 1 to 48 bytes, µs", ours, None);
        return Ok(());
    };
    let (theirs, found) = peer.ask("count", &queries)?;
    for ((query, ours), theirs) in queries.iter().zip(&counts).zip(&found) {
        let ours = i64::try_from(*ours)?;
        ensure!(
            ours == *theirs,
            "{:?} occurs {ours} or {theirs} times",
            String::from_utf8_lossy(query)
        );
    }
    row(
        "count of a text of 1 to 48 bytes, µs",
        ours,
        Some(theirs.as_secs_f64() * 1e6 / queries.len() as f64),
    );
    println!("| equal counts | {} | {} | |", queries.len(), queries.len());
    Ok(())
}

/// Whole answers; of some, every window is compared.
fn bench_answers(
    index: &Index,
    answers: &[Vec<u8>],
    compared: usize,
    peer: Option<&mut InfiniGram>,
) -> Result<()> {
    let shards = Shards(std::slice::from_ref(index));
    let mut times = vec![];
    let mut owned = 0;
    for answer in answers {
        let started = Instant::now();
        let ownership = Ownership::of(answer, WINDOW, &shards);
        times.push(started.elapsed().as_secs_f64() * 1e3);
        owned += ownership.weight(|_| true) as usize;
    }
    let all: usize = answers.iter().map(Vec::len).sum();
    println!("| bytes with an owner, of {all} | {owned} | | |");
    let p99 = percentile(&mut times, 99);
    let p50 = percentile(&mut times, 50);
    let Some(peer) = peer else {
        row("whole answer, p50, ms", p50, None);
        row("whole answer, p99, ms", p99, None);
        return Ok(());
    };
    let (mut peers, mut windows, mut present, mut documents) = (vec![], 0, 0, 0);
    for answer in answers.iter().take(compared) {
        let queries: Vec<&[u8]> = answer.windows(WINDOW).collect();
        let (time, counts) = peer.ask("count", &queries)?;
        peers.push(time.as_secs_f64() * 1e3);
        let (_, earliest) = peer.ask("earliest", &queries)?;
        let owners = shards.earliest_of_windows(answer, WINDOW);
        for (at, owner) in owners.iter().enumerate() {
            ensure!(
                owner.is_some() == (counts[at] > 0),
                "window {at}: {owner:?}, {} times",
                counts[at]
            );
            windows += 1;
            present += usize::from(owner.is_some());
            if earliest[at] != -2 {
                let document = owner.map_or(-1, |owner| i64::from(owner.document));
                ensure!(
                    document == earliest[at],
                    "window {at}: document {document} or {}",
                    earliest[at]
                );
                documents += usize::from(owner.is_some());
            }
        }
    }
    row(
        "whole answer, p50, ms (theirs: a count for each window)",
        p50,
        Some(percentile(&mut peers, 50)),
    );
    row("whole answer, p99, ms", p99, Some(percentile(&mut peers, 99)));
    println!("| equal windows | {windows}, {present} of them present | the same | |");
    println!("| equal earliest documents | {documents} | the same | |");
    Ok(())
}

fn bench_proofs(index: &Index, answers: &[Vec<u8>]) -> Result<()> {
    let shards = std::slice::from_ref(index);
    let roots = [index.root()];
    let (mut proving, mut verifying, mut sizes, mut items) = (vec![], vec![], vec![], vec![]);
    for answer in answers {
        let started = Instant::now();
        let traced = prove(shards, answer, WINDOW)?;
        let bytes = traced.proof.encode();
        proving.push(started.elapsed().as_secs_f64() * 1e3);
        ensure!(bytes.len() as u64 <= PROOF_BYTES_MAX, "a proof has {} bytes", bytes.len());
        sizes.push(bytes.len() as f64 / 1_024.0);
        items
            .push(traced.proof.shards.iter().map(|shard| shard.probes.len()).sum::<usize>() as f64);
        let window_bytes = u32::try_from(WINDOW)?;
        let claim =
            Claim { output: answer, window_bytes, roots: &roots, spans: &traced.ownership.spans };
        let started = Instant::now();
        let proof = TraceProof::parse(&bytes)?;
        verify_spans(&claim, &proof).context("a proof does not hold")?;
        verifying.push(started.elapsed().as_secs_f64() * 1e3);
    }
    for (what, values) in [
        ("proof, KiB", &mut sizes),
        ("probes of a proof", &mut items),
        ("proving, ms", &mut proving),
        ("verifying a proof, ms", &mut verifying),
    ] {
        row(&format!("{what}, p50"), percentile(values, 50), None);
        row(&format!("{what}, p99"), percentile(values, 99), None);
    }
    Ok(())
}
