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
use crate::model::{Configuration, LayerView, MatrixView, Model, NormView};
use crate::peaks::Peaks;

/// Largest magnitude of the residual stream, 2^31 − 1.
pub(crate) const RESIDUAL_MAX: u64 = (1 << 31) - 1;
/// Largest magnitude of a gate, an attention score and a logit in their fixed points.
pub(crate) const FIXED_MAX: u64 = 1 << 30;

/// Sees the lanes after a layer.
pub(crate) type Observer<'a> = dyn FnMut(usize, &mut [Lane]) -> Result<(), EngineError> + Send + 'a;

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
    pub(crate) spare: Vec<i32>,
    /// (heads · `head_dim`,) rotated query.
    pub(crate) query: Vec<i16>,
    /// (heads,) fraction bits of the rotated query.
    pub(crate) query_bits: Vec<i32>,
    /// (`kv_heads` · `head_dim`,) new cache rows and their fraction bits.
    pub(crate) key: Vec<i8>,
    pub(crate) value: Vec<i8>,
    pub(crate) key_bits: Vec<i16>,
    pub(crate) value_bits: Vec<i16>,
    /// (hidden,) activated gate and up.
    pub(crate) gate: Vec<i16>,
    pub(crate) up: Vec<i16>,
    pub(crate) attention: attention::Scratch,
    /// Largest magnitudes of this pass.
    pub(crate) peaks: Peaks,
}

/// What a pass works with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) model: &'a Model,
    pub(crate) kernels: Kernels,
    pub(crate) threads: usize,
}

impl Context<'_> {
    pub(crate) fn configuration(&self) -> &Configuration {
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
    mut observer: Option<&mut Observer<'_>>,
) -> Result<(), EngineError> {
    lanes.iter_mut().for_each(|lane| lane.peaks = Peaks::default());
    try_each(context, slots, lanes, |slot, lane| embed(context, *slot, lane))?;
    for layer in 0..context.configuration().layers as usize {
        let view = context.model.layer(layer);
        attention_block(context, slots, lanes, caches, view, layer)?;
        feed_forward_block(context, slots, lanes, view, layer)?;
        if let Some(observer) = &mut observer {
            observer(layer, lanes)?;
        }
    }
    Ok(())
}

fn attention_block(
    context: Context<'_>,
    slots: &[Slot],
    lanes: &mut [Lane],
    caches: &mut [&mut Cache],
    view: LayerView<'_>,
    layer: usize,
) -> Result<(), EngineError> {
    norm_before(context, lanes, view.attention_norm);
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
        attention::attend(context, read[slot.sequence].layer(layer), layer, slot.position, lane)
    })?;
    linear::apply(context, lanes, &[view.output]);
    try_each(context, slots, lanes, |_, lane| {
        add_to_residual(context, view.output, layer, Operation::AttentionResidual, lane)?;
        norm_after(context, lane, view.attention_norm, layer)
    })
}

fn feed_forward_block(
    context: Context<'_>,
    slots: &[Slot],
    lanes: &mut [Lane],
    view: LayerView<'_>,
    layer: usize,
) -> Result<(), EngineError> {
    norm_before(context, lanes, view.feed_forward_norm);
    match view.gate {
        Some(gate) => linear::apply(context, lanes, &[gate, view.up]),
        None => linear::apply(context, lanes, &[view.up]),
    }
    try_each(context, slots, lanes, |_, lane| match view.gate {
        Some(gate) => activate_gate(context, gate, view.up, layer, lane),
        None => activate(context, view.up, layer, lane),
    })?;
    linear::apply(context, lanes, &[view.down]);
    try_each(context, slots, lanes, |_, lane| {
        add_to_residual(context, view.down, layer, Operation::FeedForwardResidual, lane)?;
        norm_after(context, lane, view.feed_forward_norm, layer)
    })
}

/// Final norm and output head: a lane's (vocabulary,) logits.
pub(crate) fn logits(
    context: Context<'_>,
    lanes: &mut [&mut Lane],
    outs: &mut [Vec<i32>],
) -> Result<(), EngineError> {
    let (head, configuration) = (context.model.head(), context.configuration());
    let norm = context.model.final_norm().ok_or(EngineError::NotADecoder)?;
    for lane in lanes.iter_mut() {
        root_mean_square(context, lane, norm);
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
        bound(&mut lane.peaks, configuration.layers as usize, Operation::Logits, FIXED_MAX, found)?;
    }
    Ok(())
}

/// The embedding of a token in the residual stream's fixed point; an encoder adds its position.
fn embed(context: Context<'_>, slot: Slot, lane: &mut Lane) -> Result<(), EngineError> {
    let (view, configuration) = (context.model.embedding(), context.configuration());
    let residual_bits = configuration.residual_bits.cast_signed();
    let width = configuration.width as usize;
    let row = slot.token as usize;
    let scale = i32::from(view.scales[row]);
    // Embeddings are int8 in every model.
    if let Rows::Int8 { values, .. } = view.rows.part(row, row + 1) {
        lane.wide.clear();
        lane.wide.extend(values.iter().map(|value| i32::from(*value) * scale));
    }
    lane.residual.resize(width, 0);
    let shift = view.scale_bits - residual_bits;
    let found = context.kernels.rescale(&lane.wide, shift, &mut lane.residual);
    bound(&mut lane.peaks, 0, Operation::Embedding, RESIDUAL_MAX, found)?;
    let Some((position, norm)) = context.model.encoder_input() else { return Ok(()) };
    let values = &position.values[slot.position * width..(slot.position + 1) * width];
    lane.wide.clear();
    lane.wide.extend(values.iter().map(|value| i32::from(*value)));
    let shift = position.fraction_bits - residual_bits;
    let found = context.kernels.add_scaled(&lane.wide, shift, &mut lane.residual);
    bound(&mut lane.peaks, 0, Operation::Embedding, RESIDUAL_MAX, found)?;
    norm_after(context, lane, norm, 0)
}

