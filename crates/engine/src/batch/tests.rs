//! Outputs are those of each task alone, whoever else comes, goes, begins alike or fails; memory
//! and passes keep to their limits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use tally_core::computation::{
    Controls, FinishReason, Grammar, GrammarKind, Micro, SamplingParameters, SignedMicro, TokenId,
};
use tally_core::philox::SamplerKey;

use super::{Batch, BatchCounts, BatchLimits, Task, TaskEvent, TaskId};
use crate::error::EngineError;
use crate::generate::GenerateRequest;
use crate::import::tiny::{self, RandomTensors};
use crate::kernel::Kernels;
use crate::language;
use crate::sampler::{self, SamplerScratch, TokenLogprobs};
use crate::session::Engine;
use crate::steering::Steering;

const UNLIMITED: BatchLimits = BatchLimits {
    pass_tokens_max: 64,
    sequences_max: 16,
    cache_bytes_max: u64::MAX,
    waiting_max: 16,
};

fn engine(threads: usize) -> Engine {
    Engine::new(tiny::model(), Kernels::detect(), threads).unwrap()
}

fn request(input: Vec<TokenId>, max_tokens: u32, choice: u32) -> GenerateRequest {
    GenerateRequest {
        input,
        parameters: SamplingParameters {
            max_tokens,
            temperature: Micro::from_millionths(900_000 * (choice % 3)),
            top_k: 0,
            top_p: Micro::ONE,
            stop_tokens: vec![],
            choice,
            presence_penalty: SignedMicro::ZERO,
            frequency_penalty: SignedMicro::ZERO,
        },
        seed: [9; 32],
        controls: Controls::default(),
        logprobs: None,
        chunk_len: 64,
    }
}

fn text(len: u32, other: u32) -> Vec<TokenId> {
    (0..len).map(|i| (i * i * 31 + 7 * i + other) % 97).collect()
}

/// Tokens, the likelihoods that were asked for, and why they end.
type Outcome = (Vec<TokenId>, Vec<TokenLogprobs>, FinishReason);

/// The output of a request by the words of the specification: one token at a time, on its own.
fn alone(engine: &Engine, request: &GenerateRequest) -> Result<Outcome, EngineError> {
    let GenerateRequest { input, parameters, controls, seed, .. } = request;
    let (mut sequence, mut logits, mut scratch) =
        (engine.sequence(), vec![], SamplerScratch::default());
    let (mut text, bits) = (input.clone(), engine.model().configuration().logit_bits);
    let language = language::tests::tiny();
    let mut steering = Steering::new(&language, controls)?;
    let mut likely = vec![];
    for token in &input[..input.len() - 1] {
        engine.step(&mut [&mut sequence], &[*token], &mut logits)?;
    }
    loop {
        engine.step(&mut [&mut sequence], &text[text.len() - 1..], &mut logits)?;
        let (key, at) = (SamplerKey::from_seed(seed), u32::try_from(text.len()).unwrap());
        let own = steering.adjustments(controls)?;
        let token = sampler::sample(&logits[0], bits, parameters, &own, key, at, &mut scratch)?;
        if let Some(count) = request.logprobs {
            likely.push(sampler::logprobs::logprobs(&logits[0], bits, token, count)?);
        }
        steering.accept(token)?;
        text.push(token);
        let output = text[input.len()..].to_vec();
        if parameters.stop_tokens.contains(&token) {
            return Ok((output, likely, FinishReason::Stop));
        }
        let shown = language.decode(&output)?;
        if controls.stop.iter().any(|stop| shown.contains(stop)) {
            return Ok((output, likely, FinishReason::StopString));
        }
        let context = engine.model().context_len() as usize;
        if output.len() == parameters.max_tokens as usize || text.len() == context {
            return Ok((output, likely, FinishReason::Length));
        }
    }
}

fn task(request: &GenerateRequest) -> Task {
    Task::with_language(request.clone(), &language::tests::tiny()).unwrap()
}

