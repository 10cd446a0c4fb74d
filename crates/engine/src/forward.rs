//! One pass over the layers for a stack of tokens, of one sequence or of many.
//!
//! A lane is one token's way through the network. Lanes meet only in the linear layers, where each
//! sum is complete before it is rounded, and in the cache. How they were stacked cannot matter.

use rayon::prelude::*;

use crate::attention;
use crate::cache::Cache;
use crate::error::{EngineError, Operation};
use crate::kernel::{Activation, Kernels, Rows};
use crate::linear;
use crate::model::layout::GATE_BITS;
use crate::model::{Configuration, MatrixView, Model, VectorView};

/// Largest magnitude of the residual stream, 2^31 − 1.
pub(crate) const RESIDUAL_MAX: u64 = (1 << 31) - 1;
/// Largest magnitude of a gate, an attention score and a logit in their fixed points.
pub(crate) const FIXED_MAX: u64 = 1 << 30;

/// One token of a pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    /// Index of its sequence among the caches.
    pub(crate) sequence: usize,
    pub(crate) position: usize,
    pub(crate) token: u32,
}

/// One token's buffers; they live as long as the engine's workspace.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    /// (width,) residual stream.
    pub(crate) residual: Vec<i32>,
    /// Input of the next linear layer.
    pub(crate) x: Activation,
    /// Complete sums of up to three linear layers, one behind the other.
    pub(crate) sums: Vec<i64>,
    pub(crate) narrow: Vec<i16>,
    pub(crate) wide: Vec<i32>,
    spare: Vec<i32>,
    /// (heads · `head_dim`,) rotated query.
    pub(crate) query: Vec<i16>,
    pub(crate) query_bits: i32,
    /// (`kv_heads` · `head_dim`,) new cache rows and their fraction bits.
    pub(crate) key: Vec<i8>,
    pub(crate) value: Vec<i8>,
    pub(crate) key_bits: Vec<i16>,
    pub(crate) value_bits: Vec<i16>,
    /// (hidden,) activated gate and up.
    pub(crate) gate: Vec<i16>,
    pub(crate) up: Vec<i16>,
    pub(crate) attention: attention::Scratch,
    /// Largest magnitude that the residual stream reached in this pass.
    pub(crate) peak: u64,
}

/// What a pass works with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) model: &'a Model,
    pub(crate) kernels: Kernels,
    pub(crate) threads: usize,
}

impl Context<'_> {
    fn configuration(&self) -> &Configuration {
        self.model.configuration()
    }
}

/// Runs all layers: writes every slot's keys and values, leaves its residual stream in its lane.
///
/// On an error the caches hold a part of the pass: the caller truncates them.
pub(crate) fn layers(
    context: Context<'_>,
    slots: &[Slot],
    lanes: &mut [Lane],
    caches: &mut [&mut Cache],
) -> Result<(), EngineError> {
    embed(context, slots, lanes)?;
    for layer in 0..context.configuration().layers as usize {
        let view = context.model.layer(layer);
        each(context, lanes, |lane| norm(context, lane, view.attention_norm));
        linear::apply(context, lanes, &[view.query, view.key, view.value]);
        try_each(context, slots, lanes, |slot, lane| {
            attention::project(context, view, slot.position, lane);
            Ok(())
        })?;
        for (slot, lane) in slots.iter().zip(lanes.iter()) {
            attention::remember(caches[slot.sequence].layer_mut(layer), lane);
        }
        let read: Vec<&Cache> = caches.iter().map(|cache| &**cache).collect();
        try_each(context, slots, lanes, |slot, lane| {
            attention::attend(context, read[slot.sequence].layer(layer), layer, *slot, lane)
        })?;
        linear::apply(context, lanes, &[view.output]);
        try_each(context, slots, lanes, |_, lane| {
            add_to_residual(context, view.output, layer, Operation::AttentionResidual, lane)
        })?;
        each(context, lanes, |lane| norm(context, lane, view.feed_forward_norm));
        linear::apply(context, lanes, &[view.gate, view.up]);
        try_each(context, slots, lanes, |_, lane| {
            activate(context, view.gate, view.up, layer, lane)
        })?;
        linear::apply(context, lanes, &[view.down]);
        try_each(context, slots, lanes, |_, lane| {
            add_to_residual(context, view.down, layer, Operation::FeedForwardResidual, lane)
        })?;
    }
    Ok(())
}

/// Final norm and output head: a lane's (vocabulary,) logits.
pub(crate) fn logits(
    context: Context<'_>,
    lanes: &mut [&mut Lane],
    outs: &mut [Vec<i32>],
) -> Result<(), EngineError> {
    let (head, configuration) = (context.model.head(), context.configuration());
    for lane in lanes.iter_mut() {
        norm(context, lane, context.model.final_norm());
        lane.sums.resize(head.scales.len(), 0);
    }
    let (xs, sums): (Vec<_>, Vec<_>) =
        lanes.iter_mut().map(|lane| (&lane.x, lane.sums.as_mut_slice())).unzip();
    linear::run(context, &[head], &xs, sums);
    for (lane, out) in lanes.iter_mut().zip(outs) {
        let bits = requantise(context.kernels, head, 0, lane);
        out.resize(head.scales.len(), 0);
        let shift = bits - configuration.logit_bits.cast_signed();
        let found = context.kernels.rescale(&lane.wide, shift, out);
        bound(configuration.layers as usize, Operation::Logits, FIXED_MAX, found)?;
    }
    Ok(())
}

