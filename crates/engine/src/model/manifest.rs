//! The manifest of a model file: what it is, how it computes, where it came from, its parts.

use tally_core::Digest;
use tally_core::cbor::{Cbor, CborError, Decoder, Encoder};

use crate::source::{Biases, Pooling, PoolingKind, Window};

/// Version of the container that this crate reads and writes.
pub(crate) const FORMAT_VERSION: u64 = 2;
/// Longest name or identifier in a manifest, in bytes.
pub(super) const TEXT_BYTES_MAX: u64 = 256;
/// Most source files.
const SOURCES_MAX: u64 = 4096;
/// Most parts: enough for 256 layers.
const PARTS_MAX: u64 = 8192;
/// The first numbers of a configuration, in the order of their keys.
const NUMBERS: [&str; 8] =
    ["vocabulary", "width", "hidden", "layers", "heads", "kv heads", "head dim", "context"];
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

/// The numbers of a model: a decoder, or an encoder if it has a pooling.
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
    /// How the layers' matrices are stored.
    pub weights: WeightKind,
    /// Which linear layers add a bias.
    pub biases: Biases,
    /// round(epsilon · `head_dim` · 2^48) of the norms of query and key heads, if there are any.
    pub head_norm_epsilon: Option<u64>,
    /// How far back attention sees in some of the layers, if not to the beginning.
    pub window: Option<Window>,
    /// How an encoder makes one vector of a text; none for a decoder.
    pub pooling: Option<Pooling>,
}

/// How the matrices of the layers are stored; embedding and head are always int8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WeightKind {
    /// int8 rows.
    #[default]
    Int8,
    /// int8 in groups of 32 with integer scales, for matrices whose width is a multiple of 32.
    Int8Groups,
    /// int4 in groups of 32 with integer scales, for matrices whose width is a multiple of 32.
    Int4,
}

impl WeightKind {
    /// Bits of an element and elements of a group, as the configuration names the kind.
    const fn code(self) -> [u64; 2] {
        match self {
            Self::Int8 => [8, 0],
            Self::Int8Groups => [8, 32],
            Self::Int4 => [4, 32],
        }
    }
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

    /// The family's name: what kind of computation the parts are for.
    #[must_use]
    pub const fn family(&self) -> &'static str {
        if self.pooling.is_some() { "encoder" } else { "decoder" }
    }

    /// How many positions before its own a token of this layer sees, and its own; 0 for all.
    pub(crate) fn window_of(&self, layer: usize) -> usize {
        let window = self.window.filter(|window| layer >= window.first_layer as usize);
        window.map_or(0, |window| window.len as usize)
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
    /// SHA-256 of the text that chose the residual stream's fraction bits.
    pub calibration: Digest,
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
    /// Pairs of 4-bit integers, −8 to 7, as `spec/model.md` packs them.
    Int4,
    /// Unsigned bytes, 1 to 127.
    Uint8,
    /// Signed 32-bit integers, little-endian.
    Int32,
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
            Self::Int4 => 5,
            Self::Uint8 => 6,
            Self::Int32 => 7,
        }
    }

    /// Size of that many elements.
    #[must_use]
    pub const fn size_bytes(self, elements: u64) -> u64 {
        match self {
            Self::Int4 => elements / 2,
            Self::Int8 | Self::Uint8 | Self::Text => elements,
            Self::Int16 | Self::Uint16 => 2 * elements,
            Self::Int32 => 4 * elements,
        }
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        match decoder.uint_up_to("part kind", 255)? {
            1 => Ok(Self::Int8),
            2 => Ok(Self::Int16),
            3 => Ok(Self::Uint16),
            4 => Ok(Self::Text),
            5 => Ok(Self::Int4),
            6 => Ok(Self::Uint8),
            7 => Ok(Self::Int32),
            found => Err(value("part kind", found)),
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
            Self::Int4 => "int4",
            Self::Uint8 => "uint8",
            Self::Int32 => "int32",
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
            return Err(value("format version", version));
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
        let optional = [
            self.begin_token.is_some(),
            self.head_norm_epsilon.is_some(),
            self.window.is_some(),
            self.pooling.is_some(),
        ];
        encoder.map(17 + optional.into_iter().filter(|is_there| *is_there).count());
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
        let Biases { query_key_value, output, feed_forward } = self.biases;
        let [bits, group] = self.weights.code();
        encoder.key(17).array(2).uint(bits).uint(group);
        encoder.key(18).array(3).bool(query_key_value).bool(output).bool(feed_forward);
        if let Some(epsilon) = self.head_norm_epsilon {
            encoder.key(19).uint(epsilon);
        }
        if let Some(Window { len, first_layer }) = self.window {
            encoder.key(20).array(2).uint(len.into()).uint(first_layer.into());
        }
        if let Some(Pooling { kind, is_normalised }) = self.pooling {
            encoder.key(21).array(2).uint(pooling_code(kind)).bool(is_normalised);
        }
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        let mut map = decoder.map("configuration")?;
        let mut numbers = [0; 8];
        for (key, (number, what)) in (1..).zip(numbers.iter_mut().zip(NUMBERS)) {
            map.require(decoder, key)?;
            *number = decoder.u32(what)?;
        }
        let [vocabulary, width, hidden, layers, heads, kv_heads, head_dim, context] = numbers;
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
        map.require(decoder, 17)?;
        let weights = weight_kind(decoder)?;
        map.require(decoder, 18)?;
        let biases = biases(decoder)?;
        let head_norm_epsilon = match map.optional(decoder, 19)? {
            true => Some(decoder.uint()?),
            false => None,
        };
        let window = match map.optional(decoder, 20)? {
            true => Some(window(decoder)?),
            false => None,
        };
        let pooling = match map.optional(decoder, 21)? {
            true => Some(pooling(decoder)?),
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
            weights,
            biases,
            head_norm_epsilon,
            window,
            pooling,
        })
    }
}

