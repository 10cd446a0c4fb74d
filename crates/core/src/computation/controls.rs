//! What else steers a generation: stop strings, biases and a grammar.
//!
//! These can betray what the request says, so a statement commits to their bytes and shows none
//! of them. A request without any has no such bytes.

use alloc::{string::String, vec::Vec};
use core::fmt;

use super::{SignedMicro, TokenId};
use crate::cbor::{Cbor, CborError, Decoder, Encoder};

/// Most stop strings.
pub const STOP_STRINGS_MAX: u64 = 16;
/// Most bytes of one stop string: it bounds what a stream must hold back.
pub const STOP_STRING_BYTES_MAX: u64 = 256;
/// Most tokens with a bias.
pub const BIASES_MAX: u64 = 1024;
/// Greatest magnitude of a bias, 100.000000, in millionths.
pub const BIAS_MAX: u32 = 100_000_000;
/// Longest name of a grammar engine in bytes.
pub const GRAMMAR_ENGINE_BYTES_MAX: u64 = 64;
/// Most bytes of a grammar's text.
pub const GRAMMAR_TEXT_BYTES_MAX: u64 = 1 << 20;

/// Stop strings, biases and grammar of one generation; empty by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Controls {
    /// Texts that end the output as soon as its bytes hold one of them.
    pub stop: Vec<String>,
    /// What is added to the logits of single tokens, in strictly increasing order of tokens.
    pub bias: Vec<(TokenId, SignedMicro)>,
    /// What the output must conform to.
    pub grammar: Option<Grammar>,
}

/// A grammar that the output conforms to, and what enforces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grammar {
    /// Name and version of the engine, such as `llguidance/1.9.1`.
    pub engine: String,
    /// In what language the grammar is written.
    pub kind: GrammarKind,
    /// The grammar.
    pub text: String,
}

/// In what language a grammar is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrammarKind {
    /// A JSON schema.
    JsonSchema,
    /// A context-free grammar in a dialect of Lark.
    Lark,
    /// A regular expression.
    Regex,
}

impl Controls {
    /// Whether nothing is controlled, so that there is nothing to commit to.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.stop.is_empty() && self.bias.is_empty() && self.grammar.is_none()
    }
}

impl GrammarKind {
    /// The kind's number on the wire.
    #[must_use]
    pub const fn code(self) -> u64 {
        match self {
            Self::JsonSchema => 1,
            Self::Lark => 2,
            Self::Regex => 3,
        }
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        match decoder.uint_up_to("grammar kind", 255)? {
            1 => Ok(Self::JsonSchema),
            2 => Ok(Self::Lark),
            3 => Ok(Self::Regex),
            found => {
                let found = i64::try_from(found).unwrap_or(i64::MAX);
                Err(CborError::Value { what: "grammar kind", found })
            }
        }
    }
}

impl fmt::Display for GrammarKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::JsonSchema => "JSON schema",
            Self::Lark => "Lark grammar",
            Self::Regex => "regular expression",
        })
    }
}

impl Cbor for Controls {
    fn encode_into(&self, encoder: &mut Encoder) {
        let has = [!self.stop.is_empty(), !self.bias.is_empty(), self.grammar.is_some()];
        encoder.map(has.iter().filter(|has| **has).count());
        if !self.stop.is_empty() {
            encoder.key(1).array(self.stop.len());
            for stop in &self.stop {
                encoder.text(stop);
            }
        }
        if !self.bias.is_empty() {
            encoder.key(2).array(self.bias.len());
            for (token, bias) in &self.bias {
                encoder.array(2).uint(u64::from(*token)).int(i64::from(bias.0));
            }
        }
        if let Some(grammar) = &self.grammar {
            grammar.encode_into(encoder.key(3));
        }
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        let offset = decoder.offset();
        let mut map = decoder.map("controls")?;
        let stop = if map.optional(decoder, 1)? { decode_stops(decoder)? } else { Vec::new() };
        let bias = if map.optional(decoder, 2)? { decode_biases(decoder)? } else { Vec::new() };
        let grammar = match map.optional(decoder, 3)? {
            true => Some(Grammar::decode_from(decoder)?),
            false => None,
        };
        map.end(decoder)?;
        let controls = Self { stop, bias, grammar };
        if controls.is_empty() {
            return Err(CborError::Empty { what: "controls", offset });
        }
        Ok(controls)
    }
}

impl Cbor for Grammar {
    fn encode_into(&self, encoder: &mut Encoder) {
        encoder.map(3).key(1).text(&self.engine);
        encoder.key(2).uint(self.kind.code());
        encoder.key(3).text(&self.text);
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        let mut map = decoder.map("grammar")?;
        map.require(decoder, 1)?;
        let engine = decoder.text("grammar engine", GRAMMAR_ENGINE_BYTES_MAX)?.into();
        map.require(decoder, 2)?;
        let kind = GrammarKind::decode_from(decoder)?;
        map.require(decoder, 3)?;
        let text = decoder.text("grammar", GRAMMAR_TEXT_BYTES_MAX)?.into();
        map.end(decoder)?;
        Ok(Self { engine, kind, text })
    }
}

fn decode_stops(decoder: &mut Decoder<'_>) -> Result<Vec<String>, CborError> {
    let count = decoder.array_nonempty("stop strings", STOP_STRINGS_MAX)?;
    (0..count)
        .map(|_| {
            let offset = decoder.offset();
            match decoder.text("stop string", STOP_STRING_BYTES_MAX)? {
                "" => Err(CborError::Empty { what: "stop string", offset }),
                stop => Ok(stop.into()),
            }
        })
        .collect()
}

