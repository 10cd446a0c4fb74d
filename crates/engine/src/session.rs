//! An engine, and the sequences that it continues: one at a time or many in one pass.

use std::sync::{Arc, Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::cache::Cache;
use crate::encoder::{self, Embedding};
use crate::error::EngineError;
use crate::forward::{self, Context, Lane, Observer, Slot};
use crate::kernel::Kernels;
use crate::model::Model;
use crate::peaks::{Headroom, Peaks};

#[cfg(test)]
mod tests;

/// Most worker threads.
pub const THREADS_MAX: usize = 256;
/// Most tokens in one pass: bounds a workspace.
pub const PASS_TOKENS_MAX: usize = 4096;

/// A model, the kernels that compute it and the threads that share the work.
///
/// Kernels and threads change how long a result takes and nothing else.
#[derive(Debug)]
pub struct Engine {
    model: Arc<Model>,
    kernels: Kernels,
    threads: usize,
    pool: Option<ThreadPool>,
    /// Lanes that are not in use; each pass takes one set and puts it back.
    spare: Mutex<Vec<Vec<Lane>>>,
}

/// A text in the making: the keys and values of the tokens that were computed so far.
#[derive(Clone, Debug)]
pub struct Sequence {
    model: Arc<Model>,
    cache: Cache,
    len: usize,
}

/// Tokens to append to one sequence in a pass.
#[derive(Debug)]
pub struct Span<'a> {
    /// The sequence.
    pub sequence: &'a mut Sequence,
    /// What is appended; at least one token.
    pub tokens: &'a [u32],
    /// Of which of these tokens the logits are computed.
    pub wanted: Wanted,
}

/// Which tokens of a span have their logits computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// None: the span only fills the cache.
    Nothing,
    /// The last one's.
    Last,
    /// Every one's.
    All,
}

impl Engine {
    /// An engine with its own worker threads; with one thread, none are started.
    ///
    /// # Errors
    /// A thread count of zero or above [`THREADS_MAX`], or threads that do not start.
    pub fn new(model: Arc<Model>, kernels: Kernels, threads: usize) -> Result<Self, EngineError> {
        parameter("thread count", threads, THREADS_MAX)?;
        let pool = match threads {
            1 => None,
            count => {
                let name = |index| format!("engine-{index}");
                let built = ThreadPoolBuilder::new().num_threads(count).thread_name(name).build();
                Some(built.map_err(|_| EngineError::Threads { count })?)
            }
        };
        Ok(Self { model, kernels, threads, pool, spare: Mutex::default() })
    }

    /// The model.
    #[must_use]
    pub const fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The kernels.
    #[must_use]
    pub const fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// A sequence without tokens.
    #[must_use]
    pub fn sequence(&self) -> Sequence {
        let model = Arc::clone(&self.model);
        let cache = Cache::new(model.configuration());
        Sequence { model, cache, len: 0 }
    }

    /// Memory in bytes that a sequence takes with room for `len` tokens and no more.
    #[must_use]
    pub fn sequence_bytes(&self, len: usize) -> u64 {
        Cache::bytes_of(self.model.configuration(), len)
    }

