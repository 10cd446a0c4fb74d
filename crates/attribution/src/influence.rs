//! Estimates of influence: how a family of documents is expected to have changed a model's loss.
//!
//! A family's vector is the gradient of its own texts, divided token by token by how often the token
//! stands in all families, as int8. Its score for an answer is the product with the answer's gradient:
//! above zero where learning the family's texts is expected to have made the answer likelier. It is an
//! estimate and no statement of cause, its accuracy is measured apart ([`Accuracy`]), and nothing is
//! paid by it. `spec/attribution.md`, Estimates.

use tally_core::{
    Digest,
    cbor::{CborError, Decoder, Encoder},
    tag,
};
use thiserror::Error;

mod accuracy;
#[cfg(test)]
mod tests;

pub use accuracy::{Accuracy, AccuracyError, Beside, Correlation};

/// The method by its name; another rule gets another name.
pub const METHOD: &str = "bias-gradient/1";
/// Fraction bits of gradients.
pub const GRADIENT_BITS: u32 = 24;
/// Added to each token's count, so that what is rare does not outweigh everything.
pub const DAMPING: u64 = 2;
/// Most families of one file.
pub const FAMILIES_MAX: u64 = 1_024;
/// Most tokens of a vocabulary.
pub const VOCABULARY_MAX: u64 = 1 << 20;
/// Most bytes of a file.
pub const INFLUENCE_BYTES_MAX: usize = 1 << 26;
/// Most bytes of a family's name.
pub const NAME_BYTES_MAX: u64 = 256;
/// Largest magnitude of a gradient's number: 2^17 tokens, which is the largest context, reach 2^41.
const MAGNITUDE_MAX: u64 = 1 << 42;
/// Largest exponent of a vector: it follows from the largest magnitude.
const EXPONENT_MAX: u64 = 36;
const VERSION: i64 = 1;
const INT8_MAX: u64 = 127;
const MILLION: i128 = 1_000_000;

/// Why vectors are not taken, or no scores given.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InfluenceError {
    /// The file has more bytes than are read.
    #[error("the influence file has {found} bytes, the limit is {INFLUENCE_BYTES_MAX}")]
    Size {
        /// Its bytes.
        found: usize,
    },
    /// The file is not the deterministic CBOR of its format.
    #[error("the influence file cannot be read: {0}")]
    Form(#[from] CborError),
    /// A vector or gradient has another length than the vocabulary.
    #[error("{what} has {found} numbers, the vocabulary has {expected}")]
    Length {
        /// What it is.
        what: &'static str,
        /// How many tokens the vocabulary has.
        expected: usize,
        /// How many numbers there are.
        found: usize,
    },
    /// An element of a vector is below −127.
    #[error("number {index} of the vector of family {family} is -128, the least is -127")]
    Element {
        /// The family's place.
        family: usize,
        /// The element's place.
        index: usize,
    },
    /// A gradient that no text within the largest context has.
    #[error("number {index} of the gradient has magnitude {found}, the limit is {MAGNITUDE_MAX}")]
    Magnitude {
        /// The number's place.
        index: usize,
        /// Its magnitude.
        found: u64,
    },
    /// A score is too large to be written down.
    #[error("the score of family {family} does not fit 64 bits")]
    Score {
        /// The family's place.
        family: usize,
    },
}

/// The vectors of the families that one model learned from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Influence {
    /// Root of the model whose gradients they are.
    pub model: Digest,
    /// Digest of the texts that stand for the families.
    pub sample: Digest,
    vocabulary: u32,
    families: Vec<Family>,
}

/// Documents of one contribution that stand beside each other, and their vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// Digest of the manifest of the contribution that has them.
    pub contribution: Digest,
    /// Name among people.
    pub name: String,
    /// Root over the digests of their texts, as of a dataset.
    pub documents: Digest,
    /// How many documents.
    pub document_count: u32,
    /// Bytes of their texts.
    pub size_bytes: u64,
    /// How many tokens of theirs the vector is made of.
    pub token_count: u32,
    /// The vector.
    pub vector: Vector,
}

