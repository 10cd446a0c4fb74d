//! The split policy: what an answer costs and how that is divided, fixed before the answer.

use alloc::{string::String, vec::Vec};
use core::fmt;

use crate::cbor::{Cbor, CborError, Decoder, Encoder};
use crate::contribution::{BPS_WHOLE, NAME_BYTES_MAX};
use crate::{Digest, tag};

/// Most bytes of an encoded split policy.
pub const SPLIT_POLICY_BYTES_MAX: u64 = 1024;
/// Fewest bytes of a window: shorter ones are everywhere.
pub const WINDOW_MIN: u16 = 8;
/// Most bytes of a window.
pub const WINDOW_MAX: u16 = 1024;
/// How many pools there are.
pub const POOLS_COUNT: usize = 8;
/// Largest part of the feedback pool that one identity can get in an epoch: the whole.
pub const FEEDBACK_CAP_BPS_MAX: u16 = BPS_WHOLE;

/// Longest challenge window in seconds: ten years.
pub const CHALLENGE_S_MAX: u32 = 315_360_000;

const VERSION: u64 = 1;
/// With at most 2²⁰ tokens a way, no tariff leaves 64 bits.
const TARIFF_MAX: u64 = 1 << 40;

/// What an answer costs and how it is divided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitPolicy {
    /// Its name among people.
    pub name: String,
    /// The asset of all amounts, such as `USD`.
    pub asset: String,
    /// What an answer costs.
    pub tariff: Tariff,
    /// The pools' parts in basis points, in the order of [`Pool::ALL`]; together 10,000.
    pub pools_bps: [u16; POOLS_COUNT],
    /// How many bytes of an output must equal a document's to be owned, 8 to 1,024.
    pub window: u16,
    /// How long a transfer stays pending, in seconds.
    pub challenge_s: u32,
    /// Largest part of an epoch's feedback pool for one identity, in basis points.
    pub feedback_cap_bps: u16,
}

/// What an answer costs, in 10⁻⁹ of the asset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tariff {
    /// For the request.
    pub request: u64,
    /// For a token of the input.
    pub input_token: u64,
    /// For a token of the output.
    pub output_token: u64,
}

impl Tariff {
    /// What an answer costs.
    #[must_use]
    pub fn amount(&self, input_count: u32, output_count: u32) -> u64 {
        // Three products below 2⁴⁰ · 2²⁰.
        let input = self.input_token.saturating_mul(input_count.into());
        let output = self.output_token.saturating_mul(output_count.into());
        self.request.saturating_add(input).saturating_add(output)
    }
}

/// A part of an answer's price with a purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pool {
    /// Whoever ran the machine.
    Node,
    /// The model's weights and what they were made from.
    Weights,
    /// The program.
    Code,
    /// The prompt or chat template.
    Prompt,
    /// Documents that were put into the input.
    Context,
    /// Documents whose words the output repeats.
    Sources,
    /// Those who rate answers.
    Feedback,
    /// Everybody.
    Commons,
}

impl Pool {
    /// All pools, in their order.
    pub const ALL: [Self; POOLS_COUNT] = [
        Self::Node,
        Self::Weights,
        Self::Code,
        Self::Prompt,
        Self::Context,
        Self::Sources,
        Self::Feedback,
        Self::Commons,
    ];

    /// The pool's place in [`ALL`](Self::ALL).
    #[must_use]
    pub const fn place(self) -> usize {
        match self {
            Self::Node => 0,
            Self::Weights => 1,
            Self::Code => 2,
            Self::Prompt => 3,
            Self::Context => 4,
            Self::Sources => 5,
            Self::Feedback => 6,
            Self::Commons => 7,
        }
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "node",
            Self::Weights => "weights",
            Self::Code => "code",
            Self::Prompt => "prompt",
            Self::Context => "context",
            Self::Sources => "sources",
            Self::Feedback => "feedback",
            Self::Commons => "commons",
        })
    }
}

