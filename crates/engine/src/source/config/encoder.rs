//! BERT's `config.json`.

use super::{
    Architecture, Biases, FILE, HEADS_MAX, LAYERS_MAX, POSITIONS_MAX, SourceConfig, TYPES_MAX,
    VOCABULARY_MAX, WIDTH_MAX, divide, required,
};
use crate::source::error::SourceError;
use crate::source::json::Fields;

/// Fields of training and of heads that an encoder does not use.
const IGNORED: [&str; 6] = [
    "attention_probs_dropout_prob",
    "classifier_dropout",
    "hidden_dropout_prob",
    "id2label",
    "label2id",
    "tie_word_embeddings",
];

/// Parses the rest of the fields; how its vector is made stands elsewhere.
pub(super) fn parse(fields: &mut Fields) -> Result<SourceConfig, SourceError> {
    fields.refuse_unless("hidden_act", &["\"gelu\""], "\"gelu\"")?;
    fields.refuse_unless("position_embedding_type", &["\"absolute\""], "\"absolute\"")?;
    fields.refuse_unless("quantization_config", &[], "null")?;
    fields.refuse_unless("pruned_heads", &["{}"], "{}")?;
    for field in ["is_decoder", "add_cross_attention"] {
        fields.refuse_unless(field, &["false"], "false")?;
    }
    for field in IGNORED {
        fields.ignore(field);
    }
    // Chat is no business of an encoder.
    for field in ["bos_token_id", "eos_token_id"] {
        fields.ignore(field);
    }
    let hidden_size = required(fields, "hidden_size", WIDTH_MAX)?;
    let head_count = required(fields, "num_attention_heads", HEADS_MAX)?;
    let norm_eps = fields.decimal("layer_norm_eps")?;
    let position_count = required(fields, "max_position_embeddings", POSITIONS_MAX)?;
    let biases = Biases { query_key_value: true, output: true, feed_forward: true };
    Ok(SourceConfig {
        architecture: Architecture::Bert,
        hidden_size,
        intermediate_size: required(fields, "intermediate_size", WIDTH_MAX)?,
        layer_count: required(fields, "num_hidden_layers", LAYERS_MAX)?,
        head_count,
        kv_head_count: head_count,
        head_dim: divide(FILE, "hidden_size", hidden_size, head_count)?,
        vocabulary_size: required(fields, "vocab_size", VOCABULARY_MAX)?,
        context_len: position_count,
        position_count,
        token_type_count: required(fields, "type_vocab_size", TYPES_MAX)?,
        norm_eps: norm_eps.ok_or_else(|| fields.missing("layer_norm_eps"))?,
        rotation: None,
        window: None,
        biases,
        has_head_norms: false,
        is_head_tied: false,
        begin_token: None,
        end_tokens: vec![],
        pooling: None,
    })
}
