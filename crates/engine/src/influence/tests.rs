//! Gradients beside the same in floats, their equality everywhere, and their edges.
#![expect(clippy::cast_precision_loss, reason = "the oracle is in f64, the integers are small")]

use tally_core::Digest;

use super::*;
use crate::import::tiny;
use crate::kernel::Kernels;

fn engine(kernels: Kernels, threads: usize) -> Engine {
    Engine::new(tiny::model(), kernels, threads).unwrap()
}

fn text(len: u32) -> Vec<u32> {
    (0..len).map(|i| (i * i * 31 + 7 * i + 1) % 97).collect()
}

/// Probabilities less tokens in floats, from the engine's own logits.
fn float_gradient(engine: &Engine, tokens: &[u32], from: usize) -> Vec<f64> {
    let configuration = engine.model().configuration();
    let unit = 2_f64.powi(-configuration.logit_bits.cast_signed());
    let mut gradient = vec![0.0; configuration.vocabulary as usize];
    let mut add = |index: usize, logits: &[i32]| {
        if index + 1 < from {
            return;
        }
        let weights: Vec<f64> = logits.iter().map(|it| (f64::from(*it) * unit).exp()).collect();
        let total: f64 = weights.iter().sum();
        for (sum, weight) in gradient.iter_mut().zip(weights) {
            *sum += weight / total;
        }
        gradient[tokens[index + 1] as usize] -= 1.0;
    };
    engine.logits_of(&tokens[..tokens.len() - 1], 7, &mut add).unwrap();
    gradient
}

#[test]
fn a_gradient_is_that_of_floats_up_to_rounding() {
    let engine = engine(Kernels::PORTABLE, 1);
    let tokens = text(70);
    for from in [1, 2, 40, 69] {
        let exact = engine.bias_gradient(&tokens, from).unwrap();
        let float = float_gradient(&engine, &tokens, from);
        assert_eq!(exact.len(), float.len());
        let count = (tokens.len() - from) as f64;
        for (exact, float) in exact.iter().zip(&float) {
            let difference = *exact as f64 - float * 2_f64.powi(24);
            assert!(difference.abs() <= count, "{from}: {exact} beside {float}");
        }
        assert!(float.iter().any(|it| *it < -0.5), "{from}: no token pulls");
    }
}

#[test]
fn a_gradient_adds_up_to_nothing_but_rounding() {
    let tokens = text(70);
    let gradient = engine(Kernels::PORTABLE, 1).bias_gradient(&tokens, 10).unwrap();
    let bound = gradient.len() as u64 * 60;
    assert!(gradient.iter().sum::<i64>().unsigned_abs() <= bound);
}

#[test]
fn every_kernel_and_thread_count_gives_the_same_gradient() {
    let tokens = text(90);
    for from in [1, 63, 64, 65, 89] {
        let law = engine(Kernels::PORTABLE, 1).bias_gradient(&tokens, from).unwrap();
        for kernels in Kernels::available() {
            for threads in [1, 2, 3] {
                let found = engine(kernels, threads).bias_gradient(&tokens, from).unwrap();
                assert!(found == law, "{} with {threads} threads from {from}", kernels.name());
            }
        }
    }
}

#[test]
fn what_is_before_counts_as_context_alone() {
    let engine = engine(Kernels::PORTABLE, 1);
    let tokens = text(50);
    let parts: Vec<Vec<i64>> =
        (20..50).map(|at| engine.bias_gradient(&tokens[..=at], at).unwrap()).collect();
    let sum = |token: usize| parts.iter().map(|part| part[token]).sum::<i64>();
    let whole = engine.bias_gradient(&tokens, 20).unwrap();
    assert!((0..whole.len()).all(|token| whole[token] == sum(token)));
}

#[test]
fn a_known_answer() {
    let gradient = engine(Kernels::detect(), 2).bias_gradient(&text(80), 20).unwrap();
    let bytes: Vec<u8> = gradient.iter().flat_map(|it| it.to_be_bytes()).collect();
    let digest = Digest::of_content(&bytes).to_string();
    let first = [-15_317_236, -8_883_611, 9_891_508, -30_432_162];
    assert_eq!(
        (&gradient[..4], digest.as_str()),
        (&first[..], "5bf69b0c426fbd2a319178ae4203476ec7453e13f0aad379848b20a47e5e158b")
    );
}

#[test]
fn a_text_without_a_token_to_look_at_is_refused() {
    let engine = engine(Kernels::PORTABLE, 1);
    for (tokens, from) in [(&[1, 2][..], 0), (&[1, 2], 2), (&[1, 2], 3), (&[], 0)] {
        assert_eq!(engine.bias_gradient(tokens, from), Err(EngineError::EmptyInput));
    }
    let count = engine.model().configuration().vocabulary;
    let beyond = SamplerError::Token { found: count, count: count as usize };
    assert_eq!(engine.bias_gradient(&[1, count], 1), Err(beyond.into()));
    assert!(matches!(engine.bias_gradient(&[count, 1], 1), Err(EngineError::Token { .. })));
}
