//! Elements of tensors as exact numbers: what every stored form means, without a float.

mod blocks;

/// The exact number mantissa · 2^exponent; zero has exponent zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dyadic {
    /// Sign and at most 53 bits.
    pub mantissa: i64,
    /// From −149 to 104 for what a file holds.
    pub exponent: i32,
}

impl Dyadic {
    /// mantissa · 2^exponent, with zero in its one form.
    const fn new(mantissa: i64, exponent: i32) -> Self {
        Self { mantissa, exponent: if mantissa == 0 { 0 } else { exponent } }
    }
}

/// How elements are stored, least significant byte first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    F32,
    F16,
    Bf16,
    Q8_0,
    Q4_0,
    Q4K,
    Q6K,
}

impl Encoding {
    /// Elements that are stored together, and the bytes they take.
    pub(super) const fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q8_0 => (32, 34),
            Self::Q4_0 => (32, 18),
            Self::Q4K => (256, 144),
            Self::Q6K => (256, 210),
        }
    }

    /// Bytes of `count` elements; `None` for a part of a block or a size beyond memory.
    pub(super) fn size_bytes(self, count: usize) -> Option<usize> {
        let (elements, bytes) = self.block();
        count.is_multiple_of(elements).then(|| (count / elements).checked_mul(bytes))?
    }

    /// Appends the numbers of whole blocks to `out`; where one is not finite, or its block's scale
    /// is not, the error is its index, or that of its block's first number.
    pub(super) fn parse(self, bytes: &[u8], out: &mut Vec<Dyadic>) -> Result<(), usize> {
        let (elements, size) = self.block();
        out.reserve_exact(bytes.len() / size * elements);
        for (index, block) in bytes.chunks_exact(size).enumerate() {
            let mut push = |number: Option<Dyadic>| number.map(|number| out.push(number));
            let parsed = match (self, block) {
                (Self::F32, &[a, b, c, d]) => push(split(u32::from_le_bytes([a, b, c, d]), 8, 23)),
                (Self::F16, &[a, b]) => push(parse_f16([a, b])),
                (Self::Bf16, &[a, b]) => push(split(u16::from_le_bytes([a, b]).into(), 8, 7)),
                (Self::Q8_0, block) => blocks::parse_q8_0(block, out),
                (Self::Q4_0, block) => blocks::parse_q4_0(block, out),
                (Self::Q4K, block) => blocks::parse_q4_k(block, out),
                (Self::Q6K, block) => blocks::parse_q6_k(block, out),
                _ => None,
            };
            parsed.ok_or(index * elements)?;
        }
        Ok(())
    }
}

fn parse_f16(bytes: [u8; 2]) -> Option<Dyadic> {
    split(u16::from_le_bytes(bytes).into(), 5, 10)
}

/// Splits an IEEE 754 number; `None` if it is not finite.
fn split(bits: u32, exponent_bits: u32, fraction_bits: u32) -> Option<Dyadic> {
    let exponent_max = (1_u32 << exponent_bits) - 1;
    let fraction = bits & ((1 << fraction_bits) - 1);
    let exponent = (bits >> fraction_bits) & exponent_max;
    if exponent == exponent_max {
        return None;
    }
    let hidden = u32::from(exponent != 0) << fraction_bits;
    let magnitude = i64::from(hidden | fraction);
    let is_negative = bits >> (exponent_bits + fraction_bits) == 1;
    let bias = (exponent_max >> 1) + fraction_bits;
    let mantissa = if is_negative { -magnitude } else { magnitude };
    Some(Dyadic::new(mantissa, exponent.max(1).cast_signed() - bias.cast_signed()))
}
