//! The tensors of each family: our names with their shapes, and what published files call them.

use std::fmt;

use super::config::{Architecture, SourceConfig};

/// The rows and columns of a tensor; a vector is one row, and says so in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape(pub(super) Vec<usize>);

impl Shape {
    pub(super) fn vector(len: u32) -> Self {
        Self(vec![len as usize])
    }

    pub(super) fn matrix(rows: u32, columns: u32) -> Self {
        Self(vec![rows as usize, columns as usize])
    }

    /// Rows and columns, with one row for a vector.
    pub(super) fn rows_and_columns(&self) -> (usize, usize) {
        match self.0[..] {
            [rows, columns] => (rows, columns),
            [columns] => (1, columns),
            _ => (0, 0),
        }
    }

    /// The lengths of its axes.
    #[must_use]
    pub fn lens(&self) -> &[usize] {
        &self.0
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        for (index, len) in self.0.iter().take(8).enumerate() {
            write!(f, "{}{len}", if index == 0 { "" } else { ", " })?;
        }
        f.write_str(if self.0.len() > 8 { ", …)" } else { ")" })
    }
}

/// Where one of our tensors lies among the published ones.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// Our name.
    pub(super) name: String,
    /// Our shape.
    pub(super) shape: Shape,
    /// The published tensor that has its rows.
    pub(super) tensor: String,
    /// The shape of the published tensor.
    pub(super) whole: Shape,
    /// Its first row there.
    pub(super) first_row: usize,
}

/// How a folder spells the tensors of an encoder; a decoder has one spelling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Spelling {
    /// Whether names begin with "bert.".
    has_prefix: bool,
    /// Whether layer norms have gamma and beta.
    has_greek_norms: bool,
}

impl Spelling {
    /// The spelling of the file in which `has` finds tensors by name.
    pub(super) fn find(config: &SourceConfig, has: impl Fn(&str) -> bool) -> Self {
        if config.architecture != Architecture::Bert {
            return Self::default();
        }
        let has_prefix = has("bert.embeddings.word_embeddings.weight");
        let prefix = if has_prefix { "bert." } else { "" };
        let has_greek_norms = has(&format!("{prefix}embeddings.LayerNorm.gamma"));
        Self { has_prefix, has_greek_norms }
    }

    fn of_encoder(self, name: &str) -> String {
        let prefix = if self.has_prefix { "bert." } else { "" };
        match name {
            "embedding" => return format!("{prefix}embeddings.word_embeddings.weight"),
            "position" => return format!("{prefix}embeddings.position_embeddings.weight"),
            "token-type" => return format!("{prefix}embeddings.token_type_embeddings.weight"),
            _ => {}
        }
        let (name, end) = match name.strip_suffix(".bias") {
            Some(name) => (name, "bias"),
            None => (name, "weight"),
        };
        let (folder, name) = match split_layer(name) {
            Some((layer, name)) => (format!("encoder.layer.{layer}."), name),
            None => (String::new(), name),
        };
        let name = match name {
            "embedding-norm" => "embeddings.LayerNorm",
            "attention-norm" => "attention.output.LayerNorm",
            "feed-forward-norm" => "output.LayerNorm",
            "query" => "attention.self.query",
            "key" => "attention.self.key",
            "value" => "attention.self.value",
            "output" => "attention.output.dense",
            "up" => "intermediate.dense",
            "down" => "output.dense",
            other => other,
        };
        let end = match (name.ends_with("LayerNorm") && self.has_greek_norms, end) {
            (true, "weight") => "gamma",
            (true, _) => "beta",
            (false, end) => end,
        };
        format!("{prefix}{folder}{name}.{end}")
    }
}

/// Every published tensor of a folder with this configuration, with its shape (rows, columns).
#[must_use]
pub fn expected_tensors(config: &SourceConfig) -> Vec<(String, Shape)> {
    let mut tensors: Vec<(String, Shape)> = vec![];
    for Origin { tensor, whole, .. } in origins(config, Spelling::default()) {
        // Parts of a fused tensor follow each other.
        if tensors.iter().rev().take(3).all(|(known, _)| *known != tensor) {
            tensors.push((tensor, whole));
        }
    }
    tensors
}

/// All tensors of a folder's model.
pub(super) fn origins(config: &SourceConfig, spelling: Spelling) -> Vec<Origin> {
    let published = |(name, shape): (String, Shape)| {
        let (tensor, rows) = match config.architecture {
            Architecture::Bert => (spelling.of_encoder(&name), None),
            Architecture::Phi3 => fused_name(&name, config),
            _ => (decoder_name(&name), None),
        };
        let whole = match rows {
            Some((_, rows)) => Shape::matrix(rows, config.hidden_size),
            None => shape.clone(),
        };
        let first_row = rows.map_or(0, |(first, _)| first as usize);
        Origin { name, shape, tensor, whole, first_row }
    };
    demands(config).into_iter().map(published).collect()
}

/// Whether a folder may have this tensor without anything of it being computed.
pub(super) fn is_unused(config: &SourceConfig, name: &str) -> bool {
    if config.architecture == Architecture::Bert {
        let of_model = name.strip_prefix("bert.").unwrap_or(name);
        return name.starts_with("cls.")
            || of_model.starts_with("pooler.")
            || of_model == "embeddings.position_ids";
    }
    // The rotation's speeds, which follow from the configuration.
    split_layer(name.strip_prefix("model.").unwrap_or(name))
        .is_some_and(|(_, name)| name == "self_attn.rotary_emb.inv_freq")
}

