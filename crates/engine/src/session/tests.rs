//! The same integers whatever the kernel, thread count, batch and chunking; refusals leave nothing.

use std::sync::Arc;

use proptest::prelude::*;

use super::{Engine, PASS_TOKENS_MAX, Sequence, Span, Wanted};
use crate::error::{EngineError, Operation};
use crate::import::tiny::{self, RandomTensors};
use crate::kernel::Kernels;
use crate::model::Model;

fn engine(kernels: Kernels, threads: usize) -> Engine {
    Engine::new(tiny::model(), kernels, threads).unwrap()
}

fn logits_of(engine: &Engine, tokens: &[u32], chunk_len: usize) -> Vec<Vec<i32>> {
    let mut all = vec![];
    let collect = &mut |index, logits: &[i32]| {
        assert_eq!(index, all.len());
        all.push(logits.to_vec());
    };
    engine.logits_of(tokens, chunk_len, collect).unwrap();
    all
}

fn text(len: u32) -> Vec<u32> {
    (0..len).map(|i| (i * i * 31 + 7 * i + 1) % 97).collect()
}

#[test]
fn logits_are_those_of_floating_point_up_to_rounding() {
    for tied in [true, false] {
        // With a head of 16 channels the weights are exact, so what is left is the activations'.
        let configuration =
            crate::model::Configuration { tied, head_dim: 16, ..tiny::configuration() };
        let tensors = RandomTensors::default();
        let file = tiny::file(configuration.clone(), &tensors).unwrap();
        let model = Arc::new(Model::parse(&file).unwrap());
        let engine = Engine::new(model, Kernels::PORTABLE, 1).unwrap();
        let tokens = text(60);
        let exact = logits_of(&engine, &tokens, 16);
        let float = tiny::float_logits(&configuration, &tensors, &tokens);
        for (position, (exact, float)) in exact.iter().zip(&float).enumerate() {
            let exact: Vec<f64> = exact.iter().map(|x| f64::from(*x) / 65_536.0).collect();
            let error: f64 = exact.iter().zip(float).map(|(a, b)| (a - b).powi(2)).sum();
            let size: f64 = float.iter().map(|x| x * x).sum();
            let relative = (error / size).sqrt();
            assert!(relative < 0.01, "position {position}: relative error {relative}");
        }
    }
}

#[test]
fn every_kernel_thread_count_and_chunking_gives_the_same_logits() {
    let tokens = text(90);
    let law = logits_of(&engine(Kernels::PORTABLE, 1), &tokens, 1);
    for kernels in Kernels::available() {
        for threads in [1, 2, 3] {
            let engine = engine(kernels, threads);
            for chunk_len in [1, 2, 7, 64, 89, 90, 91] {
                assert_eq!(
                    logits_of(&engine, &tokens, chunk_len),
                    law,
                    "{kernels:?}, {threads} threads, chunks of {chunk_len}"
                );
            }
        }
    }
}

#[test]
fn every_variant_of_a_decoder_gives_the_same_logits_however_it_is_computed() {
    let tokens = text(40);
    let mut seen = vec![];
    for (name, configuration) in tiny::variants() {
        let file = tiny::file(configuration, &RandomTensors::default()).unwrap();
        let model = Arc::new(Model::parse(&file).unwrap());
        let with = |kernels, threads| Engine::new(Arc::clone(&model), kernels, threads).unwrap();
        let law = logits_of(&with(Kernels::PORTABLE, 1), &tokens, 1);
        for kernels in Kernels::available() {
            for (threads, chunk_len) in [(1, 40), (2, 7)] {
                let found = logits_of(&with(kernels, threads), &tokens, chunk_len);
                assert!(found == law, "{name}, {kernels:?}, {threads} threads");
            }
        }
        assert!(!seen.contains(&law), "{name} computes what another variant does");
        seen.push(law);
    }
}

#[test]
fn a_window_hides_what_lies_before_it_and_nothing_else() {
    let mut configuration = tiny::configuration();
    configuration.window = Some(crate::source::Window { len: 5, first_layer: 0 });
    let file = tiny::file(configuration, &RandomTensors::default()).unwrap();
    let model = Arc::new(Model::parse(&file).unwrap());
    let engine = Engine::new(model, Kernels::detect(), 1).unwrap();
    let (tokens, mut changed) = (text(20), text(20));
    changed[3] = (changed[3] + 1) % 97;
    let (a, b) = (logits_of(&engine, &tokens, 20), logits_of(&engine, &changed, 20));
    // Two layers of five positions each see eight positions back.
    assert!((0..20).all(|position| (a[position] != b[position]) == (3..12).contains(&position)));
}

