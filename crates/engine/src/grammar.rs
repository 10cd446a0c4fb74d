//! Grammars that an output must follow: JSON schemas, Lark grammars and regular expressions, by the
//! crate `llguidance`.
//!
//! Which tokens a grammar allows is an input of the arithmetic (`spec/arithmetic.md`, A-40), and the
//! engine that says so is named in the controls by [`GRAMMAR_ENGINE`]: another version is refused,
//! since it may allow others. Every limit is a count and never a clock, and nothing is shared between
//! two outputs, so that whoever computes again meets the same limits at the same token. The model
//! writes every token itself, forced ones too.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use llguidance::api::{ParserLimits, StopReason, TopLevelGrammar};
use llguidance::{ParserFactory, TokenParser};
use thiserror::Error;
use toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};

use tally_core::computation::{Grammar, GrammarKind, TokenId};

use crate::tokenizer::{Kind, Tokenizer};

mod patterns;
#[cfg(test)]
mod tests;

/// The engine that grammars name: the crate and its version, which `Cargo.toml` pins.
pub const GRAMMAR_ENGINE: &str = "llguidance/1.9.1";
/// Most bytes of a grammar.
pub const GRAMMAR_BYTES_MAX: usize = 1 << 17;
/// Most brackets that a Lark grammar or a regular expression opens: each may be one more level.
pub const BRACKETS_MAX: usize = 1 << 12;
/// Most bytes of one regular expression, and of a Lark grammar apart from its schemas: what one step
/// takes grows with the square of it, and no fuel of the engine bounds a step's first part.
pub const PATTERN_BYTES_MAX: usize = 1 << 11;
/// Bytes of stack to compile on: the deepest grammar of these sizes takes a small part.
const STACK_BYTES: usize = 1 << 28;
/// Longest token in bytes that a grammar can allow.
const TOKEN_BYTES_MAX: usize = 1 << 9;
/// Longest reason of a refusal in characters.
const REASON_LEN_MAX: usize = 300;

/// What compiling and one step may take.
const LIMITS: ParserLimits = ParserLimits {
    max_items_in_row: 2_000,
    initial_lexer_fuel: 1_000_000,
    step_lexer_fuel: 200_000,
    step_max_items: 50_000,
    // One to two kilobytes each.
    max_lexer_states: 16_384,
    max_grammar_size: 200_000,
    precompute_large_lexemes: true,
    verbose_errors: false,
};

/// Why a grammar is not taken, or an output that follows it cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GrammarError {
    /// Another engine, or another version of it.
    #[error("the grammar is for {found}, this program has {expected}")]
    Engine {
        /// This program's engine.
        expected: &'static str,
        /// The grammar's.
        found: String,
    },
    /// The grammar is too long.
    #[error("the grammar has {found} bytes, the limit is {GRAMMAR_BYTES_MAX}")]
    TooLarge {
        /// Its size in bytes.
        found: usize,
    },
    /// The grammar opens too many brackets.
    #[error("the grammar opens {found} brackets, the limit is {BRACKETS_MAX}")]
    Brackets {
        /// How many it opens.
        found: usize,
    },
    /// A regular expression in it is too long, or a Lark grammar apart from its schemas.
    #[error("the grammar has a pattern of {found} bytes, the limit is {PATTERN_BYTES_MAX}")]
    PatternTooLong {
        /// Its size in bytes.
        found: usize,
    },
    /// The grammar cannot be compiled.
    #[error("the grammar cannot be compiled: {reason}")]
    Compile {
        /// The reason that the grammar's engine gives.
        reason: String,
    },
    /// The grammar takes more to compile, or to go on, than is allowed.
    #[error("the grammar is too complex: {reason}")]
    TooComplex {
        /// The reason that the grammar's engine gives.
        reason: String,
    },
    /// No token of the model can go on as the grammar demands.
    #[error("the grammar is stuck: it allows none of the model's tokens here")]
    Stuck,
    /// A token that the grammar does not allow.
    #[error("the grammar does not allow token {found} here")]
    Token {
        /// The token.
        found: TokenId,
    },
    /// The grammar's engine failed.
    #[error("the grammar's engine failed: {reason}")]
    Failed {
        /// The reason that it gives.
        reason: String,
    },
    /// The texts of the model's tokens are not exact.
    #[error("the model's tokens have no exact text, which a grammar needs")]
    InexactTokens,
    /// The model has no token to end an answer with.
    #[error("the model has no end token, which a grammar needs")]
    NoEndToken,
}

/// A model's tokens, ready for grammars.
pub(crate) struct GrammarEngine {
    factory: ParserFactory,
    /// The bit set of the end tokens.
    ends: Arc<[u32]>,
}

impl std::fmt::Debug for GrammarEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrammarEngine").finish_non_exhaustive()
    }
}

