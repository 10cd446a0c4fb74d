//! The operations of the arithmetic, and which implementation of them runs.
//!
//! `portable` is the law; another implementation may only be faster. [`Kernels`] is a small value
//! that is made by [`Kernels::detect`] or by name, and every result is the same under each.

use crate::error::EngineError;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod portable;
#[cfg(test)]
mod tests;

/// Widest attention head.
pub(crate) const HEAD_DIM_MAX: usize = 256;
/// Activation planes are padded with zeros to a multiple of this.
const PLANE_BLOCK: usize = 64;

/// Elements of a row that share one integer scale, where rows have groups.
pub(crate) const GROUP: usize = 32;

/// Rows of a matrix as they lie in memory; each carries the sums of its elements.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rows<'a> {
    /// (rows, k) elements −127 to 127.
    Int8 {
        /// (rows, k)
        values: &'a [i8],
        /// (rows,)
        sums: &'a [i32],
    },
    /// Elements s·q of groups with q from −127 to 127 and s from 1 to 127.
    Int8Groups {
        /// (rows, k) q
        values: &'a [i8],
        /// (rows, k/32) s
        group_scales: &'a [u8],
        /// (rows,) sums of the elements s·q.
        sums: &'a [i32],
    },
    /// Elements s·q of groups with q from −8 to 7 and s from 1 to 127.
    Int4 {
        /// (rows, k/2): byte i of a group of 16 holds q + 8 of its element i in the low half and of
        /// its element i + 16 in the high half.
        nibbles: &'a [u8],
        /// (rows, k/32)
        group_scales: &'a [u8],
        /// (rows,) sums of the elements s·q.
        sums: &'a [i32],
    },
}

impl<'a> Rows<'a> {
    /// How many rows there are.
    pub(crate) const fn count(self) -> usize {
        match self {
            Self::Int8 { sums, .. } | Self::Int8Groups { sums, .. } | Self::Int4 { sums, .. } => {
                sums.len()
            }
        }
    }

    /// The rows from `start` to before `end`.
    pub(crate) fn part(self, start: usize, end: usize) -> Self {
        let cut = |len: usize| {
            let each = len / self.count();
            start * each..end * each
        };
        match self {
            Self::Int8 { values, sums } => {
                Self::Int8 { values: &values[cut(values.len())], sums: &sums[start..end] }
            }
            Self::Int8Groups { values, group_scales, sums } => Self::Int8Groups {
                values: &values[cut(values.len())],
                group_scales: &group_scales[cut(group_scales.len())],
                sums: &sums[start..end],
            },
            Self::Int4 { nibbles, group_scales, sums } => Self::Int4 {
                nibbles: &nibbles[cut(nibbles.len())],
                group_scales: &group_scales[cut(group_scales.len())],
                sums: &sums[start..end],
            },
        }
    }

    /// How many elements a row has.
    pub(crate) fn width(self) -> usize {
        match self {
            Self::Int8 { values, sums } | Self::Int8Groups { values, sums, .. } => {
                values.len() / sums.len()
            }
            Self::Int4 { nibbles, sums, .. } => 2 * nibbles.len() / sums.len(),
        }
    }
}

/// One token's int16 vector with its fraction bits, and the same as two planes of bytes.
///
/// x = 256·(high − 128) + low: both planes are unsigned, as the byte products of x86 want them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Activation {
    values: Vec<i16>,
    high: Vec<u8>,
    low: Vec<u8>,
    /// The value of x is x · 2^−`fraction_bits`.
    pub(crate) fraction_bits: i32,
}

impl Activation {
    /// Sets the width, gives `fill` the values to write, and derives the planes from them.
    pub(crate) fn fill(&mut self, width: usize, fill: impl FnOnce(&mut [i16]) -> i32) {
        let padded = width.next_multiple_of(PLANE_BLOCK);
        self.values.resize(width, 0);
        self.high.resize(padded, 0);
        self.low.resize(padded, 0);
        self.fraction_bits = fill(&mut self.values);
        for ((x, high), low) in self.values.iter().zip(&mut self.high).zip(&mut self.low) {
            let [high_byte, low_byte] = x.to_be_bytes();
            *high = high_byte ^ 0x80;
            *low = low_byte;
        }
    }

    pub(crate) fn values(&self) -> &[i16] {
        &self.values
    }