/// A decoder norms what a block reads; an encoder has normed it before.
fn norm_before(context: Context<'_>, lanes: &mut [Lane], norm: NormView<'_>) {
    if norm.bias.is_none() {
        each(context, lanes, |lane| root_mean_square(context, lane, norm));
    }
}

/// Root mean square norm of the residual stream into the input of the next linear layer.
fn root_mean_square(context: Context<'_>, lane: &mut Lane, norm: NormView<'_>) {
    let epsilon = context.configuration().norm_epsilon;
    let NormView { gains, .. } = norm;
    let Lane { residual, x, sums, .. } = lane;
    sums.resize(sums.len().max(residual.len()), 0);
    x.fill(residual.len(), |out| {
        let scratch = &mut sums[..out.len()];
        let bits = context.kernels.norm(residual, gains.values, epsilon, 0, scratch, out);
        gains.fraction_bits + bits
    });
}

/// An encoder's layer norm of the residual stream, into itself and the next linear layer's input.
fn norm_after(
    context: Context<'_>,
    lane: &mut Lane,
    norm: NormView<'_>,
    layer: usize,
) -> Result<(), EngineError> {
    let NormView { gains, bias: Some(bias) } = norm else { return Ok(()) };
    let (kernels, configuration) = (context.kernels, context.configuration());
    let residual_bits = configuration.residual_bits.cast_signed();
    let Lane { residual, x, sums, wide, .. } = lane;
    sums.resize(sums.len().max(residual.len()), 0);
    wide.resize(residual.len(), 0);
    let scratch = &mut sums[..residual.len()];
    let epsilon = configuration.norm_epsilon;
    let bits = kernels.layer_norm(residual, gains.values, epsilon, scratch, wide);
    let bits = gains.fraction_bits + bits;
    let bits = kernels.add_bias(wide, bits, bias.values, bias.fraction_bits);
    let found = kernels.rescale(wide, bits - residual_bits, residual);
    x.fill(residual.len(), |out| residual_bits - kernels.narrow(residual, out).cast_signed());
    bound(&mut lane.peaks, layer, Operation::LayerNorm, RESIDUAL_MAX, found)
}

/// First stage of requantisation, the products with the row scales and the bias, into `wide`.
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
    let bits = lane.x.fraction_bits - shift.cast_signed() + matrix.scale_bits;
    match matrix.bias {
        None => bits,
        Some(bias) => kernels.add_bias(&mut lane.wide, bits, bias.values, bias.fraction_bits),
    }
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
    bound(&mut lane.peaks, layer, operation, RESIDUAL_MAX, found)
}

/// SiLU(gate) · up into the input of the down projection.
fn activate_gate(
    context: Context<'_>,
    gate: MatrixView<'_>,
    up: MatrixView<'_>,
    layer: usize,
    lane: &mut Lane,
) -> Result<(), EngineError> {
    let kernels = context.kernels;
    let hidden = gate.scales.len();
    let bits = requantise(kernels, up, hidden, lane);
    lane.up.resize(hidden, 0);
    let up_bits = bits - kernels.narrow(&lane.wide, &mut lane.up).cast_signed();
    let bits = requantise(kernels, gate, 0, lane);
    bend(context, bits, layer, lane)?;
    let Lane { wide, gate, up, x, .. } = lane;
    gate.resize(hidden, 0);
    let gate_bits = GATE_BITS.cast_signed() - kernels.narrow(wide, gate).cast_signed();
    kernels.products(gate, up, wide);
    x.fill(hidden, |out| gate_bits + up_bits - kernels.narrow(wide, out).cast_signed());
    Ok(())
}

/// GELU(up) into the input of the down projection.
fn activate(
    context: Context<'_>,
    up: MatrixView<'_>,
    layer: usize,
    lane: &mut Lane,
) -> Result<(), EngineError> {
    let kernels = context.kernels;
    let bits = requantise(kernels, up, 0, lane);
    bend(context, bits, layer, lane)?;
    let Lane { wide, x, .. } = lane;
    x.fill(wide.len(), |out| GATE_BITS.cast_signed() - kernels.narrow(wide, out).cast_signed());
    Ok(())
}

/// The activation function of `wide`, brought to the fixed point of its table.
fn bend(context: Context<'_>, bits: i32, layer: usize, lane: &mut Lane) -> Result<(), EngineError> {
    let Lane { wide, spare, .. } = lane;
    std::mem::swap(wide, spare);
    wide.resize(spare.len(), 0);
    let found = context.kernels.rescale(spare, bits - GATE_BITS.cast_signed(), wide);
    bound(&mut lane.peaks, layer, Operation::Gate, FIXED_MAX, found)?;
    context.kernels.activate(&mut lane.wide, context.model.activation());
    Ok(())
}

/// Notes a magnitude, and refuses it above its bound with the place where it arose.
pub(crate) fn bound(
    peaks: &mut Peaks,
    layer: usize,
    operation: Operation,
    bound: u64,
    found: u64,
) -> Result<(), EngineError> {
    let layer = u32::try_from(layer).unwrap_or(u32::MAX);
    peaks.note(operation, layer, bound, found);
    if found <= bound {
        return Ok(());
    }
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
