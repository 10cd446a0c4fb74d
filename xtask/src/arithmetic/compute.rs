//! What a kernel makes of the input of a vector.

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tally_core::Digest;
use tally_core::computation::{Micro, SamplingParameters, SignedMicro};
use tally_core::philox::{self, SamplerKey};
use tally_engine::fixed::RopeFrequencies;
use tally_engine::import::tables;
use tally_engine::kernel::{Activation, Rows};
use tally_engine::sampler::tables::SamplerTables;
use tally_engine::sampler::weight::WeightScale;
use tally_engine::sampler::{self, Adjustments, SamplerError, SamplerScratch, gumbel};
use tally_engine::source::{Decimal, Pooling, PoolingKind, Rotation, RotationScaling};
use tally_engine::{EngineError, Kernels, encoder};

use super::integers::{Given, one, packed};

mod controls;

const RESIDUAL_MAX: u64 = (1 << 31) - 1;
const FIXED_MAX: u64 = 1 << 30;
const SCORE_BITS: i32 = 12;
const HEAD_NORM_BITS: i32 = 24;
/// Elements of a group.
const GROUP: usize = 32;

/// The outputs of an operation, or its refusal.
pub(super) fn answer(kernels: Kernels, operation: &str, given: &Value) -> Result<Value> {
    let given = Given(given);
    match operation {
        "activate" => activate(kernels, given),
        "adjust" => controls::adjust(given),
        "bias" => bias(kernels, given),
        "divide" => divide(kernels, given),
        "embedding" => embedding(kernels, given),
        "gated" => gated(kernels, given),
        "gumbel" => gumbels(given),
        "head-norm" => head_norm(kernels, given),
        "layer-norm" => layer_norm(kernels, given),
        "linear" => linear(kernels, given),
        "logprobs" => controls::logprobs(given),
        "narrow" => narrow(kernels, given),
        "norm" => norm(kernels, given),
        "philox" => philox_block(given),
        "pool" => pool(given),
        "requantise" => requantise(kernels, given),
        "rescale" => rescale(kernels, given),
        "residual" => residual(kernels, given),
        "rotate" => rotate(kernels, given),
        "rotation" => rotation(given),
        "sample" => sample(given),
        "sample-allowed" => controls::sample_allowed(given),
        "sampler-key" => sampler_key(given),
        "sampler-tables" => Ok(json!({ "sha256": SamplerTables::get().digest().to_string() })),
        "scores" => scores(kernels, given),
        "softmax" => softmax(kernels, given),
        "stop" => controls::stop(given),
        "table" => table(given),
        "weight" => weight(given),
        "weighted-sum" => weighted_sum(kernels, given),
        other => bail!("there is no operation {other}"),
    }
}

fn refused(operation: &str, bound: u64) -> Value {
    json!({ "refused": { "operation": operation, "bound": bound } })
}

/// Groups of 32 in the packing of the model file.
fn nibbles(elements: &[i8]) -> Vec<u8> {
    let halves = elements.chunks_exact(GROUP).map(|group| group.split_at(GROUP / 2));
    let code = |element: &i8| (element + 8).cast_unsigned();
    let bytes = halves.flat_map(|(low, high)| {
        low.iter().zip(high).map(move |(low, high)| code(low) | code(high) << 4)
    });
    bytes.collect()
}

