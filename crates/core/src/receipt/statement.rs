//! The statement: a closed, versioned claim set about one admitted request.
//!
//! Claims of the CWT and EAT registries keep their labels (RFC 8392, RFC 9711); our own are in
//! the private range below −65,536. What could betray content is committed to, never shown.

use alloc::{string::String, vec::Vec};
use core::fmt;

use super::EmbeddingAnswer;
use crate::Digest;
use crate::cbor::{Cbor, CborError, Decoder, Encoder, Key};
use crate::computation::{ARITHMETIC_ID_BYTES_MAX, FinishReason, SamplingParameters, TOKENS_MAX};

/// The profile that this crate reads and writes (EAT claim 265).
pub const PROFILE: &str = "tally:receipt:1";

const ID: Key = 7;
const NONCE: Key = 10;
const PROFILE_CLAIM: Key = 265;
const KIND: Key = -70_001;
const TIME_MS: Key = -70_002;
const REQUEST: Key = -70_003;
const ANSWER: Key = -70_004;
const REFUSAL: Key = -70_005;
const SOFTWARE: Key = -70_006;
const PRICE: Key = -70_007;
const ATTRIBUTION: Key = -70_008;
const TRACE_ROOT: Key = -70_009;
const KEYSET: Key = -70_010;
const EMBEDDING: Key = -70_011;

const NONCE_BYTES_MIN: u64 = 8;
const NONCE_BYTES_MAX: u64 = 64;
const TEXT_BYTES_MAX: u64 = 128;
const ADJUSTMENTS_MAX: u64 = 32;

/// What an issuer says of one admitted request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Random id of 128 bits (CWT claim `cti`).
    pub id: [u8; 16],
    /// The client's nonce of 8 to 64 bytes, if it sent one (EAT claim `eat_nonce`).
    pub nonce: Option<Vec<u8>>,
    /// What was asked for.
    pub kind: Kind,
    /// Issuer's clock in milliseconds since 1970-01-01T00:00:00Z.
    pub time_ms: u64,
    /// Commitment to the request body exactly as received.
    pub request: Digest,
    /// What came out, or why nothing did.
    pub outcome: Outcome,
    /// Name and version of the issuing software.
    pub software: String,
    /// What the answer costs, if it has a price.
    pub price: Option<Price>,
    /// Commitment to the attribution section, if there is one.
    pub attribution: Option<Digest>,
    /// Root of the kept trace, if one is kept.
    pub trace_root: Option<Digest>,
    /// Digest of the keyset that attestation evidence covers, if there is one.
    pub keyset: Option<Digest>,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A conversation, put into the model's chat template.
    Chat,
    /// Plain text to be continued.
    Completion,
    /// Texts to be turned into vectors.
    Embedding,
}

impl Kind {
    pub(crate) const fn code(self) -> u64 {
        match self {
            Self::Chat => 1,
            Self::Completion => 2,
            Self::Embedding => 3,
        }
    }
}

impl Kind {
    pub(crate) fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        match decoder.uint_up_to("kind", 255)? {
            1 => Ok(Self::Chat),
            2 => Ok(Self::Completion),
            3 => Ok(Self::Embedding),
            found => Err(unknown("kind", found)),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chat => "chat",
            Self::Completion => "completion",
            Self::Embedding => "embedding",
        })
    }
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Tokens were generated.
    Answer(Answer),
    /// Texts were turned into vectors.
    Embedding(EmbeddingAnswer),
    /// Nothing was computed, or nothing is stated of it.
    Refusal(Refusal),
}

impl Outcome {
    /// The generated answer, if it is one.
    #[must_use]
    pub const fn answer(&self) -> Option<&Answer> {
        match self {
            Self::Answer(answer) => Some(answer),
            Self::Embedding(_) | Self::Refusal(_) => None,
        }
    }

    /// The embeddings, if it is some.
    #[must_use]
    pub const fn embedding(&self) -> Option<&EmbeddingAnswer> {
        match self {
            Self::Embedding(embedding) => Some(embedding),
            Self::Answer(_) | Self::Refusal(_) => None,
        }
    }

    /// The refusal, if it is one.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refusal(refusal) => Some(refusal),
            Self::Answer(_) | Self::Embedding(_) => None,
        }
    }

    /// How the effective input came from the request; nothing for a refusal.
    #[must_use]
    pub const fn preparation(&self) -> Option<&Preparation> {
        match self {
            Self::Answer(answer) => Some(&answer.preparation),
            Self::Embedding(embedding) => Some(&embedding.preparation),
            Self::Refusal(_) => None,
        }
    }
}

