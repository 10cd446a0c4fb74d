//! Tiny random models for tests, and the same models in floating point.
#![expect(
    clippy::cast_precision_loss,
    clippy::too_many_lines,
    reason = "a reference in floating point"
)]

use std::sync::{Arc, OnceLock};

use tally_core::Digest;

use crate::model::container::{self, Content};
use crate::model::manifest::{Configuration, Provenance};
use crate::model::{Model, WeightKind, layout};
use crate::source::{Biases, Decimal, Pooling, PoolingKind, Window};

use super::quantise::Dyadic;
use super::weights::{Rest, Tensors};
use super::{ImportError, Recipe, build, tables};

/// The shape of the models of most tests: odd enough to have tails everywhere.
pub(crate) fn configuration() -> Configuration {
    Configuration {
        vocabulary: 97,
        width: 40,
        hidden: 72,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 10,
        context: 96,
        tied: true,
        residual_bits: 0,
        norm_epsilon: 0,
        logit_bits: 16,
        begin_token: Some(1),
        end_tokens: vec![0],
        begin_text: String::new(),
        end_text: "<|end|>".to_owned(),
        weights: WeightKind::Int8,
        biases: Biases::default(),
        head_norm_epsilon: None,
        window: None,
        pooling: None,
    }
}

/// One model for each thing that a decoder may have, by name.
pub(crate) fn variants() -> Vec<(&'static str, Configuration)> {
    let all = Biases { query_key_value: true, output: true, feed_forward: true };
    let wide = Configuration { width: 64, hidden: 96, head_dim: 16, ..configuration() };
    let with = |change: fn(&mut Configuration)| {
        let mut changed = wide.clone();
        change(&mut changed);
        changed
    };
    vec![
        ("tails", configuration()),
        ("int4", with(|c| c.weights = WeightKind::Int4)),
        ("int8 groups", with(|c| c.weights = WeightKind::Int8Groups)),
        ("biases", Configuration { biases: all, ..configuration() }),
        ("head norms", with(|c| c.head_norm_epsilon = Some(1 << 20))),
        ("window", with(|c| c.window = Some(Window { len: 5, first_layer: 1 }))),
        ("own head", with(|c| c.tied = false)),
    ]
}

/// A small encoder.
pub(crate) fn encoder(kind: PoolingKind, is_normalised: bool) -> Configuration {
    Configuration {
        kv_heads: 4,
        tied: false,
        logit_bits: 0,
        begin_token: None,
        end_tokens: vec![],
        biases: Biases { query_key_value: true, output: true, feed_forward: true },
        pooling: Some(Pooling { kind, is_normalised }),
        ..configuration()
    }
}

