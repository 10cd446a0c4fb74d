//! The residual stream's fraction bits: as many as leave fourfold headroom over calibration texts.

use std::sync::Arc;

use crate::error::{EngineError, Operation};
use crate::forward::RESIDUAL_MAX;
use crate::kernel::Kernels;
use crate::model::Model;
use crate::model::container::{self, Content};
use crate::model::layout::{NORM_EPSILON_MAX, RESIDUAL_BITS_MAX};
use crate::model::manifest::Manifest;
use crate::session::{Engine, PASS_TOKENS_MAX, Wanted};
use crate::source::Decimal;

use super::{ImportError, Progress, Stage};

/// Most tokens of the calibration text that are computed.
const TEXT_TOKENS_MAX: usize = 4096;
/// Tokens spread over the whole vocabulary that are computed besides.
const SPREAD_TOKENS: u32 = 256;
/// How far the residual stream may grow beyond what calibration saw.
const HEADROOM: u64 = 4;
/// Fraction bits given up after an overflow during calibration.
const STEP_BITS: u32 = 4;

/// Chooses the fraction bits and sets them, and the epsilon that goes with them, in `manifest`.
pub(super) fn residual(
    manifest: &mut Manifest,
    contents: &[Content],
    epsilon: Decimal,
    text: &[u32],
    progress: &mut dyn FnMut(Progress),
) -> Result<(), ImportError> {
    let mut overflowed = None;
    let most = (0..=RESIDUAL_BITS_MAX).rev().find(|bits| set(manifest, *bits, epsilon).is_ok());
    let most = most.unwrap_or_default();
    let (peak, bits) = loop {
        let bits = overflowed.map_or(most, |bits: u32| bits.saturating_sub(STEP_BITS));
        set(manifest, bits, epsilon)?;
        match peak(manifest, contents, text, progress) {
            Ok(peak) => break (peak, bits),
            Err(ImportError::Calibration(EngineError::Bound { operation, .. }))
                if is_of_residual(operation) && bits > 0 =>
            {
                overflowed = Some(bits);
            }
            Err(error) => return Err(error),
        }
    };
    // A stream that overflowed with more bits and is now small has vanished, not shrunk.
    if let Some(bits) = overflowed.filter(|_| peak << (STEP_BITS + 1) < RESIDUAL_MAX) {
        return Err(ImportError::Residual { bits });
    }
    // peak · 2^−bits is the magnitude seen: find the most bits that hold it fourfold.
    let fits = |candidate: &u32| {
        let grown = u128::from(peak * HEADROOM) << *candidate;
        grown <= u128::from(RESIDUAL_MAX) << bits
    };
    let chosen = (0..=most).rev().find(fits);
    set(manifest, chosen.ok_or(ImportError::Residual { bits })?, epsilon)
}

const fn is_of_residual(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::Embedding
            | Operation::AttentionResidual
            | Operation::FeedForwardResidual
            | Operation::LayerNorm
    )
}

/// Largest magnitude of the residual stream over the text and the spread tokens.
fn peak(
    manifest: &Manifest,
    contents: &[Content],
    text: &[u32],
    progress: &mut dyn FnMut(Progress),
) -> Result<u64, ImportError> {
    let model = Arc::new(Model::parse(&container::assemble(manifest.clone(), contents))?);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let engine = Engine::new(model, Kernels::detect(), threads)?;
    let configuration = &manifest.configuration;
    let context = configuration.context as usize;
    let begin: Vec<u32> = configuration.begin_token.into_iter().take(context - 1).collect();
    let spread: Vec<u32> = (0..SPREAD_TOKENS)
        .map(|index| index.wrapping_mul(0x9e37_79b1) % configuration.vocabulary)
        .collect();
    let text = &text[..text.len().min(TEXT_TOKENS_MAX)];
    let window = (context - begin.len()).min(PASS_TOKENS_MAX / 2);
    let windows: Vec<&[u32]> = text.chunks(window).chain(spread.chunks(window)).collect();
    let (mut peak, total) = (0, windows.len() as u64);
    for (done, window) in (0..).zip(windows) {
        progress(Progress { stage: Stage::Calibration, done, total });
        let tokens = [&begin, window].concat();
        let peaks = engine.measure(&tokens, PASS_TOKENS_MAX / 2, Wanted::Nothing);
        for headroom in peaks.map_err(ImportError::Calibration)?.list() {
            if is_of_residual(headroom.operation) {
                peak = peak.max(headroom.peak);
            }
        }
    }
    progress(Progress { stage: Stage::Calibration, done: total, total });
    Ok(peak)
}

/// Sets fraction bits and round(epsilon · width · 2^(2·bits)); width³ for layer norms.
fn set(manifest: &mut Manifest, bits: u32, epsilon: Decimal) -> Result<(), ImportError> {
    let configuration = &mut manifest.configuration;
    let scaled = epsilon.ratio().and_then(|(numerator, denominator)| {
        let numerator = u128::try_from(numerator).ok()?;
        let denominator = u128::from(denominator);
        let width = u128::from(configuration.width);
        let width = if configuration.pooling.is_some() { width.pow(3) } else { width };
        let scaled = numerator.checked_mul(width << (2 * bits))?;
        let rounded = (scaled.checked_mul(2)? + denominator) / (2 * denominator);
        u64::try_from(rounded).ok().filter(|epsilon| *epsilon <= NORM_EPSILON_MAX)
    });
    let refused = ImportError::Epsilon { found: epsilon, limit: NORM_EPSILON_MAX };
    configuration.residual_bits = bits;
    configuration.norm_epsilon = scaled.ok_or(refused)?;
    Ok(())
}
