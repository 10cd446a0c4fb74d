//! What the engine makes of biases, penalties, allowed tokens and stop strings.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};
use tally_core::computation::{Micro, SamplingParameters, SignedMicro, TokenId};
use tally_core::philox::SamplerKey;
use tally_engine::sampler::logprobs::logprobs as logprobs_of;
use tally_engine::sampler::{Adjustments, SamplerError, SamplerScratch, adjusted_logits, sample};
use tally_engine::stop::StopSearch;

use super::{Given, packed, parameter, words};

/// Parameters and adjustments of a case.
struct Adjusted {
    parameters: SamplingParameters,
    counts: BTreeMap<TokenId, u32>,
    bias: Vec<(TokenId, SignedMicro)>,
}

impl Adjusted {
    fn parse(given: Given<'_>) -> Result<Self> {
        let millionths = |name: &str| -> Result<SignedMicro> {
            Ok(SignedMicro::from_millionths(given.integer(name)?))
        };
        let optional = |name: &str, absent: u32| match given.has(name) {
            true => given.integer(name),
            false => Ok(absent),
        };
        let parameters = SamplingParameters {
            max_tokens: 1,
            temperature: Micro::from_millionths(optional("temperature", 0)?),
            top_k: optional("top_k", 0)?,
            top_p: Micro::from_millionths(optional("top_p", 1_000_000)?),
            stop_tokens: vec![],
            choice: optional("choice", 0)?,
            presence_penalty: millionths("presence_penalty")?,
            frequency_penalty: millionths("frequency_penalty")?,
        };
        let counts: Vec<(u32, u32)> = serde_json::from_value(given.field("counts")?.clone())?;
        let bias: Vec<(u32, i32)> = serde_json::from_value(given.field("bias")?.clone())?;
        let bias = bias.into_iter();
        let bias = bias.map(|(token, bias)| (token, SignedMicro::from_millionths(bias))).collect();
        Ok(Self { parameters, counts: counts.into_iter().collect(), bias })
    }

    fn adjustments<'a>(&'a self, allowed: Option<&'a [u32]>) -> Adjustments<'a> {
        Adjustments { counts: &self.counts, bias: &self.bias, allowed }
    }
}

fn refused(error: &SamplerError) -> Result<Value> {
    Ok(json!({ "refused": { "parameter": parameter(error)? } }))
}

pub(super) fn adjust(given: Given<'_>) -> Result<Value> {
    let (logits, adjusted): (Vec<i32>, _) = (given.list("logits")?, Adjusted::parse(given)?);
    let (bits, adjustments) = (given.integer("fraction_bits")?, adjusted.adjustments(None));
    match adjusted_logits(&logits, bits, &adjusted.parameters, &adjustments) {
        Ok(logits) => Ok(json!({ "logits": packed(&logits) })),
        Err(error) => refused(&error),
    }
}

pub(super) fn sample_allowed(given: Given<'_>) -> Result<Value> {
    let (logits, adjusted): (Vec<i32>, _) = (given.list("logits")?, Adjusted::parse(given)?);
    let mut allowed = vec![0_u32; logits.len().div_ceil(32)];
    for token in given.list::<usize>("allowed")? {
        allowed[token / 32] |= 1 << (token % 32);
    }
    let key = SamplerKey::from_words(words(given, "key")?);
    let (bits, mut scratch) = (given.integer("fraction_bits")?, SamplerScratch::default());
    let (adjustments, mut tokens) = (adjusted.adjustments(Some(&allowed)), vec![]);
    for position in given.list("positions")? {
        let drawn =
            sample(&logits, bits, &adjusted.parameters, &adjustments, key, position, &mut scratch);
        match drawn {
            Ok(token) => tokens.push(token),
            Err(error) => return refused(&error),
        }
    }
    Ok(json!({ "tokens": packed(&tokens) }))
}

pub(super) fn logprobs(given: Given<'_>) -> Result<Value> {
    let (logits, bits): (Vec<i32>, u32) = (given.list("logits")?, given.integer("fraction_bits")?);
    let (count, mut of_tokens, mut top) = (given.integer("count")?, vec![], vec![]);
    for token in given.list("tokens")? {
        match logprobs_of(&logits, bits, token, count) {
            Ok(found) => {
                of_tokens.push(found.log_probability.millionths());
                top = found.top;
            }
            Err(error) => return refused(&error),
        }
    }
    let ids: Vec<TokenId> = top.iter().map(|(token, _)| *token).collect();
    let values: Vec<i64> = top.iter().map(|(_, value)| value.millionths()).collect();
    Ok(json!({
        "millionths": packed(&of_tokens), "top": packed(&ids), "top_millionths": packed(&values)
    }))
}

pub(super) fn stop(given: Given<'_>) -> Result<Value> {
    let tokens: Vec<String> = serde_json::from_value(given.field("tokens")?.clone())?;
    let stops: Vec<String> = serde_json::from_value(given.field("stop")?.clone())?;
    let (mut search, mut shown) = (StopSearch::new(&stops), String::new());
    let (mut count, mut is_stopped) = (0, false);
    for token in tokens {
        let pushed = search.push(&super::super::generation::bytes(&token)?);
        shown.push_str(&pushed.text);
        (count, is_stopped) = (count + 1, pushed.is_stopped);
        if is_stopped {
            break;
        }
    }
    shown.push_str(&search.finish());
    Ok(json!({ "count": count, "is_stopped": is_stopped, "shown": shown }))
}