fn linear(kernels: Kernels, given: Given<'_>) -> Result<Value> {
    let columns: usize = given.integer("columns")?;
    let elements: Vec<i8> = given.list("elements")?;
    let group_scales: Vec<u8> = match given.has("group_scales") {
        true => given.list("group_scales")?,
        false => vec![],
    };
    let rows = elements.chunks_exact(columns).enumerate();
    let sums = rows.map(|(row, elements)| {
        let scale = |k: usize| group_scales.get((row * columns + k) / GROUP).copied();
        let products = elements.iter().enumerate();
        products.map(|(k, q)| i32::from(scale(k).unwrap_or(1)) * i32::from(*q)).sum::<i32>()
    });
    let sums: Vec<i32> = sums.collect();
    let kind = given.text("kind")?;
    let nibbles = if kind == "int4" { nibbles(&elements) } else { vec![] };
    let rows = match kind {
        "int8" => Rows::Int8 { values: &elements, sums: &sums },
        "int8-groups" => {
            Rows::Int8Groups { values: &elements, group_scales: &group_scales, sums: &sums }
        }
        "int4" => Rows::Int4 { nibbles: &nibbles, group_scales: &group_scales, sums: &sums },
        other => bail!("there is no kind {other}"),
    };
    let xs: Vec<Activation> = given
        .lists::<i16>("x")?
        .iter()
        .map(|values| {
            let mut x = Activation::default();
            x.fill(values.len(), |out| {
                out.copy_from_slice(values);
                0
            });
            x
        })
        .collect();
    let mut outs = vec![vec![i64::MIN; sums.len()]; xs.len()];
    let mut slices: Vec<&mut [i64]> = outs.iter_mut().map(Vec::as_mut_slice).collect();
    kernels.linear(rows, &xs.iter().collect::<Vec<_>>(), &mut slices);
    Ok(json!({ "sums": outs.iter().map(|out| packed(out)).collect::<Vec<_>>() }))
}

fn requantise(kernels: Kernels, given: Given<'_>) -> Result<Value> {
    let (sums, scales): (Vec<i64>, Vec<i16>) = (given.list("sums")?, given.list("scales")?);
    let (mut narrowed, mut p) = (vec![0; sums.len()], vec![0; sums.len()]);
    let exponent = kernels.narrow_sums(&sums, &mut narrowed).cast_signed();
    kernels.products(&narrowed, &scales, &mut p);
    let bits = given.integer::<i32>("bits")? - exponent + given.integer::<i32>("j")?;
    Ok(json!({ "p": packed(&p), "bits": bits }))
}

fn narrow(kernels: Kernels, given: Given<'_>) -> Result<Value> {
    let values: Vec<i32> = given.list("values")?;
    let (values, exponent) = match given.integer::<u32>("limit")? {
        127 => {
            let mut out = vec![0_i8; values.len()];
            let exponent = kernels.narrow_to_int8(&values, &mut out);
            (packed(&out), exponent)
        }
        _ => narrowed(kernels, &values),
    };
    Ok(json!({ "values": values, "exponent": exponent }))
}

fn narrowed(kernels: Kernels, values: &[i32]) -> (Value, u32) {
    let mut out = vec![0_i16; values.len()];
    let exponent = kernels.narrow(values, &mut out);
    (packed(&out), exponent)
}

fn rescale(kernels: Kernels, given: Given<'_>) -> Result<Value> {
    let values: Vec<i32> = given.list("values")?;
    let shift = given.integer::<i32>("from")? - given.integer::<i32>("to")?;
    let (mut out, bound) = (vec![0; values.len()], given.integer("bound")?);
    if kernels.rescale(&values, shift, &mut out) > bound {
        return Ok(refused(given.text("operation")?, bound));
    }
    Ok(json!({ "values": packed(&out) }))
}

fn bias(kernels: Kernels, given: Given<'_>) -> Result<Value> {
    let (mut p, bias): (Vec<i32>, Vec<i32>) = (given.list("p")?, given.list("bias")?);
    let bits = kernels.add_bias(&mut p, given.integer("bits")?, &bias, given.integer("bias_bits")?);
    Ok(json!({ "p": packed(&p), "bits": bits }))
}

fn embedding(kernels: Kernels, given: Given<'_>) -> Result<Value> {
    let (elements, scale): (Vec<i32>, i32) = (given.list("elements")?, given.integer("scale")?);
    let products: Vec<i32> = elements.iter().map(|element| element * scale).collect();
    let shift = given.integer::<i32>("j")? - given.integer::<i32>("residual_bits")?;
    let mut out = vec![0; products.len()];
    if kernels.rescale(&products, shift, &mut out) > RESIDUAL_MAX {
        return Ok(refused("embedding", RESIDUAL_MAX));
    }
    Ok(json!({ "h": packed(&out) }))
}