impl GrammarEngine {
    pub(crate) fn new(tokenizer: &Tokenizer, end_tokens: &[TokenId]) -> Result<Self, GrammarError> {
        if tokenizer.kind() == Kind::WordPiece {
            return Err(GrammarError::InexactTokens);
        }
        let count = tokenizer.vocabulary_size();
        let ends: Vec<TokenId> = end_tokens.iter().copied().filter(|end| *end < count).collect();
        let Some(first) = ends.first() else { return Err(GrammarError::NoEndToken) };
        let mut words: Vec<Vec<u8>> = (0..count).map(|token| word(tokenizer, token)).collect();
        for (text, token) in tokenizer.control_tokens() {
            let marked = [&[TokTrie::SPECIAL_TOKEN_MARKER], text.as_bytes()].concat();
            if let Some(word) = words.get_mut(*token as usize) {
                *word = if marked.len() > TOKEN_BYTES_MAX { vec![] } else { marked };
            }
        }
        Self::of_words(&words, *first, &ends)
    }

    /// An engine for tokens with these bytes.
    fn of_words(words: &[Vec<u8>], first: TokenId, ends: &[TokenId]) -> Result<Self, GrammarError> {
        let count = u32::try_from(words.len()).unwrap_or(u32::MAX);
        let made = catch_unwind(|| {
            let trie = TokTrie::from(&TokRxInfo::new(count, first), words).with_eos_tokens(ends);
            let end_set: Arc<[u32]> = trie.eos_token_set().as_slice().into();
            // The greedy tokens of an environment that is approximate are never forced.
            let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
            (ParserFactory::new_simple(&environment), end_set)
        });
        let (factory, ends) = made.map_err(|_| failed("the tokens cannot be sorted"))?;
        let mut factory = factory.map_err(|error| failed(&error.to_string()))?;
        factory.quiet();
        *factory.limits_mut() = LIMITS;
        Ok(Self { factory, ends })
    }

    /// Compiles a grammar for one output.
    pub(crate) fn constraint(&self, grammar: &Grammar) -> Result<Constraint, GrammarError> {
        if grammar.engine != GRAMMAR_ENGINE {
            let found = grammar.engine.clone();
            return Err(GrammarError::Engine { expected: GRAMMAR_ENGINE, found });
        }
        if grammar.text.len() > GRAMMAR_BYTES_MAX {
            return Err(GrammarError::TooLarge { found: grammar.text.len() });
        }
        // A schema has the nesting that its parser allows; the others are recursed into.
        let found = grammar.text.bytes().filter(|byte| b"([{".contains(byte)).count();
        if grammar.kind != GrammarKind::JsonSchema && found > BRACKETS_MAX {
            return Err(GrammarError::Brackets { found });
        }
        let compiled = std::thread::scope(|scope| {
            let builder = std::thread::Builder::new().stack_size(STACK_BYTES);
            let thread = builder.spawn_scoped(scope, || self.compile(grammar));
            let thread = thread.map_err(|error| failed(&error.to_string()))?;
            thread.join().unwrap_or_else(|_| Err(failed("it ended while compiling")))
        });
        Ok(Constraint {
            parser: compiled?,
            ends: Arc::clone(&self.ends),
            allowed: None,
            failure: None,
        })
    }

    fn compile(&self, grammar: &Grammar) -> Result<TokenParser, GrammarError> {
        let source = match grammar.kind {
            GrammarKind::JsonSchema => {
                let schema = serde_json::from_str(&grammar.text);
                let refused = |error: serde_json::Error| compile_error(&error.to_string());
                let schema = schema.map_err(refused)?;
                patterns::require_short_in(&schema)?;
                TopLevelGrammar::from_json_schema(schema)
            }
            GrammarKind::Lark => {
                patterns::require_short_in_lark(&grammar.text)?;
                TopLevelGrammar::from_lark(grammar.text.clone())
            }
            GrammarKind::Regex => {
                patterns::require_short(&grammar.text)?;
                TopLevelGrammar::from_regex(&grammar.text)
            }
        };
        let parser = self.factory.create_parser(source);
        let mut parser = parser.map_err(|error| compile_error(&error.to_string()))?;
        parser.start_without_prompt();
        Ok(parser)
    }
}

/// Compiles a grammar for a small vocabulary, finds what may begin it, and forgets the result.
///
/// The engine's own limits do not bound what compiling takes: some schemas of a few hundred bytes
/// take minutes and gigabytes. Nothing can stop it from within, so whoever compiles grammars of
/// strangers rehearses it first in a process of its own that the operating system limits.
///
/// # Errors
/// As [`Language::grammar`](crate::Language::grammar).
pub fn rehearse(grammar: &Grammar) -> Result<(), GrammarError> {
    let mut words: Vec<Vec<u8>> = (0..=u8::MAX).map(|byte| vec![byte]).collect();
    // Long tokens are what makes a step long: some that go as deep as a real vocabulary's.
    let long = (b' '..=b'~').flat_map(|byte| [2, 4, 8, 16].map(|len| vec![byte; len]));
    words.extend(long);
    words.extend(b"abcdefghijklmnopqrstuvwxyz".windows(2).map(<[u8]>::to_vec));
    words.extend(
        [&b"{\"name\": \"the"[..], b"123456789", b"true", b"international"].map(<[u8]>::to_vec),
    );
    let end = TokenId::try_from(words.len()).unwrap_or_default();
    words.push(vec![]);
    let mut constraint = GrammarEngine::of_words(&words, end, &[end])?.constraint(grammar)?;
    constraint.allowed().map(drop)
}