/// A generated answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What determined the integers, and the integers.
    pub computation: ComputationClaims,
    /// How the effective input came from the request.
    pub preparation: Preparation,
    /// Where the seed came from.
    pub seed_source: SeedSource,
    /// Commitment to the response bytes: what the client gets without what speaks of the receipt.
    pub response: Digest,
}

/// The map `computation`: equal byte for byte however the answer was computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComputationClaims {
    /// Id of the exact arithmetic.
    pub arithmetic: String,
    /// Merkle root over everything the model consists of.
    pub model_root: Digest,
    /// Commitment to the effective input.
    pub input: Digest,
    /// How many tokens the effective input has.
    pub input_count: u32,
    /// Sampling parameters and stop conditions.
    pub parameters: SamplingParameters,
    /// Commitment to the seed.
    pub seed: Digest,
    /// Last link of the output chain.
    pub output: Digest,
    /// How many tokens the output has.
    pub output_count: u32,
    /// Why the output ended.
    pub finish: FinishReason,
    /// Commitment to stop strings, biases and grammar, if the request has any.
    pub controls: Option<Digest>,
}

/// How the effective input came from the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preparation {
    /// SHA-256 of the tokenizer file.
    pub tokenizer: Digest,
    /// SHA-256 of the chat template; absent for a completion.
    pub template: Option<Digest>,
    /// Whatever else the node added, dropped or rewrote; empty if nothing.
    pub adjustments: Vec<Adjustment>,
}

/// One thing that the node did to the request beyond applying the template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adjustment {
    /// It put in something that the client had not sent, such as a token that begins every text.
    Added(String),
    /// It left out something that the client had sent.
    Dropped(String),
    /// It replaced something.
    Rewrote(String),
}

/// Where the sampling seed came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeedSource {
    /// The client sent it.
    Client,
    /// It is the hash of client nonce and effective input, so neither side chose it alone.
    Derived,
    /// The issuer chose it.
    Issuer,
}

impl SeedSource {
    const fn code(self) -> u64 {
        match self {
            Self::Client => 1,
            Self::Derived => 2,
            Self::Issuer => 3,
        }
    }
}

/// Why an admitted request has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// A stable code such as `context/length` or `arithmetic/refused`.
    pub code: String,
}

/// An amount of some asset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// The asset's name, such as `USD`.
    pub asset: String,
    /// The amount in 10⁻⁹ units of the asset.
    pub amount: u64,
}

