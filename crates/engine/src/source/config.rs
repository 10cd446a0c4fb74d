//! What a model computes: its shape and features, and `config.json`, which states them.
//!
//! What would be computed otherwise than the file means is refused by name.

use super::decimal::Decimal;
use super::element::Dyadic;
use super::error::{SourceError, shown};
use super::json::Fields;

mod decoder;
mod encoder;
mod rotation;

const FILE: &str = "config.json";

/// Widest hidden state and feed-forward, in channels.
pub const WIDTH_MAX: u32 = 1 << 17;
/// Most decoder layers.
pub const LAYERS_MAX: u32 = 1 << 10;
/// Most attention heads.
pub const HEADS_MAX: u32 = 1 << 10;
/// Widest attention head, in channels.
pub const HEAD_DIM_MAX: u32 = 1 << 12;
/// Most tokens of a vocabulary.
pub const VOCABULARY_MAX: u32 = 1 << 20;
/// Longest context, in positions.
pub const POSITIONS_MAX: u32 = 1 << 22;
/// Most types of text of an encoder.
pub const TYPES_MAX: u32 = 1 << 10;
/// Most end tokens.
pub const END_TOKENS_MAX: usize = 64;

/// Fields that do not change what a trained model computes.
const IGNORED: &[&str] = &[
    "_attn_implementation_autoset",
    "_name_or_path",
    "attention_dropout",
    "dtype",
    "embd_pdrop",
    "initializer_range",
    "is_llama_config",
    "pad_token_id",
    "resid_pdrop",
    "torch_dtype",
    "transformers.js_config",
    "transformers_version",
    "use_cache",
];

/// Switches that, when off, ask for nothing that is not computed here; on, they are refused.
const OFF: &[&str] = &[
    "add_cross_attention",
    "gradient_checkpointing",
    "is_decoder",
    "is_encoder_decoder",
    "output_attentions",
    "output_hidden_states",
    "rope_interleaved",
    "tie_encoder_decoder",
    "torchscript",
    "use_bfloat16",
    "use_mrope",
];

/// A family of models whose arithmetic is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Llama 2 and 3, and `SmolLM`.
    Llama,
    /// Llama with sliding attention.
    Mistral,
    /// Llama with biases of query, key and value.
    Qwen2,
    /// Llama with norms of each query and key head.
    Qwen3,
    /// Llama with fused tensors and, often, sliding attention.
    Phi3,
    /// An encoder with learned positions and norms after each residual.
    Bert,
}

/// How queries and keys are turned: pair i of a head's channels turns by a speed of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Base of the speeds theta^(−2i/`head_dim`) in radians per position.
    pub theta: Decimal,
    /// What slows the speeds down.
    pub scaling: RotationScaling,
}

/// What is done to the speeds of a rotation so that it reaches farther than it was trained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RotationScaling {
    /// Nothing.
    None,
    /// Every speed is divided.
    Linear {
        /// The divisor.
        factor: Decimal,
    },
    /// Pairs that turn fewer than `low_freq_factor` times in the original context are divided,
    /// those that turn more than `high_freq_factor` times are kept, and in between the speed goes
    /// from the one to the other linearly in the number of turns.
    Llama3 {
        /// The divisor.
        factor: Decimal,
        /// Turns up to which a speed is divided.
        low_freq_factor: Decimal,
        /// Turns from which a speed is kept.
        high_freq_factor: Decimal,
        /// Positions of the original context.
        original_context: u32,
    },
    /// The speed of pair i is divided by factor i.
    Factors(Vec<Dyadic>),
}

/// Sliding attention: position p of a layer sees positions max(0, p − len + 1) to p.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Positions seen, the own one included.
    pub len: u32,
    /// The first layer that has the window; all after it have it too.
    pub first_layer: u32,
}

/// Which linear layers add a bias.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Biases {
    /// Those that make query, key and value.
    pub query_key_value: bool,
    /// The one after attention.
    pub output: bool,
    /// Gate, up and down, of those that the family has.
    pub feed_forward: bool,
}

/// How an encoder's last hidden states become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pooling {
    /// What is taken of the positions.
    pub kind: PoolingKind,
    /// Whether the vector is divided by its length.
    pub is_normalised: bool,
}

/// What an encoder's vector is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolingKind {
    /// The mean of all positions.
    Mean,
    /// The first position.
    Cls,
}

/// The shape of a model and the numbers that its arithmetic needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceConfig {
    /// The family.
    pub architecture: Architecture,
    /// Channels of the residual stream.
    pub hidden_size: u32,
    /// Channels of the feed-forward.
    pub intermediate_size: u32,
    /// Decoder layers.
    pub layer_count: u32,
    /// Query heads; a multiple of `kv_head_count`.
    pub head_count: u32,
    /// Key and value heads.
    pub kv_head_count: u32,
    /// Channels of one head; even.
    pub head_dim: u32,
    /// Tokens of the vocabulary.
    pub vocabulary_size: u32,
    /// Positions of the context.
    pub context_len: u32,
    /// Rows of an encoder's embedding of positions, of which it may use fewer; zero for a decoder.
    pub position_count: u32,
    /// Rows of an encoder's embedding of text types; zero for a decoder.
    pub token_type_count: u32,
    /// What the norms add to the mean square, or to the variance.
    pub norm_eps: Decimal,
    /// The rotation of queries and keys; `None` for an encoder.
    pub rotation: Option<Rotation>,
    /// Sliding attention, where there is any.
    pub window: Option<Window>,
    /// Which linear layers add a bias.
    pub biases: Biases,
    /// Whether each query and key head goes through an RMS norm before the rotation.
    pub has_head_norms: bool,
    /// Whether the output projection is the embedding.
    pub is_head_tied: bool,
    /// The token that begins a text, if any.
    pub begin_token: Option<u32>,
    /// The tokens that end a text, in increasing order.
    pub end_tokens: Vec<u32>,
    /// How an encoder's vector is made; `None` for a decoder.
    pub pooling: Option<Pooling>,
}