fn weight_kind(decoder: &mut Decoder<'_>) -> Result<WeightKind, CborError> {
    decoder.array_exact("kind of weights", 2)?;
    let bits = decoder.uint_up_to("bits of a weight", 8)?;
    let group = decoder.uint_up_to("weights of a group", 32)?;
    let kinds = [WeightKind::Int8, WeightKind::Int8Groups, WeightKind::Int4];
    let kind = kinds.into_iter().find(|kind| kind.code() == [bits, group]);
    kind.ok_or_else(|| value("bits of a weight", bits))
}

fn biases(decoder: &mut Decoder<'_>) -> Result<Biases, CborError> {
    decoder.array_exact("biases", 3)?;
    let (query_key_value, output) = (decoder.bool()?, decoder.bool()?);
    Ok(Biases { query_key_value, output, feed_forward: decoder.bool()? })
}

fn window(decoder: &mut Decoder<'_>) -> Result<Window, CborError> {
    decoder.array_exact("window", 2)?;
    let len = decoder.u32("window length")?;
    Ok(Window { len, first_layer: decoder.u32("first layer with a window")? })
}

const fn pooling_code(kind: PoolingKind) -> u64 {
    match kind {
        PoolingKind::Mean => 1,
        PoolingKind::Cls => 2,
    }
}

fn pooling(decoder: &mut Decoder<'_>) -> Result<Pooling, CborError> {
    decoder.array_exact("pooling", 2)?;
    let kind = match decoder.uint_up_to("kind of pooling", 255)? {
        1 => PoolingKind::Mean,
        2 => PoolingKind::Cls,
        found => return Err(value("kind of pooling", found)),
    };
    Ok(Pooling { kind, is_normalised: decoder.bool()? })
}

fn value(what: &'static str, found: u64) -> CborError {
    CborError::Value { what, found: i64::try_from(found).unwrap_or(i64::MAX) }
}

impl Cbor for Provenance {
    fn encode_into(&self, encoder: &mut Encoder) {
        encoder.map(4).key(1).text(&self.converter).key(2).text(&self.version);
        encoder.key(3).array(self.sources.len());
        for source in &self.sources {
            encoder.array(3).text(&source.name).uint(source.size_bytes);
            encoder.bytes(source.digest.as_bytes());
        }
        encoder.key(4).bytes(self.calibration.as_bytes());
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
        map.require(decoder, 4)?;
        let calibration = decoder.digest("calibration digest")?;
        map.end(decoder)?;
        Ok(Self { converter, version, sources, calibration })
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