impl Cbor for Statement {
    fn encode_into(&self, encoder: &mut Encoder) {
        let optional = [self.nonce.is_some(), self.price.is_some(), self.attribution.is_some()];
        let optional =
            optional.into_iter().chain([self.trace_root.is_some(), self.keyset.is_some()]);
        encoder.map(optional.filter(|is_present| *is_present).count().saturating_add(7));
        encoder.key(ID).bytes(&self.id);
        if let Some(nonce) = &self.nonce {
            encoder.key(NONCE).bytes(nonce);
        }
        encoder.key(PROFILE_CLAIM).text(PROFILE);
        encoder.key(KIND).uint(self.kind.code());
        encoder.key(TIME_MS).uint(self.time_ms);
        encoder.key(REQUEST).bytes(self.request.as_bytes());
        match &self.outcome {
            Outcome::Answer(answer) => answer.encode_into(encoder.key(ANSWER)),
            Outcome::Refusal(refusal) => {
                encoder.key(REFUSAL).map(1).key(1).text(&refusal.code);
            }
            // Its key comes after all others.
            Outcome::Embedding(_) => {}
        }
        encoder.key(SOFTWARE).text(&self.software);
        if let Some(price) = &self.price {
            encoder.key(PRICE).map(2).key(1).text(&price.asset).key(2).uint(price.amount);
        }
        for (key, digest) in [
            (ATTRIBUTION, &self.attribution),
            (TRACE_ROOT, &self.trace_root),
            (KEYSET, &self.keyset),
        ] {
            if let Some(digest) = digest {
                encoder.key(key).bytes(digest.as_bytes());
            }
        }
        if let Outcome::Embedding(embedding) = &self.outcome {
            embedding.encode_into(encoder.key(EMBEDDING));
        }
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        let mut map = decoder.map("statement")?;
        map.require(decoder, ID)?;
        let id = decoder.array_of("receipt id")?;
        let nonce = if map.optional(decoder, NONCE)? { Some(decode_nonce(decoder)?) } else { None };
        map.require(decoder, PROFILE_CLAIM)?;
        if decoder.text("profile", TEXT_BYTES_MAX)? != PROFILE {
            return Err(CborError::Value { what: "profile", found: 0 });
        }
        map.require(decoder, KIND)?;
        let kind = Kind::decode_from(decoder)?;
        map.require(decoder, TIME_MS)?;
        let time_ms = decoder.uint()?;
        map.require(decoder, REQUEST)?;
        let request = decoder.digest("request commitment")?;
        let outcome = if map.optional(decoder, ANSWER)? {
            Some(Outcome::Answer(Answer::decode_from(decoder)?))
        } else if map.optional(decoder, REFUSAL)? {
            Some(Outcome::Refusal(decode_refusal(decoder)?))
        } else {
            None
        };
        map.require(decoder, SOFTWARE)?;
        let software = decoder.text("software", TEXT_BYTES_MAX)?.into();
        let price = if map.optional(decoder, PRICE)? { Some(decode_price(decoder)?) } else { None };
        let mut digest = |key, what| match map.optional(decoder, key)? {
            true => decoder.digest(what).map(Some),
            false => Ok(None),
        };
        let attribution = digest(ATTRIBUTION, "attribution commitment")?;
        let trace_root = digest(TRACE_ROOT, "trace root")?;
        let keyset = digest(KEYSET, "keyset digest")?;
        let outcome = match outcome {
            Some(outcome) => outcome,
            None if map.optional(decoder, EMBEDDING)? => {
                Outcome::Embedding(EmbeddingAnswer::decode_from(decoder)?)
            }
            None => {
                map.end(decoder)?;
                return Err(CborError::MissingKey { map: "statement", key: ANSWER });
            }
        };
        map.end(decoder)?;
        Ok(Self {
            id,
            nonce,
            kind,
            time_ms,
            request,
            outcome,
            software,
            price,
            attribution,
            trace_root,
            keyset,
        })
    }
}

impl Cbor for Answer {
    fn encode_into(&self, encoder: &mut Encoder) {
        self.computation.encode_into(encoder.map(4).key(1));
        self.preparation.encode_into(encoder.key(2));
        encoder.key(3).uint(self.seed_source.code());
        encoder.key(4).bytes(self.response.as_bytes());
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        let mut map = decoder.map("answer")?;
        map.require(decoder, 1)?;
        let computation = ComputationClaims::decode_from(decoder)?;
        map.require(decoder, 2)?;
        let preparation = Preparation::decode_from(decoder)?;
        map.require(decoder, 3)?;
        let seed_source = match decoder.uint_up_to("seed source", 255)? {
            1 => SeedSource::Client,
            2 => SeedSource::Derived,
            3 => SeedSource::Issuer,
            found => return Err(unknown("seed source", found)),
        };
        map.require(decoder, 4)?;
        let response = decoder.digest("response commitment")?;
        map.end(decoder)?;
        Ok(Self { computation, preparation, seed_source, response })
    }
}

impl Cbor for ComputationClaims {
    fn encode_into(&self, encoder: &mut Encoder) {
        encoder.map(if self.controls.is_some() { 10 } else { 9 });
        encoder.key(1).text(&self.arithmetic);
        encoder.key(2).bytes(self.model_root.as_bytes());
        encoder.key(3).bytes(self.input.as_bytes());
        encoder.key(4).uint(self.input_count.into());
        self.parameters.encode_into(encoder.key(5));
        encoder.key(6).bytes(self.seed.as_bytes());
        encoder.key(7).bytes(self.output.as_bytes());
        encoder.key(8).uint(self.output_count.into());
        encoder.key(9).uint(self.finish.code());
        if let Some(controls) = &self.controls {
            encoder.key(10).bytes(controls.as_bytes());
        }
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        let mut map = decoder.map("computation")?;
        map.require(decoder, 1)?;
        let arithmetic = decoder.text("arithmetic id", ARITHMETIC_ID_BYTES_MAX)?.into();
        map.require(decoder, 2)?;
        let model_root = decoder.digest("model root")?;
        map.require(decoder, 3)?;
        let input = decoder.digest("input commitment")?;
        map.require(decoder, 4)?;
        let input_count = decode_count(decoder, "input count")?;
        map.require(decoder, 5)?;
        let parameters = SamplingParameters::decode_from(decoder)?;
        map.require(decoder, 6)?;
        let seed = decoder.digest("seed commitment")?;
        map.require(decoder, 7)?;
        let output = decoder.digest("output chain")?;
        map.require(decoder, 8)?;
        let output_count = decode_count(decoder, "output count")?;
        map.require(decoder, 9)?;
        let finish = FinishReason::decode_from(decoder)?;
        let controls = match map.optional(decoder, 10)? {
            true => Some(decoder.digest("controls commitment")?),
            false => None,
        };
        map.end(decoder)?;
        Ok(Self {
            arithmetic,
            model_root,
            input,
            input_count,
            parameters,
            seed,
            output,
            output_count,
            finish,
            controls,
        })
    }
}

