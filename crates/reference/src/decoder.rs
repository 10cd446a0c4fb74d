//! The decoders: Llama and its relatives, which differ in biases, head norms and windows.

use ndarray::{Array2, Axis};

use tally_engine::source::{SourceConfig, Weights};

use crate::attention::{Sight, attend};
use crate::error::ReferenceError;
use crate::load::{decimal, linear, matrix, vector};
use crate::matrix::{Linear, rms_norm, silu, times};
use crate::rotation::Speeds;

/// A decoder's weights and what its arithmetic needs beside them.
#[derive(Debug)]
pub(crate) struct Decoder {
    embedding: Array2<f32>,
    layers: Vec<Layer>,
    final_norm: Vec<f32>,
    /// `None` where the embedding is the output projection.
    head: Option<Array2<f32>>,
    speeds: Speeds,
    epsilon: f64,
    head_dim: usize,
}

#[derive(Debug)]
struct Layer {
    attention_norm: Vec<f32>,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    /// Gains of the norms of each query head and each key head.
    head_norms: Option<(Vec<f32>, Vec<f32>)>,
    feed_forward_norm: Vec<f32>,
    gate: Linear,
    up: Linear,
    down: Linear,
    sight: Sight,
}

impl Decoder {
    pub(crate) fn load(config: &SourceConfig, weights: &Weights) -> Result<Self, ReferenceError> {
        let (width, vocabulary) = (config.hidden_size as usize, config.vocabulary_size as usize);
        let head_dim = config.head_dim as usize;
        let rotation = config.rotation.as_ref();
        let rotation = rotation.ok_or(ReferenceError::Lacking { what: "rotation" })?;
        let head = || matrix(weights, "head", [vocabulary, width]);
        Ok(Self {
            embedding: matrix(weights, "embedding", [vocabulary, width])?,
            layers: (0..config.layer_count)
                .map(|index| Layer::load(config, weights, index))
                .collect::<Result<_, _>>()?,
            final_norm: vector(weights, "final-norm", width)?,
            head: (!config.is_head_tied).then(head).transpose()?,
            speeds: Speeds::new(rotation, head_dim),
            epsilon: decimal(config.norm_eps),
            head_dim,
        })
    }

    /// (tokens,) → (tokens, width) after every layer, each given to `on_layer` with its index.
    pub(crate) fn run(&self, tokens: &[u32], mut on_layer: impl FnMut(usize, &Array2<f32>)) {
        let rows: Vec<usize> = tokens.iter().map(|token| *token as usize).collect();
        let mut hidden = self.embedding.select(Axis(0), &rows);
        for (index, layer) in self.layers.iter().enumerate() {
            self.attend(layer, &mut hidden);
            self.feed_forward(layer, &mut hidden);
            on_layer(index, &hidden);
        }
    }

    pub(crate) const fn layer_count(&self) -> usize {
        self.layers.len()
    }

    /// (n, width) → (n, vocabulary)
    pub(crate) fn head(&self, mut hidden: Array2<f32>) -> Array2<f32> {
        rms_norm(&mut hidden, &self.final_norm, self.epsilon);
        times(&hidden, self.head.as_ref().unwrap_or(&self.embedding))
    }

    fn attend(&self, layer: &Layer, hidden: &mut Array2<f32>) {
        let mut input = hidden.clone();
        rms_norm(&mut input, &layer.attention_norm, self.epsilon);
        let mut queries = layer.query.apply(&input);
        let mut keys = layer.key.apply(&input);
        let values = layer.value.apply(&input);
        if let Some((query_norm, key_norm)) = &layer.head_norms {
            self.norm_heads(&mut queries, query_norm);
            self.norm_heads(&mut keys, key_norm);
        }
        self.speeds.rotate(&mut queries);
        self.speeds.rotate(&mut keys);
        let mixed = attend(&queries, &keys, &values, self.head_dim, layer.sight);
        *hidden += &layer.output.apply(&mixed);
    }

    fn norm_heads(&self, rows: &mut Array2<f32>, gain: &[f32]) {
        for mut heads in rows.axis_chunks_iter_mut(Axis(1), self.head_dim) {
            let mut own = heads.to_owned();
            rms_norm(&mut own, gain, self.epsilon);
            heads.assign(&own);
        }
    }

    fn feed_forward(&self, layer: &Layer, hidden: &mut Array2<f32>) {
        let mut input = hidden.clone();
        rms_norm(&mut input, &layer.feed_forward_norm, self.epsilon);
        let mut gated = layer.gate.apply(&input);
        gated.mapv_inplace(silu);
        gated *= &layer.up.apply(&input);
        *hidden += &layer.down.apply(&gated);
    }
}

impl Layer {
    fn load(config: &SourceConfig, weights: &Weights, index: u32) -> Result<Self, ReferenceError> {
        let (width, inner) = (config.hidden_size as usize, config.intermediate_size as usize);
        let head_dim = config.head_dim as usize;
        let queries = config.head_count as usize * head_dim;
        let keys = config.kv_head_count as usize * head_dim;
        let name = |part: &str| format!("layer.{index}.{part}");
        let norm = |part, len| vector(weights, &name(part), len);
        let linear = |part, shape, is_biased| linear(weights, &name(part), shape, is_biased);
        let biases = &config.biases;
        let head_norms = || {
            Ok::<_, ReferenceError>((norm("query-norm", head_dim)?, norm("key-norm", head_dim)?))
        };
        let window = config.window.as_ref().filter(|window| index >= window.first_layer);
        Ok(Self {
            attention_norm: norm("attention-norm", width)?,
            query: linear("query", [queries, width], biases.query_key_value)?,
            key: linear("key", [keys, width], biases.query_key_value)?,
            value: linear("value", [keys, width], biases.query_key_value)?,
            output: linear("output", [width, queries], biases.output)?,
            head_norms: config.has_head_norms.then(head_norms).transpose()?,
            feed_forward_norm: norm("feed-forward-norm", width)?,
            gate: linear("gate", [inner, width], biases.feed_forward)?,
            up: linear("up", [inner, width], biases.feed_forward)?,
            down: linear("down", [width, inner], biases.feed_forward)?,
            sight: window.map_or(Sight::Earlier, |window| Sight::Window(window.len as usize)),
        })
    }
}