/// Every tensor of a model by our name, with its shape (rows, columns).
#[must_use]
pub fn demands(config: &SourceConfig) -> Vec<(String, Shape)> {
    let hidden = config.hidden_size;
    let is_encoder = config.architecture == Architecture::Bert;
    let embedding = Shape::matrix(config.vocabulary_size, hidden);
    let mut tensors = vec![("embedding".to_owned(), embedding.clone())];
    if is_encoder {
        let positions = Shape::matrix(config.position_count, hidden);
        tensors.push(("position".to_owned(), positions));
        let types = Shape::matrix(config.token_type_count, hidden);
        tensors.push(("token-type".to_owned(), types));
        tensors.push(("embedding-norm".to_owned(), Shape::vector(hidden)));
        tensors.push(("embedding-norm.bias".to_owned(), Shape::vector(hidden)));
    }
    let of_layer = layer_demands(config, is_encoder);
    for layer in 0..config.layer_count {
        let named =
            |(name, shape): &(String, Shape)| (format!("layer.{layer}.{name}"), shape.clone());
        tensors.extend(of_layer.iter().map(named));
    }
    if !is_encoder {
        tensors.push(("final-norm".to_owned(), Shape::vector(hidden)));
        if !config.is_head_tied {
            tensors.push(("head".to_owned(), embedding));
        }
    }
    tensors
}

fn layer_demands(config: &SourceConfig, is_encoder: bool) -> Vec<(String, Shape)> {
    let (hidden, feed_forward) = (config.hidden_size, config.intermediate_size);
    let queries = config.head_count * config.head_dim;
    let keys = config.kv_head_count * config.head_dim;
    let mut tensors = vec![];
    let mut linear = |name: &str, rows, columns, has_bias| {
        tensors.push((name.to_owned(), Shape::matrix(rows, columns)));
        if has_bias {
            tensors.push((format!("{name}.bias"), Shape::vector(rows)));
        }
    };
    let biases = config.biases;
    linear("query", queries, hidden, biases.query_key_value);
    linear("key", keys, hidden, biases.query_key_value);
    linear("value", keys, hidden, biases.query_key_value);
    linear("output", hidden, queries, biases.output);
    if !is_encoder {
        linear("gate", feed_forward, hidden, biases.feed_forward);
    }
    linear("up", feed_forward, hidden, biases.feed_forward);
    linear("down", hidden, feed_forward, biases.feed_forward);
    for name in ["attention-norm", "feed-forward-norm"] {
        tensors.push((name.to_owned(), Shape::vector(hidden)));
        if is_encoder {
            tensors.push((format!("{name}.bias"), Shape::vector(hidden)));
        }
    }
    if config.has_head_norms {
        for name in ["query-norm", "key-norm"] {
            tensors.push((name.to_owned(), Shape::vector(config.head_dim)));
        }
    }
    tensors
}

/// The published tensor of a family that fuses some, with (first row, rows of all) of a part.
fn fused_name(name: &str, config: &SourceConfig) -> (String, Option<(u32, u32)>) {
    let queries = config.head_count * config.head_dim;
    let keys = config.kv_head_count * config.head_dim;
    let feed_forward = config.intermediate_size;
    let part = split_layer(name).and_then(|(layer, name)| {
        let (tensor, first, rows) = match name {
            "query" => ("self_attn.qkv_proj", 0, queries + 2 * keys),
            "key" => ("self_attn.qkv_proj", queries, queries + 2 * keys),
            "value" => ("self_attn.qkv_proj", queries + keys, queries + 2 * keys),
            "gate" => ("mlp.gate_up_proj", 0, 2 * feed_forward),
            "up" => ("mlp.gate_up_proj", feed_forward, 2 * feed_forward),
            _ => return None,
        };
        Some((format!("model.layers.{layer}.{tensor}.weight"), Some((first, rows))))
    });
    part.unwrap_or_else(|| (decoder_name(name), None))
}

/// The name that Hugging Face gives one of our tensors of a decoder.
fn decoder_name(name: &str) -> String {
    let (name, end) = match name.strip_suffix(".bias") {
        Some(name) => (name, "bias"),
        None => (name, "weight"),
    };
    let Some((layer, name)) = split_layer(name) else {
        return match name {
            "embedding" => "model.embed_tokens.weight".to_owned(),
            "final-norm" => "model.norm.weight".to_owned(),
            _ => "lm_head.weight".to_owned(),
        };
    };
    let name = match name {
        "attention-norm" => "input_layernorm",
        "feed-forward-norm" => "post_attention_layernorm",
        "query" => "self_attn.q_proj",
        "key" => "self_attn.k_proj",
        "value" => "self_attn.v_proj",
        "output" => "self_attn.o_proj",
        "query-norm" => "self_attn.q_norm",
        "key-norm" => "self_attn.k_norm",
        "gate" => "mlp.gate_proj",
        "up" => "mlp.up_proj",
        "down" => "mlp.down_proj",
        other => other,
    };
    format!("model.layers.{layer}.{name}.{end}")
}

/// Layer and rest of "layer.N.rest" or "layers.N.rest".
pub(super) fn split_layer(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix("layer.").or_else(|| name.strip_prefix("layers."))?.split_once('.')
}
