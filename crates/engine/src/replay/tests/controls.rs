//! Outputs under controls: what they force and forbid, and that they replay; generated here by the
//! plainest loop there is.

use std::collections::BTreeMap;

use tally_core::computation::{
    Computation, Controls, FinishReason, Grammar, GrammarKind, Micro, SamplingParameters,
    SignedMicro, TokenId,
};
use tally_core::philox::SamplerKey;

use crate::error::EngineError;
use crate::generate::{end_of, position};
use crate::grammar::{GRAMMAR_ENGINE, GrammarError};
use crate::kernel::Kernels;
use crate::language::tests::default_model;
use crate::language::{Language, LanguageError};
use crate::replay::{ReplayMismatch, replay};
use crate::sampler::{Adjustments, SamplerScratch, adjusted_logits, sample};
use crate::session::Engine;
use crate::template::{ChatOptions, Message, Role};

/// An engine with its language and a question.
struct Asked {
    engine: Engine,
    language: Language,
    input: Vec<TokenId>,
}

fn asked() -> Asked {
    let model = default_model();
    let language = Language::of(&model).unwrap();
    let question = [Message::new(Role::User, "What is a trigger?")];
    let input = language.encode_chat(&question, &ChatOptions::default()).unwrap();
    Asked { engine: Engine::new(model, Kernels::detect(), 1).unwrap(), language, input }
}

fn parameters(asked: &Asked, max_tokens: u32, temperature: u32) -> SamplingParameters {
    SamplingParameters {
        max_tokens,
        temperature: Micro::from_millionths(temperature),
        top_k: 0,
        top_p: Micro::ONE,
        stop_tokens: asked.language.stop_tokens().to_vec(),
        choice: 0,
        presence_penalty: SignedMicro::ZERO,
        frequency_penalty: SignedMicro::ZERO,
    }
}

/// What looks at each draw.
type Seen<'a> = dyn FnMut(&[i32], &[TokenId], TokenId) + 'a;

/// Generates token by token; `seen` gets the logits of each draw, the output before it and the
/// token.
fn generated(
    asked: &Asked,
    parameters: SamplingParameters,
    controls: Controls,
    seed: u8,
    seen: &mut Seen<'_>,
) -> Result<Computation, LanguageError> {
    let Asked { engine, language, input } = asked;
    let (mut sequence, mut logits, mut output) = (engine.sequence(), vec![], vec![]);
    engine.prefill(&mut sequence, input, 64, &mut logits).unwrap();
    let (seed, mut scratch) = ([seed; 32], SamplerScratch::default());
    let (key, bits) = (SamplerKey::from_seed(&seed), engine.model().configuration().logit_bits);
    let mut constraint = match &controls.grammar {
        Some(grammar) => Some(language.grammar(grammar)?),
        None => None,
    };
    let mut stream = language.stream(&controls.stop);
    let finish = loop {
        let mut counts = BTreeMap::new();
        for token in &output {
            *counts.entry(*token).or_default() += 1;
        }
        let allowed = constraint.as_mut().map(|each| each.allowed()).transpose()?;
        let adjustments = Adjustments { counts: &counts, bias: &controls.bias, allowed };
        let at = position(input.len() + output.len());
        let drawn = sample(&logits[0], bits, &parameters, &adjustments, key, at, &mut scratch);
        let token = drawn.unwrap();
        seen(&logits[0], &output, token);
        output.push(token);
        let is_stopped = stream.push(token)?.is_stopped;
        match end_of(&parameters, input.len(), &output, engine.model().context_len()) {
            Some(FinishReason::Stop) => break FinishReason::Stop,
            _ if is_stopped => break FinishReason::StopString,
            Some(end) => break end,
            None => {}
        }
        if let Some(constraint) = &mut constraint {
            constraint.accept(token)?;
        }
        engine.step(&mut [&mut sequence], &[token], &mut logits).unwrap();
    };
    Ok(Computation {
        arithmetic: crate::ARITHMETIC.to_owned(),
        model_root: engine.model().root(),
        input: input.clone(),
        parameters,
        controls,
        seed,
        output,
        finish,
    })
}

fn replayed(asked: &Asked, computation: &Computation) -> Result<(), ReplayMismatch> {
    replay(&asked.engine, &asked.language, computation, &mut |_, _| ())
}

fn with_grammar(kind: GrammarKind, text: &str) -> Controls {
    let (engine, text) = (GRAMMAR_ENGINE.to_owned(), text.to_owned());
    Controls { grammar: Some(Grammar { engine, kind, text }), ..Controls::default() }
}

const SCHEMA: &str = r#"{
    "type": "object",
    "x-guidance": {"whitespace_flexible": false},
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "kind": {"enum": ["row", "statement", "é漢"]},
        "count": {"type": "integer", "minimum": -5, "maximum": 1200},
        "tags": {"type": "array", "maxItems": 3, "items": {"type": "boolean"}}
    },
    "required": ["name", "kind", "count", "tags"],
    "additionalProperties": false
}"#;

