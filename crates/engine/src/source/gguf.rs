//! GGUF files: one file with weights, tokenizer and chat template.
//!
//! Read as strictly as a folder: every count, length and offset is compared with the file before
//! anything is allocated, keys of the architecture that are not known are refused by name, and
//! so are tensors that are not part of the model. Quantised blocks become the exact numbers that
//! they mean.

use std::collections::{BTreeMap, BTreeSet};

use super::config::{Architecture, Biases, SourceConfig};
use super::element::Dyadic;
use super::error::{SourceError, shown};
use super::tensors::{Shape, demands, split_layer};
use super::text::SourceText;
use super::weights::{Place, RowOrder, Weights};

pub mod error;
pub mod header;
mod keys;
#[cfg(test)]
mod tests;
mod tokenizer;
mod tokenizer_parts;

pub use error::GgufError;

use header::{Described, Header};
use keys::{Keys, Tensors};

/// What a file of this format says.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The model's shape.
    pub config: SourceConfig,
    /// Its tensors.
    pub weights: Weights,
    /// A `tokenizer.json` made from the file's tokens.
    pub tokenizer: Vec<u8>,
    /// Chat template and the texts of its tokens.
    pub text: SourceText,
}

impl Contents {
    /// Parses a file.
    ///
    /// # Errors
    /// The first fault found, naming key or tensor and what was expected there.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, SourceError> {
        let header = Header::parse(&bytes)?;
        let mut keys = Keys::new(&header)?;
        let architecture = keys.architecture()?;
        let tensors = appraise_tensors(&header, &bytes)?;
        let mut config = keys.config(&tensors)?;
        let tokens = tokenizer::Tokens::parse(&mut keys, &config)?;
        (config.begin_token, config.end_tokens) = (tokens.begin_token(), tokens.end_tokens());
        let tokenizer = tokens.encode(architecture, bytes.len())?;
        let text = tokens.into_text();
        let places = find(&header, &config)?;
        drop(header);
        let weights = Weights::new(vec![bytes], places);
        Ok(Self { config, weights, tokenizer, text })
    }
}

/// What tensors alone say about the model.
fn appraise_tensors(header: &Header<'_>, bytes: &[u8]) -> Result<Tensors, SourceError> {
    let has = |name: &str| header.tensors.contains_key(name);
    let name = "token_embd.weight";
    let embedding = header.tensors.get(name).ok_or_else(|| SourceError::TensorMissing {
        name: name.to_owned(),
        expected: Shape(vec![]),
    })?;
    let rope_factors = header.tensors.get("rope_freqs.weight");
    Ok(Tensors {
        vocabulary_size: keys::vocabulary_size(embedding.rows)?,
        has_head: has("output.weight"),
        biases: Biases {
            query_key_value: has("blk.0.attn_q.bias"),
            output: has("blk.0.attn_output.bias"),
            feed_forward: has("blk.0.ffn_gate.bias"),
        },
        rope_factors: rope_factors.map(|tensor| rope_factors_of(tensor, bytes)).transpose()?,
    })
}

fn rope_factors_of(tensor: &Described, bytes: &[u8]) -> Result<Vec<Dyadic>, SourceError> {
    let name = "rope_freqs.weight".to_owned();
    let limit = super::config::HEAD_DIM_MAX as usize;
    let shape =
        if tensor.is_vector { vec![tensor.columns] } else { vec![tensor.rows, tensor.columns] };
    if !tensor.is_vector || tensor.columns > limit {
        let (expected, found) = (Shape(vec![limit]), Shape(shape));
        return Err(SourceError::TensorShape { name, expected, found });
    }
    let size = tensor.encoding.size_bytes(tensor.columns).unwrap_or_default();
    let bytes = bytes.get(tensor.start..).and_then(|rest| rest.get(..size)).unwrap_or_default();
    let mut factors = vec![];
    let parsed = tensor.encoding.parse(bytes, &mut factors);
    parsed.map_err(|column| SourceError::NotFinite { name, row: 0, column })?;
    Ok(factors)
}