fn decode_biases(decoder: &mut Decoder<'_>) -> Result<Vec<(TokenId, SignedMicro)>, CborError> {
    let count = decoder.array_nonempty("biases", BIASES_MAX)?;
    let mut previous = None;
    (0..count)
        .map(|_| {
            decoder.array_exact("bias", 2)?;
            let offset = decoder.offset();
            let token = decoder.u32("token id")?;
            match previous.replace(token) {
                Some(previous) if token <= previous => {
                    let (key, previous) = (i64::from(token), i64::from(previous));
                    return Err(CborError::KeyOrder { offset, key, previous });
                }
                _ => {}
            }
            Ok((token, decode_signed(decoder, "bias", BIAS_MAX)?))
        })
        .collect()
}

/// A signed number of millionths whose magnitude is at most `limit`.
pub(super) fn decode_signed(
    decoder: &mut Decoder<'_>,
    what: &'static str,
    limit: u32,
) -> Result<SignedMicro, CborError> {
    let offset = decoder.offset();
    let value = decoder.int()?;
    match i32::try_from(value) {
        Ok(value) if value.unsigned_abs() <= limit => Ok(SignedMicro(value)),
        _ => {
            let (limit, found) = (limit.into(), value.unsigned_abs());
            Err(CborError::Limit { what, offset, limit, found })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    fn full() -> Controls {
        Controls {
            stop: vec!["\n\n".into(), "é".repeat(128)],
            bias: vec![(0, SignedMicro(100_000_000)), (7, SignedMicro(-100_000_000))],
            grammar: Some(Grammar {
                engine: "llguidance/1.9.1".into(),
                kind: GrammarKind::JsonSchema,
                text: r#"{"type":"object"}"#.into(),
            }),
        }
    }

    #[test]
    fn controls_round_trip_whole_and_with_each_part_alone() {
        let Controls { stop, bias, grammar } = full();
        for controls in [
            full(),
            Controls { stop, ..Controls::default() },
            Controls { bias, ..Controls::default() },
            Controls { grammar, ..Controls::default() },
        ] {
            assert!(!controls.is_empty());
            assert_eq!(Controls::parse(&controls.encode()), Ok(controls));
        }
    }

    #[test]
    fn what_is_empty_has_no_bytes() {
        assert!(Controls::default().is_empty());
        let refused = [
            &[0xa0][..],
            &[0xa1, 0x01, 0x80],
            &[0xa1, 0x02, 0x80],
            &[0xa1, 0x01, 0x81, 0x60],
            &[0xa2, 0x01, 0x80, 0x02, 0x81, 0x82, 0x01, 0x01],
        ];
        for bytes in refused {
            let parsed = Controls::parse(bytes);
            assert!(matches!(parsed, Err(CborError::Empty { .. })), "{parsed:?}");
        }
    }

    #[test]
    fn each_limit_is_legal_and_one_more_is_not() {
        let of = |change: &dyn Fn(&mut Controls)| {
            let mut controls = full();
            change(&mut controls);
            Controls::parse(&controls.encode()).map(|parsed| assert_eq!(parsed, controls))
        };
        let biases = |count| (0..count).map(|token| (token, SignedMicro(1))).collect::<Vec<_>>();
        let grammar = |len: usize| Grammar { text: "a".repeat(len), ..full().grammar.unwrap() };
        let engine = |len: usize| Grammar { engine: "a".repeat(len), ..full().grammar.unwrap() };
        let within: [&dyn Fn(&mut Controls); 4] = [
            &|controls| controls.stop = vec!["a".repeat(256); 16],
            &|controls| controls.bias = biases(1024),
            &|controls| controls.grammar = Some(grammar(1 << 20)),
            &|controls| controls.grammar = Some(engine(64)),
        ];
        for change in within {
            assert_eq!(of(change), Ok(()));
        }
        let beyond: [&dyn Fn(&mut Controls); 7] = [
            &|controls| controls.stop = vec!["a".into(); 17],
            &|controls| controls.stop = vec!["a".repeat(257)],
            &|controls| controls.bias = biases(1025),
            &|controls| controls.bias = vec![(1, SignedMicro(100_000_001))],
            &|controls| controls.bias = vec![(1, SignedMicro(-100_000_001))],
            &|controls| controls.grammar = Some(grammar((1 << 20) + 1)),
            &|controls| controls.grammar = Some(engine(65)),
        ];
        for change in beyond {
            let parsed = of(change);
            assert!(matches!(parsed, Err(CborError::Limit { .. })), "{parsed:?}");
        }
    }

    #[test]
    fn biased_tokens_stand_in_strictly_increasing_order() {
        for tokens in [[2, 1], [2, 2]] {
            let bias = tokens.map(|token| (token, SignedMicro(1))).to_vec();
            let bytes = Controls { bias, ..Controls::default() }.encode();
            assert!(matches!(Controls::parse(&bytes), Err(CborError::KeyOrder { .. })));
        }
    }

    #[test]
    fn a_grammar_in_an_unknown_language_is_refused() {
        let bytes = [0xa1, 0x03, 0xa3, 0x01, 0x61, b'e', 0x02, 0x04, 0x03, 0x61, b'g'];
        let expected = CborError::Value { what: "grammar kind", found: 4 };
        assert_eq!(Controls::parse(&bytes), Err(expected));
    }
}