#[test]
fn an_encoder_gives_the_same_vectors_alone_or_in_a_batch_on_every_kernel() {
    use crate::source::PoolingKind::{Cls, Mean};
    let texts = [text(1), text(30), text(96), text(7)];
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let mut seen = vec![];
    for (kind, is_normalised) in [(Mean, true), (Mean, false), (Cls, true)] {
        let configuration = tiny::encoder(kind, is_normalised);
        let file = tiny::file(configuration, &RandomTensors::default()).unwrap();
        let model = Arc::new(Model::parse(&file).unwrap());
        let law = Engine::new(Arc::clone(&model), Kernels::PORTABLE, 1).unwrap();
        let alone = texts.iter().map(|text| law.embed(&[text]).unwrap().remove(0));
        let alone: Vec<_> = alone.collect();
        for kernels in Kernels::available() {
            for threads in [1, 2] {
                let engine = Engine::new(Arc::clone(&model), kernels, threads).unwrap();
                assert!(engine.embed(&texts).unwrap() == alone, "{kernels:?}, {threads} threads");
            }
        }
        if is_normalised {
            let squares = alone[1].values.iter().map(|x| i64::from(*x).pow(2)).sum::<i64>();
            assert!((squares - (1 << 48)).abs() < 1 << 30, "{squares}");
        }
        assert!(!seen.contains(&alone[1]));
        seen.push(alone[1].clone());
    }
}

#[test]
fn an_encoder_continues_no_text_and_a_decoder_makes_no_vector() {
    let configuration = tiny::encoder(crate::source::PoolingKind::Mean, true);
    let file = tiny::file(configuration, &RandomTensors::default()).unwrap();
    let encoder = Arc::new(Model::parse(&file).unwrap());
    let encoder = Engine::new(encoder, Kernels::detect(), 1).unwrap();
    let refused = encoder.prefill(&mut encoder.sequence(), &[1], 1, &mut vec![]);
    assert_eq!(refused, Err(EngineError::NotADecoder));
    assert_eq!(encoder.embed(&[&[]]), Err(EngineError::EmptyInput));
    let long = EngineError::Context { found: 97, limit: 96 };
    assert_eq!(encoder.embed(&[&text(97)]), Err(long));
    let decoder = engine(Kernels::detect(), 1);
    assert_eq!(decoder.embed(&[&[1]]), Err(EngineError::NotAnEncoder));
}

#[test]
fn the_last_layer_under_the_lens_says_what_the_model_says() {
    let engine = engine(Kernels::detect(), 2);
    let tokens = text(20);
    let law = logits_of(&engine, &tokens, 20);
    let mut seen = vec![];
    let on = &mut |layer, position: usize, logits: &[i32]| {
        seen.push((layer, position));
        assert_eq!(layer == 1, logits == law[position]);
    };
    engine.lens(&tokens, &[0, 19, 20], on).unwrap();
    assert_eq!(seen, [(0, 0), (0, 19), (1, 0), (1, 19)]);
}