    /// Appends tokens to sequences, all in one pass; `logits` gets the wanted ones in order.
    ///
    /// Spans of one token, which decode, and longer ones, which prefill, may stand side by side.
    /// Each entry of `logits` has one integer per token of the vocabulary, with the manifest's
    /// `logit_bits` fraction bits. On an error every sequence is as it was.
    ///
    /// # Errors
    /// A token outside the vocabulary, a full context, an empty span or pass, a sequence of
    /// another model, or a value beyond a bound of the arithmetic.
    pub fn extend(
        &self,
        spans: &mut [Span<'_>],
        logits: &mut Vec<Vec<i32>>,
    ) -> Result<(), EngineError> {
        self.extend_measured(spans, logits).map(|_peaks| ())
    }

    fn extend_measured(
        &self,
        spans: &mut [Span<'_>],
        logits: &mut Vec<Vec<i32>>,
    ) -> Result<Peaks, EngineError> {
        if self.model.configuration().pooling.is_some() {
            return Err(EngineError::NotADecoder);
        }
        let slots = self.slots(spans)?;
        let wanted: Vec<Wanted> = spans.iter().map(|span| span.wanted).collect();
        logits.resize_with(spans.iter().map(Span::wanted_count).sum(), Vec::new);
        let mut lanes = self.take_lanes(slots.len());
        let pass = Pass { slots: &slots, lanes: &mut lanes[..slots.len()], observer: None };
        let result = self.run(spans, pass, |context, pass| {
            let mut ends = ends(pass, &wanted);
            match ends.is_empty() {
                true => Ok(()),
                false => forward::logits(context, &mut ends, logits),
            }
        });
        self.put_lanes(lanes);
        result
    }

    /// Appends one token to each sequence: one step of batched decoding.
    ///
    /// # Errors
    /// As [`extend`](Self::extend).
    pub fn step(
        &self,
        sequences: &mut [&mut Sequence],
        tokens: &[u32],
        logits: &mut Vec<Vec<i32>>,
    ) -> Result<(), EngineError> {
        let spans = sequences.iter_mut().zip(tokens.chunks(1));
        let mut spans: Vec<_> = spans
            .map(|(sequence, tokens)| Span { sequence, tokens, wanted: Wanted::Last })
            .collect();
        self.extend(&mut spans, logits)
    }

    /// Appends a text in chunks; `logits` gets those of its last token.
    ///
    /// # Errors
    /// As [`extend`](Self::extend), and a chunk length of zero or above [`PASS_TOKENS_MAX`].
    pub fn prefill(
        &self,
        sequence: &mut Sequence,
        tokens: &[u32],
        chunk_len: usize,
        logits: &mut Vec<Vec<i32>>,
    ) -> Result<(), EngineError> {
        parameter("chunk length", chunk_len, PASS_TOKENS_MAX)?;
        let chunks = tokens.chunks(chunk_len);
        let last = chunks.len().checked_sub(1).ok_or(EngineError::EmptyInput)?;
        for (index, tokens) in chunks.enumerate() {
            let wanted = if index == last { Wanted::Last } else { Wanted::Nothing };
            self.extend(&mut [Span { sequence, tokens, wanted }], logits)?;
        }
        Ok(())
    }

    /// Gives the logits after each token of a text, in order, to `on_logits` with its index.
    ///
    /// # Errors
    /// As [`prefill`](Self::prefill).
    pub fn logits_of(
        &self,
        tokens: &[u32],
        chunk_len: usize,
        on_logits: &mut dyn FnMut(usize, &[i32]),
    ) -> Result<(), EngineError> {
        parameter("chunk length", chunk_len, PASS_TOKENS_MAX)?;
        let (mut sequence, mut logits) = (self.sequence(), vec![]);
        for (index, tokens) in tokens.chunks(chunk_len).enumerate() {
            let span = Span { sequence: &mut sequence, tokens, wanted: Wanted::All };
            self.extend(&mut [span], &mut logits)?;
            for (at, logits) in logits.iter().enumerate() {
                on_logits(index * chunk_len + at, logits);
            }
        }
        Ok(())
    }

    /// One vector for each text, all in one pass.
    ///
    /// # Errors
    /// A decoder, an empty text, one longer than the context, a token outside the vocabulary, or a
    /// value beyond a bound of the arithmetic.
    pub fn embed(&self, texts: &[&[u32]]) -> Result<Vec<Embedding>, EngineError> {
        self.embed_measured(texts).map(|(embeddings, _peaks)| embeddings)
    }

    fn embed_measured(&self, texts: &[&[u32]]) -> Result<(Vec<Embedding>, Peaks), EngineError> {
        let configuration = self.model.configuration();
        let pooling = configuration.pooling.ok_or(EngineError::NotAnEncoder)?;
        let mut sequences: Vec<Sequence> = texts.iter().map(|_| self.sequence()).collect();
        let spans = sequences.iter_mut().zip(texts);
        let mut spans: Vec<_> = spans
            .map(|(sequence, tokens)| Span { sequence, tokens, wanted: Wanted::Nothing })
            .collect();
        let slots = self.slots(&spans)?;
        let mut lanes = self.take_lanes(slots.len());
        let pass = Pass { slots: &slots, lanes: &mut lanes[..slots.len()], observer: None };
        let mut embeddings = vec![];
        let result = self.run(&mut spans, pass, |_, pass| {
            let bits = configuration.residual_bits;
            for text in pass.slots.chunk_by(|a, b| a.sequence == b.sequence) {
                let start = embeddings.len();
                let first = pass.slots.iter().position(|slot| slot.sequence == start);
                let first = first.unwrap_or_default();
                let lanes = &pass.lanes[first..first + text.len()];
                let streams: Vec<&[i32]> =
                    lanes.iter().map(|lane| lane.residual.as_slice()).collect();
                embeddings.push(encoder::pool(pooling, bits, configuration.layers, &streams)?);
            }
            Ok(())
        });
        self.put_lanes(lanes);
        result.map(|peaks| (embeddings, peaks))
    }

    /// How near a text comes to each bound of the arithmetic.
    ///
    /// # Errors
    /// As [`prefill`](Self::prefill), or as [`embed`](Self::embed) of an encoder.
    pub fn headroom(&self, tokens: &[u32], chunk_len: usize) -> Result<Vec<Headroom>, EngineError> {
        Ok(self.measure(tokens, chunk_len, Wanted::All)?.list())
    }

    /// The largest magnitudes of a text.
    pub(crate) fn measure(
        &self,
        tokens: &[u32],
        chunk_len: usize,
        wanted: Wanted,
    ) -> Result<Peaks, EngineError> {
        if self.model.configuration().pooling.is_some() {
            return Ok(self.embed_measured(&[tokens])?.1);
        }
        parameter("chunk length", chunk_len, PASS_TOKENS_MAX)?;
        let (mut sequence, mut logits, mut peaks) = (self.sequence(), vec![], Peaks::default());
        for tokens in tokens.chunks(chunk_len) {
            let span = Span { sequence: &mut sequence, tokens, wanted };
            peaks.merge(&self.extend_measured(&mut [span], &mut logits)?);
        }
        Ok(peaks)
    }

    /// What the model would say after every layer: final norm and head of the residual stream.
    ///
    /// `on` gets layer, position and logits, layer by layer, for each of `positions`.
    ///
    /// # Errors
    /// As [`extend`](Self::extend); the text has at most [`PASS_TOKENS_MAX`] tokens.
    pub fn lens(
        &self,
        tokens: &[u32],
        positions: &[usize],
        on: &mut (dyn FnMut(usize, usize, &[i32]) + Send),
    ) -> Result<(), EngineError> {
        let mut sequence = self.sequence();
        let mut spans = [Span { sequence: &mut sequence, tokens, wanted: Wanted::Nothing }];
        let slots = self.slots(&spans)?;
        let mut lanes = self.take_lanes(slots.len());
        let context = self.context();
        let mut logits = vec![vec![]; 1];
        let mut observer = |layer: usize, lanes: &mut [Lane]| {
            let count = lanes.len();
            for position in positions.iter().filter(|position| **position < count) {
                forward::logits(context, &mut [&mut lanes[*position]], &mut logits)?;
                on(layer, *position, &logits[0]);
            }
            Ok(())
        };
        let pass =
            Pass { slots: &slots, lanes: &mut lanes[..slots.len()], observer: Some(&mut observer) };
        let result = self.run(&mut spans, pass, |_, _| Ok(()));
        self.put_lanes(lanes);
        result.map(|_peaks| ())
    }

    fn context(&self) -> Context<'_> {
        Context { model: &self.model, kernels: self.kernels, threads: self.threads }
    }

    fn slots(&self, spans: &[Span<'_>]) -> Result<Vec<Slot>, EngineError> {
        let configuration = self.model.configuration();
        let (vocabulary, context) = (configuration.vocabulary, configuration.context);
        if spans.iter().any(|span| span.tokens.is_empty()) {
            return Err(EngineError::EmptyInput);
        }
        let count = spans.iter().map(|span| span.tokens.len()).sum();
        parameter("tokens of a pass", count, PASS_TOKENS_MAX)?;
        let mut slots = Vec::with_capacity(count);
        for (sequence, span) in spans.iter().enumerate() {
            if !Arc::ptr_eq(&span.sequence.model, &self.model) {
                return Err(EngineError::ForeignSequence);
            }
            let found = (span.sequence.len + span.tokens.len()) as u64;
            if found > u64::from(context) {
                return Err(EngineError::Context { found, limit: context });
            }
            for (position, token) in (span.sequence.len..).zip(span.tokens) {
                if *token >= vocabulary {
                    return Err(EngineError::Token { found: *token, count: vocabulary });
                }
                slots.push(Slot { sequence, position, token: *token });
            }
        }
        Ok(slots)
    }

    fn take_lanes(&self, count: usize) -> Vec<Lane> {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lanes = spare.pop().unwrap_or_default();
        drop(spare);
        if lanes.len() < count {
            lanes.resize_with(count, Lane::default);
        }
        lanes
    }

    fn put_lanes(&self, lanes: Vec<Lane>) {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(lanes);
    }

    /// A pass within the engine's own threads, and then what is wanted of its lanes; its peaks.
    ///
    /// On an error every sequence is as it was.
    fn run(
        &self,
        spans: &mut [Span<'_>],
        mut pass: Pass<'_>,
        then: impl FnOnce(Context<'_>, &mut Pass<'_>) -> Result<(), EngineError> + Send,
    ) -> Result<Peaks, EngineError> {
        let context = self.context();
        let mut caches: Vec<_> = spans.iter_mut().map(|span| &mut span.sequence.cache).collect();
        let act = || {
            let Pass { slots, lanes, observer } = &mut pass;
            forward::layers(context, slots, lanes, &mut caches, observer.as_deref_mut())?;
            then(context, &mut pass)?;
            let mut peaks = Peaks::default();
            pass.lanes.iter().for_each(|lane| peaks.merge(&lane.peaks));
            Ok(peaks)
        };
        let result = match &self.pool {
            None => act(),
            Some(pool) => pool.install(act),
        };
        let head_dim = self.model.configuration().head_dim as usize;
        for span in spans {
            match result {
                Ok(_) => span.sequence.len += span.tokens.len(),
                Err(_) => span.sequence.cache.truncate(span.sequence.len, head_dim),
            }
        }
        result
    }
}

/// What a pass works on.
struct Pass<'a> {
    slots: &'a [Slot],
    lanes: &'a mut [Lane],
    observer: Option<&'a mut Observer<'a>>,
}

/// The lanes whose logits are wanted, where `wanted` has one entry for each sequence.
fn ends<'a>(pass: &'a mut Pass<'_>, wanted: &[Wanted]) -> Vec<&'a mut Lane> {
    let slots = pass.slots;
    let is_wanted = |index: usize| match wanted[slots[index].sequence] {
        Wanted::Nothing => false,
        Wanted::Last => {
            slots.get(index + 1).is_none_or(|next| next.sequence != slots[index].sequence)
        }
        Wanted::All => true,
    };
    let lanes = pass.lanes.iter_mut().enumerate();
    lanes.filter(|(index, _)| is_wanted(*index)).map(|(_, lane)| lane).collect()
}

impl Span<'_> {
    /// How many logits it yields.
    const fn wanted_count(&self) -> usize {
        match self.wanted {
            Wanted::Nothing => 0,
            Wanted::Last => 1,
            Wanted::All => self.tokens.len(),
        }
    }
}

impl Sequence {
    /// How many tokens were computed.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no token was computed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A sequence of its own with the first `len` tokens, or all where there are fewer.
    ///
    /// What was computed for a token depends on those before it alone, so nothing distinguishes it
    /// from one that was computed anew.
    #[must_use]
    pub fn fork(&self, len: usize) -> Self {
        self.fork_with_room(len, 0)
    }

