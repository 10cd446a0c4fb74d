//! The manifest of a model file: what it is, how it computes, where it came from, its parts.

use tally_core::Digest;
use tally_core::cbor::{Cbor, CborError, Decoder, Encoder};

/// Version of the container that this crate reads and writes.
pub(crate) const FORMAT_VERSION: u64 = 1;
/// Longest name or identifier in a manifest, in bytes.
pub(super) const TEXT_BYTES_MAX: u64 = 256;
/// Most source files.
const SOURCES_MAX: u64 = 4096;
/// Most parts: enough for 256 layers.
const PARTS_MAX: u64 = 8192;
/// Most end tokens.
const END_TOKENS_MAX: u64 = 64;

/// Everything that stands before the parts of a model file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Id of the arithmetic that the model is made for.
    pub arithmetic: String,
    /// Family of models that the configuration belongs to.
    pub family: String,
    /// The numbers that say how the parts are computed with.
    pub configuration: Configuration,
    /// Where the model came from.
    pub provenance: Provenance,
    /// The parts in their order.
    pub parts: Vec<Part>,
}

/// The numbers of a decoder of the Llama family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Tokens in the vocabulary.
    pub vocabulary: u32,
    /// Channels of the residual stream.
    pub width: u32,
    /// Channels inside the feed-forward block.
    pub hidden: u32,
    /// Decoder layers.
    pub layers: u32,
    /// Query heads.
    pub heads: u32,
    /// Key and value heads.
    pub kv_heads: u32,
    /// Channels of one head.
    pub head_dim: u32,
    /// Positions.
    pub context: u32,
    /// Whether the embedding is the output head too.
    pub tied: bool,
    /// Fraction bits of the residual stream.
    pub residual_bits: u32,
    /// round(epsilon · width · 2^(2·`residual_bits`)) of the norms.
    pub norm_epsilon: u64,
    /// Fraction bits of the logits.
    pub logit_bits: u32,
    /// The token that begins a text, if the model has one.
    pub begin_token: Option<u32>,
    /// The tokens that end a text, in increasing order.
    pub end_tokens: Vec<u32>,
    /// What the chat template knows as `bos_token`; empty if the model has none.
    pub begin_text: String,
    /// What the chat template knows as `eos_token`; empty if the model has none.
    pub end_text: String,
}

impl Configuration {
    /// Rows of the query projection.
    #[must_use]
    pub const fn query_rows(&self) -> u32 {
        self.heads * self.head_dim
    }

    /// Rows of the key and of the value projection.
    #[must_use]
    pub const fn kv_rows(&self) -> u32 {
        self.kv_heads * self.head_dim
    }
}

/// Where a model came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// Name of the program that converted it.
    pub converter: String,
    /// Version of that program.
    pub version: String,
    /// The files it was made from, by increasing name.
    pub sources: Vec<SourceFile>,
}

/// A file that a model was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Its name within the source folder.
    pub name: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// SHA-256 of its bytes.
    pub digest: Digest,
}

/// What the bytes of a part are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    /// Signed bytes, −127 to 127.
    Int8,
    /// Signed 16-bit integers, little-endian.
    Int16,
    /// Unsigned 16-bit integers, little-endian.
    Uint16,
    /// UTF-8 text.
    Text,
}

impl PartKind {
    /// The kind's number on the wire.
    #[must_use]
    pub const fn code(self) -> u64 {
        match self {
            Self::Int8 => 1,
            Self::Int16 => 2,
            Self::Uint16 => 3,
            Self::Text => 4,
        }
    }

    /// Size of one element.
    #[must_use]
    pub const fn element_bytes(self) -> u64 {
        match self {
            Self::Int8 | Self::Text => 1,
            Self::Int16 | Self::Uint16 => 2,
        }
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        match decoder.uint_up_to("part kind", 255)? {
            1 => Ok(Self::Int8),
            2 => Ok(Self::Int16),
            3 => Ok(Self::Uint16),
            4 => Ok(Self::Text),
            found => Err(CborError::Value {
                what: "part kind",
                found: i64::try_from(found).unwrap_or(i64::MAX),
            }),
        }
    }
}