/// What the events of a batch said.
#[derive(Debug, Default)]
struct Seen {
    outputs: BTreeMap<TaskId, Vec<TokenId>>,
    logprobs: BTreeMap<TaskId, Vec<TokenLogprobs>>,
    ends: BTreeMap<TaskId, Result<FinishReason, EngineError>>,
    cached: BTreeMap<TaskId, usize>,
}

impl Seen {
    fn note(&mut self, id: TaskId, event: TaskEvent) {
        assert!(!self.ends.contains_key(&id), "{id:?} has ended: {event:?}");
        match event {
            TaskEvent::Begin { cached_tokens } => {
                assert_eq!(self.cached.insert(id, cached_tokens), None);
            }
            TaskEvent::Token { token, logprobs } => {
                assert!(self.cached.contains_key(&id));
                self.logprobs.entry(id).or_default().extend(logprobs);
                self.outputs.entry(id).or_default().push(token);
            }
            TaskEvent::End(end) => assert_eq!(self.ends.insert(id, end), None),
        }
    }

    fn outcome(&self, id: u64) -> Result<Outcome, EngineError> {
        let finish = self.ends[&TaskId(id)].clone()?;
        let output = self.outputs.get(&TaskId(id)).cloned().unwrap_or_default();
        Ok((output, self.logprobs.get(&TaskId(id)).cloned().unwrap_or_default(), finish))
    }
}

/// One pass, within every limit.
fn step(batch: &mut Batch<&Engine>, seen: &mut Seen) {
    let (before, decoding) = (batch.counts(), batch.tasks.values().filter(|t| t.is_decoding()));
    let decoding = decoding.count() as u64;
    batch.step(&mut |id, event| seen.note(id, event));
    let after = batch.counts();
    let computed = decoding + after.prompt_tokens - before.prompt_tokens;
    assert!(computed <= batch.limits().pass_tokens_max as u64);
    appraise_memory(batch);
}

/// What is counted is what is there, and no more than may be.
fn appraise_memory(batch: &Batch<&Engine>) {
    let begun = batch.tasks.values().filter(|task| task.stage == super::Stage::Begun);
    let bytes: u64 = begun.map(|task| task.sequence.bytes()).sum();
    assert_eq!(bytes + batch.pool.bytes(), batch.cache_bytes());
    assert!(batch.pool.bytes() >= batch.pool.sequence_bytes());
    assert!(batch.cache_bytes() <= batch.limits().cache_bytes_max);
}

fn finish(batch: &mut Batch<&Engine>, seen: &mut Seen) {
    let mut steps = 0;
    while !batch.is_idle() {
        step(batch, seen);
        steps += 1;
        assert!(steps < 10_000, "a task starves");
    }
}

/// A task, when it comes and after how many passes it is cancelled.
#[derive(Clone, Debug)]
struct Arrival {
    request: GenerateRequest,
    scope: u64,
    at: usize,
    cancel_after: Option<usize>,
}

fn arrival() -> impl Strategy<Value = Arrival> {
    let text = (0..3_u32, 1..50_u32, prop::collection::vec(0..97_u32, 0..6));
    let input = text.prop_map(|(family, len, tail)| {
        // Long beginnings in common, within a family and between two of them.
        let mut input = text_of_family(family, len);
        input.extend(tail);
        input
    });
    let numbers = (1..30_u32, 0..4_u32, 1..20_usize, 0..2_u64);
    let times = (0..40_usize, prop::option::weighted(0.3, 0..25_usize));
    (input, numbers, steered(), times).prop_map(
        |(input, (max_tokens, choice, chunk_len, scope), steered, (at, cancel_after))| {
            let (stop_tokens, penalties, controls, logprobs) = steered;
            let mut request = request(input, max_tokens, choice);
            request.parameters.stop_tokens = stop_tokens;
            [request.parameters.presence_penalty, request.parameters.frequency_penalty] =
                penalties.map(SignedMicro::from_millionths);
            (request.controls, request.logprobs, request.chunk_len) =
                (controls, logprobs, chunk_len);
            Arrival { request, scope, at, cancel_after }
        },
    )
}