fn residual(kernels: Kernels, given: Given<'_>) -> Result<Value> {
    let (mut h, p): (Vec<i32>, Vec<i32>) = (given.list("h")?, given.list("p")?);
    let shift = given.integer::<i32>("bits")? - given.integer::<i32>("residual_bits")?;
    if kernels.add_scaled(&p, shift, &mut h) > RESIDUAL_MAX {
        return Ok(refused(given.text("operation")?, RESIDUAL_MAX));
    }
    Ok(json!({ "h": packed(&h) }))
}

fn norm(kernels: Kernels, given: Given<'_>) -> Result<Value> {
    norm_of(kernels, &given.list::<i32>("h")?, 0, given)
}

/// The norm of values whose squares have `lack` fraction bits fewer than epsilon.
fn norm_of(kernels: Kernels, values: &[i32], lack: u32, given: Given<'_>) -> Result<Value> {
    let (gains, epsilon): (Vec<i16>, u64) = (given.list("gains")?, given.integer("epsilon")?);
    let (mut scratch, mut out) = (vec![0; values.len()], vec![0; values.len()]);
    let bits = kernels.norm(values, &gains, epsilon, lack, &mut scratch, &mut out);
    let bits = given.integer::<i32>("gain_bits")? + bits;
    Ok(json!({ "values": packed(&out), "bits": bits }))
}

fn head_norm(kernels: Kernels, given: Given<'_>) -> Result<Value> {
    let (values, bits): (Vec<i32>, i32) = (given.list("p")?, given.integer("bits")?);
    let mut rescaled = vec![0; values.len()];
    kernels.rescale(&values, (bits - HEAD_NORM_BITS).max(0), &mut rescaled);
    let lack = (HEAD_NORM_BITS - bits).max(0).unsigned_abs();
    norm_of(kernels, &rescaled, 2 * lack, given)
}

fn layer_norm(kernels: Kernels, given: Given<'_>) -> Result<Value> {
    let (h, gains): (Vec<i32>, Vec<i16>) = (given.list("h")?, given.list("gains")?);
    let (bias, epsilon): (Vec<i32>, u64) = (given.list("bias")?, given.integer("epsilon")?);
    let (mut scratch, mut wide, mut out) = (vec![0; h.len()], vec![0; h.len()], vec![0; h.len()]);
    let bits = kernels.layer_norm(&h, &gains, epsilon, &mut scratch, &mut wide);
    let bits = given.integer::<i32>("gain_bits")? + bits;
    let bits = kernels.add_bias(&mut wide, bits, &bias, given.integer("bias_bits")?);
    let shift = bits - given.integer::<i32>("residual_bits")?;
    if kernels.rescale(&wide, shift, &mut out) > RESIDUAL_MAX {
        return Ok(refused("layer norm", RESIDUAL_MAX));
    }
    Ok(json!({ "h": packed(&out) }))
}

fn rotate(kernels: Kernels, given: Given<'_>) -> Result<Value> {
    let x: Vec<i16> = given.list("x")?;
    let (cosines, sines): (Vec<i16>, Vec<i16>) = (given.list("cosines")?, given.list("sines")?);
    let mut rotated = vec![0; x.len()];
    kernels.rotate(&x, &cosines, &sines, &mut rotated);
    let (query, query_exponent) = narrowed(kernels, &rotated);
    let mut key = vec![0_i8; x.len()];
    let key_exponent = kernels.narrow_to_int8(&rotated, &mut key);
    Ok(json!({
        "rotated": packed(&rotated), "query": query, "query_exponent": query_exponent,
        "key": packed(&key), "key_exponent": key_exponent
    }))
}

fn scores(kernels: Kernels, given: Given<'_>) -> Result<Value> {
    let (query, keys): (Vec<i16>, Vec<i8>) = (given.list("query")?, given.list("keys")?);
    let key_bits: Vec<i16> = given.list("key_bits")?;
    let mut out = vec![0; key_bits.len()];
    kernels.scores(&query, &keys, &mut out);
    let query_bits = given.integer("query_bits")?;
    if kernels.align_scores(&mut out, &key_bits, query_bits, SCORE_BITS) > FIXED_MAX {
        return Ok(refused("attention score", FIXED_MAX));
    }
    Ok(json!({ "scores": packed(&out) }))
}