impl SplitPolicy {
    /// The digest that names it: SHA-256(tag ‖ its encoding).
    #[must_use]
    pub fn digest(&self) -> Digest {
        Self::digest_of(&self.encode())
    }

    /// The digest that names an encoded policy.
    #[must_use]
    pub fn digest_of(bytes: &[u8]) -> Digest {
        Digest::of_tagged(tag::SPLIT_POLICY, &[bytes])
    }
}

impl Cbor for SplitPolicy {
    fn encode_into(&self, encoder: &mut Encoder) {
        encoder.map(8).key(1).uint(VERSION);
        encoder.key(2).text(&self.name);
        encoder.key(3).text(&self.asset);
        encoder.key(4).array(3).uint(self.tariff.request);
        encoder.uint(self.tariff.input_token).uint(self.tariff.output_token);
        encoder.key(5).array(POOLS_COUNT);
        for bps in self.pools_bps {
            encoder.uint(bps.into());
        }
        encoder.key(6).uint(self.window.into());
        encoder.key(7).uint(self.challenge_s.into());
        encoder.key(8).uint(self.feedback_cap_bps.into());
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        let mut map = decoder.map("split policy")?;
        map.require(decoder, 1)?;
        match decoder.uint()? {
            VERSION => {}
            found => {
                let found = i64::try_from(found).unwrap_or(i64::MAX);
                return Err(CborError::Value { what: "split policy version", found });
            }
        }
        map.require(decoder, 2)?;
        let name = decoder.text("policy name", NAME_BYTES_MAX)?.into();
        map.require(decoder, 3)?;
        let asset = decoder.text("asset", NAME_BYTES_MAX)?.into();
        map.require(decoder, 4)?;
        decoder.array_exact("tariff", 3)?;
        let mut fee = |what| decoder.uint_up_to(what, TARIFF_MAX);
        let tariff = Tariff {
            request: fee("request's price")?,
            input_token: fee("input token's price")?,
            output_token: fee("output token's price")?,
        };
        map.require(decoder, 5)?;
        let pools_bps = decode_pools(decoder)?;
        map.require(decoder, 6)?;
        let offset = decoder.offset();
        let window = narrow(decoder.uint_up_to("window", WINDOW_MAX.into())?);
        if window < WINDOW_MIN {
            let (limit, found) = (WINDOW_MIN.into(), window.into());
            return Err(CborError::Below { what: "window", offset, limit, found });
        }
        map.require(decoder, 7)?;
        let challenge = decoder.uint_up_to("challenge window", CHALLENGE_S_MAX.into())?;
        map.require(decoder, 8)?;
        let cap = decoder.uint_up_to("feedback cap", FEEDBACK_CAP_BPS_MAX.into())?;
        map.end(decoder)?;
        Ok(Self {
            name,
            asset,
            tariff,
            pools_bps,
            window,
            challenge_s: u32::try_from(challenge).unwrap_or(u32::MAX),
            feedback_cap_bps: narrow(cap),
        })
    }
}

/// The pools' parts: together the whole, neither more nor less.
fn decode_pools(decoder: &mut Decoder<'_>) -> Result<[u16; POOLS_COUNT], CborError> {
    let offset = decoder.offset();
    decoder.array_exact("pools", u64::try_from(POOLS_COUNT).unwrap_or(u64::MAX))?;
    let part = |_| decoder.uint_up_to("pool's part", BPS_WHOLE.into()).map(narrow);
    let parts: Vec<u16> = (0..POOLS_COUNT).map(part).collect::<Result<_, _>>()?;
    let found = parts.iter().map(|part| u64::from(*part)).sum();
    let limit = u64::from(BPS_WHOLE);
    if found > limit {
        return Err(CborError::Limit { what: "pools together", offset, limit, found });
    }
    if found < limit {
        return Err(CborError::Below { what: "pools together", offset, limit, found });
    }
    parts.try_into().map_err(|_| CborError::Truncated { offset })
}

/// A value that is known to fit.
fn narrow(value: u64) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}
