//! The keys of a GGUF file: what the model computes.

use std::collections::BTreeMap;

use super::error::GgufError;
use super::header::{Header, List, Value};
use crate::fixed::RopeFrequencies;
use crate::source::config::{
    Architecture, Biases, HEAD_DIM_MAX, HEADS_MAX, LAYERS_MAX, POSITIONS_MAX, Rotation,
    RotationScaling, SourceConfig, VOCABULARY_MAX, WIDTH_MAX, Window,
};
use crate::source::decimal::Decimal;
use crate::source::element::Dyadic;
use crate::source::error::shown;

/// Keys of an architecture that do not change what it computes.
const IGNORED: [&str; 3] =
    ["rope.scaling.finetuned", "rope.scaling.original_context_length", "tensor_data_layout"];

/// Keys that are taken one by one, so that none is left over unread.
pub(super) struct Keys<'a> {
    prefix: &'a str,
    keys: BTreeMap<&'a str, Value<'a>>,
}

impl<'a> Keys<'a> {
    pub(super) fn new(header: &Header<'a>) -> Result<Self, GgufError> {
        let mut keys = Self { prefix: "", keys: header.keys.clone() };
        keys.prefix = keys.text("general.architecture")?.ok_or_else(|| GgufError::KeyMissing {
            key: "general.architecture".to_owned(),
            expected: "llama, qwen2, qwen3 or phi3",
        })?;
        Ok(keys)
    }

    pub(super) fn architecture(&self) -> Result<Architecture, GgufError> {
        match self.prefix {
            "llama" => Ok(Architecture::Llama),
            "qwen2" => Ok(Architecture::Qwen2),
            "qwen3" => Ok(Architecture::Qwen3),
            "phi3" => Ok(Architecture::Phi3),
            other => Err(refused("general.architecture", other, "llama, qwen2, qwen3 or phi3")),
        }
    }

    /// The key of the architecture with this name.
    fn own(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    fn take<T>(
        &mut self,
        key: &str,
        expected: &'static str,
        parse: impl FnOnce(Value<'a>) -> Option<T>,
    ) -> Result<Option<T>, GgufError> {
        let Some(value) = self.keys.remove(key) else { return Ok(None) };
        let found = value.kind().to_owned();
        let wrong = || GgufError::Type { key: key.to_owned(), expected, found };
        parse(value).map(Some).ok_or_else(wrong)
    }

    pub(super) fn text(&mut self, key: &str) -> Result<Option<&'a str>, GgufError> {
        self.take(key, "text", |value| match value {
            Value::Text(text) => Some(text),
            _ => None,
        })
    }

    pub(super) fn switch(&mut self, key: &str) -> Result<Option<bool>, GgufError> {
        self.take(key, "true or false", |value| match value {
            Value::Switch(is_on) => Some(is_on),
            _ => None,
        })
    }

    pub(super) fn list(&mut self, key: &str) -> Result<Option<List<'a>>, GgufError> {
        self.take(key, "a list", |value| match value {
            Value::List(list) => Some(list),
            _ => None,
        })
    }

    pub(super) fn whole(
        &mut self,
        key: &str,
        minimum: u32,
        maximum: u32,
    ) -> Result<Option<u32>, GgufError> {
        let number = self.take(key, "a whole number", |value| match value {
            Value::Whole(number) => Some(number),
            _ => None,
        })?;
        let Some(number) = number else { return Ok(None) };
        let in_range = u32::try_from(number).ok().filter(|each| (minimum..=maximum).contains(each));
        let expected = || format!("{minimum} to {maximum}");
        in_range.map(Some).ok_or_else(|| refused(key, &number.to_string(), &expected()))
    }

    fn required(&mut self, name: &str, maximum: u32) -> Result<u32, GgufError> {
        let key = self.own(name);
        let found = self.whole(&key, 1, maximum)?;
        found.ok_or(GgufError::KeyMissing { key, expected: "a whole number" })
    }