fn softmax(kernels: Kernels, given: Given<'_>) -> Result<Value> {
    let (scores, bits): (Vec<i32>, Vec<i16>) = (given.list("scores")?, given.list("value_bits")?);
    let least = bits.iter().copied().min().context("a score at least")?;
    let table: Vec<u16> = uint16(tables::exponential()).collect();
    let mut out = vec![0; scores.len()];
    let total = kernels.weights(&scores, &bits, least, &table, &mut out);
    Ok(json!({ "weights": packed(&out), "total": one(total.into()), "least_bits": least }))
}

fn weighted_sum(kernels: Kernels, given: Given<'_>) -> Result<Value> {
    let (weights, values): (Vec<u16>, Vec<i8>) = (given.list("weights")?, given.list("values")?);
    let mut out = vec![0; given.integer("head_dim")?];
    kernels.weighted_sum(&weights, &values, &mut out);
    Ok(json!({ "sums": packed(&out) }))
}

fn divide(kernels: Kernels, given: Given<'_>) -> Result<Value> {
    let (sums, total): (Vec<i64>, u64) = (given.list("sums")?, given.integer("total")?);
    let mut out = vec![0; sums.len()];
    kernels.divide(&sums, total, given.integer("lag")?, &mut out);
    Ok(json!({ "values": packed(&out) }))
}

fn activate(kernels: Kernels, given: Given<'_>) -> Result<Value> {
    let mut x: Vec<i32> = given.list("x")?;
    let bend: Vec<i16> = uint16(table_bytes(given.text("table")?)?).map(u16::cast_signed).collect();
    kernels.activate(&mut x, &bend);
    let (out, exponent) = narrowed(kernels, &x);
    Ok(json!({ "values": packed(&x), "narrowed": out, "exponent": exponent }))
}

fn gated(kernels: Kernels, given: Given<'_>) -> Result<Value> {
    let (gate, up): (Vec<i16>, Vec<i16>) = (given.list("gate")?, given.list("up")?);
    let mut products = vec![0; gate.len()];
    kernels.products(&gate, &up, &mut products);
    let (out, exponent) = narrowed(kernels, &products);
    Ok(json!({ "products": packed(&products), "narrowed": out, "exponent": exponent }))
}

fn pool(given: Given<'_>) -> Result<Value> {
    let kind = if given.truth("is_mean")? { PoolingKind::Mean } else { PoolingKind::Cls };
    let pooling = Pooling { kind, is_normalised: given.truth("is_normalised")? };
    let streams: Vec<Vec<i32>> = given.lists("streams")?;
    let streams: Vec<&[i32]> = streams.iter().map(Vec::as_slice).collect();
    match encoder::pool(pooling, given.integer("residual_bits")?, 0, &streams) {
        Ok(found) => Ok(json!({ "values": packed(&found.values) })),
        Err(EngineError::Bound { operation, bound, .. }) => {
            Ok(refused(&operation.to_string(), bound))
        }
        Err(error) => Err(error.into()),
    }
}

fn philox_block(given: Given<'_>) -> Result<Value> {
    let words = philox::block(words(given, "counter")?, words(given, "key")?);
    Ok(json!({ "words": words }))
}

fn words<const N: usize>(given: Given<'_>, name: &str) -> Result<[u32; N]> {
    <[u32; N]>::try_from(given.list(name)?).ok().with_context(|| format!("{N} words"))
}

fn sampler_key(given: Given<'_>) -> Result<Value> {
    let seed = super::generation::bytes(given.text("seed")?)?;
    Ok(json!({ "key": SamplerKey::from_seed(&seed).words() }))
}

fn gumbels(given: Given<'_>) -> Result<Value> {
    let words: Vec<u32> = given.list("words")?;
    let values: Vec<i32> = words.iter().map(|word| gumbel::gumbel(*word)).collect();
    Ok(json!({ "values": packed(&values) }))
}

fn weight(given: Given<'_>) -> Result<Value> {
    let scale = WeightScale::new(given.integer("fraction_bits")?, given.integer("temperature")?);
    let distances: Vec<u64> = given.list("distances")?;
    let weights: Vec<u64> = distances.iter().map(|distance| scale.weight(*distance)).collect();
    Ok(json!({ "weights": packed(&weights) }))
}