    #[cfg(target_arch = "x86_64")]
    fn planes(&self) -> (&[u8], &[u8]) {
        (&self.high, &self.low)
    }
}

/// Which implementation of the arithmetic runs; all give the same integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernels(Isa);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Isa {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Kernels {
    /// The scalar law.
    pub const PORTABLE: Self = Self(Isa::Portable);

    /// The fastest implementation that this machine has.
    #[must_use]
    pub fn detect() -> Self {
        Self::available().last().copied().unwrap_or(Self::PORTABLE)
    }

    /// Every implementation that this machine has: the law first, the fastest last.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut all = vec![Self::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        if avx2::is_supported() {
            all.push(Self(Isa::Avx2));
        }
        #[cfg(target_arch = "x86_64")]
        if avx512::is_supported() {
            all.push(Self(Isa::Avx512));
        }
        all
    }

    /// The implementation of that name, if this machine has it.
    ///
    /// # Errors
    /// [`EngineError::Kernel`] for a name that this machine does not have.
    pub fn named(name: &str) -> Result<Self, EngineError> {
        let found = Self::available().into_iter().find(|kernels| kernels.name() == name);
        found.ok_or_else(|| EngineError::Kernel { name: name.to_owned() })
    }

    /// The implementation's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            Isa::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => "avx512",
        }
    }
}

macro_rules! dispatch {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) $(-> $out:ty)?;)*) => {
        impl Kernels {
            $(
                $(#[$doc])*
                #[inline]
                pub(crate) fn $name(self, $($arg: $type),*) $(-> $out)? {
                    match self.0 {
                        Isa::Portable => portable::$name($($arg),*),
                        #[cfg(target_arch = "x86_64")]
                        Isa::Avx2 => avx2::$name($($arg),*),
                        #[cfg(target_arch = "x86_64")]
                        Isa::Avx512 => avx512::$name($($arg),*),
                    }
                }
            )*
        }
    };
}

dispatch! {
    /// See [`portable::linear`].
    fn linear(rows: Rows<'_>, xs: &[&Activation], outs: &mut [&mut [i64]]);
    /// See [`portable::narrow_sums`].
    fn narrow_sums(sums: &[i64], out: &mut [i16]) -> u32;
    /// See [`portable::narrow`].
    fn narrow(values: &[i32], out: &mut [i16]) -> u32;
    /// See [`portable::narrow_to_int8`].
    fn narrow_to_int8(values: &[i32], out: &mut [i8]) -> u32;
    /// See [`portable::products`].
    fn products(a: &[i16], b: &[i16], out: &mut [i32]);
    /// See [`portable::add_scaled`].
    fn add_scaled(values: &[i32], shift: i32, residual: &mut [i32]) -> u64;
    /// See [`portable::rescale`].
    fn rescale(values: &[i32], shift: i32, out: &mut [i32]) -> u64;
    /// See [`portable::norm`].
    fn norm(values: &[i32], gains: &[i16], epsilon: u64, epsilon_bits: u32, scratch: &mut [i64], out: &mut [i16]) -> i32;
    /// See [`portable::layer_norm`].
    fn layer_norm(values: &[i32], gains: &[i16], epsilon: u64, scratch: &mut [i64], out: &mut [i32]) -> i32;
    /// See [`portable::add_bias`].
    fn add_bias(values: &mut [i32], bits: i32, bias: &[i32], bias_bits: i32) -> i32;
    /// See [`portable::rotate`].
    fn rotate(x: &[i16], cosines: &[i16], sines: &[i16], out: &mut [i32]);
    /// See [`portable::scores`].
    fn scores(query: &[i16], keys: &[i8], out: &mut [i32]);
    /// See [`portable::align_scores`].
    fn align_scores(scores: &mut [i32], key_bits: &[i16], query_bits: i32, to_bits: i32) -> u64;
    /// See [`portable::weights`].
    fn weights(scores: &[i32], value_bits: &[i16], least_bits: i16, table: &[u16], out: &mut [u16]) -> u64;
    /// See [`portable::weighted_sum`].
    fn weighted_sum(weights: &[u16], values: &[i8], out: &mut [i64]);
    /// See [`portable::divide`].
    fn divide(sums: &[i64], total: u64, lag: u32, out: &mut [i16]);
    /// See [`portable::activate`].
    fn activate(values: &mut [i32], table: &[i16]);
}