#[test]
fn headroom_names_every_operation_that_can_be_refused() {
    let found = engine(Kernels::detect(), 1).headroom(&text(20), 7).unwrap();
    let operations: Vec<Operation> = found.iter().map(|headroom| headroom.operation).collect();
    assert_eq!(operations, Operation::ALL[..6]);
    assert!(found.iter().all(|headroom| (1..=headroom.bound).contains(&headroom.peak)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_sequence_in_a_batch_has_the_logits_it_has_alone(
        texts in proptest::collection::vec(proptest::collection::vec(0_u32..97, 2..40), 1..6),
        threads in 1_usize..3,
        cut in 1_usize..20,
    ) {
        let engine = engine(Kernels::detect(), threads);
        let mut sequences: Vec<Sequence> = texts.iter().map(|_| engine.sequence()).collect();
        let (mut found, mut logits) = (vec![vec![]; texts.len()], vec![]);
        // Spans of unequal length in one pass, until every text is used up.
        let mut offset = 0;
        while texts.iter().any(|text| text.len() > offset) {
            let active: Vec<usize> = (0..texts.len()).filter(|i| texts[*i].len() > offset).collect();
            let mut spans: Vec<Span<'_>> = sequences
                .iter_mut()
                .zip(&texts)
                .filter(|(_, text)| text.len() > offset)
                .map(|(sequence, text)| {
                    let tokens = &text[offset..text.len().min(offset + cut)];
                    Span { sequence, tokens, wanted: Wanted::All }
                })
                .collect();
            engine.extend(&mut spans, &mut logits).unwrap();
            let mut rows = logits.drain(..);
            for index in active {
                let count = texts[index].len().min(offset + cut) - offset;
                found[index].extend(rows.by_ref().take(count));
            }
            drop(rows);
            offset += cut;
        }
        for (text, found) in texts.iter().zip(found) {
            prop_assert_eq!(found, logits_of(&engine, text, 64));
        }
    }
}

#[test]
fn steps_give_what_the_same_tokens_give_as_a_prompt() {
    let engine = engine(Kernels::detect(), 1);
    let (mut a, mut b) = (engine.sequence(), engine.sequence());
    let (text_a, text_b) = (text(20), text(30)[10..].to_vec());
    let mut logits = vec![];
    for (x, y) in text_a.iter().zip(&text_b) {
        engine.step(&mut [&mut a, &mut b], &[*x, *y], &mut logits).unwrap();
    }
    assert_eq!(Some(&logits[0]), logits_of(&engine, &text_a, 64).last());
    assert_eq!(Some(&logits[1]), logits_of(&engine, &text_b, 64).last());
    assert_eq!((a.len(), b.len()), (20, 20));
}

#[test]
fn one_pass_decodes_some_sequences_and_prefills_others_with_the_logits_that_each_wants() {
    for (kernels, threads) in [(Kernels::PORTABLE, 1), (Kernels::detect(), 2)] {
        let engine = engine(kernels, threads);
        let (mut a, mut b, mut c, mut d) =
            (engine.sequence(), engine.sequence(), engine.sequence(), engine.sequence());
        let (tokens, mut logits) = (text(30), vec![]);
        let expected = logits_of(&engine, &tokens, 30);
        engine.prefill(&mut a, &tokens[..20], 64, &mut logits).unwrap();
        let spans = &mut [
            Span { sequence: &mut b, tokens: &tokens[..7], wanted: Wanted::Nothing },
            Span { sequence: &mut a, tokens: &tokens[20..21], wanted: Wanted::Last },
            Span { sequence: &mut c, tokens: &tokens[..3], wanted: Wanted::All },
            Span { sequence: &mut d, tokens: &tokens[..9], wanted: Wanted::Last },
        ];
        engine.extend(spans, &mut logits).unwrap();
        assert_eq!(logits.len(), 5);
        assert_eq!(logits[0], expected[20]);
        assert_eq!(logits[1..4], expected[..3]);
        assert_eq!(logits[4], expected[8]);
        engine.prefill(&mut b, &tokens[7..], 5, &mut logits).unwrap();
        assert_eq!(logits, expected[29..]);
    }
}

#[test]
fn a_fork_goes_on_as_its_own_text_and_leaves_its_origin_as_it_was() {
    let engine = engine(Kernels::detect(), 1);
    let (tokens, mut logits) = (text(40), vec![]);
    let mut origin = engine.sequence();
    engine.prefill(&mut origin, &tokens, 64, &mut logits).unwrap();
    for len in [0, 1, 17, 39, 40, 41] {
        let mut fork = origin.fork(len);
        assert_eq!(fork.len(), len.min(40));
        let mut other = tokens[..fork.len()].to_vec();
        other.extend([5, 3, 8]);
        engine.prefill(&mut fork, &[5, 3, 8], 2, &mut logits).unwrap();
        assert_eq!(logits.last(), logits_of(&engine, &other, 64).last());
        // A truncated sequence goes on as a fork does.
        let mut cut = origin.clone();
        cut.truncate(len);
        engine.prefill(&mut cut, &[5, 3, 8], 2, &mut logits).unwrap();
        assert_eq!(logits.last(), logits_of(&engine, &other, 64).last());
    }
    engine.prefill(&mut origin, &[9], 1, &mut logits).unwrap();
    let whole: Vec<u32> = tokens.into_iter().chain([9]).collect();
    assert_eq!(logits.last(), logits_of(&engine, &whole, 64).last());
}

#[test]
fn the_memory_of_a_sequence_is_what_was_reserved_and_no_more_than_it_needs_when_shrunk() {
    let engine = engine(Kernels::detect(), 1);
    let bytes_of = |len| engine.sequence_bytes(len);
    let mut sequence = engine.sequence();
    assert_eq!(sequence.bytes(), bytes_of(0));
    sequence.reserve(30);
    assert_eq!(sequence.bytes(), bytes_of(30));
    engine.prefill(&mut sequence, &text(30), 7, &mut vec![]).unwrap();
    assert_eq!(sequence.bytes(), bytes_of(30));
    let fork = sequence.fork_with_room(10, 50);
    assert_eq!((fork.len(), fork.bytes()), (10, bytes_of(50)));
    sequence.truncate(12);
    assert_eq!(sequence.bytes(), bytes_of(30));
    sequence.shrink();
    assert_eq!(sequence.bytes(), bytes_of(12));
    assert!(bytes_of(12) < bytes_of(13));
}

#[test]
fn a_pass_refuses_what_is_out_of_range_and_leaves_the_sequence_as_it_was() {
    let engine = engine(Kernels::detect(), 1);
    let (mut sequence, mut logits) = (engine.sequence(), vec![]);
    let context = engine.model().context_len() as usize;
    engine.prefill(&mut sequence, &text(90), 64, &mut logits).unwrap();
    let mut extend = |tokens: &[u32]| {
        let span = Span { sequence: &mut sequence, tokens, wanted: Wanted::Last };
        let result = engine.extend(&mut [span], &mut vec![]);
        (result, sequence.len())
    };
    assert_eq!(extend(&[1, 97]), (Err(EngineError::Token { found: 97, count: 97 }), 90));
    let full = EngineError::Context { found: 97, limit: 96 };
    assert_eq!(extend(&text(97)[90..]), (Err(full), 90));
    let empty = |what| EngineError::Parameter {
        what,
        found: 0,
        minimum: 1,
        maximum: PASS_TOKENS_MAX as u64,
    };
    assert_eq!(extend(&[]), (Err(EngineError::EmptyInput), 90));
    assert_eq!(extend(&text(96)[90..]), (Ok(()), context));
    assert_eq!(extend(&[1]).1, context);
    let mut fresh = engine.sequence();
    assert_eq!(engine.prefill(&mut fresh, &[1], 0, &mut logits), Err(empty("chunk length")));
    assert_eq!(engine.prefill(&mut fresh, &[], 1, &mut logits), Err(EngineError::EmptyInput));
}

#[test]
fn a_sequence_of_another_model_is_refused() {
    let file = tiny::file(tiny::configuration(), &RandomTensors { seed: 8, ..Default::default() });
    let other = Arc::new(Model::parse(&file.unwrap()).unwrap());
    let other = Engine::new(other, Kernels::detect(), 1).unwrap();
    let span = Span { sequence: &mut other.sequence(), tokens: &[1], wanted: Wanted::Last };
    let result = engine(Kernels::detect(), 1).extend(&mut [span], &mut vec![]);
    assert_eq!(result, Err(EngineError::ForeignSequence));
}

#[test]
fn thread_counts_of_zero_and_above_the_limit_are_refused() {
    for threads in [0, super::THREADS_MAX + 1] {
        let result = Engine::new(tiny::model(), Kernels::detect(), threads);
        assert!(matches!(result, Err(EngineError::Parameter { what: "thread count", .. })));
    }
}

/// The model of most tests with another number in its configuration.
fn changed(change: impl FnOnce(&mut crate::model::Configuration)) -> Model {
    tiny::changed(&tiny::file(tiny::configuration(), &RandomTensors::default()).unwrap(), change)
}

#[test]
fn an_overflow_is_refused_with_layer_operation_and_bound_and_leaves_no_trace() {
    // Calibrated for quiet weights, then told to keep far more fraction bits than they leave room for.
    let tensors = RandomTensors { louder: Some((".down", 14)), ..Default::default() };
    let file = tiny::file(tiny::configuration(), &tensors).unwrap();
    let model = tiny::changed(&file, |configuration| configuration.residual_bits = 24);
    for kernels in Kernels::available() {
        for threads in [1, 2] {
            let model = Arc::new(tiny::changed(&file, |c| c.residual_bits = 24));
            let engine = Engine::new(model, kernels, threads).unwrap();
            let (mut sequence, mut logits) = (engine.sequence(), vec![]);
            let result = engine.prefill(&mut sequence, &text(9), 4, &mut logits);
            let expected = Operation::FeedForwardResidual;
            assert!(
                matches!(result, Err(EngineError::Bound { layer: 0, operation, bound, found })
                    if operation == expected && bound == (1 << 31) - 1 && found > bound),
                "{result:?}"
            );
            assert_eq!(sequence.len(), 0);
            assert!(sequence.cache.layer(0).iter().all(|head| head.keys.is_empty()));
        }
    }
    assert_eq!(model.configuration().residual_bits, 24);
    assert_eq!(changed(|_| ()).root(), tiny::model().root());
}