#[test]
fn a_schema_forces_json_that_follows_it_and_replays() {
    let asked = asked();
    let mut kinds = BTreeMap::new();
    for seed in 0..12 {
        let controls = with_grammar(GrammarKind::JsonSchema, SCHEMA);
        let parameters = parameters(&asked, 300, 1_000_000);
        let computation = generated(&asked, parameters, controls, seed, &mut |_, _, _| ()).unwrap();
        assert_eq!(computation.finish, FinishReason::Stop, "seed {seed}");
        let text = asked.language.decode(&computation.output).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let names: Vec<&String> = json.as_object().unwrap().keys().collect();
        assert_eq!(names, ["name", "kind", "count", "tags"], "{text}");
        assert!(json["name"].as_str().unwrap().chars().count() <= 12, "{text}");
        assert!((-5..=1_200).contains(&json["count"].as_i64().unwrap()), "{text}");
        let tags = json["tags"].as_array().unwrap();
        assert!(tags.len() <= 3 && tags.iter().all(serde_json::Value::is_boolean), "{text}");
        *kinds.entry(json["kind"].as_str().unwrap().to_owned()).or_insert(0) += 1;
        assert_eq!(replayed(&asked, &computation), Ok(()), "{text}");
    }
    assert!(kinds.len() > 1, "every answer has one kind: {kinds:?}");
    assert!(kinds.keys().all(|kind| ["row", "statement", "é漢"].contains(&kind.as_str())));
}

#[test]
fn another_grammar_or_none_or_one_of_another_engine_does_not_replay() {
    let asked = asked();
    let controls = with_grammar(GrammarKind::Regex, "(a|b){8}");
    let parameters = parameters(&asked, 20, 1_000_000);
    let original = generated(&asked, parameters, controls, 1, &mut |_, _, _| ()).unwrap();
    assert_eq!(original.finish, FinishReason::Stop);
    assert_eq!(replayed(&asked, &original), Ok(()));
    let with = |controls: Controls| replayed(&asked, &Computation { controls, ..original.clone() });
    let differs =
        |found: &Result<(), ReplayMismatch>| matches!(found, Err(ReplayMismatch::Token { .. }));
    assert!(differs(&with(Controls::default())));
    assert!(differs(&with(with_grammar(GrammarKind::Regex, "(c|d){8}"))));
    let mut other = with_grammar(GrammarKind::Regex, "(a|b){8}");
    other.grammar.as_mut().unwrap().engine = "llguidance/2.0.0".to_owned();
    let found = "llguidance/2.0.0".to_owned();
    let refused = GrammarError::Engine { expected: GRAMMAR_ENGINE, found };
    let refused = ReplayMismatch::Engine(EngineError::Language(LanguageError::Grammar(refused)));
    assert_eq!(with(other), Err(refused));
}

#[test]
fn a_bias_of_100_forces_a_token_and_one_of_minus_100_forbids_it() {
    let asked = asked();
    let hundred = 100_000_000;
    let bias = |token: TokenId, bias: i32| Controls {
        bias: vec![(token, SignedMicro::from_millionths(bias))],
        ..Controls::default()
    };
    for temperature in [0, 1_000_000] {
        let of = |controls: Controls| {
            let parameters = parameters(&asked, 12, temperature);
            generated(&asked, parameters, controls, 3, &mut |_, _, _| ()).unwrap()
        };
        let free = of(Controls::default());
        let token = free.output[0];
        let banned = of(bias(token, -hundred));
        assert!(!banned.output.contains(&token));
        assert_eq!(replayed(&asked, &banned), Ok(()));
        let forced = of(bias(1_234, hundred));
        assert_eq!(forced.output, [1_234; 12]);
        assert_eq!(replayed(&asked, &forced), Ok(()));
        let lied = Computation { controls: Controls::default(), ..forced };
        assert!(matches!(replayed(&asked, &lied), Err(ReplayMismatch::Token { index: 0, .. })));
    }
}

