//! Ways to cut text into words, by the names that GGUF files give them.

use super::error::GgufError;
use super::keys::refused;

/// Byte-level words and texts as GPT-2 has them.
pub(super) const GPT_2: &str =
    r#"{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}"#;

/// A way to cut text into words before merging.
pub(super) struct PreTokenizer {
    /// The names of this way.
    names: &'static [&'static str],
    /// The normaliser of the models that have it, as `tokenizer.json` writes it.
    pub(super) normaliser: &'static str,
    /// The pre-tokenizer, likewise.
    pub(super) words: &'static str,
    /// Whether a word that is a token is taken whole.
    pub(super) ignores_merges: bool,
    /// Whether texts begin with the token for it where the file does not say.
    pub(super) adds_begin: bool,
}

static KNOWN: [PreTokenizer; 5] = [
    PreTokenizer {
        names: &["llama-bpe", "llama3", "llama-v3"],
        normaliser: "null",
        words: r#"{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},"behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]}"#,
        ignores_merges: true,
        adds_begin: true,
    },
    PreTokenizer {
        names: &["qwen2"],
        normaliser: r#"{"type":"NFC"}"#,
        words: r#"{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},"behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]}"#,
        ignores_merges: false,
        adds_begin: false,
    },
    PreTokenizer {
        names: &["smollm"],
        normaliser: "null",
        words: r#"{"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}]}"#,
        ignores_merges: false,
        adds_begin: false,
    },
    PreTokenizer {
        names: &["gpt-2", "phi-2"],
        normaliser: "null",
        words: GPT_2,
        ignores_merges: false,
        adds_begin: false,
    },
    PreTokenizer {
        names: &["default"],
        normaliser: "null",
        words: r#"{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"[\\p{P}\\$\\+<=>\\^~\\|]+"},"behavior":"Isolated","invert":false},{"type":"Split","pattern":{"Regex":"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)"},"behavior":"Isolated","invert":false},{"type":"Split","pattern":{"Regex":"\\p{N}+"},"behavior":"Isolated","invert":false},{"type":"Split","pattern":{"Regex":"[0-9][0-9][0-9]"},"behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]}"#,
        ignores_merges: false,
        adds_begin: false,
    },
];

impl PreTokenizer {
    /// The way of this name; a file without a name means the default.
    pub(super) fn find(name: Option<&str>) -> Result<&'static Self, GgufError> {
        let name = name.unwrap_or("default");
        let expected = "llama-bpe, qwen2, smollm, gpt-2 or default";
        let known = KNOWN.iter().find(|each| each.names.contains(&name));
        known.ok_or_else(|| refused("tokenizer.ggml.pre", name, expected))
    }
}