fn sample(given: Given<'_>) -> Result<Value> {
    let logits: Vec<i32> = given.list("logits")?;
    let parameters = SamplingParameters {
        max_tokens: 1,
        temperature: Micro::from_millionths(given.integer("temperature")?),
        top_k: given.integer("top_k")?,
        top_p: Micro::from_millionths(given.integer("top_p")?),
        stop_tokens: vec![],
        choice: given.integer("choice")?,
        presence_penalty: SignedMicro::ZERO,
        frequency_penalty: SignedMicro::ZERO,
    };
    let key = SamplerKey::from_words(words(given, "key")?);
    let (bits, mut scratch) = (given.integer("fraction_bits")?, SamplerScratch::default());
    let mut tokens = vec![];
    for position in given.list("positions")? {
        match sampler::sample(
            &logits,
            bits,
            &parameters,
            &Adjustments::NONE,
            key,
            position,
            &mut scratch,
        ) {
            Ok(token) => tokens.push(token),
            Err(error) => return Ok(json!({ "refused": { "parameter": parameter(&error)? } })),
        }
    }
    Ok(json!({ "tokens": packed(&tokens) }))
}

fn parameter(error: &SamplerError) -> Result<&'static str> {
    Ok(match error {
        SamplerError::Vocabulary { .. } => "vocabulary",
        SamplerError::FractionBits { .. } => "fraction bits",
        SamplerError::Temperature { .. } => "temperature",
        SamplerError::TopP { .. } => "top-p",
        SamplerError::Bias { .. } => "bias",
        SamplerError::BiasOrder { .. } => "bias order",
        SamplerError::Penalty { .. } => "penalty",
        SamplerError::Token { .. } => "token",
        SamplerError::NothingAllowed { .. } => "allowed",
        SamplerError::Logprobs { .. } => "count",
        other => bail!("an unknown refusal: {other}"),
    })
}

fn table_bytes(name: &str) -> Result<&'static [u8]> {
    Ok(match name {
        "exponential" => tables::exponential(),
        "silu" => tables::silu(),
        "gelu" => tables::gelu(),
        other => bail!("there is no table {other}"),
    })
}

fn uint16(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
}

fn table(given: Given<'_>) -> Result<Value> {
    let name = given.text("table")?;
    let bytes = table_bytes(name)?;
    let entries: Vec<i32> = match name {
        "exponential" => uint16(bytes).map(i32::from).collect(),
        _ => uint16(bytes).map(|entry| entry.cast_signed().into()).collect(),
    };
    let indices: Vec<usize> = given.list("indices")?;
    let entries: Vec<i32> = indices.iter().map(|index| entries[*index]).collect();
    Ok(json!({ "entries": packed(&entries), "sha256": Digest::of_content(bytes).to_string() }))
}

fn rotation(given: Given<'_>) -> Result<Value> {
    let decimal = |given: Given<'_>, name: &str| {
        Decimal::parse(given.text(name)?).with_context(|| format!("field {name} is no decimal"))
    };
    let of = Given(given.field("scaling")?);
    let scaling = match of.text("kind")? {
        "none" => RotationScaling::None,
        "linear" => RotationScaling::Linear { factor: decimal(of, "factor")? },
        "llama3" => RotationScaling::Llama3 {
            factor: decimal(of, "factor")?,
            low_freq_factor: decimal(of, "low")?,
            high_freq_factor: decimal(of, "high")?,
            original_context: of.integer("original_context")?,
        },
        other => bail!("there is no scaling {other}"),
    };
    let rotation = Rotation { theta: decimal(given, "theta")?, scaling };
    let head_dim = given.integer("head_dim")?;
    let frequencies = RopeFrequencies::new(&rotation, head_dim).context("a rotation")?;
    let (mut cosines, mut sines) = (vec![], vec![]);
    for position in given.list("positions")? {
        for pair in 0..frequencies.pair_count() {
            let (cosine, sine) = frequencies.cos_sin(position, pair, 14).context("a position")?;
            cosines.push(cosine);
            sines.push(sine);
        }
    }
    Ok(json!({ "cosines": packed(&cosines), "sines": packed(&sines) }))
}