type Steered = (Vec<TokenId>, [i32; 2], Controls, Option<u8>);

/// Stop tokens, penalties, controls and log-probabilities; most have none.
fn steered() -> impl Strategy<Value = Steered> {
    let stop = prop::collection::vec("[a-z]{1,2}", 0..3);
    let bias = prop::collection::btree_map(0..97_u32, -4_000_000..4_000_000_i32, 0..4);
    let controls = (stop, bias).prop_map(|(stop, bias)| Controls {
        stop,
        bias: bias
            .into_iter()
            .map(|(token, bias)| (token, SignedMicro::from_millionths(bias)))
            .collect(),
        grammar: None,
    });
    let controls = prop_oneof![Just(Controls::default()), controls];
    let penalties = prop_oneof![Just([0, 0]), prop::array::uniform2(-2_000_000..2_000_000_i32)];
    let stop_tokens = prop::collection::vec(0..97_u32, 0..3);
    (stop_tokens, penalties, controls, prop::option::of(0..5_u8))
}

fn text_of_family(family: u32, len: u32) -> Vec<TokenId> {
    let mut text = text(len, 1);
    if family == 1 {
        text.iter_mut().skip(20).for_each(|token| *token = (*token + 1) % 97);
    } else if family == 2 {
        text.iter_mut().for_each(|token| *token = 96 - *token);
    }
    text
}

/// Runs arrivals through a batch, and compares each output with that of the task alone.
fn compare(engine: &Engine, limits: BatchLimits, arrivals: &[Arrival]) -> BatchCounts {
    let mut batch = Batch::new(engine, limits).unwrap();
    let (mut seen, mut begun_at, mut cancelled) = (Seen::default(), BTreeMap::new(), vec![]);
    let mut to_come: BTreeSet<usize> = (0..arrivals.len()).collect();
    let mut now = 0;
    while !to_come.is_empty() || !batch.is_idle() {
        for index in to_come.clone() {
            let Arrival { request, scope, at, .. } = &arrivals[index];
            if *at > now {
                continue;
            }
            let id = TaskId(index as u64);
            match batch.admit(id, task(request).in_scope(*scope)) {
                Ok(()) => assert_eq!(begun_at.insert(index, now), None),
                Err(error) => {
                    assert!(matches!(error, EngineError::TasksBusy { .. }), "{error}");
                    assert!(batch.waiting_count() >= limits.waiting_max && !batch.is_idle());
                    continue;
                }
            }
            to_come.remove(&index);
        }
        step(&mut batch, &mut seen);
        for (index, begun) in &begun_at {
            let is_due = arrivals[*index].cancel_after.is_some_and(|after| begun + after == now);
            if is_due && !seen.ends.contains_key(&TaskId(*index as u64)) {
                batch.cancel(TaskId(*index as u64), &mut |id, event| seen.note(id, event));
                cancelled.push(*index);
                appraise_memory(&batch);
            }
        }
        now += 1;
        assert!(now < 10_000, "a task starves");
    }
    for (index, arrival) in arrivals.iter().enumerate() {
        let expected = alone(engine, &arrival.request).unwrap();
        if cancelled.contains(&index) {
            let empty = vec![];
            let output = seen.outputs.get(&TaskId(index as u64)).unwrap_or(&empty);
            assert!(expected.0.starts_with(output) && output.len() < expected.0.len());
            assert_eq!(seen.ends[&TaskId(index as u64)], Ok(FinishReason::Cancelled));
        } else {
            assert_eq!(seen.outcome(index as u64), Ok(expected));
        }
    }
    let counts = batch.counts();
    assert_eq!(counts.admitted, arrivals.len() as u64);
    assert_eq!(counts.cancelled, cancelled.len() as u64);
    assert_eq!(counts.finished, counts.admitted - counts.cancelled);
    assert_eq!(counts.cached_tokens, seen.cached.values().sum::<usize>() as u64);
    batch.forget_prefixes();
    assert_eq!(batch.cache_bytes(), 0);
    counts
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn outputs_are_those_of_each_task_alone(
        threads in 1_usize..=2,
        sequences_max in 1_usize..7,
        more_tokens in 0_usize..40,
        // From what the largest task needs to plenty.
        spare_tokens in prop::sample::select(vec![0_usize, 10, 60, 200, 10_000]),
        waiting_max in 0_usize..5,
        arrivals in prop::collection::vec(arrival(), 1..14),
    ) {
        let engine = engine(threads);
        let limits = BatchLimits {
            pass_tokens_max: sequences_max + more_tokens,
            sequences_max,
            cache_bytes_max: engine.sequence_bytes(95 + spare_tokens),
            waiting_max,
        };
        compare(&engine, limits, &arrivals);
    }
}

