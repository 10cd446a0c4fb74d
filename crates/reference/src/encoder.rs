//! The encoders of the BERT family: norms after the residual, attention to every position.

use ndarray::{Array2, Axis, Slice};

use tally_engine::source::{Pooling, PoolingKind, SourceConfig, Weights};

use crate::attention::{Sight, attend};
use crate::error::ReferenceError;
use crate::load::{decimal, linear, matrix, vector};
use crate::matrix::{Linear, gelu, layer_norm};

/// An encoder's weights and what its arithmetic needs beside them.
#[derive(Debug)]
pub(crate) struct Encoder {
    embedding: Array2<f32>,
    position: Array2<f32>,
    /// The row of the only type of token that a single text has.
    token_type: Vec<f32>,
    embedding_norm: Norm,
    layers: Vec<Layer>,
    pooling: Pooling,
    epsilon: f64,
    head_dim: usize,
}

#[derive(Debug)]
struct Norm {
    gain: Vec<f32>,
    bias: Vec<f32>,
}

#[derive(Debug)]
struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    attention_norm: Norm,
    up: Linear,
    down: Linear,
    feed_forward_norm: Norm,
}

impl Encoder {
    pub(crate) fn load(
        config: &SourceConfig,
        weights: &Weights,
        pooling: Pooling,
    ) -> Result<Self, ReferenceError> {
        let width = config.hidden_size as usize;
        let matrix = |name| {
            let rows = weights.tensor(name).map_or(0, |tensor| tensor.row_count());
            matrix(weights, name, [rows, width])
        };
        Ok(Self {
            embedding: matrix("embedding")?,
            // There may be more positions than texts are allowed to have.
            position: matrix("position")?,
            token_type: matrix("token-type")?.row(0).to_vec(),
            embedding_norm: Norm::load(weights, "embedding-norm", width)?,
            layers: (0..config.layer_count)
                .map(|index| Layer::load(config, weights, index))
                .collect::<Result<_, _>>()?,
            pooling,
            epsilon: decimal(config.norm_eps),
            head_dim: config.head_dim as usize,
        })
    }

    /// (tokens,) → (width,)
    pub(crate) fn embed(&self, tokens: &[u32]) -> Vec<f32> {
        let hidden = self.run(tokens);
        let mut pooled: Vec<f64> = match self.pooling.kind {
            PoolingKind::Cls => hidden.row(0).iter().map(|value| f64::from(*value)).collect(),
            PoolingKind::Mean => {
                let mean = |column: ndarray::ArrayView1<'_, f32>| {
                    column.iter().map(|value| f64::from(*value)).sum::<f64>() / column.len() as f64
                };
                hidden.columns().into_iter().map(mean).collect()
            }
        };
        if self.pooling.is_normalised {
            let length = pooled.iter().map(|value| value.powi(2)).sum::<f64>().sqrt();
            pooled.iter_mut().for_each(|value| *value /= length.max(1e-12));
        }
        pooled.into_iter().map(|value| value as f32).collect()
    }

    /// (tokens,) → (tokens, width)
    fn run(&self, tokens: &[u32]) -> Array2<f32> {
        let rows: Vec<usize> = tokens.iter().map(|token| *token as usize).collect();
        let mut hidden = self.embedding.select(Axis(0), &rows);
        hidden += &self.position.slice_axis(Axis(0), Slice::from(..tokens.len()));
        hidden += &ndarray::aview1(&self.token_type);
        self.norm(&mut hidden, &self.embedding_norm);
        for layer in &self.layers {
            let input = &hidden;
            let queries = layer.query.apply(input);
            let (keys, values) = (layer.key.apply(input), layer.value.apply(input));
            let mixed = attend(&queries, &keys, &values, self.head_dim, Sight::All);
            hidden += &layer.output.apply(&mixed);
            self.norm(&mut hidden, &layer.attention_norm);
            let mut inner = layer.up.apply(&hidden);
            inner.mapv_inplace(gelu);
            hidden += &layer.down.apply(&inner);
            self.norm(&mut hidden, &layer.feed_forward_norm);
        }
        hidden
    }

    fn norm(&self, rows: &mut Array2<f32>, norm: &Norm) {
        layer_norm(rows, &norm.gain, &norm.bias, self.epsilon);
    }
}

impl Norm {
    fn load(weights: &Weights, name: &str, width: usize) -> Result<Self, ReferenceError> {
        let bias = format!("{name}.bias");
        Ok(Self { gain: vector(weights, name, width)?, bias: vector(weights, &bias, width)? })
    }
}

impl Layer {
    fn load(config: &SourceConfig, weights: &Weights, index: u32) -> Result<Self, ReferenceError> {
        let (width, inner) = (config.hidden_size as usize, config.intermediate_size as usize);
        let name = |part: &str| format!("layer.{index}.{part}");
        let linear = |part, shape| linear(weights, &name(part), shape, true);
        let norm = |part| Norm::load(weights, &name(part), width);
        Ok(Self {
            query: linear("query", [width, width])?,
            key: linear("key", [width, width])?,
            value: linear("value", [width, width])?,
            output: linear("output", [width, width])?,
            attention_norm: norm("attention-norm")?,
            up: linear("up", [inner, width])?,
            down: linear("down", [width, inner])?,
            feed_forward_norm: norm("feed-forward-norm")?,
        })
    }
}