impl SourceConfig {
    /// Parses `config.json`; how an encoder's vector is made is not in it.
    ///
    /// # Errors
    /// A missing, mistyped or unknown field, a number out of range, or a feature that is not
    /// computed here.
    pub fn parse(bytes: &[u8]) -> Result<Self, SourceError> {
        let mut fields = Fields::parse(FILE, bytes)?;
        let field = "model_type";
        let found: Option<String> = fields.optional(field, "a text")?;
        let found = found.ok_or_else(|| fields.missing(field))?;
        refuse_foreign_code(&mut fields, &found)?;
        let config = match found.as_str() {
            "llama" => decoder::parse(&mut fields, Architecture::Llama),
            "mistral" => decoder::parse(&mut fields, Architecture::Mistral),
            "qwen2" => decoder::parse(&mut fields, Architecture::Qwen2),
            "qwen3" => decoder::parse(&mut fields, Architecture::Qwen3),
            "phi3" => decoder::parse(&mut fields, Architecture::Phi3),
            "bert" => encoder::parse(&mut fields),
            other => Err(SourceError::Feature {
                file: FILE.to_owned(),
                field,
                found: shown(other),
                supported: "llama, mistral, qwen2, qwen3, phi3 or bert",
            }),
        }?;
        fields.refuse_rest(IGNORED, OFF)?;
        Ok(config)
    }
}

/// Refuses models that are computed by code of their own, or by another class of their family.
fn refuse_foreign_code(fields: &mut Fields, model_type: &str) -> Result<(), SourceError> {
    // Phi-3 is published with the code that has since become the library's own.
    if model_type == "phi3" {
        fields.ignore("auto_map");
    }
    fields.refuse_unless("auto_map", &[], "null")?;
    let (known, supported): (&[&str], _) = match model_type {
        "llama" => (&["LlamaForCausalLM"], "LlamaForCausalLM"),
        "mistral" => (&["MistralForCausalLM"], "MistralForCausalLM"),
        "qwen2" => (&["Qwen2ForCausalLM"], "Qwen2ForCausalLM"),
        "qwen3" => (&["Qwen3ForCausalLM"], "Qwen3ForCausalLM"),
        "phi3" => (&["Phi3ForCausalLM"], "Phi3ForCausalLM"),
        "bert" => (
            &["BertModel", "BertForMaskedLM", "BertForPreTraining"],
            "BertModel, BertForMaskedLM or BertForPreTraining",
        ),
        // Refused by its type.
        _ => return Ok(()),
    };
    let field = "architectures";
    let names: Option<Vec<String>> = fields.optional(field, "a list of texts")?;
    let names = names.unwrap_or_default();
    match names.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(SourceError::Feature {
            file: FILE.to_owned(),
            field,
            found: shown(name),
            supported,
        }),
        None => Ok(()),
    }
}

/// Adds the end tokens of `generation_config.json`, of which chats often have more.
pub(super) fn add_end_tokens(config: &mut SourceConfig, bytes: &[u8]) -> Result<(), SourceError> {
    let mut fields = Fields::parse("generation_config.json", bytes)?;
    config.end_tokens.extend(end_tokens(&mut fields, config.vocabulary_size)?);
    config.end_tokens.sort_unstable();
    config.end_tokens.dedup();
    Ok(())
}

/// `eos_token_id`: one token or a list.
fn end_tokens(fields: &mut Fields, vocabulary_size: u32) -> Result<Vec<u32>, SourceError> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum EndTokens {
        One(u64),
        Several(Vec<u64>),
    }
    let found = fields.optional("eos_token_id", "a token id or a list of them")?;
    let found = match found {
        None => Vec::new(),
        Some(EndTokens::One(token)) => vec![token],
        Some(EndTokens::Several(tokens)) => tokens,
    };
    let file = fields.file().to_owned();
    let out_of_range = |field, found, minimum, maximum| SourceError::FieldRange {
        file: file.clone(),
        field,
        found,
        minimum,
        maximum,
    };
    if found.len() > END_TOKENS_MAX {
        let (found, maximum) = (found.len() as u64, END_TOKENS_MAX as u64);
        return Err(out_of_range("eos_token_id count", found, 0, maximum));
    }
    let parse = |token: u64| {
        let in_range = u32::try_from(token).ok().filter(|token| *token < vocabulary_size);
        let maximum = u64::from(vocabulary_size) - 1;
        in_range.ok_or_else(|| out_of_range("eos_token_id", token, 0, maximum))
    };
    let mut tokens = found.into_iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    tokens.sort_unstable();
    tokens.dedup();
    Ok(tokens)
}

fn required(fields: &mut Fields, field: &'static str, maximum: u32) -> Result<u32, SourceError> {
    fields.integer(field, 1, maximum)?.ok_or_else(|| fields.missing(field))
}

/// found / divisor, which must be whole.
fn divide(file: &str, field: &'static str, found: u32, divisor: u32) -> Result<u32, SourceError> {
    if !found.is_multiple_of(divisor) {
        let file = file.to_owned();
        return Err(SourceError::Divisibility { file, field, found, divisor });
    }
    Ok(found / divisor)
}
