//! Attention: rotation, the cache's rows, and the two passes over them with one division.

use crate::cache::Head;
use crate::error::{EngineError, Operation};
use crate::forward::{Context, FIXED_MAX, Lane, bound, requantise};
use crate::kernel;
use crate::model::layout::{HEAD_NORM_BITS, ROTATION_BITS, SCORE_BITS};
use crate::model::{LayerView, VectorView};

/// Fraction bits that the division adds to the cached values' own.
const DIVISION_BITS: i32 = 8;

/// Buffers of one lane's attention.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// (head_dim,) rotated values of one head.
    rotated: Vec<i32>,
    /// (head_dim,) products of a norm of one head.
    norm_sums: Vec<i64>,
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
    let kernels = context.kernels;
    let head_dim = context.configuration().head_dim as usize;
    let (query_rows, kv_rows) = (layer.query.scales.len(), layer.key.scales.len());
    let rotation = context.model.rotation(position);
    let mut sums = std::mem::take(&mut lane.attention.norm_sums);

    let bits = requantise(kernels, layer.query, 0, lane);
    lane.query.resize(query_rows, 0);
    lane.query_bits.clear();
    let Lane { wide, narrow, query, query_bits, attention, .. } = lane;
    for (head, out) in wide.chunks_exact_mut(head_dim).zip(query.chunks_exact_mut(head_dim)) {
        let narrow = &mut narrow[..head_dim];
        let bits = narrow_head(context, head, bits, layer.query_norm, &mut sums, narrow);
        let Some((cosines, sines)) = rotation else {
            out.copy_from_slice(narrow);
            query_bits.push(bits);
            continue;
        };
        attention.rotated.resize(head_dim, 0);
        kernels.rotate(narrow, cosines, sines, &mut attention.rotated);
        let shift = kernels.narrow(&attention.rotated, out);
        query_bits.push(bits + ROTATION_BITS.cast_signed() - shift.cast_signed());
    }

    let bits = requantise(kernels, layer.key, query_rows, lane);
    lane.key.resize(kv_rows, 0);
    lane.key_bits.clear();
    let Lane { wide, narrow, key, key_bits, attention, .. } = lane;
    for (head, out) in wide.chunks_exact_mut(head_dim).zip(key.chunks_exact_mut(head_dim)) {
        let Some((cosines, sines)) = rotation else {
            let shift = kernels.narrow_to_int8(head, out);
            key_bits.push(cache_bits(bits - shift.cast_signed()));
            continue;
        };
        let narrow = &mut narrow[..head_dim];
        let bits = narrow_head(context, head, bits, layer.key_norm, &mut sums, narrow);
        attention.rotated.resize(head_dim, 0);
        kernels.rotate(narrow, cosines, sines, &mut attention.rotated);
        let shift = kernels.narrow_to_int8(&attention.rotated, out);
        key_bits.push(cache_bits(bits + ROTATION_BITS.cast_signed() - shift.cast_signed()));
    }
    lane.attention.norm_sums = sums;

    let bits = requantise(kernels, layer.value, query_rows + kv_rows, lane);
    lane.value.resize(kv_rows, 0);
    lane.value_bits.clear();
    let heads = lane.wide.chunks_exact(head_dim);
    for (head, out) in heads.zip(lane.value.chunks_exact_mut(head_dim)) {
        let shift = kernels.narrow_to_int8(head, out);
        lane.value_bits.push(cache_bits(bits - shift.cast_signed()));
    }
}

/// One head in int16: narrowed, or normed where heads have norms. Returns its fraction bits.
fn narrow_head(
    context: Context<'_>,
    head: &mut [i32],
    bits: i32,
    norm: Option<VectorView<'_>>,
    sums: &mut Vec<i64>,
    out: &mut [i16],
) -> i32 {
    let kernels = context.kernels;
    let epsilon = context.configuration().head_norm_epsilon;
    let (Some(gains), Some(epsilon)) = (norm, epsilon) else {
        return bits - kernels.narrow(head, out).cast_signed();
    };
    let most = HEAD_NORM_BITS.cast_signed();
    let surplus = u32::try_from(bits - most).unwrap_or_default();
    for value in head.iter_mut() {
        *value = kernel::portable::round_shift_i32(*value, surplus);
    }
    let lack = u32::try_from(most - bits).unwrap_or_default();
    sums.resize(head.len(), 0);
    gains.fraction_bits + kernels.norm(head, gains.values, epsilon, 2 * lack, sums, out)
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

/// Attends from one position to what it sees; leaves the output projection's input.
///
/// A decoder's token sees itself and those before it, as far back as its window; an encoder's all.
pub(crate) fn attend(
    context: Context<'_>,
    heads: &[Head],
    layer: usize,
    position: usize,
    lane: &mut Lane,
) -> Result<(), EngineError> {
    let configuration = context.configuration();
    let kernels = context.kernels;
    let head_dim = configuration.head_dim as usize;
    let end = match configuration.pooling {
        None => position + 1,
        Some(_) => heads.first().map_or(0, |head| head.key_bits.len()),
    };
    let start = match configuration.window_of(layer) {
        0 => 0,
        window => end.saturating_sub(window),
    };
    let seen = end - start;
    let group = lane.query.len() / head_dim / heads.len();
    let Lane { query, query_bits, attention: scratch, peaks, .. } = lane;
    scratch.sums.resize(query.len(), 0);
    scratch.scores.resize(seen, 0);
    scratch.weights.resize(seen, 0);
    scratch.least_bits.clear();
    scratch.totals.clear();
    let queries = query.chunks_exact(head_dim).zip(query_bits.iter());
    let queries = queries.zip(scratch.sums.chunks_exact_mut(head_dim));
    for (index, ((query, query_bits), sums)) in queries.enumerate() {
        let head = &heads[index / group];
        let keys = &head.keys[start * head_dim..end * head_dim];
        let values = &head.values[start * head_dim..end * head_dim];
        let (key_bits, value_bits) = (&head.key_bits[start..end], &head.value_bits[start..end]);
        let least_bits = value_bits.iter().copied().min().unwrap_or_default();
        let (scores, weights) = (&mut scratch.scores[..seen], &mut scratch.weights[..seen]);
        kernels.scores(query, keys, scores);
        let found = kernels.align_scores(scores, key_bits, *query_bits, SCORE_BITS.cast_signed());
        bound(peaks, layer, Operation::Score, FIXED_MAX, found)?;
        let table = context.model.exponential();
        scratch.totals.push(kernels.weights(scores, value_bits, least_bits, table, weights));
        kernels.weighted_sum(weights, values, sums);
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

/// Fraction bits as the cache stores them: −128 to 511 by the table of bounds in the specification.
fn cache_bits(bits: i32) -> i16 {
    debug_assert!((-128..=511).contains(&bits), "{bits} fraction bits in the cache");
    i16::try_from(bits).unwrap_or(i16::MAX)
}