    /// As [`fork`](Self::fork), with memory for `capacity` tokens.
    pub(crate) fn fork_with_room(&self, len: usize, capacity: usize) -> Self {
        let (model, len) = (Arc::clone(&self.model), len.min(self.len));
        Self { model, cache: self.cache.fork(len, capacity.max(len), self.head_dim()), len }
    }

    /// Forgets every token from `len` on; without effect where there are no more.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.cache.truncate(self.len, self.head_dim());
    }

    /// Makes room for `len` tokens in all, so that growing to it takes no more memory.
    pub fn reserve(&mut self, len: usize) {
        self.cache.reserve(len, self.head_dim());
    }

    /// Gives back the memory that no token uses.
    pub fn shrink(&mut self) {
        self.cache.shrink();
    }

    /// Memory that it takes in bytes, room for tokens to come included.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.cache.bytes()
    }

    fn head_dim(&self) -> usize {
        self.model.configuration().head_dim as usize
    }
}

pub(crate) fn parameter(
    what: &'static str,
    found: usize,
    maximum: usize,
) -> Result<(), EngineError> {
    if (1..=maximum).contains(&found) {
        return Ok(());
    }
    let (found, maximum) = (found as u64, maximum as u64);
    Err(EngineError::Parameter { what, found, minimum: 1, maximum })
}