/// Numbers for each token of a vocabulary: value · 2^exponent · 2^−[`GRADIENT_BITS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vector {
    /// At most 36.
    exponent: u32,
    values: Vec<i8>,
}

impl Vector {
    /// The vector of a family's gradient, given how often each token stands in all families.
    ///
    /// Each number is divided by the token's count plus [`DAMPING`] and rounded; then all are
    /// narrowed to int8 by one power of two.
    ///
    /// # Errors
    /// If there are not as many counts as numbers, or a number is beyond any text's.
    pub fn new(gradient: &[i64], counts: &[u64]) -> Result<Self, InfluenceError> {
        require_gradient(gradient, counts.len())?;
        let divided = gradient.iter().zip(counts).map(|(number, count)| {
            let divisor = i128::from(count.saturating_add(DAMPING));
            (2 * i128::from(*number) + divisor).div_euclid(2 * divisor)
        });
        let divided: Vec<i128> = divided.collect();
        let largest = divided.iter().map(|number| number.unsigned_abs()).max().unwrap_or(0);
        let largest = largest.cast_signed();
        let mut exponent = 0;
        while round_shift(largest, exponent) > i128::from(INT8_MAX) {
            exponent += 1;
        }
        let narrow = |number: i128| i8::try_from(round_shift(number, exponent)).unwrap_or(i8::MAX);
        Ok(Self { exponent, values: divided.into_iter().map(narrow).collect() })
    }

    /// Its product with an answer's gradient, in millionths.
    fn score(&self, gradient: &[i64]) -> Option<i64> {
        // At most 2^20 · 2^42 · 2^7, times a million below 2^89.
        let products = self.values.iter().zip(gradient);
        let sum: i128 = products.map(|(a, b)| i128::from(*a) * i128::from(*b)).sum();
        i64::try_from(round_shift(sum * MILLION, 2 * GRADIENT_BITS - self.exponent)).ok()
    }
}

impl Influence {
    /// The vectors of some families.
    ///
    /// # Errors
    /// A vector of another length than the vocabulary.
    pub fn new(
        model: Digest,
        sample: Digest,
        vocabulary: u32,
        families: Vec<Family>,
    ) -> Result<Self, InfluenceError> {
        let made = Self { model, sample, vocabulary, families };
        made.require()?;
        Ok(made)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// If it is too large, not deterministic CBOR, or has a vector that is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, InfluenceError> {
        let found = bytes.len();
        if found > INFLUENCE_BYTES_MAX {
            return Err(InfluenceError::Size { found });
        }
        let mut decoder = Decoder::new(bytes);
        let mut map = decoder.map("influence file")?;
        map.require(&mut decoder, 1)?;
        match decoder.int()? {
            VERSION => {}
            found => return Err(CborError::Value { what: "influence version", found }.into()),
        }
        map.require(&mut decoder, 2)?;
        let model = decoder.digest("model root")?;
        map.require(&mut decoder, 3)?;
        let sample = decoder.digest("sample")?;
        map.require(&mut decoder, 4)?;
        let vocabulary = decoder.uint_up_to("vocabulary", VOCABULARY_MAX)?;
        let vocabulary = u32::try_from(vocabulary).unwrap_or(u32::MAX);
        map.require(&mut decoder, 5)?;
        let count = decoder.array_nonempty("families", FAMILIES_MAX)?;
        let families = (0..count).map(|_| family(&mut decoder)).collect::<Result<_, _>>()?;
        map.end(&mut decoder)?;
        decoder.finish()?;
        Self::new(model, sample, vocabulary, families)
    }

