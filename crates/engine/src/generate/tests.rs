//! Outputs do not depend on how they were computed, and end where they must.

use std::ops::ControlFlow;

use tally_core::computation::{Controls, FinishReason, Micro, SamplingParameters, SignedMicro};

use super::{GenerateRequest, Generated, generate};
use crate::batch::Task;
use crate::error::EngineError;
use crate::import::tiny;
use crate::kernel::Kernels;
use crate::session::Engine;

pub(crate) fn request(index: u32) -> GenerateRequest {
    GenerateRequest {
        input: (0..5 + index * 3).map(|i| (i * 17 + index) % 97).collect(),
        parameters: SamplingParameters {
            max_tokens: 20 + index,
            temperature: Micro::from_millionths(900_000 * (index % 2)),
            top_k: 0,
            top_p: Micro::ONE,
            stop_tokens: vec![],
            choice: index,
            presence_penalty: SignedMicro::ZERO,
            frequency_penalty: SignedMicro::ZERO,
        },
        seed: [9; 32],
        controls: Controls::default(),
        logprobs: None,
        chunk_len: 64,
    }
}

fn engine(kernels: Kernels, threads: usize) -> Engine {
    Engine::new(tiny::model(), kernels, threads).unwrap()
}

fn run(engine: &Engine, request: &GenerateRequest) -> Result<Generated, EngineError> {
    let mut streamed = vec![];
    let result = generate(engine, request, &mut |token| {
        streamed.push(token);
        ControlFlow::Continue(())
    });
    if let Ok(generated) = &result {
        assert_eq!(streamed, generated.output);
    }
    result
}

fn generate_batch(
    engine: &Engine,
    requests: &[GenerateRequest],
    on_token: &mut dyn FnMut(usize, u32) -> ControlFlow<()>,
) -> Vec<Result<Generated, EngineError>> {
    let tasks = requests.iter().cloned().map(Task::new).collect();
    super::generate_batch(engine, tasks, on_token)
}

#[test]
fn the_output_is_the_same_for_every_kernel_thread_count_and_chunk_length_alone_or_batched() {
    let law = engine(Kernels::PORTABLE, 1);
    let requests: Vec<_> = (0..8).map(request).collect();
    let expected: Vec<_> = requests.iter().map(|request| run(&law, request)).collect();
    for kernels in Kernels::available() {
        for threads in [1, 2] {
            let engine = engine(kernels, threads);
            for chunk_len in [1, 7, 64] {
                let requests: Vec<_> = requests
                    .iter()
                    .map(|request| GenerateRequest { chunk_len, ..request.clone() })
                    .collect();
                let batched =
                    generate_batch(&engine, &requests, &mut |_, _| ControlFlow::Continue(()));
                assert_eq!(batched, expected);
                assert_eq!(run(&engine, &requests[3]), expected[3]);
            }
        }
    }
}

#[test]
fn seed_choice_and_temperature_decide_the_output() {
    let engine = engine(Kernels::detect(), 1);
    let base = request(1);
    let output = |request: &GenerateRequest| run(&engine, request).unwrap().output;
    let mut other_seed = base.clone();
    other_seed.seed[31] ^= 1;
    assert_ne!(output(&base), output(&other_seed));
    let mut other_choice = base.clone();
    other_choice.parameters.choice += 1;
    assert_ne!(output(&base), output(&other_choice));
    let mut greedy = base.clone();
    greedy.parameters.temperature = Micro::ZERO;
    let mut greedy_with_other_seed = greedy.clone();
    greedy_with_other_seed.seed = [1; 32];
    assert_ne!(output(&base), output(&greedy));
    assert_eq!(output(&greedy), output(&greedy_with_other_seed));
}

#[test]
fn an_output_ends_at_a_stop_token_which_it_includes() {
    let engine = engine(Kernels::detect(), 1);
    let free = run(&engine, &request(1)).unwrap();
    assert_eq!((free.output.len(), free.finish), (21, FinishReason::Length));
    let stop = free.output[6];
    let first = free.output.iter().position(|token| *token == stop).unwrap();
    let mut request = request(1);
    request.parameters.stop_tokens = vec![stop];
    let stopped = run(&engine, &request).unwrap();
    assert_eq!(stopped.output, free.output[..=first]);
    assert_eq!(stopped.finish, FinishReason::Stop);
    // A stop token that is also the last one allowed is a stop.
    request.parameters.max_tokens = u32::try_from(first).unwrap() + 1;
    assert_eq!(run(&engine, &request).unwrap().finish, FinishReason::Stop);
}

#[test]
fn an_output_ends_when_the_context_is_full() {
    let engine = engine(Kernels::detect(), 1);
    let with_input = |len: u32| GenerateRequest {
        input: (0..len).map(|i| i % 97).collect(),
        parameters: SamplingParameters { max_tokens: 1000, ..request(0).parameters },
        ..request(0)
    };
    for len in [90, 95] {
        let generated = run(&engine, &with_input(len)).unwrap();
        assert_eq!(generated.output.len(), 96 - len as usize);
        assert_eq!(generated.finish, FinishReason::Length);
    }
    let full = EngineError::Context { found: 97, limit: 96 };
    assert_eq!(run(&engine, &with_input(96)), Err(full));
}

#[test]
fn requests_that_could_yield_no_token_are_refused_and_their_neighbours_in_a_batch_are_not() {
    let engine = engine(Kernels::detect(), 1);
    let mut requests: Vec<_> = (0..4).map(request).collect();
    requests[0].input.clear();
    requests[1].parameters.max_tokens = 0;
    requests[2].input[2] = 97;
    let outcomes = generate_batch(&engine, &requests, &mut |_, _| ControlFlow::Continue(()));
    assert_eq!(outcomes[0], Err(EngineError::EmptyInput));
    assert!(matches!(
        outcomes[1],
        Err(EngineError::Parameter { what: "max tokens", found: 0, .. })
    ));
    assert_eq!(outcomes[2], Err(EngineError::Token { found: 97, count: 97 }));
    assert_eq!(outcomes[3], run(&engine, &request(3)));
    requests[3].parameters.temperature = Micro::from_millionths(100_000_001);
    assert!(matches!(run(&engine, &requests[3]), Err(EngineError::Sampler(_))));
}

#[test]
fn a_client_that_goes_away_ends_its_own_output_only() {
    let engine = engine(Kernels::detect(), 1);
    let requests: Vec<_> = (0..3).map(request).collect();
    let mut seen = 0;
    let outcomes = generate_batch(&engine, &requests, &mut |index, _| {
        seen += u32::from(index == 1);
        if index == 1 && seen == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let whole = run(&engine, &requests[1]).unwrap();
    let cut = outcomes[1].as_ref().unwrap();
    assert_eq!((cut.output.as_slice(), cut.finish), (&whole.output[..4], FinishReason::Cancelled));
    assert_eq!(outcomes[0], run(&engine, &requests[0]));
    assert_eq!(outcomes[2], run(&engine, &requests[2]));
}