impl Cbor for Preparation {
    fn encode_into(&self, encoder: &mut Encoder) {
        encoder.map(if self.template.is_some() { 3 } else { 2 });
        encoder.key(1).bytes(self.tokenizer.as_bytes());
        if let Some(template) = &self.template {
            encoder.key(2).bytes(template.as_bytes());
        }
        encoder.key(3).array(self.adjustments.len());
        for adjustment in &self.adjustments {
            let (code, text) = match adjustment {
                Adjustment::Added(text) => (1, text),
                Adjustment::Dropped(text) => (2, text),
                Adjustment::Rewrote(text) => (3, text),
            };
            encoder.array(2).uint(code).text(text);
        }
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        let mut map = decoder.map("preparation")?;
        map.require(decoder, 1)?;
        let tokenizer = decoder.digest("tokenizer digest")?;
        let template = match map.optional(decoder, 2)? {
            true => Some(decoder.digest("template digest")?),
            false => None,
        };
        map.require(decoder, 3)?;
        let count = decoder.array("adjustments", ADJUSTMENTS_MAX)?;
        let adjustments =
            (0..count).map(|_| decode_adjustment(decoder)).collect::<Result<_, _>>()?;
        map.end(decoder)?;
        Ok(Self { tokenizer, template, adjustments })
    }
}

fn decode_adjustment(decoder: &mut Decoder<'_>) -> Result<Adjustment, CborError> {
    decoder.array_exact("adjustment", 2)?;
    let code = decoder.uint_up_to("adjustment", 255)?;
    let text = decoder.text("adjustment", TEXT_BYTES_MAX)?.into();
    match code {
        1 => Ok(Adjustment::Added(text)),
        2 => Ok(Adjustment::Dropped(text)),
        3 => Ok(Adjustment::Rewrote(text)),
        found => Err(unknown("adjustment", found)),
    }
}

pub(crate) fn decode_nonce(decoder: &mut Decoder<'_>) -> Result<Vec<u8>, CborError> {
    let offset = decoder.offset();
    let nonce = decoder.bytes("client nonce", NONCE_BYTES_MAX)?;
    match u64::try_from(nonce.len()) {
        Ok(found) if found < NONCE_BYTES_MIN => Err(CborError::Length {
            what: "client nonce",
            offset,
            expected: NONCE_BYTES_MIN,
            found,
        }),
        _ => Ok(nonce.into()),
    }
}

fn decode_refusal(decoder: &mut Decoder<'_>) -> Result<Refusal, CborError> {
    let mut map = decoder.map("refusal")?;
    map.require(decoder, 1)?;
    let code = decoder.text("refusal code", TEXT_BYTES_MAX)?.into();
    map.end(decoder)?;
    Ok(Refusal { code })
}

fn decode_price(decoder: &mut Decoder<'_>) -> Result<Price, CborError> {
    let mut map = decoder.map("price")?;
    map.require(decoder, 1)?;
    let asset = decoder.text("asset", TEXT_BYTES_MAX)?.into();
    map.require(decoder, 2)?;
    let amount = decoder.uint()?;
    map.end(decoder)?;
    Ok(Price { asset, amount })
}

pub(super) fn decode_count(
    decoder: &mut Decoder<'_>,
    what: &'static str,
) -> Result<u32, CborError> {
    let count = decoder.uint_up_to(what, TOKENS_MAX)?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

fn unknown(what: &'static str, found: u64) -> CborError {
    CborError::Value { what, found: i64::try_from(found).unwrap_or(i64::MAX) }
}