/// Embedding rows in the residual stream's fixed point.
fn embed(context: Context<'_>, slots: &[Slot], lanes: &mut [Lane]) -> Result<(), EngineError> {
    let (view, configuration) = (context.model.embedding(), context.configuration());
    let width = configuration.width as usize;
    for (slot, lane) in slots.iter().zip(lanes) {
        let row = slot.token as usize;
        let scale = i32::from(view.scales[row]);
        let Rows::Int8 { values, .. } = view.rows.part(row, row + 1) else { continue };
        lane.wide.clear();
        lane.wide.extend(values.iter().map(|value| i32::from(*value) * scale));
        lane.residual.resize(width, 0);
        let shift = view.scale_bits - configuration.residual_bits.cast_signed();
        let found = context.kernels.rescale(&lane.wide, shift, &mut lane.residual);
        lane.peak = found;
        bound(0, Operation::Embedding, RESIDUAL_MAX, found)?;
    }
    Ok(())
}

/// Norm of the residual stream into the input of the next linear layer.
fn norm(context: Context<'_>, lane: &mut Lane, gains: VectorView<'_>) {
    let epsilon = context.configuration().norm_epsilon;
    let Lane { residual, x, sums, .. } = lane;
    sums.resize(sums.len().max(residual.len()), 0);
    x.fill(residual.len(), |out| {
        let scratch = &mut sums[..out.len()];
        gains.fraction_bits + context.kernels.norm(residual, gains.values, epsilon, 0, scratch, out)
    });
}

/// First stage of requantisation and the products with the row scales, into `wide`.
///
/// `from` is where the matrix's sums begin. Returns the fraction bits of `wide`.
pub(crate) fn requantise(
    kernels: Kernels,
    matrix: MatrixView<'_>,
    from: usize,
    lane: &mut Lane,
) -> i32 {
    let rows = matrix.scales.len();
    lane.narrow.resize(rows, 0);
    lane.wide.resize(rows, 0);
    let shift = kernels.narrow_sums(&lane.sums[from..from + rows], &mut lane.narrow);
    kernels.products(&lane.narrow, matrix.scales, &mut lane.wide);
    lane.x.fraction_bits - shift.cast_signed() + matrix.scale_bits
}

fn add_to_residual(
    context: Context<'_>,
    matrix: MatrixView<'_>,
    layer: usize,
    operation: Operation,
    lane: &mut Lane,
) -> Result<(), EngineError> {
    let bits = requantise(context.kernels, matrix, 0, lane);
    let shift = bits - context.configuration().residual_bits.cast_signed();
    let found = context.kernels.add_scaled(&lane.wide, shift, &mut lane.residual);
    lane.peak = lane.peak.max(found);
    bound(layer, operation, RESIDUAL_MAX, found)
}

/// SiLU(gate) · up into the input of the down projection.
fn activate(
    context: Context<'_>,
    gate: MatrixView<'_>,
    up: MatrixView<'_>,
    layer: usize,
    lane: &mut Lane,
) -> Result<(), EngineError> {
    let kernels = context.kernels;
    let hidden = gate.scales.len();
    let gate_bits = GATE_BITS.cast_signed();
    let bits = requantise(kernels, up, hidden, lane);
    lane.up.resize(hidden, 0);
    let up_bits = bits - kernels.narrow(&lane.wide, &mut lane.up).cast_signed();
    let bits = requantise(kernels, gate, 0, lane);
    let Lane { wide, spare, gate, up, x, .. } = lane;
    std::mem::swap(wide, spare);
    wide.resize(hidden, 0);
    let found = kernels.rescale(spare, bits - gate_bits, wide);
    bound(layer, Operation::Gate, FIXED_MAX, found)?;
    kernels.activate(wide, context.model.silu());
    gate.resize(hidden, 0);
    let gate_bits = gate_bits - kernels.narrow(wide, gate).cast_signed();
    kernels.products(gate, up, wide);
    x.fill(hidden, |out| gate_bits + up_bits - kernels.narrow(wide, out).cast_signed());
    Ok(())
}

/// Refuses a magnitude above its bound, with the place where it arose.
pub(crate) fn bound(
    layer: usize,
    operation: Operation,
    bound: u64,
    found: u64,
) -> Result<(), EngineError> {
    if found <= bound {
        return Ok(());
    }
    let layer = u32::try_from(layer).unwrap_or(u32::MAX);
    Err(EngineError::Bound { layer, operation, bound, found })
}

/// Whether a stack is worth spreading over threads.
fn is_parallel(context: Context<'_>, lanes: usize) -> bool {
    context.threads > 1 && lanes > 1
}

fn each(context: Context<'_>, lanes: &mut [Lane], act: impl Fn(&mut Lane) + Sync + Send) {
    if is_parallel(context, lanes.len()) {
        lanes.par_iter_mut().for_each(act);
    } else {
        lanes.iter_mut().for_each(act);
    }
}

/// Acts on every lane; of several errors the one of the earliest lane is returned.
fn try_each(
    context: Context<'_>,
    slots: &[Slot],
    lanes: &mut [Lane],
    act: impl Fn(&Slot, &mut Lane) -> Result<(), EngineError> + Sync + Send,
) -> Result<(), EngineError> {
    if is_parallel(context, lanes.len()) {
        let results: Vec<_> =
            lanes.par_iter_mut().zip(slots).map(|(lane, slot)| act(slot, lane)).collect();
        return results.into_iter().collect();
    }
    lanes.iter_mut().zip(slots).try_for_each(|(lane, slot)| act(slot, lane))
}