#[test]
fn a_grammar_steers_its_own_task_and_no_other() {
    let engine = engine(1);
    let mut batch = Batch::new(&engine, UNLIMITED).unwrap();
    let mut seen = Seen::default();
    let requests: Vec<GenerateRequest> = (0..4)
        .map(|index| {
            let mut request = request(text(20, index / 2), 40, index);
            request.parameters.stop_tokens = vec![96];
            let grammar = Grammar {
                engine: crate::grammar::GRAMMAR_ENGINE.to_owned(),
                kind: GrammarKind::Regex,
                text: "[0-9]{3}-[a-f]{2,5}".to_owned(),
            };
            request.controls.grammar = (index % 2 == 1).then_some(grammar);
            request
        })
        .collect();
    for (id, request) in (0..).zip(&requests) {
        batch.admit(TaskId(id), task(request)).unwrap();
    }
    finish(&mut batch, &mut seen);
    for (id, request) in (0..).zip(&requests) {
        assert_eq!(seen.outcome(id), alone(&engine, request));
    }
    for id in [1, 3] {
        let (output, _, finish) = seen.outcome(id).unwrap();
        let shown = language::tests::tiny().decode(&output).unwrap();
        assert!(shown.len() >= 6 && shown.as_bytes()[3] == b'-', "{shown}");
        assert_eq!(finish, FinishReason::Stop);
    }
}

#[test]
fn controls_that_need_a_language_are_refused_without_one() {
    let engine = engine(1);
    let mut batch = Batch::new(&engine, UNLIMITED).unwrap();
    let mut stopped = request(text(5, 1), 9, 0);
    stopped.controls.stop = vec!["a".to_owned()];
    assert_eq!(batch.admit(TaskId(0), Task::new(stopped.clone())), Err(EngineError::NoLanguage));
    batch.admit(TaskId(0), task(&stopped)).unwrap();
}

#[test]
fn tasks_can_be_made_on_other_threads() {
    const fn is_send<T: Send>() {}
    const { is_send::<Task>() };
    const { is_send::<Batch>() };
}

#[test]
fn limits_of_zero_or_without_room_for_input_are_refused() {
    let engine = engine(1);
    for (pass_tokens_max, sequences_max) in [(0, 0), (0, 1), (1, 0), (4_097, 1), (3, 4)] {
        let limits = BatchLimits { pass_tokens_max, sequences_max, ..UNLIMITED };
        assert!(matches!(Batch::new(&engine, limits), Err(EngineError::Parameter { .. })));
    }
    let limits = BatchLimits { pass_tokens_max: 4, sequences_max: 4, ..UNLIMITED };
    assert!(Batch::new(&engine, limits).is_ok());
}

