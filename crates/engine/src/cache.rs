//! The keys and values of one sequence: int8 with one power of two per token and head.
//!
//! Attention reads nothing else, for the tokens of its own chunk too, so it cannot matter how a
//! prompt was cut into chunks (`spec/arithmetic.md`, KV cache).

use crate::model::Configuration;

/// Bytes of a head beside its rows: the struct, and what an allocator adds to each of four blocks.
const HEAD_BYTES: usize = size_of::<Head>() + 4 * 16;

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

    /// The first `len` positions, with room for `capacity`.
    pub(crate) fn fork(&self, len: usize, capacity: usize, head_dim: usize) -> Self {
        let heads = self.heads.iter().map(|head| {
            let mut fork = Head::default();
            fork.reserve(capacity, head_dim);
            fork.keys.extend_from_slice(&head.keys[..len * head_dim]);
            fork.values.extend_from_slice(&head.values[..len * head_dim]);
            fork.key_bits.extend_from_slice(&head.key_bits[..len]);
            fork.value_bits.extend_from_slice(&head.value_bits[..len]);
            fork
        });
        Self { heads: heads.collect(), kv_heads: self.kv_heads }
    }

    /// Makes room for `capacity` positions in all.
    pub(crate) fn reserve(&mut self, capacity: usize, head_dim: usize) {
        self.heads.iter_mut().for_each(|head| head.reserve(capacity, head_dim));
    }

    /// Gives back what no position uses.
    pub(crate) fn shrink(&mut self) {
        for head in &mut self.heads {
            head.keys.shrink_to_fit();
            head.values.shrink_to_fit();
            head.key_bits.shrink_to_fit();
            head.value_bits.shrink_to_fit();
        }
    }

    /// Memory in bytes, room included.
    pub(crate) fn bytes(&self) -> u64 {
        let heads = self.heads.iter().map(|head| {
            let bits = head.key_bits.capacity() + head.value_bits.capacity();
            head.keys.capacity() + head.values.capacity() + bits * size_of::<i16>() + HEAD_BYTES
        });
        heads.sum::<usize>() as u64
    }

    /// Memory in bytes of a cache with room for `capacity` positions and no more.
    pub(crate) fn bytes_of(configuration: &Configuration, capacity: usize) -> u64 {
        let heads = u64::from(configuration.layers) * u64::from(configuration.kv_heads);
        let row = 2 * u64::from(configuration.head_dim) + 2 * size_of::<i16>() as u64;
        heads * (capacity as u64 * row + HEAD_BYTES as u64)
    }
}

impl Head {
    fn reserve(&mut self, capacity: usize, head_dim: usize) {
        let more = |len: usize, capacity: usize| capacity.saturating_sub(len);
        self.keys.reserve_exact(more(self.keys.len(), capacity * head_dim));
        self.values.reserve_exact(more(self.values.len(), capacity * head_dim));
        self.key_bits.reserve_exact(more(self.key_bits.len(), capacity));
        self.value_bits.reserve_exact(more(self.value_bits.len(), capacity));
    }
}