#[test]
fn penalties_change_draws_as_plain_sums_say() {
    let asked = asked();
    let bits = asked.engine.model().configuration().logit_bits;
    let of = |presence: i32, frequency: i32| {
        let mut parameters = parameters(&asked, 60, 0);
        parameters.stop_tokens.clear();
        parameters.presence_penalty = SignedMicro::from_millionths(presence);
        parameters.frequency_penalty = SignedMicro::from_millionths(frequency);
        let seen = &mut |logits: &[i32], output: &[TokenId], token: TokenId| {
            // Each token by itself, with its own count of the output.
            let best = (0..).zip(logits).map(|(id, logit)| {
                let count = output.iter().filter(|held| **held == id).count();
                let count = i128::try_from(count).unwrap();
                let total = i128::from(presence) * count.min(1) + i128::from(frequency) * count;
                let moved = (-2 * total * (1_i128 << bits) + 1_000_000).div_euclid(2_000_000);
                (i128::from(*logit) + moved, std::cmp::Reverse(id))
            });
            assert_eq!(best.max().unwrap().1, std::cmp::Reverse(token));
        };
        generated(&asked, parameters, Controls::default(), 0, seen).unwrap()
    };
    let plain = of(0, 0);
    for (presence, frequency) in [(1_500_000, 0), (0, 700_001), (2_000_000, 2_000_000), (-1, -2)] {
        let computation = of(presence, frequency);
        assert_eq!(replayed(&asked, &computation), Ok(()));
        let distinct = |computation: &Computation| {
            computation.output.iter().collect::<std::collections::BTreeSet<_>>().len()
        };
        if presence + frequency > 0 {
            assert!(distinct(&computation) > distinct(&plain), "{presence} {frequency}");
            let mut lied = computation;
            lied.parameters.presence_penalty = SignedMicro::ZERO;
            lied.parameters.frequency_penalty = SignedMicro::ZERO;
            assert!(matches!(replayed(&asked, &lied), Err(ReplayMismatch::Token { .. })));
        }
    }
    let none = parameters(&asked, 1, 0);
    assert_eq!(adjusted_logits(&[5], bits, &none, &Adjustments::NONE), Ok(vec![5]));
}

#[test]
fn a_stop_string_ends_the_output_with_the_token_that_completes_it() {
    let asked = asked();
    let of = |stop: Vec<String>| {
        let controls = Controls { stop, ..Controls::default() };
        generated(&asked, parameters(&asked, 40, 0), controls, 0, &mut |_, _, _| ()).unwrap()
    };
    let plain = of(vec![]);
    let text = asked.language.decode(&plain.output).unwrap();
    let chars: Vec<char> = text.chars().collect();
    let stop: String = chars[chars.len() / 2 - 3..chars.len() / 2 + 3].iter().collect();
    let stopped = of(vec![stop.clone(), "\u{1}".to_owned()]);
    assert_eq!(stopped.finish, FinishReason::StopString);
    assert!(plain.output.starts_with(&stopped.output));
    let shown = asked.language.decode_until(&stopped.output, &stopped.controls.stop).unwrap();
    assert_eq!(shown, text.split_once(&stop).unwrap().0);
    assert_eq!(replayed(&asked, &stopped), Ok(()));

    let finish = FinishReason::Cancelled;
    let expected = FinishReason::StopString;
    let lied = Computation { finish, ..stopped.clone() };
    assert_eq!(replayed(&asked, &lied), Err(ReplayMismatch::Finish { expected, found: finish }));
    let lied = Computation { controls: Controls::default(), ..stopped.clone() };
    let (expected, found) = (FinishReason::Cancelled, FinishReason::StopString);
    assert_eq!(replayed(&asked, &lied), Err(ReplayMismatch::Finish { expected, found }));
    let mut longer = plain.clone();
    longer.controls = stopped.controls.clone();
    let index = position(stopped.output.len() - 1);
    assert_eq!(replayed(&asked, &longer), Err(ReplayMismatch::AfterStopString { index }));

    // The last token that is allowed may complete it too; a stop token goes first.
    let mut last = stopped.clone();
    last.parameters.max_tokens = position(stopped.output.len());
    assert_eq!(replayed(&asked, &last), Ok(()));
    last.parameters.stop_tokens = vec![*stopped.output.last().unwrap()];
    let (expected, found) = (FinishReason::Stop, FinishReason::StopString);
    assert_eq!(replayed(&asked, &last), Err(ReplayMismatch::Finish { expected, found }));
}

#[test]
fn a_grammar_that_gets_stuck_ends_the_replay_with_its_own_error() {
    let asked = asked();
    let mut tokenless = asked.language.tokenizer().encode("a").unwrap();
    assert_eq!(tokenless.len(), 1);
    // The engine's grammar knows no token with the byte FF, so nothing can follow.
    let controls = with_grammar(
        GrammarKind::Lark,
        "%llguidance {\"allow_invalid_utf8\": true}\nstart: /a\\xff/",
    );
    let grammar = controls.grammar.as_ref().unwrap();
    let mut constraint = asked.language.grammar(grammar).unwrap();
    constraint.accept(tokenless[0]).unwrap();
    assert_eq!(constraint.allowed().map(drop), Err(GrammarError::Stuck));
    tokenless.push(tokenless[0]);
    let mut parameters = parameters(&asked, 2, 0);
    parameters.stop_tokens.clear();
    let stuck = Computation {
        arithmetic: crate::ARITHMETIC.to_owned(),
        model_root: asked.engine.model().root(),
        input: asked.input.clone(),
        parameters,
        controls,
        seed: [0; 32],
        output: tokenless,
        finish: FinishReason::Length,
    };
    let expected = EngineError::Language(LanguageError::Grammar(GrammarError::Stuck));
    assert_eq!(replayed(&asked, &stuck), Err(ReplayMismatch::Engine(expected)));
}