/// What a grammar knows of a token: its bytes, or nothing of what it can never allow.
fn word(tokenizer: &Tokenizer, token: TokenId) -> Vec<u8> {
    let bytes = tokenizer.token_bytes(token).unwrap_or_default();
    // The mark of control tokens is a byte that no text has.
    let is_text = !bytes.contains(&TokTrie::SPECIAL_TOKEN_MARKER);
    if is_text && bytes.len() <= TOKEN_BYTES_MAX { bytes.to_vec() } else { vec![] }
}

/// Which tokens may come next in one output.
pub struct Constraint {
    parser: TokenParser,
    ends: Arc<[u32]>,
    /// The set for the present place, once it is computed.
    allowed: Option<Box<[u32]>>,
    /// Why it cannot go on: a grammar that failed stays so.
    failure: Option<GrammarError>,
}

impl std::fmt::Debug for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Constraint").field("tokens", &self.parser.num_tokens()).finish()
    }
}

impl Constraint {
    /// The set of tokens that may come next, never empty: token t is bit t mod 32 of word ⌊t/32⌋.
    ///
    /// Once the grammar can say nothing more, these are the model's end tokens.
    ///
    /// # Errors
    /// A grammar that is stuck or exceeds a limit of one step.
    pub fn allowed(&mut self) -> Result<&[u32], GrammarError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if self.allowed.is_none() {
            let computed = self.compute();
            self.allowed = Some(self.noted(computed)?);
        }
        Ok(self.allowed.as_deref().unwrap_or_default())
    }

    /// Goes on by a token.
    ///
    /// # Errors
    /// A token that is not among [`Constraint::allowed`], and its errors.
    pub fn accept(&mut self, token: TokenId) -> Result<(), GrammarError> {
        if !is_in(self.allowed()?, token) {
            return Err(GrammarError::Token { found: token });
        }
        self.allowed = None;
        if self.parser.stopped() {
            return Ok(());
        }
        let accepted = self.attempt(|parser| {
            parser.consume_token(token)?;
            parser.check_stop()
        });
        self.noted(accepted).map(drop)
    }

    fn compute(&mut self) -> Result<Box<[u32]>, GrammarError> {
        if self.parser.stopped() {
            return Ok(self.ends.as_ref().into());
        }
        let mask = self.attempt(TokenParser::compute_mask)?;
        Ok(mask.as_slice().into())
    }

    /// One step of the engine, which may fail in several ways.
    fn attempt<T, E: std::fmt::Display>(
        &mut self,
        step: impl FnOnce(&mut TokenParser) -> Result<T, E>,
    ) -> Result<T, GrammarError> {
        match catch_unwind(AssertUnwindSafe(|| step(&mut self.parser))) {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(self.reason(&error.to_string())),
            Err(_) => Err(failed("it panicked")),
        }
    }

    fn noted<T>(&mut self, found: Result<T, GrammarError>) -> Result<T, GrammarError> {
        if let Err(error) = &found {
            self.failure = Some(error.clone());
        }
        found
    }

    fn reason(&self, error: &str) -> GrammarError {
        match self.parser.stop_reason() {
            StopReason::NoExtensionBias => GrammarError::Stuck,
            StopReason::LexerTooComplex | StopReason::ParserTooComplex => {
                GrammarError::TooComplex { reason: shortened(error) }
            }
            _ => failed(error),
        }
    }
}

/// Whether a set of tokens has a token.
#[must_use]
pub(crate) fn is_in(set: &[u32], token: TokenId) -> bool {
    let word = set.get(usize::try_from(token / 32).unwrap_or(usize::MAX));
    word.is_some_and(|word| word >> (token % 32) & 1 == 1)
}

/// What cannot be compiled is told apart from what takes too much by the engine's words alone.
fn compile_error(error: &str) -> GrammarError {
    // The engine catches its own panics and tells of them.
    if error.contains("panic") {
        return failed("it panicked");
    }
    let reason = shortened(error);
    let words = ["too big", "too large", "too complex", "too many", "limit", "fuel"];
    match words.iter().any(|word| reason.contains(word)) {
        true => GrammarError::TooComplex { reason },
        false => GrammarError::Compile { reason },
    }
}

fn failed(reason: &str) -> GrammarError {
    GrammarError::Failed { reason: shortened(reason) }
}

/// The first line of a reason: what follows is a trace of the engine.
fn shortened(reason: &str) -> String {
    reason.lines().next().unwrap_or_default().chars().take(REASON_LEN_MAX).collect()
}