/// Tensors of reproducible random numbers of 8 bits, so that int8 rows hold them exactly, scaled by `gain_exponent` more where named.
#[derive(Clone, Debug)]
pub(crate) struct RandomTensors {
    pub(crate) seed: u64,
    /// Exponent of every matrix element's mantissa.
    pub(crate) exponent: i32,
    /// A name's ending and an exponent to add for tensors that have it.
    pub(crate) louder: Option<(&'static str, i32)>,
}

impl Default for RandomTensors {
    fn default() -> Self {
        Self { seed: 7, exponent: -9, louder: None }
    }
}

impl RandomTensors {
    /// Element `index` of a tensor, deterministic in seed, name and index.
    pub(crate) fn element(&self, name: &str, index: u64) -> Dyadic {
        let mut hash = self.seed ^ 0xcbf2_9ce4_8422_2325;
        for byte in name.bytes().chain(index.to_le_bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        hash = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mantissa = i128::from(hash >> 57) * 2 - 127;
        let louder = self.louder.filter(|(ending, _)| name.ends_with(ending));
        let exponent = self.exponent + louder.map_or(0, |(_, exponent)| exponent);
        if name.contains("norm") {
            // Gains of about one.
            return Dyadic { mantissa: mantissa / 2 + 128, exponent: -7 };
        }
        Dyadic { mantissa, exponent }
    }
}

impl Tensors for RandomTensors {
    fn read_row(
        &self,
        name: &str,
        row: u32,
        width: u32,
        out: &mut Vec<Dyadic>,
    ) -> Result<(), ImportError> {
        let (row, width) = (u64::from(row), u64::from(width));
        out.clear();
        out.extend((0..width).map(|i| self.element(name, row * width + i)));
        if !name.contains("norm") && !name.ends_with("bias") {
            // The row's scale is then a power of two.
            out[0].mantissa = 127;
        }
        Ok(())
    }
}

/// The bytes of a model file with these numbers and tensors.
pub(crate) fn file(
    configuration: Configuration,
    tensors: &RandomTensors,
) -> Result<Vec<u8>, ImportError> {
    let rotation = crate::source::Rotation {
        theta: Decimal::parse("10000").unwrap(),
        scaling: crate::source::RotationScaling::None,
    };
    let (head_dim, context) = (configuration.head_dim, configuration.context);
    let rotation = match configuration.pooling {
        None => tables::rotation(&rotation, head_dim, context),
        Some(_) => None,
    };
    let recipe = Recipe {
        configuration,
        provenance: Provenance {
            converter: "test".to_owned(),
            version: "0".to_owned(),
            sources: vec![],
            calibration: Digest::of_content(b""),
        },
        tensors,
        rest: Rest { rotation, tokenizer: b"{}".to_vec(), template: b"t".to_vec() },
        epsilon: Decimal::parse("1e-05").unwrap(),
        text: &[],
    };
    build(recipe, &mut |_| {})
}

/// The model of most tests, made once.
pub(crate) fn model() -> Arc<Model> {
    static MODEL: OnceLock<Arc<Model>> = OnceLock::new();
    Arc::clone(MODEL.get_or_init(|| {
        Arc::new(Model::parse(&file(configuration(), &RandomTensors::default()).unwrap()).unwrap())
    }))
}

/// Each head rounded to int8 with the least power of two: the cache's rounding is no error here.
fn cached(x: &[f64], head_dim: usize) -> Vec<f64> {
    let heads = x.chunks(head_dim).flat_map(|head| {
        let max = head.iter().fold(0_f64, |max, x| max.max(x.abs()));
        let step =
            (-40..40).map(|e| f64::from(e).exp2()).find(|step| (max / step).round() <= 127.0);
        let step = step.unwrap();
        head.iter().map(move |x| (x / step + 0.5).floor() * step)
    });
    heads.collect()
}

/// Logits after each token, in double precision from the unrounded weights.
pub(crate) fn float_logits(c: &Configuration, t: &RandomTensors, tokens: &[u32]) -> Vec<Vec<f64>> {
    let value = |d: Dyadic| d.mantissa as f64 * f64::from(d.exponent).exp2();
    let matrix = |name: &str, rows: u32, width: u32| -> Vec<Vec<f64>> {
        let mut row = vec![];
        let rows = (0..rows).map(|index| {
            t.read_row(name, index, width, &mut row).unwrap();
            row.iter().map(|d| value(*d)).collect()
        });
        rows.collect()
    };
    let times = |m: &[Vec<f64>], x: &[f64]| -> Vec<f64> {
        m.iter().map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect()
    };
    let norm = |name: &str, x: &[f64]| -> Vec<f64> {
        let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
        let mut gains = vec![];
        t.read_row(name, 0, c.width, &mut gains).unwrap();
        x.iter().zip(gains).map(|(x, g)| x * value(g) / (mean + 1e-5).sqrt()).collect()
    };
    let (head_dim, half) = (c.head_dim as usize, c.head_dim as usize / 2);
    let rotate = |x: &mut [f64], position: usize| {
        for head in x.chunks_mut(head_dim) {
            for i in 0..half {
                let angle = position as f64 * 10_000_f64.powf(-(i as f64) / half as f64);
                let (a, b) = (head[i], head[i + half]);
                head[i] = a * angle.cos() - b * angle.sin();
                head[i + half] = b * angle.cos() + a * angle.sin();
            }
        }
    };
    let embedding = matrix("embedding", c.vocabulary, c.width);
    let mut h: Vec<Vec<f64>> = tokens.iter().map(|t| embedding[*t as usize].clone()).collect();
    for layer in 0..c.layers {
        let name = |part: &str| format!("layer.{layer}.{part}");
        let q = matrix(&name("query"), c.query_rows(), c.width);
        let k = matrix(&name("key"), c.kv_rows(), c.width);
        let v = matrix(&name("value"), c.kv_rows(), c.width);
        let o = matrix(&name("output"), c.width, c.query_rows());
        let gate = matrix(&name("gate"), c.hidden, c.width);
        let up = matrix(&name("up"), c.hidden, c.width);
        let down = matrix(&name("down"), c.width, c.hidden);
        let group = (c.heads / c.kv_heads) as usize;
        let (mut keys, mut values): (Vec<Vec<f64>>, Vec<Vec<f64>>) = (vec![], vec![]);
        for (position, h) in h.iter_mut().enumerate() {
            let x = norm(&name("attention-norm"), h);
            let (mut query, mut key) = (times(&q, &x), times(&k, &x));
            rotate(&mut query, position);
            rotate(&mut key, position);
            keys.push(cached(&key, head_dim));
            values.push(cached(&times(&v, &x), head_dim));
            let mut attended = vec![];
            for (head, query) in query.chunks(head_dim).enumerate() {
                let from = head / group * head_dim;
                let of = |row: &[f64]| row[from..from + head_dim].to_vec();
                let scores = keys.iter().map(|key| {
                    let dot: f64 = of(key).iter().zip(query).map(|(k, q)| k * q).sum();
                    (dot / (head_dim as f64).sqrt()).exp()
                });
                let weights: Vec<f64> = scores.collect();
                let total: f64 = weights.iter().sum();
                let mut sum = vec![0.0; head_dim];
                for (weight, value) in weights.iter().zip(&values) {
                    for (sum, value) in sum.iter_mut().zip(of(value)) {
                        *sum += weight / total * value;
                    }
                }
                attended.extend(sum);
            }
            h.iter_mut().zip(times(&o, &attended)).for_each(|(h, x)| *h += x);
            let x = norm(&name("feed-forward-norm"), h);
            let act: Vec<f64> = times(&gate, &x)
                .iter()
                .zip(times(&up, &x))
                .map(|(g, u)| g / (1.0 + (-g).exp()) * u)
                .collect();
            h.iter_mut().zip(times(&down, &act)).for_each(|(h, x)| *h += x);
        }
    }
    let head = if c.tied { embedding } else { matrix("head", c.vocabulary, c.width) };
    h.iter().map(|h| times(&head, &norm("final-norm", h))).collect()
}

/// The same parts under a configuration with another number.
pub(crate) fn changed(file: &[u8], change: impl FnOnce(&mut Configuration)) -> Model {
    let model = Model::parse(file).unwrap();
    let mut manifest = model.manifest().clone();
    change(&mut manifest.configuration);
    let demands = layout::demands(&manifest.configuration);
    let contents: Vec<Content> = demands
        .into_iter()
        .zip(&manifest.parts)
        .map(|(demand, part)| Content {
            demand,
            fraction_bits: part.fraction_bits,
            bytes: model.part(&part.name).unwrap().to_vec(),
        })
        .collect();
    Model::parse(&container::assemble(manifest, &contents)).unwrap()
}