impl std::fmt::Display for PartKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Int8 => "int8",
            Self::Int16 => "int16",
            Self::Uint16 => "uint16",
            Self::Text => "text",
        })
    }
}

/// One tensor, table or file of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// What its bytes are.
    pub kind: PartKind,
    /// Its dimensions, outermost first; the size in bytes for text.
    pub shape: Vec<u64>,
    /// An element x stands for x · 2^−`fraction_bits`.
    pub fraction_bits: u32,
    /// First byte, counted from the start of the parts.
    pub offset: u64,
    /// Size in bytes.
    pub size_bytes: u64,
}

impl Part {
    /// Name, kind, shape and fraction bits: what the model root covers beside the bytes.
    pub(super) fn encode_identity(&self, encoder: &mut Encoder) {
        encoder.text(&self.name).uint(self.kind.code()).array(self.shape.len());
        for dimension in &self.shape {
            encoder.uint(*dimension);
        }
        encoder.uint(self.fraction_bits.into());
    }
}

impl Cbor for Manifest {
    fn encode_into(&self, encoder: &mut Encoder) {
        encoder.map(6).key(1).uint(FORMAT_VERSION);
        encoder.key(2).text(&self.arithmetic).key(3).text(&self.family);
        encoder.key(4);
        self.configuration.encode_into(encoder);
        encoder.key(5);
        self.provenance.encode_into(encoder);
        encoder.key(6).array(self.parts.len());
        self.parts.iter().for_each(|part| part.encode_into(encoder));
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        let mut map = decoder.map("manifest")?;
        map.require(decoder, 1)?;
        let version = decoder.uint()?;
        if version != FORMAT_VERSION {
            let found = i64::try_from(version).unwrap_or(i64::MAX);
            return Err(CborError::Value { what: "format version", found });
        }
        map.require(decoder, 2)?;
        let arithmetic = decoder.text("arithmetic", TEXT_BYTES_MAX)?.to_owned();
        map.require(decoder, 3)?;
        let family = decoder.text("family", TEXT_BYTES_MAX)?.to_owned();
        map.require(decoder, 4)?;
        let configuration = Configuration::decode_from(decoder)?;
        map.require(decoder, 5)?;
        let provenance = Provenance::decode_from(decoder)?;
        map.require(decoder, 6)?;
        let parts = list(decoder, "parts", PARTS_MAX, Part::decode_from)?;
        map.end(decoder)?;
        Ok(Self { arithmetic, family, configuration, provenance, parts })
    }
}