/// Where each of our tensors lies, once all of them are there and no others.
fn find(
    header: &Header<'_>,
    config: &SourceConfig,
) -> Result<BTreeMap<String, Place>, SourceError> {
    let mut places = BTreeMap::new();
    let mut used = BTreeSet::new();
    if config.architecture == Architecture::Llama {
        used.insert("rope_freqs.weight".to_owned());
    }
    for (name, shape) in demands(config) {
        let (tensor, rows) = file_name(&name, config);
        let whole = match rows {
            Some((_, rows)) => Shape::matrix(rows, config.hidden_size),
            None => shape.clone(),
        };
        let found = header.tensors.get(tensor.as_str()).ok_or_else(|| {
            SourceError::TensorMissing { name: tensor.clone(), expected: whole.clone() }
        })?;
        let place = place(&tensor, found, whole, order(&name, config))?;
        places.insert(name, place.portion(shape, rows.map_or(0, |(first, _)| first as usize)));
        used.insert(tensor);
    }
    match header.tensors.iter().find(|(name, _)| !used.contains(**name)) {
        Some((name, found)) => Err(SourceError::TensorExtra {
            name: shown(name),
            found: Shape(vec![found.rows, found.columns]),
        }),
        None => Ok(places),
    }
}

fn place(
    name: &str,
    found: &Described,
    expected: Shape,
    order: RowOrder,
) -> Result<Place, SourceError> {
    let shape = match (found.is_vector, found.rows) {
        (true, _) => Shape(vec![found.columns]),
        (false, rows) => Shape(vec![rows, found.columns]),
    };
    if shape != expected {
        return Err(SourceError::TensorShape { name: name.to_owned(), expected, found: shape });
    }
    Ok(Place { encoding: found.encoding, shape, file: 0, start: found.start, order })
}

/// Queries and keys of this format's llama lie as pairs of neighbours, where a folder's lie half
/// a head apart.
fn order(name: &str, config: &SourceConfig) -> RowOrder {
    let is_paired = split_layer(name)
        .is_some_and(|(_, name)| matches!(name, "query" | "key" | "query.bias" | "key.bias"));
    match config.architecture {
        Architecture::Llama if is_paired => RowOrder::Paired { head_dim: config.head_dim as usize },
        _ => RowOrder::Plain,
    }
}

/// The name of one of our tensors in the file, with (first row, rows of all) of a fused part.
fn file_name(name: &str, config: &SourceConfig) -> (String, Option<(u32, u32)>) {
    let (name, end) = match name.strip_suffix(".bias") {
        Some(name) => (name, "bias"),
        None => (name, "weight"),
    };
    let Some((layer, name)) = split_layer(name) else {
        let name = match name {
            "embedding" => "token_embd.weight",
            "final-norm" => "output_norm.weight",
            _ => "output.weight",
        };
        return (name.to_owned(), None);
    };
    let queries = config.head_count * config.head_dim;
    let keys = config.kv_head_count * config.head_dim;
    let feed_forward = config.intermediate_size;
    let is_fused = config.architecture == Architecture::Phi3;
    let (name, rows) = match name {
        "query" if is_fused => ("attn_qkv", Some((0, queries + 2 * keys))),
        "key" if is_fused => ("attn_qkv", Some((queries, queries + 2 * keys))),
        "value" if is_fused => ("attn_qkv", Some((queries + keys, queries + 2 * keys))),
        "gate" if is_fused => ("ffn_up", Some((0, 2 * feed_forward))),
        "up" if is_fused => ("ffn_up", Some((feed_forward, 2 * feed_forward))),
        "attention-norm" => ("attn_norm", None),
        "feed-forward-norm" => ("ffn_norm", None),
        "query" => ("attn_q", None),
        "key" => ("attn_k", None),
        "value" => ("attn_v", None),
        "output" => ("attn_output", None),
        "query-norm" => ("attn_q_norm", None),
        "key-norm" => ("attn_k_norm", None),
        "gate" => ("ffn_gate", None),
        "up" => ("ffn_up", None),
        "down" => ("ffn_down", None),
        other => (other, None),
    };
    (format!("blk.{layer}.{name}.{end}"), rows)
}