#[test]
fn an_input_that_was_computed_is_not_computed_again() {
    let engine = engine(1);
    let mut batch = Batch::new(&engine, UNLIMITED).unwrap();
    let mut seen = Seen::default();
    let input = text(50, 1);
    batch.admit(TaskId(0), Task::new(request(input.clone(), 4, 0))).unwrap();
    finish(&mut batch, &mut seen);
    assert_eq!((batch.counts().prompt_tokens, seen.cached[&TaskId(0)]), (50, 0));
    // The same input again: its last token only, for the logits.
    batch.admit(TaskId(1), Task::new(request(input.clone(), 4, 0))).unwrap();
    finish(&mut batch, &mut seen);
    assert_eq!((batch.counts().prompt_tokens, seen.cached[&TaskId(1)]), (51, 49));
    assert_eq!(seen.outcome(0), seen.outcome(1));
    // Input, output and a question behind it: all that was computed.
    let mut longer = input.clone();
    longer.extend(&seen.outputs[&TaskId(0)]);
    longer.extend([5, 6, 7]);
    batch.admit(TaskId(2), Task::new(request(longer.clone(), 4, 0))).unwrap();
    finish(&mut batch, &mut seen);
    assert_eq!(seen.cached[&TaskId(2)], 53);
    assert_eq!(seen.outcome(2), alone(&engine, &request(longer, 4, 0)));
    // Another's beginning only, and nobody's.
    let mut other = input[..30].to_vec();
    other.extend([96, 95]);
    batch.admit(TaskId(3), Task::new(request(other, 4, 0))).unwrap();
    batch.admit(TaskId(4), Task::new(request(text(9, 2), 4, 0))).unwrap();
    finish(&mut batch, &mut seen);
    assert_eq!((seen.cached[&TaskId(3)], seen.cached[&TaskId(4)]), (30, 0));
}

#[test]
fn choices_of_one_input_that_come_together_compute_it_once() {
    let engine = engine(1);
    let mut batch = Batch::new(&engine, UNLIMITED).unwrap();
    let mut seen = Seen::default();
    let chosen = |choice| GenerateRequest { chunk_len: 8, ..request(text(60, 1), 10, choice) };
    for choice in 0..5 {
        batch.admit(TaskId(choice.into()), Task::new(chosen(choice))).unwrap();
    }
    finish(&mut batch, &mut seen);
    assert_eq!(batch.counts().prompt_tokens, 60 + 4);
    for choice in 0..5 {
        assert_eq!(seen.outcome(choice.into()), alone(&engine, &chosen(choice)));
    }
}

#[test]
fn a_task_whose_leader_goes_away_computes_its_input_itself() {
    let engine = engine(1);
    let mut batch = Batch::new(&engine, UNLIMITED).unwrap();
    let mut seen = Seen::default();
    let chosen = |choice| GenerateRequest { chunk_len: 8, ..request(text(60, 1), 10, choice) };
    batch.admit(TaskId(0), Task::new(chosen(0))).unwrap();
    batch.admit(TaskId(1), Task::new(chosen(1))).unwrap();
    step(&mut batch, &mut seen);
    step(&mut batch, &mut seen);
    assert!(!seen.cached.contains_key(&TaskId(1)));
    batch.cancel(TaskId(0), &mut |id, event| seen.note(id, event));
    assert_eq!(seen.ends[&TaskId(0)], Ok(FinishReason::Cancelled));
    batch.cancel(TaskId(0), &mut |_, event| panic!("{event:?}"));
    finish(&mut batch, &mut seen);
    // What the leader left is used.
    assert_eq!(seen.cached[&TaskId(1)], 16);
    assert_eq!(seen.outcome(1), alone(&engine, &chosen(1)));
}

#[test]
fn scopes_share_no_prefix() {
    let engine = engine(1);
    let mut batch = Batch::new(&engine, UNLIMITED).unwrap();
    let mut seen = Seen::default();
    for (id, scope) in [(0, 1), (1, 2), (2, 1), (3, 2)] {
        batch.admit(TaskId(id), Task::new(request(text(50, 1), 4, 0)).in_scope(scope)).unwrap();
        if id == 1 {
            finish(&mut batch, &mut seen);
        }
    }
    finish(&mut batch, &mut seen);
    let cached: Vec<usize> = seen.cached.values().copied().collect();
    assert_eq!(cached, [0, 0, 49, 49]);
}

