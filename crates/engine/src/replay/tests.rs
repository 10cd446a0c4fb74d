//! What was generated replays; every neighbour of it is refused at the place where it differs.

mod controls;

use std::ops::ControlFlow;

use tally_core::Digest;
use tally_core::computation::{Computation, Controls, FinishReason};

use super::{ReplayMismatch, replay};
use crate::error::EngineError;
use crate::generate::generate;
use crate::generate::tests::request;
use crate::import;
use crate::kernel::Kernels;
use crate::language::tests::tiny;
use crate::session::Engine;

fn engine() -> Engine {
    Engine::new(import::tiny::model(), Kernels::detect(), 1).unwrap()
}

fn computation(engine: &Engine, index: u32) -> Computation {
    let request = request(index);
    let generated = generate(engine, &request, &mut |_| ControlFlow::Continue(())).unwrap();
    Computation {
        arithmetic: crate::ARITHMETIC.to_owned(),
        model_root: engine.model().root(),
        input: request.input,
        parameters: request.parameters,
        controls: Controls::default(),
        seed: request.seed,
        output: generated.output,
        finish: generated.finish,
    }
}

fn outcome(computation: &Computation) -> Result<(), ReplayMismatch> {
    replay(&engine(), &tiny(), computation, &mut |_, _| ())
}

#[test]
fn every_generation_replays_on_every_kernel_with_visible_progress() {
    let (engine, language) = (engine(), tiny());
    for index in 0..8 {
        let computation = computation(&engine, index);
        for kernels in Kernels::available() {
            for threads in [1, 2] {
                let other = Engine::new(import::tiny::model(), kernels, threads).unwrap();
                let mut last = (0, 0);
                let result = replay(&other, &language, &computation, &mut |done, total| {
                    last = (done, total)
                });
                assert_eq!(result, Ok(()));
                let fed = computation.input.len() + computation.output.len() - 1;
                assert_eq!(last, (fed, fed));
            }
        }
    }
}

#[test]
fn a_token_that_differs_is_named_with_both_values() {
    let engine = engine();
    for index in [0, 1] {
        let original = computation(&engine, index);
        for at in 0..original.output.len() {
            let mut forged = original.clone();
            forged.output[at] = (forged.output[at] + 1) % 97;
            let mismatch = ReplayMismatch::Token {
                index: u32::try_from(at).unwrap(),
                expected: original.output[at],
                found: forged.output[at],
            };
            assert_eq!(outcome(&forged), Err(mismatch));
        }
    }
}

#[test]
fn another_seed_or_choice_or_input_yields_another_token() {
    let original = computation(&engine(), 1);
    let mut forged = [original.clone(), original.clone(), original];
    forged[0].seed[0] ^= 1;
    forged[1].parameters.choice += 1;
    forged[2].input[0] += 1;
    for forged in forged {
        assert!(matches!(outcome(&forged), Err(ReplayMismatch::Token { .. })));
    }
}

#[test]
fn another_arithmetic_or_model_is_refused_before_anything_is_computed() {
    let original = computation(&engine(), 0);
    let other = Computation { arithmetic: "ra-1".to_owned(), ..original.clone() };
    let found = "ra-1".to_owned();
    let expected = ReplayMismatch::Arithmetic { expected: crate::ARITHMETIC, found };
    assert_eq!(outcome(&other), Err(expected));
    let found = Digest::from_bytes([1; 32]);
    let other = Computation { model_root: found, ..original.clone() };
    let expected = original.model_root;
    assert_eq!(outcome(&other), Err(ReplayMismatch::ModelRoot { expected, found }));
}

#[test]
fn an_output_of_another_length_or_end_is_refused() {
    let original = computation(&engine(), 1);
    let with = |change: &dyn Fn(&mut Computation)| {
        let mut changed = original.clone();
        change(&mut changed);
        outcome(&changed)
    };
    assert_eq!(with(&|c| c.output.clear()), Err(ReplayMismatch::EmptyOutput));
    assert_eq!(with(&|c| c.output.push(1)), Err(ReplayMismatch::Length { limit: 21, found: 22 }));
    let (length, cancelled) = (FinishReason::Length, FinishReason::Cancelled);
    let ends = |expected, found| Err(ReplayMismatch::Finish { expected, found });
    assert_eq!(with(&|c| c.output.truncate(9)), ends(cancelled, length));
    assert_eq!(with(&|c| c.finish = FinishReason::Stop), ends(length, FinishReason::Stop));
    assert_eq!(with(&|c| c.finish = cancelled), ends(length, cancelled));
    let cut = |c: &mut Computation| {
        c.output.truncate(9);
        c.finish = cancelled;
    };
    assert_eq!(with(&cut), Ok(()));
    let last = original.output[20];
    assert_eq!(
        with(&|c| c.parameters.stop_tokens = vec![original.output[4]]),
        Err(ReplayMismatch::AfterStop {
            index: u32::try_from(
                original.output.iter().position(|t| *t == original.output[4]).unwrap()
            )
            .unwrap(),
            token: original.output[4],
        })
    );
    if !original.output[..20].contains(&last) {
        assert_eq!(
            with(&|c| c.parameters.stop_tokens = vec![last]),
            ends(FinishReason::Stop, length)
        );
    }
    assert_eq!(with(&|c| c.input.clear()), Err(ReplayMismatch::Engine(EngineError::EmptyInput)));
    assert_eq!(
        with(&|c| c.input[0] = 97),
        Err(ReplayMismatch::Engine(EngineError::Token { found: 97, count: 97 }))
    );
}