    fn optional(
        &mut self,
        name: &str,
        minimum: u32,
        maximum: u32,
    ) -> Result<Option<u32>, GgufError> {
        let key = self.own(name);
        self.whole(&key, minimum, maximum)
    }

    /// A float of 32 bits as the shortest decimal that it can have been written as.
    fn decimal(&mut self, name: &str) -> Result<Option<Decimal>, GgufError> {
        let key = self.own(name);
        let bits = self.take(&key, "a float of 32 bits", |value| match value {
            Value::Float(bits) => Some(bits),
            _ => None,
        })?;
        let Some(bits) = bits else { return Ok(None) };
        let expected = "zero or a float in 2^-64 to 2^64";
        let found = format!("float {bits:#010x}");
        Decimal::from_float_bits(bits).map(Some).ok_or_else(|| refused(&key, &found, expected))
    }

    /// The configuration but for the tokens, which the tokenizer has.
    pub(super) fn config(&mut self, tensors: &Tensors) -> Result<SourceConfig, GgufError> {
        let architecture = self.architecture()?;
        self.refuse_features()?;
        let hidden_size = self.required("embedding_length", WIDTH_MAX)?;
        let head_count = self.required("attention.head_count", HEADS_MAX)?;
        let kv_head_count = self.optional("attention.head_count_kv", 1, HEADS_MAX)?;
        let kv_head_count = kv_head_count.unwrap_or(head_count);
        self.refuse_uneven("attention.head_count", head_count, kv_head_count)?;
        let head_dim = self.optional("attention.key_length", 2, HEAD_DIM_MAX)?;
        let head_dim = match head_dim {
            Some(head_dim) => head_dim,
            None => {
                self.refuse_uneven("embedding_length", hidden_size, head_count)?;
                hidden_size / head_count
            }
        };
        self.refuse_uneven("attention.key_length", head_dim, 2)?;
        for name in ["attention.value_length", "rope.dimension_count"] {
            self.optional(name, head_dim, head_dim)?;
        }
        let context_len = self.required("context_length", POSITIONS_MAX)?;
        let window = self.optional("attention.sliding_window", 0, POSITIONS_MAX)?;
        let window = window.filter(|len| (1..context_len).contains(len));
        let norm_eps = self.decimal("attention.layer_norm_rms_epsilon")?;
        self.optional("vocab_size", tensors.vocabulary_size, tensors.vocabulary_size)?;
        let config = SourceConfig {
            architecture,
            hidden_size,
            intermediate_size: self.required("feed_forward_length", WIDTH_MAX)?,
            layer_count: self.required("block_count", LAYERS_MAX)?,
            head_count,
            kv_head_count,
            head_dim,
            vocabulary_size: tensors.vocabulary_size,
            context_len,
            position_count: 0,
            token_type_count: 0,
            norm_eps: norm_eps.ok_or_else(|| GgufError::KeyMissing {
                key: self.own("attention.layer_norm_rms_epsilon"),
                expected: "a float of 32 bits",
            })?,
            rotation: Some(self.rotation(tensors, head_dim)?),
            window: window.map(|len| Window { len, first_layer: 0 }),
            biases: tensors.biases,
            has_head_norms: architecture == Architecture::Qwen3,
            is_head_tied: !tensors.has_head,
            begin_token: None,
            end_tokens: vec![],
            pooling: None,
        };
        self.refuse_rest()?;
        Ok(config)
    }

    fn refuse_features(&mut self) -> Result<(), GgufError> {
        let key = "general.type";
        if let Some(found) = self.text(key)?.filter(|found| *found != "model") {
            return Err(refused(key, found, "model"));
        }
        self.whole("split.count", 0, 1)?;
        let key = "tokenizer.ggml.add_eos_token";
        if self.switch(key)? == Some(true) {
            return Err(refused(key, "true", "false"));
        }
        let key = self.own("attention.causal");
        if self.switch(&key)? == Some(false) {
            return Err(refused(&key, "false", "true"));
        }
        for name in ["expert_count", "expert_used_count"] {
            self.optional(name, 0, 0)?;
        }
        Ok(())
    }

