//! Attention: rotation, the cache's rows, and the two passes over them with one division.

use crate::cache::Head;
use crate::error::{EngineError, Operation};
use crate::forward::{Context, FIXED_MAX, Lane, Slot, bound, requantise};
use crate::model::LayerView;
use crate::model::layout::{ROTATION_BITS, SCORE_BITS};

/// Fraction bits that the division adds to the cached values' own.
const DIVISION_BITS: i32 = 8;

/// Buffers of one lane's attention.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// (head_dim,) or (query rows,) of rotated values.
    rotated: Vec<i32>,
    /// (positions,)
    scores: Vec<i32>,
    /// (positions,)
    weights: Vec<u16>,
    /// (heads · head_dim,) complete weighted sums.
    sums: Vec<i64>,
    /// (heads,) least fraction bits among the values that each head sees.
    least_bits: Vec<i16>,
    /// (heads,) sums of the softmax numerators.
    totals: Vec<u64>,
}

/// Turns the sums of query, key and value into a rotated query and new cache rows.
pub(crate) fn project(
    context: Context<'_>,
    layer: LayerView<'_>,
    position: usize,
    lane: &mut Lane,
) {
    let configuration = context.model.configuration();
    let kernels = context.kernels;
    let head_dim = configuration.head_dim as usize;
    let query_rows = layer.query.scales.len();
    let kv_rows = layer.key.scales.len();
    let (cosines, sines) = context.model.rotation(position);
    let rotation_bits = ROTATION_BITS.cast_signed();

    let bits = requantise(kernels, layer.query, 0, lane);
    let query_bits = rotate(context, bits, lane, cosines, sines) + rotation_bits;
    lane.query.resize(query_rows, 0);
    let shift = kernels.narrow(&lane.attention.rotated, &mut lane.query);
    lane.query_bits = query_bits - shift.cast_signed();

    let bits = requantise(kernels, layer.key, query_rows, lane);
    let key_bits = rotate(context, bits, lane, cosines, sines) + rotation_bits;
    lane.key.resize(kv_rows, 0);
    lane.key_bits.clear();
    let heads = lane.attention.rotated.chunks_exact(head_dim);
    for (head, out) in heads.zip(lane.key.chunks_exact_mut(head_dim)) {
        let shift = kernels.narrow_to_int8(head, out);
        lane.key_bits.push(cache_bits(key_bits - shift.cast_signed()));
    }

    let bits = requantise(kernels, layer.value, query_rows + kv_rows, lane);
    lane.value.resize(kv_rows, 0);
    lane.value_bits.clear();
    let heads = lane.wide.chunks_exact(head_dim);
    for (head, out) in heads.zip(lane.value.chunks_exact_mut(head_dim)) {
        let shift = kernels.narrow_to_int8(head, out);
        lane.value_bits.push(cache_bits(bits - shift.cast_signed()));
    }
}

/// Narrows `wide` to int16 and rotates each head of it; returns fraction bits before rotation.
fn rotate(context: Context<'_>, bits: i32, lane: &mut Lane, cosines: &[i16], sines: &[i16]) -> i32 {
    let head_dim = context.model.configuration().head_dim as usize;
    lane.narrow.resize(lane.wide.len(), 0);
    let shift = context.kernels.narrow(&lane.wide, &mut lane.narrow);
    let rotated = &mut lane.attention.rotated;
    rotated.resize(lane.narrow.len(), 0);
    let heads = lane.narrow.chunks_exact(head_dim).zip(rotated.chunks_exact_mut(head_dim));
    for (x, out) in heads {
        context.kernels.rotate(x, cosines, sines, out);
    }
    bits - shift.cast_signed()
}

/// Appends a lane's rows to the heads of its sequence.
pub(crate) fn remember(heads: &mut [Head], lane: &Lane) {
    let head_dim = lane.key.len() / heads.len();
    let rows = lane.key.chunks_exact(head_dim).zip(lane.value.chunks_exact(head_dim));
    let bits = lane.key_bits.iter().zip(&lane.value_bits);
    for ((head, (key, value)), (key_bits, value_bits)) in heads.iter_mut().zip(rows).zip(bits) {
        head.keys.extend_from_slice(key);
        head.values.extend_from_slice(value);
        head.key_bits.push(*key_bits);
        head.value_bits.push(*value_bits);
    }
}

/// Attends from one position to itself and all before it; leaves the output projection's input.
pub(crate) fn attend(
    context: Context<'_>,
    heads: &[Head],
    layer: usize,
    slot: Slot,
    lane: &mut Lane,
) -> Result<(), EngineError> {
    let configuration = context.model.configuration();
    let head_dim = configuration.head_dim as usize;
    let seen = slot.position + 1;
    let group = lane.query.len() / head_dim / heads.len();
    let scratch = &mut lane.attention;
    scratch.sums.resize(lane.query.len(), 0);
    scratch.scores.resize(seen, 0);
    scratch.weights.resize(seen, 0);
    scratch.least_bits.clear();
    scratch.totals.clear();
    let queries = lane.query.chunks_exact(head_dim);
    for (index, (query, sums)) in queries.zip(scratch.sums.chunks_exact_mut(head_dim)).enumerate() {
        let head = &heads[index / group];
        let value_bits = &head.value_bits[..seen];
        let least_bits = value_bits.iter().copied().min().unwrap_or_default();
        let (scores, weights) = (&mut scratch.scores[..seen], &mut scratch.weights[..seen]);
        let kernels = context.kernels;
        kernels.scores(query, &head.keys[..seen * head_dim], scores);
        let to_bits = SCORE_BITS.cast_signed();
        let found = kernels.align_scores(scores, &head.key_bits[..seen], lane.query_bits, to_bits);
        bound(layer, Operation::Score, FIXED_MAX, found)?;
        let table = context.model.exponential();
        scratch.totals.push(kernels.weights(scores, value_bits, least_bits, table, weights));
        kernels.weighted_sum(weights, &head.values[..seen * head_dim], sums);
        scratch.least_bits.push(least_bits);
    }
    // One exponent for all heads, the largest; a head with a smaller one divides by more.
    let least = scratch.least_bits.iter().copied().min().unwrap_or_default();
    lane.x.fill(lane.query.len(), |out| {
        let outs = out.chunks_exact_mut(head_dim).zip(scratch.sums.chunks_exact(head_dim));
        let heads = scratch.totals.iter().zip(&scratch.least_bits);
        for ((out, sums), (total, bits)) in outs.zip(heads) {
            let lag = (i32::from(*bits) - i32::from(least)).unsigned_abs();
            context.kernels.divide(sums, *total, lag, out);
        }
        i32::from(least) + DIVISION_BITS
    });
    Ok(())
}

/// Fraction bits lie within ±300 by the bounds on exponents and shifts.
fn cache_bits(bits: i32) -> i16 {
    i16::try_from(bits).unwrap_or(i16::MAX)
}
