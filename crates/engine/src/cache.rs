//! The keys and values of one sequence: int8 with one power of two per token and head.
//!
//! Attention reads nothing else, for the tokens of its own chunk too, so it cannot matter how a
//! prompt was cut into chunks (`spec/arithmetic.md`, KV cache).

use crate::model::Configuration;

/// Keys and values of every layer and head, in the order of positions.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    /// One per layer and head, layer by layer.
    heads: Vec<Head>,
    kv_heads: usize,
}

/// One head's part of one layer: grows by one row per position.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    /// (positions, `head_dim`)
    pub(crate) keys: Vec<i8>,
    /// (positions, `head_dim`)
    pub(crate) values: Vec<i8>,
    /// (positions,) fraction bits of the keys.
    pub(crate) key_bits: Vec<i16>,
    /// (positions,) fraction bits of the values.
    pub(crate) value_bits: Vec<i16>,
}

impl Cache {
    pub(crate) fn new(configuration: &Configuration) -> Self {
        let kv_heads = configuration.kv_heads as usize;
        Self { heads: vec![Head::default(); configuration.layers as usize * kv_heads], kv_heads }
    }

    /// The heads of one layer.
    pub(crate) fn layer(&self, layer: usize) -> &[Head] {
        &self.heads[layer * self.kv_heads..(layer + 1) * self.kv_heads]
    }

    pub(crate) fn layer_mut(&mut self, layer: usize) -> &mut [Head] {
        &mut self.heads[layer * self.kv_heads..(layer + 1) * self.kv_heads]
    }

    /// Forgets every position from `len` on: a pass that failed half-way leaves no trace.
    pub(crate) fn truncate(&mut self, len: usize, head_dim: usize) {
        for head in &mut self.heads {
            head.keys.truncate(len * head_dim);
            head.values.truncate(len * head_dim);
            head.key_bits.truncate(len);
            head.value_bits.truncate(len);
        }
    }
}