    fn refuse_uneven(&self, name: &str, found: u32, divisor: u32) -> Result<(), GgufError> {
        if found.is_multiple_of(divisor) {
            return Ok(());
        }
        let expected = format!("a multiple of {divisor}");
        Err(refused(&self.own(name), &found.to_string(), &expected))
    }

    fn rotation(&mut self, tensors: &Tensors, head_dim: u32) -> Result<Rotation, GgufError> {
        let theta = self.decimal("rope.freq_base")?;
        let theta = theta.or_else(|| Decimal::new(1, 4));
        let theta = theta.ok_or_else(|| refused("rope.freq_base", "", "a number"))?;
        let key = self.own("rope.scaling.type");
        let kind = self.text(&key)?.unwrap_or("none");
        let factor = self.decimal("rope.scaling.factor")?;
        let old =
            self.decimal("rope.scale_linear")?.filter(|factor| Some(*factor) != Decimal::new(1, 0));
        let listed = tensors.rope_factors.clone();
        let scaling = match (kind, factor.or(old), listed) {
            ("none", None, None) => RotationScaling::None,
            ("none", None, Some(factors)) => RotationScaling::Factors(factors),
            ("linear", Some(factor), None) => RotationScaling::Linear { factor },
            ("none", Some(factor), None) if old.is_some() => RotationScaling::Linear { factor },
            ("none" | "linear", ..) => {
                let expected = "one scaling, with its factor";
                return Err(refused(&key, kind, expected));
            }
            _ => return Err(refused(&key, kind, "none or linear")),
        };
        let unit = Decimal::new(1, 0).map(|theta| Rotation { theta, scaling: scaling.clone() });
        let is_legal = unit.is_some_and(|unit| RopeFrequencies::new(&unit, head_dim).is_some());
        match &scaling {
            RotationScaling::Factors(_) if !is_legal => {
                let expected = "a number of at least 1 and below 2^63 for each pair of a head";
                Err(refused("rope_freqs.weight", "numbers", expected))
            }
            RotationScaling::Linear { factor } if !is_legal => {
                let key = self.own("rope.scaling.factor");
                Err(refused(&key, &factor.to_string(), "a number of at least 1 and below 2^63"))
            }
            _ => Ok(Rotation { theta, scaling }),
        }
    }

    /// Refuses the first key of the architecture that was not taken.
    fn refuse_rest(&self) -> Result<(), GgufError> {
        let is_unknown = |key: &str| {
            let name = key.strip_prefix(self.prefix).and_then(|name| name.strip_prefix('.'));
            name.is_some_and(|name| !IGNORED.contains(&name))
        };
        match self.keys.iter().find(|(key, _)| is_unknown(key)) {
            Some((key, value)) => {
                let found = shown(&format!("{value:?}"));
                Err(GgufError::KeyUnknown { key: shown(key), found })
            }
            None => Ok(()),
        }
    }
}

/// What the tensors say about the configuration.
pub(super) struct Tensors {
    /// Rows of the embedding, within [`VOCABULARY_MAX`].
    pub(super) vocabulary_size: u32,
    pub(super) has_head: bool,
    pub(super) biases: Biases,
    /// Divisors of the rotation's speeds.
    pub(super) rope_factors: Option<Vec<Dyadic>>,
}

pub(super) fn refused(key: &str, found: &str, expected: &str) -> GgufError {
    let (key, expected) = (key.to_owned(), expected.to_owned());
    GgufError::Value { key, found: shown(found), expected }
}

/// Rows of an embedding as a vocabulary.
pub(super) fn vocabulary_size(rows: usize) -> Result<u32, GgufError> {
    let size = u32::try_from(rows).ok().filter(|rows| (1..=VOCABULARY_MAX).contains(rows));
    let limit = u64::from(VOCABULARY_MAX);
    size.ok_or(GgufError::Count { what: "rows of token_embd.weight", limit, found: rows as u64 })
}