#[test]
fn decoding_comes_first_and_inputs_take_turns() {
    let engine = engine(1);
    let limits = BatchLimits { pass_tokens_max: 9, sequences_max: 4, ..UNLIMITED };
    let mut batch = Batch::new(&engine, limits).unwrap();
    let mut seen = Seen::default();
    let with_chunks = |request| GenerateRequest { chunk_len: 8, ..request };
    batch.admit(TaskId(0), Task::new(with_chunks(request(text(3, 1), 60, 0)))).unwrap();
    step(&mut batch, &mut seen);
    batch.admit(TaskId(1), Task::new(with_chunks(request(text(80, 2), 2, 0)))).unwrap();
    batch.admit(TaskId(2), Task::new(with_chunks(request(text(70, 3), 2, 0)))).unwrap();
    batch.admit(TaskId(3), Task::new(with_chunks(request(text(6, 4), 2, 0)))).unwrap();
    for pass in 1..=20_usize {
        step(&mut batch, &mut seen);
        // However much input there is, who decodes draws a token in every pass.
        assert_eq!(seen.outputs[&TaskId(0)].len(), 1 + pass);
        // One chunk of each long input, and the short one has its turn.
        assert_eq!(seen.outputs.contains_key(&TaskId(3)), pass >= 3, "pass {pass}");
    }
    assert!(seen.outputs.contains_key(&TaskId(1)) && seen.outputs.contains_key(&TaskId(2)));
}

#[test]
fn memory_is_reserved_for_the_longest_output_and_others_wait_in_order() {
    let engine = engine(1);
    let bytes = |len| engine.sequence_bytes(len);
    let limits = BatchLimits { cache_bytes_max: 2 * bytes(49), waiting_max: 2, ..UNLIMITED };
    let mut batch = Batch::new(&engine, limits).unwrap();
    let mut seen = Seen::default();
    // 20 + 30 tokens, of which the last is never computed.
    let task = |id: u32| Task::new(request(text(20, id), 30, id));
    let small = || Task::new(request(text(1, 3), 1, 0));
    for id in 0..3 {
        batch.admit(TaskId(id.into()), task(id)).unwrap();
    }
    // It would fit before the third, but not in order.
    batch.admit(TaskId(3), small()).unwrap();
    assert_eq!((batch.running_count(), batch.waiting_count()), (2, 2));
    let busy = EngineError::TasksBusy { limit: 18 };
    assert_eq!(batch.admit(TaskId(4), small()), Err(busy));
    assert_eq!(batch.admit(TaskId(3), small()), Err(EngineError::TaskRuns { id: 3 }));
    assert_eq!(batch.admit(TaskId(0), small()), Err(EngineError::TaskRuns { id: 0 }));
    step(&mut batch, &mut seen);
    assert!(!seen.cached.contains_key(&TaskId(3)));
    finish(&mut batch, &mut seen);
    for id in 0..3 {
        assert_eq!(seen.outcome(id.into()), alone(&engine, task(id).request()));
    }
    // What is kept gives way to what runs.
    assert!(batch.cache_bytes() > 0);
    let needed = bytes(49) + bytes(48);
    let limits = BatchLimits { cache_bytes_max: needed - 1, ..limits };
    let mut batch = Batch::new(&engine, limits).unwrap();
    batch.admit(TaskId(0), task(0)).unwrap();
    batch.admit(TaskId(1), Task::new(request(text(20, 1), 29, 0))).unwrap();
    assert_eq!((batch.running_count(), batch.waiting_count()), (1, 1));
    assert_eq!(batch.counts().admitted, 2);
    // Who waits can be cancelled too.
    let mut seen = Seen::default();
    batch.cancel(TaskId(1), &mut |id, event| seen.note(id, event));
    assert_eq!(seen.ends[&TaskId(1)], Ok(FinishReason::Cancelled));
    assert_eq!(batch.waiting_count(), 0);
}