impl Cbor for Configuration {
    fn encode_into(&self, encoder: &mut Encoder) {
        let numbers = [
            self.vocabulary,
            self.width,
            self.hidden,
            self.layers,
            self.heads,
            self.kv_heads,
            self.head_dim,
            self.context,
        ];
        encoder.map(15 + usize::from(self.begin_token.is_some()));
        for (key, number) in (1..).zip(numbers) {
            encoder.key(key).uint(number.into());
        }
        encoder.key(9).bool(self.tied);
        encoder.key(10).uint(self.residual_bits.into()).key(11).uint(self.norm_epsilon);
        encoder.key(12).uint(self.logit_bits.into());
        encoder.key(13).array(self.end_tokens.len());
        for token in &self.end_tokens {
            encoder.uint((*token).into());
        }
        encoder.key(14).text(&self.begin_text).key(15).text(&self.end_text);
        if let Some(token) = self.begin_token {
            encoder.key(16).uint(token.into());
        }
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        let mut map = decoder.map("configuration")?;
        let mut number = |decoder: &mut Decoder<'_>, key, what| {
            map.require(decoder, key)?;
            decoder.u32(what)
        };
        let vocabulary = number(decoder, 1, "vocabulary")?;
        let width = number(decoder, 2, "width")?;
        let hidden = number(decoder, 3, "hidden")?;
        let layers = number(decoder, 4, "layers")?;
        let heads = number(decoder, 5, "heads")?;
        let kv_heads = number(decoder, 6, "kv heads")?;
        let head_dim = number(decoder, 7, "head dim")?;
        let context = number(decoder, 8, "context")?;
        map.require(decoder, 9)?;
        let tied = decoder.bool()?;
        map.require(decoder, 10)?;
        let residual_bits = decoder.u32("residual bits")?;
        map.require(decoder, 11)?;
        let norm_epsilon = decoder.uint()?;
        map.require(decoder, 12)?;
        let logit_bits = decoder.u32("logit bits")?;
        map.require(decoder, 13)?;
        let end_tokens =
            list(decoder, "end tokens", END_TOKENS_MAX, |decoder| decoder.u32("end token"))?;
        map.require(decoder, 14)?;
        let begin_text = decoder.text("begin text", TEXT_BYTES_MAX)?.to_owned();
        map.require(decoder, 15)?;
        let end_text = decoder.text("end text", TEXT_BYTES_MAX)?.to_owned();
        let begin_token = match map.optional(decoder, 16)? {
            true => Some(decoder.u32("begin token")?),
            false => None,
        };
        map.end(decoder)?;
        Ok(Self {
            vocabulary,
            width,
            hidden,
            layers,
            heads,
            kv_heads,
            head_dim,
            context,
            tied,
            residual_bits,
            norm_epsilon,
            logit_bits,
            begin_token,
            end_tokens,
            begin_text,
            end_text,
        })
    }
}

impl Cbor for Provenance {
    fn encode_into(&self, encoder: &mut Encoder) {
        encoder.map(3).key(1).text(&self.converter).key(2).text(&self.version);
        encoder.key(3).array(self.sources.len());
        for source in &self.sources {
            encoder.array(3).text(&source.name).uint(source.size_bytes);
            encoder.bytes(source.digest.as_bytes());
        }
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        let mut map = decoder.map("provenance")?;
        map.require(decoder, 1)?;
        let converter = decoder.text("converter", TEXT_BYTES_MAX)?.to_owned();
        map.require(decoder, 2)?;
        let version = decoder.text("converter version", TEXT_BYTES_MAX)?.to_owned();
        map.require(decoder, 3)?;
        let sources = list(decoder, "sources", SOURCES_MAX, |decoder| {
            decoder.array_exact("source", 3)?;
            let name = decoder.text("source name", TEXT_BYTES_MAX)?.to_owned();
            let size_bytes = decoder.uint()?;
            Ok(SourceFile { name, size_bytes, digest: decoder.digest("source digest")? })
        })?;
        map.end(decoder)?;
        Ok(Self { converter, version, sources })
    }
}

impl Cbor for Part {
    fn encode_into(&self, encoder: &mut Encoder) {
        encoder.array(6);
        self.encode_identity(encoder);
        encoder.uint(self.offset).uint(self.size_bytes);
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        decoder.array_exact("part", 6)?;
        let name = decoder.text("part name", TEXT_BYTES_MAX)?.to_owned();
        let kind = PartKind::decode_from(decoder)?;
        let shape = list(decoder, "shape", 2, |decoder| decoder.uint())?;
        let fraction_bits = decoder.u32("fraction bits")?;
        let offset = decoder.uint()?;
        Ok(Self { name, kind, shape, fraction_bits, offset, size_bytes: decoder.uint()? })
    }
}

fn list<T>(
    decoder: &mut Decoder<'_>,
    what: &'static str,
    limit: u64,
    mut item: impl FnMut(&mut Decoder<'_>) -> Result<T, CborError>,
) -> Result<Vec<T>, CborError> {
    // No capacity is reserved from the stated count: a lying count ends as a truncated input.
    let count = decoder.array(what, limit)?;
    (0..count).map(|_| item(decoder)).collect()
}
