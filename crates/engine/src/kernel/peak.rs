//! Byte products in registers alone: what the machine could reach if memory cost nothing.

use super::{Isa, Kernels};

impl Kernels {
    /// Multiplies and adds bytes `rounds` times without touching memory; returns how many products.
    ///
    /// Only for measuring: the time that this takes is the least for as many products of a linear
    /// layer with one plane of bytes.
    #[must_use]
    pub fn multiply_bytes(self, rounds: u64) -> u64 {
        match self.0 {
            Isa::Portable => scalar(rounds),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => super::avx2::multiply_bytes(rounds),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Amx => super::avx512::multiply_bytes(rounds),
        }
    }
}

fn scalar(rounds: u64) -> u64 {
    let mut sum = 0_i64;
    for round in 0..rounds {
        let byte = std::hint::black_box(round) & 127;
        sum += byte.cast_signed() * 127;
    }
    std::hint::black_box(sum);
    rounds
}