#[test]
fn a_task_that_needs_more_memory_than_there_is_is_refused_at_once() {
    let engine = engine(1);
    let limit = engine.sequence_bytes(49);
    let limits = BatchLimits { cache_bytes_max: limit, waiting_max: 0, ..UNLIMITED };
    let mut batch = Batch::new(&engine, limits).unwrap();
    let task = |max_tokens| Task::new(request(text(20, 1), max_tokens, 0));
    let needed = engine.sequence_bytes(50);
    let error = EngineError::CacheLimit { needed, limit };
    assert_eq!(batch.admit(TaskId(7), task(31)), Err(error));
    batch.admit(TaskId(7), task(30)).unwrap();
    assert_eq!(batch.admit(TaskId(8), task(1)), Err(EngineError::TasksBusy { limit: 16 }));
    assert_eq!(batch.counts().admitted, 1);
}

#[test]
fn the_longest_unused_prefixes_are_forgotten_first() {
    let engine = engine(1);
    let entry = |len: usize| engine.sequence_bytes(len) + 4 * len as u64 + 256;
    // Room for two kept ones beside a running one.
    let cache_bytes_max = 2 * entry(40) + engine.sequence_bytes(40) + 1_000;
    let limits = BatchLimits { cache_bytes_max, ..UNLIMITED };
    let mut batch = Batch::new(&engine, limits).unwrap();
    let mut seen = Seen::default();
    let mut cached = |id: u64, input: u32| {
        batch.admit(TaskId(id), Task::new(request(text(40, input), 1, 0))).unwrap();
        finish(&mut batch, &mut seen);
        seen.cached[&TaskId(id)] > 0
    };
    assert!(!cached(0, 1));
    assert!(!cached(1, 2));
    assert!(!cached(2, 3));
    // 1 and 2 are used again, so that 3 has gone unused for longest.
    assert!(cached(3, 1));
    assert!(cached(4, 2));
    assert!(!cached(5, 4));
    assert!(cached(6, 2));
    assert!(!cached(7, 3));
}

#[test]
fn an_error_of_one_task_leaves_the_others_as_they_were() {
    // Calibrated for quiet weights, then told to keep more fraction bits than some texts leave room
    // for.
    let models = (46..52).map(|seed| {
        let tensors = RandomTensors { seed, louder: Some((".down", 14)), ..Default::default() };
        let file = tiny::file(tiny::configuration(), &tensors).unwrap();
        Arc::new(tiny::changed(&file, |configuration| configuration.residual_bits = 15))
    });
    let requests: Vec<GenerateRequest> =
        (0..16).map(|index| request(text(1 + index / 4, 7 * index), 3, index)).collect();
    let mut mixed = 0;
    for model in models {
        let engine = Engine::new(model, Kernels::detect(), 1).unwrap();
        let expected: Vec<_> = requests.iter().map(|request| alone(&engine, request)).collect();
        let mut batch = Batch::new(&engine, UNLIMITED).unwrap();
        let mut seen = Seen::default();
        for (index, request) in (0..).zip(&requests) {
            batch.admit(TaskId(index), Task::new(request.clone())).unwrap();
        }
        finish(&mut batch, &mut seen);
        for (index, expected) in (0..).zip(&expected) {
            match expected {
                Ok(expected) => assert_eq!(seen.outcome(index).as_ref(), Ok(expected)),
                // Which of several bounds is named first depends on the cut of the input.
                Err(EngineError::Bound { .. }) => {
                    assert!(matches!(seen.outcome(index), Err(EngineError::Bound { .. })));
                }
                Err(other) => panic!("{other}"),
            }
        }
        let refused = expected.iter().filter(|outcome| outcome.is_err()).count();
        assert_eq!(batch.counts().refused, refused as u64);
        mixed += usize::from((1..requests.len()).contains(&refused));
    }
    assert!(mixed >= 4, "{mixed} models refuse some and not others");
}
