//! Decoders of `config.json`: Llama and its relatives, with the features that each may have.

use super::{
    Architecture, Biases, FILE, HEAD_DIM_MAX, HEADS_MAX, LAYERS_MAX, POSITIONS_MAX, SourceConfig,
    VOCABULARY_MAX, WIDTH_MAX, Window, divide, end_tokens, required, rotation,
};
use crate::source::error::{SourceError, shown};
use crate::source::json::Fields;

/// Parses the rest of the fields, once the family is known.
pub(super) fn parse(
    fields: &mut Fields,
    architecture: Architecture,
) -> Result<SourceConfig, SourceError> {
    refuse_features(fields, architecture)?;
    let hidden_size = required(fields, "hidden_size", WIDTH_MAX)?;
    let head_count = required(fields, "num_attention_heads", HEADS_MAX)?;
    let kv_head_count = fields.integer("num_key_value_heads", 1, HEADS_MAX)?;
    let kv_head_count = kv_head_count.unwrap_or(head_count);
    divide(FILE, "num_attention_heads", head_count, kv_head_count)?;
    let head_dim = match fields.integer("head_dim", 2, HEAD_DIM_MAX)? {
        Some(head_dim) => head_dim,
        None => divide(FILE, "hidden_size", hidden_size, head_count)?,
    };
    divide(FILE, "head_dim", head_dim, 2)?;
    let norm_eps = fields.decimal("rms_norm_eps")?;
    let vocabulary_size = required(fields, "vocab_size", VOCABULARY_MAX)?;
    let layer_count = required(fields, "num_hidden_layers", LAYERS_MAX)?;
    let context_len = required(fields, "max_position_embeddings", POSITIONS_MAX)?;
    let window = window(fields, architecture, layer_count)?;
    Ok(SourceConfig {
        architecture,
        hidden_size,
        intermediate_size: required(fields, "intermediate_size", WIDTH_MAX)?,
        layer_count,
        head_count,
        kv_head_count,
        head_dim,
        vocabulary_size,
        context_len,
        position_count: 0,
        token_type_count: 0,
        norm_eps: norm_eps.ok_or_else(|| fields.missing("rms_norm_eps"))?,
        rotation: Some(rotation::parse(fields)?),
        window: window.filter(|window| window.len < context_len),
        biases: biases(fields, architecture)?,
        has_head_norms: architecture == Architecture::Qwen3,
        is_head_tied: fields.switch("tie_word_embeddings")?,
        begin_token: fields.integer("bos_token_id", 0, vocabulary_size - 1)?,
        end_tokens: end_tokens(fields, vocabulary_size)?,
        pooling: None,
    })
}

fn refuse_features(fields: &mut Fields, architecture: Architecture) -> Result<(), SourceError> {
    fields.refuse_unless("hidden_act", &["\"silu\""], "\"silu\"")?;
    fields.refuse_unless("quantization_config", &[], "null")?;
    for field in ["pretraining_tp", "partial_rotary_factor"] {
        fields.refuse_unless(field, &["1", "1.0"], "1")?;
    }
    // Where the family's own default would change the model, silence is refused.
    let silent: &[&'static str] = match architecture {
        Architecture::Mistral => &["num_key_value_heads", "sliding_window"],
        Architecture::Qwen2 => &["num_key_value_heads"],
        Architecture::Qwen3 => &["num_key_value_heads", "head_dim"],
        Architecture::Phi3 => {
            // Of the long context's scaling, which is refused where it is asked for.
            fields.integer("original_max_position_embeddings", 1, POSITIONS_MAX)?;
            &[]
        }
        Architecture::Llama | Architecture::Bert => &[],
    };
    match silent.iter().find(|field| !fields.has(field)) {
        Some(field) => Err(fields.missing(field)),
        None => Ok(()),
    }
}

