//! The tensors of each family: our names with their shapes, and what published files call them.

use std::fmt;

use super::config::SourceConfig;

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

/// Every published tensor of a folder with this configuration, with its shape (rows, columns).
#[must_use]
pub fn expected_tensors(config: &SourceConfig) -> Vec<(String, Shape)> {
    let mut tensors: Vec<(String, Shape)> = vec![];
    for Origin { tensor, whole, .. } in origins(config) {
        if tensors.iter().all(|(known, _)| *known != tensor) {
            tensors.push((tensor, whole));
        }
    }
    tensors
}

/// All tensors of a folder's model.
pub(super) fn origins(config: &SourceConfig) -> Vec<Origin> {
    let published = |(name, shape): (String, Shape)| {
        let tensor = published_name(&name);
        Origin { name, tensor, whole: shape.clone(), shape, first_row: 0 }
    };
    demands(config).into_iter().map(published).collect()
}

/// Every tensor of a model by our name, with its shape (rows, columns).
#[must_use]
pub fn demands(config: &SourceConfig) -> Vec<(String, Shape)> {
    let (hidden, feed_forward) = (config.hidden_size, config.intermediate_size);
    let queries = config.head_count * config.head_dim;
    let keys = config.kv_head_count * config.head_dim;
    let of_layer = [
        ("attention-norm", Shape::vector(hidden)),
        ("query", Shape::matrix(queries, hidden)),
        ("key", Shape::matrix(keys, hidden)),
        ("value", Shape::matrix(keys, hidden)),
        ("output", Shape::matrix(hidden, queries)),
        ("feed-forward-norm", Shape::vector(hidden)),
        ("gate", Shape::matrix(feed_forward, hidden)),
        ("up", Shape::matrix(feed_forward, hidden)),
        ("down", Shape::matrix(hidden, feed_forward)),
    ];
    let embedding = Shape::matrix(config.vocabulary_size, hidden);
    let mut tensors = vec![("embedding".to_owned(), embedding.clone())];
    for layer in 0..config.layer_count {
        let named =
            |(name, shape): &(&str, Shape)| (format!("layer.{layer}.{name}"), shape.clone());
        tensors.extend(of_layer.iter().map(named));
    }
    tensors.push(("final-norm".to_owned(), Shape::vector(hidden)));
    if !config.is_head_tied {
        tensors.push(("head".to_owned(), embedding));
    }
    tensors
}

/// The name that Hugging Face gives one of our tensors.
fn published_name(name: &str) -> String {
    let known = match name {
        "embedding" => Some("model.embed_tokens.weight"),
        "final-norm" => Some("model.norm.weight"),
        "head" => Some("lm_head.weight"),
        _ => None,
    };
    if let Some(name) = known {
        return name.to_owned();
    }
    let rest = name.strip_prefix("layer.").unwrap_or(name);
    let (layer, name) = rest.split_once('.').unwrap_or((rest, ""));
    let name = match name {
        "attention-norm" => "input_layernorm",
        "feed-forward-norm" => "post_attention_layernorm",
        "query" => "self_attn.q_proj",
        "key" => "self_attn.k_proj",
        "value" => "self_attn.v_proj",
        "output" => "self_attn.o_proj",
        "gate" => "mlp.gate_proj",
        "up" => "mlp.up_proj",
        "down" => "mlp.down_proj",
        other => other,
    };
    format!("model.layers.{layer}.{name}.weight")
}