    /// The file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new();
        encoder.map(5).key(1).int(VERSION);
        encoder.key(2).bytes(self.model.as_bytes());
        encoder.key(3).bytes(self.sample.as_bytes());
        encoder.key(4).uint(self.vocabulary.into());
        encoder.key(5).array(self.families.len());
        for it in &self.families {
            let values = it.vector.values.iter().map(|value| value.cast_unsigned());
            encoder.array(8).bytes(it.contribution.as_bytes()).text(&it.name);
            encoder.bytes(it.documents.as_bytes()).uint(it.document_count.into());
            encoder.uint(it.size_bytes).uint(it.token_count.into());
            encoder.uint(it.vector.exponent.into()).bytes(&values.collect::<Vec<u8>>());
        }
        encoder.finish()
    }

    /// The influence root: the digest of the file.
    #[must_use]
    pub fn root(&self) -> Digest {
        Digest::of_tagged(tag::INFLUENCE, &[&self.encode()])
    }

    /// How many tokens the vocabulary has: numbers of each vector and gradient.
    #[must_use]
    pub const fn vocabulary(&self) -> u32 {
        self.vocabulary
    }

    /// The families, in the order of the file.
    #[must_use]
    pub fn families(&self) -> &[Family] {
        &self.families
    }

    /// The score of each family for an answer with this gradient, in millionths.
    ///
    /// # Errors
    /// A gradient of another length than the vocabulary or beyond any text's, or a score beyond
    /// 64 bits.
    pub fn scores(&self, gradient: &[i64]) -> Result<Vec<i64>, InfluenceError> {
        require_gradient(gradient, self.vocabulary as usize)?;
        let scores =
            self.families.iter().enumerate().map(|(family, it)| {
                it.vector.score(gradient).ok_or(InfluenceError::Score { family })
            });
        scores.collect()
    }

    fn require(&self) -> Result<(), InfluenceError> {
        let expected = self.vocabulary as usize;
        for (family, Family { vector: Vector { values, .. }, .. }) in
            self.families.iter().enumerate()
        {
            if values.len() != expected {
                let (what, found) = ("a vector", values.len());
                return Err(InfluenceError::Length { what, expected, found });
            }
            if let Some(index) = values.iter().position(|value| *value == i8::MIN) {
                return Err(InfluenceError::Element { family, index });
            }
        }
        Ok(())
    }
}

fn require_gradient(gradient: &[i64], expected: usize) -> Result<(), InfluenceError> {
    let found = gradient.len();
    if found != expected {
        return Err(InfluenceError::Length { what: "the gradient", expected, found });
    }
    let magnitudes = gradient.iter().map(|number| number.unsigned_abs()).enumerate();
    match magnitudes.into_iter().find(|(_, found)| *found > MAGNITUDE_MAX) {
        None => Ok(()),
        Some((index, found)) => Err(InfluenceError::Magnitude { index, found }),
    }
}

fn family(decoder: &mut Decoder<'_>) -> Result<Family, CborError> {
    decoder.array_exact("family", 8)?;
    let contribution = decoder.digest("manifest")?;
    let name = decoder.text("name", NAME_BYTES_MAX)?.to_owned();
    let documents = decoder.digest("documents root")?;
    let document_count = decoder.u32("document count")?;
    let size_bytes = decoder.uint()?;
    let token_count = decoder.u32("token count")?;
    let exponent = decoder.uint_up_to("exponent", EXPONENT_MAX)?;
    let exponent = u32::try_from(exponent).unwrap_or(u32::MAX);
    let values = decoder.bytes("vector", VOCABULARY_MAX)?;
    let values = values.iter().map(|value| value.cast_signed()).collect();
    let vector = Vector { exponent, values };
    Ok(Family { contribution, name, documents, document_count, size_bytes, token_count, vector })
}

/// floor(x / 2^shift + 1/2)
const fn round_shift(x: i128, shift: u32) -> i128 {
    match shift {
        0 => x,
        shift => ((x >> (shift - 1)) + 1) >> 1,
    }
}
