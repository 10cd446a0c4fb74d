//! An encoder's vector of a text: pooled over its tokens and, where the model says so, normalised.

use crate::error::{EngineError, Operation};
use crate::forward::FIXED_MAX;
use crate::kernel::portable::{NORM_MAX, least_exponent, round_shift};
use crate::peaks::Peaks;
use crate::source::{Pooling, PoolingKind};

/// Fraction bits of an embedding.
pub const EMBEDDING_BITS: u32 = 24;
/// Fraction bits of the root of a sum of squares.
const ROOT_BITS: u32 = 30;

/// A vector of integers x that stand for x · 2^−24.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Embedding {
    /// (width,) integers with [`EMBEDDING_BITS`] fraction bits.
    pub values: Vec<i32>,
}

/// The vector of one text from the residual streams of its tokens after the last layer.
///
/// # Errors
/// An empty text, and a mean beyond its bound, in the name of the layer `layers`.
pub fn pool(
    pooling: Pooling,
    residual_bits: u32,
    layers: u32,
    streams: &[&[i32]],
) -> Result<Embedding, EngineError> {
    let streams = match pooling.kind {
        PoolingKind::Mean => streams,
        PoolingKind::Cls => &streams[..streams.len().min(1)],
    };
    let width = streams.first().ok_or(EngineError::EmptyInput)?.len();
    let mut sums = vec![0_i64; width];
    for stream in streams {
        for (sum, value) in sums.iter_mut().zip(*stream) {
            *sum += i64::from(*value);
        }
    }
    if pooling.is_normalised {
        return Ok(Embedding { values: normalise(&sums) });
    }
    // The mean is Σ/n with the stream's fraction bits; R ≤ 24, so the shift is to the left.
    let (shift, divisor) = (EMBEDDING_BITS - residual_bits, 2 * streams.len() as i128);
    let means = sums.iter().map(|sum| {
        let numerator = (i128::from(*sum) << (shift + 1)) + divisor / 2;
        numerator.div_euclid(divisor)
    });
    let means: Vec<i128> = means.collect();
    let found = means.iter().map(|mean| mean.unsigned_abs()).max().unwrap_or_default();
    let found = u64::try_from(found).unwrap_or(u64::MAX);
    crate::forward::bound(
        &mut Peaks::default(),
        layers as usize,
        Operation::Pooling,
        FIXED_MAX,
        found,
    )?;
    Ok(Embedding { values: means.iter().map(|mean| i32::try_from(*mean).unwrap_or(0)).collect() })
}

/// round(u · 2^(24 + 30) / ⌊√(Σu² · 2^60)⌋) for u the sums narrowed to 2^23 − 1; zero for zeros.
fn normalise(sums: &[i64]) -> Vec<i32> {
    let max = sums.iter().fold(0, |max, sum| max.max(sum.unsigned_abs()));
    let shift = least_exponent(max, NORM_MAX);
    let narrowed: Vec<i128> = sums.iter().map(|sum| round_shift(*sum, shift).into()).collect();
    let squares: u128 = narrowed.iter().map(|u| (u * u).unsigned_abs()).sum();
    // At most 2^60 · 2^60, so the root is below 2^61.
    let root = (squares.max(1) << (2 * ROOT_BITS)).isqrt().cast_signed();
    let quotients = narrowed.iter().map(|u| {
        let numerator = u << (EMBEDDING_BITS + ROOT_BITS);
        (2 * numerator + root).div_euclid(2 * root)
    });
    // A component is at most the whole length: 2^24.
    quotients.map(|quotient| i32::try_from(quotient).unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_normalised_vector_has_the_length_one() {
        for scale in [1, 5, 1 << 20, (1 << 31) - 1] {
            let found = normalise(&[3 * scale, -4 * scale, 0]);
            let one = 1_i32 << EMBEDDING_BITS;
            assert!((found[0] - one / 5 * 3).abs() <= 3, "{found:?}");
            assert!((found[1] + one / 5 * 4).abs() <= 4, "{found:?}");
            assert_eq!(found[2], 0);
        }
        assert_eq!(normalise(&[0, 0]), [0, 0]);
        assert_eq!(normalise(&[7]), [1 << EMBEDDING_BITS]);
        assert_eq!(normalise(&[-7]), [-1 << EMBEDDING_BITS]);
    }

    #[test]
    fn a_mean_is_rounded_once_and_the_first_token_is_taken_as_it_is() {
        let lanes: [&[i32]; 2] = [&[1, -1, 8], &[2, -2, 8]];
        let mean = Pooling { kind: PoolingKind::Mean, is_normalised: false };
        assert_eq!(pool(mean, 24, 1, &lanes).unwrap().values, [2, -1, 8]);
        assert_eq!(pool(mean, 23, 1, &lanes).unwrap().values, [3, -3, 16]);
        let first = Pooling { kind: PoolingKind::Cls, is_normalised: false };
        assert_eq!(pool(first, 24, 1, &lanes).unwrap().values, [1, -1, 8]);
        assert!(pool(first, 0, 1, &[&[64]]).is_ok());
        assert!(matches!(
            pool(first, 0, 3, &[&[65]]),
            Err(EngineError::Bound { layer: 3, operation: Operation::Pooling, .. })
        ));
    }
}