fn biases(fields: &mut Fields, architecture: Architecture) -> Result<Biases, SourceError> {
    Ok(match architecture {
        Architecture::Llama => {
            let attention = fields.switch("attention_bias")?;
            let feed_forward = fields.switch("mlp_bias")?;
            Biases { query_key_value: attention, output: attention, feed_forward }
        }
        Architecture::Qwen3 => {
            let attention = fields.switch("attention_bias")?;
            Biases { query_key_value: attention, output: attention, feed_forward: false }
        }
        Architecture::Qwen2 => Biases { query_key_value: true, ..Biases::default() },
        Architecture::Mistral | Architecture::Phi3 => {
            for field in ["attention_bias", "mlp_bias"] {
                fields.refuse_unless(field, &["false"], "false")?;
            }
            Biases::default()
        }
        Architecture::Bert => Biases::default(),
    })
}

/// The sliding window, which must begin at some layer and go on to the last.
fn window(
    fields: &mut Fields,
    architecture: Architecture,
    layer_count: u32,
) -> Result<Option<Window>, SourceError> {
    let is_switched = matches!(architecture, Architecture::Qwen2 | Architecture::Qwen3);
    let switch = if is_switched { fields.switch("use_sliding_window")? } else { false };
    let first =
        if is_switched { fields.integer("max_window_layers", 0, u32::MAX)? } else { Some(0) };
    // The families' own default is a window of 4,096.
    if switch && !fields.has("sliding_window") {
        return Err(fields.missing("sliding_window"));
    }
    let len = match architecture {
        // Llama has no window: what says otherwise is refused as unknown.
        Architecture::Llama | Architecture::Bert => None,
        _ => fields.integer("sliding_window", 1, POSITIONS_MAX)?,
    };
    let len = len.filter(|_| switch || !is_switched);
    let listed = listed_first_layer(fields, layer_count)?;
    if matches!(architecture, Architecture::Mistral | Architecture::Phi3) {
        refuse_contradiction(listed, len, layer_count)?;
    }
    let Some(len) = len else {
        return match listed.filter(|first| *first < layer_count) {
            Some(_) => Err(fields.missing("sliding_window")),
            None => Ok(None),
        };
    };
    let first_layer = listed.or(first).ok_or_else(|| fields.missing("max_window_layers"))?;
    Ok(Some(Window { len, first_layer }).filter(|window| window.first_layer < layer_count))
}

/// Refuses a list of layer types that says otherwise than the window, by which these families go.
fn refuse_contradiction(
    listed: Option<u32>,
    len: Option<u32>,
    layer_count: u32,
) -> Result<(), SourceError> {
    let first = if len.is_some() { 0 } else { layer_count };
    let Some(listed) = listed.filter(|listed| *listed != first) else { return Ok(()) };
    let found = format!("sliding_attention from layer {listed} of {layer_count}");
    let supported = "sliding_attention in all layers with sliding_window, and in none without,";
    let (file, field) = (FILE.to_owned(), "layer_types");
    Err(SourceError::Feature { file, field, found, supported })
}

/// The first sliding layer of `layer_types`, or the number of layers; `None` if there is no list.
fn listed_first_layer(fields: &mut Fields, layer_count: u32) -> Result<Option<u32>, SourceError> {
    let (field, expected) = ("layer_types", "a list of layer types");
    let Some(types) = fields.optional::<Vec<String>>(field, expected)? else { return Ok(None) };
    let first = types.iter().position(|name| name != "full_attention").unwrap_or(types.len());
    let is_window = types[first..].iter().all(|name| name == "sliding_attention");
    let found = u32::try_from(types.len()).unwrap_or(u32::MAX);
    if found != layer_count || !is_window {
        let found = shown(&format!("{types:?}"));
        let supported = "full_attention and then sliding_attention, one for each layer,";
        return Err(SourceError::Feature { file: FILE.to_owned(), field, found, supported });
    }
    Ok(u32::try_from(first).ok())
}
