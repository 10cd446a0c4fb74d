//! Grammars that are followed, refused, or stuck; hostile ones end within bounded work.

use std::fmt::Write as _;
use std::path::Path;

use tally_core::philox::SamplerKey;

use super::*;
use crate::language::tests::{default_model, tiny};
use crate::language::{Language, LanguageError};

fn grammar(kind: GrammarKind, text: impl Into<String>) -> Grammar {
    Grammar { engine: GRAMMAR_ENGINE.to_owned(), kind, text: text.into() }
}

fn constraint(
    language: &Language,
    kind: GrammarKind,
    text: impl Into<String>,
) -> Result<Constraint, GrammarError> {
    language.grammar(&grammar(kind, text)).map_err(|error| match error {
        LanguageError::Grammar(error) => error,
        other => panic!("{other}"),
    })
}

fn tokens_of(set: &[u32]) -> Vec<TokenId> {
    (0..).take(set.len() * 32).filter(|token| is_in(set, *token)).collect()
}

/// The letters that the tiny vocabulary may go on with; `$` for the end.
fn letters(constraint: &mut Constraint) -> String {
    let allowed = tokens_of(constraint.allowed().unwrap());
    let letter = |token: u32| u8::try_from(token + 32).map_or('?', char::from);
    allowed.into_iter().map(|token| if token == 96 { '$' } else { letter(token) }).collect()
}

fn write(constraint: &mut Constraint, text: &str) {
    for byte in text.bytes() {
        constraint.accept(u32::from(byte) - 32).unwrap();
    }
}

#[test]
fn the_engine_named_is_the_one_that_is_built_in() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let lock = std::fs::read_to_string(root.join("Cargo.lock")).unwrap();
    let (_, version) = GRAMMAR_ENGINE.split_once('/').unwrap();
    for name in ["llguidance", "toktrie"] {
        assert!(lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"\n")), "{name}");
    }
    let other =
        Grammar { engine: "llguidance/1.9.0".to_owned(), ..grammar(GrammarKind::Regex, "a") };
    let found = other.engine.clone();
    let error = GrammarError::Engine { expected: GRAMMAR_ENGINE, found };
    assert_eq!(tiny().grammar(&other).map(drop), Err(LanguageError::Grammar(error)));
}

#[test]
fn a_regular_expression_allows_what_it_matches_and_then_only_the_end() {
    let language = tiny();
    let mut regex = constraint(&language, GrammarKind::Regex, "a(b|c)?d{2}").unwrap();
    assert_eq!(letters(&mut regex), "a");
    write(&mut regex, "a");
    assert_eq!(letters(&mut regex), "bcd");
    write(&mut regex, "c");
    assert_eq!(letters(&mut regex), "d");
    assert_eq!(regex.accept(66), Err(GrammarError::Token { found: 66 }));
    write(&mut regex, "dd");
    assert_eq!(letters(&mut regex), "$");
    assert_eq!(regex.accept(68), Err(GrammarError::Token { found: 68 }));
    // An end token that does not end the output may only be followed by another.
    for _ in 0..3 {
        regex.accept(96).unwrap();
        assert_eq!(letters(&mut regex), "$");
    }
    let mut open = constraint(&language, GrammarKind::Regex, "a*").unwrap();
    assert_eq!(letters(&mut open), "a$");
}

#[test]
fn a_lark_grammar_may_call_for_control_tokens_by_name() {
    let language = tiny();
    let text = "start: \"ab\" <|end|> \"c\"";
    let mut lark = constraint(&language, GrammarKind::Lark, text).unwrap();
    write(&mut lark, "ab");
    assert_eq!(letters(&mut lark), "$");
    lark.accept(96).unwrap();
    assert_eq!(letters(&mut lark), "c");
}

#[test]
fn a_grammar_without_a_token_to_go_on_with_is_stuck_and_stays_so() {
    let language = tiny();
    let mut stuck = constraint(&language, GrammarKind::Regex, "aé").unwrap();
    write(&mut stuck, "a");
    for _ in 0..2 {
        assert_eq!(stuck.allowed().map(drop), Err(GrammarError::Stuck));
        assert_eq!(stuck.accept(65), Err(GrammarError::Stuck));
    }
}

#[test]
fn what_cannot_be_compiled_is_told_apart_from_what_is_too_much() {
    let language = tiny();
    for (kind, text) in [
        (GrammarKind::JsonSchema, ""),
        (GrammarKind::JsonSchema, "{"),
        (GrammarKind::JsonSchema, "{\"type\":\"nothing\"}"),
        (GrammarKind::JsonSchema, "{\"type\":\"string\",\"pattern\":\"(\"}"),
        (GrammarKind::JsonSchema, "{\"$ref\":\"https://example.org/\"}"),
        (GrammarKind::JsonSchema, "{\"not\":{}}"),
        (GrammarKind::Lark, ""),
        (GrammarKind::Lark, "start: missing"),
        (GrammarKind::Lark, "start: <|missing|>"),
        (GrammarKind::Lark, "start: \"a"),
        (GrammarKind::Regex, "("),
        (GrammarKind::Regex, "a{2,1}"),
        (GrammarKind::Regex, "(?=a)"),
    ] {
        let found = constraint(&language, kind, text).map(drop);
        assert!(matches!(found, Err(GrammarError::Compile { .. })), "{kind} {text}: {found:?}");
    }
    let found = GRAMMAR_BYTES_MAX + 1;
    let long = constraint(&language, GrammarKind::JsonSchema, " ".repeat(found)).map(drop);
    assert_eq!(long, Err(GrammarError::TooLarge { found }));
    let brackets = |count: usize| format!("[{}a]", "(".repeat(count - 1));
    let found = BRACKETS_MAX + 1;
    let beyond = constraint(&language, GrammarKind::Regex, brackets(found)).map(drop);
    assert_eq!(beyond, Err(GrammarError::Brackets { found }));
    let edge = constraint(&language, GrammarKind::Regex, brackets(BRACKETS_MAX)).map(drop);
    assert!(!matches!(edge, Err(GrammarError::Brackets { .. })), "{edge:?}");
}

/// Chains, nests, products and repetitions as long as a grammar may be.
fn hostile() -> Vec<(&'static str, GrammarKind, String)> {
    let schemas = hostile_schemas().into_iter();
    let schemas = schemas.map(|(name, text)| (name, GrammarKind::JsonSchema, text));
    let regexes = hostile_regexes().into_iter();
    let regexes = regexes.map(|(name, text)| (name, GrammarKind::Regex, text));
    let lark = hostile_lark().into_iter().map(|(name, text)| (name, GrammarKind::Lark, text));
    schemas.chain(regexes).chain(lark).collect()
}

fn nested(open: &str, close: &str, count: usize) -> String {
    format!("{}1{}", open.repeat(count), close.repeat(count))
}

fn chain(count: usize, one: &dyn Fn(usize) -> String) -> String {
    (0..count).map(one).collect()
}

/// Definitions of which each refers to the next.
fn references(count: usize, keyword: &str) -> String {
    let of = |at: usize| {
        let next = format!("{{\"$ref\":\"#/$defs/a{}\"}}", at + 1);
        match keyword {
            "$ref" => format!(",\"a{at}\":{next}"),
            "properties" => format!(",\"a{at}\":{{\"properties\":{{\"x\":{next}}}}}"),
            _ => format!(",\"a{at}\":{{\"{keyword}\":[{next}]}}"),
        }
    };
    let last = format!("\"a{count}\":{{\"type\":\"null\"}}");
    format!("{{\"$ref\":\"#/$defs/a0\",\"$defs\":{{{last}{}}}}}", chain(count, &of))
}

fn hostile_schemas() -> Vec<(&'static str, String)> {
    let product = |keyword: &str, count: usize| {
        let one = "{\"anyOf\":[{\"minimum\":1},{\"maximum\":5},{\"multipleOf\":3}]},";
        format!("{{\"{keyword}\":[{}{{}}]}}", one.repeat(count))
    };
    let names = chain(6_000, &|at| format!("\"name number {at}\","));
    let properties = chain(2_000, &|at| format!("\"p{at}\":{{\"type\":\"string\"}},"));
    vec![
        ("nested schema", nested("{\"items\":", "}", 5_000)),
        ("nested schema at the parser's edge", nested("{\"items\":", "}", 120)
            .replace('1', "{\"type\":\"null\"}")),
        ("nested arrays", nested("[", "]", 60_000)),
        ("chain of references", references(3_000, "$ref")),
        ("chain of references in allOf", references(2_500, "allOf")),
        ("chain of references in anyOf", references(2_500, "anyOf")),
        ("chain of references in properties", references(2_000, "properties")),
        ("reference to itself", "{\"$ref\":\"#\"}".to_owned()),
        ("allOf of itself", "{\"allOf\":[{\"$ref\":\"#\"},{\"$ref\":\"#\"}]}".to_owned()),
        ("anyOf of itself", "{\"anyOf\":[{\"$ref\":\"#\"},{\"$ref\":\"#\"}]}".to_owned()),
        ("product of anyOf", product("allOf", 40)),
        ("long product of anyOf", product("allOf", 1_500)),
        ("sum of anyOf", product("anyOf", 1_500)),
        ("huge enum", format!("{{\"enum\":[{names}0]}}")),
        ("huge object", format!("{{\"properties\":{{{properties}\"z\":{{}}}}}}")),
        ("huge string", "{\"type\":\"string\",\"minLength\":1000000000}".to_owned()),
        ("huge array", "{\"type\":\"array\",\"minItems\":1000000000}".to_owned()),
        ("huge nested array", "{\"type\":\"array\",\"minItems\":9999,\"items\":{\"type\":\"array\",\"minItems\":9999,\"items\":{\"type\":\"array\",\"minItems\":9999}}}".to_owned()),
        ("huge object by count", "{\"type\":\"object\",\"minProperties\":100000000}".to_owned()),
        ("huge number", format!("{{\"type\":\"integer\",\"minimum\":1{}}}", "0".repeat(300))),
        ("small multiple", "{\"type\":\"number\",\"multipleOf\":1e-300}".to_owned()),
        ("large multiple", "{\"type\":\"integer\",\"multipleOf\":999999999}".to_owned()),
        ("pattern in schema", "{\"type\":\"string\",\"pattern\":\"^(a|aa|aaa)*b.{0,900}(x+x+)+y$\"}".to_owned()),
    ]
}

fn hostile_regexes() -> Vec<(&'static str, String)> {
    vec![
        ("catastrophic regex", "(x+x+)+y".to_owned()),
        ("exponential regex", "(a|b)*a(a|b){30}c".to_owned()),
        ("nested repetition", "((((a{1,1000}){1,1000}){1,1000}){1,1000}){1,1000}".to_owned()),
        ("long repetition", "(.{1,30000}){1,30000}".to_owned()),
        ("nested regex", nested("(", ")", 4_000)),
        ("many alternatives", chain(12_000, &|at| format!("a{at}|"))),
        ("unicode classes", "(\\p{L}|\\p{M}|\\p{N}){1,5000}[^\\p{Han}]{5000}".to_owned()),
        ("postfix operators", format!("a{}", "?".repeat(100_000))),
    ]
}

fn hostile_lark() -> Vec<(&'static str, String)> {
    let mut lark = "start: a0\n".to_owned();
    for at in 0..9_000 {
        let _ = writeln!(lark, "a{at}: a{}", at + 1);
    }
    lark.push_str("a9000: \"x\"");
    let mut doubling = "start: a0\n".to_owned();
    for at in 0..60 {
        let _ = writeln!(doubling, "a{at}: a{} a{} | a{}", at + 1, at + 1, at + 1);
    }
    doubling.push_str("a60: \"x\" | \"xx\" |");
    vec![
        ("chain of rules", lark),
        ("ambiguous doubling", doubling),
        ("nested Lark", format!("start: {}", nested("(", ")", 4_000).replace('1', "\"x\""))),
        ("recursive token", "start: A\nA: A \"x\"".to_owned()),
        ("empty recursion", "start: start start |".to_owned()),
        (
            "intersection",
            "start: A\nA: /(a|b)*a(a|b){20}/ & /(a|b)*b(a|b){21}/ & ~/.*abab.*/".to_owned(),
        ),
        ("JSON in Lark", format!("start: %json {}", nested("{\"items\":", "}", 3_000))),
    ]
}

#[test]
fn hostile_grammars_end_within_bounded_work() {
    let language = Language::of(&default_model()).unwrap();
    let key = SamplerKey::from_words([1, 2]);
    for (name, kind, text) in hostile() {
        assert!(text.len() <= GRAMMAR_BYTES_MAX, "{name} has {} bytes", text.len());
        let started = std::time::Instant::now();
        let compiled = constraint(&language, kind, text);
        let compiling = started.elapsed();
        if let Ok(mut constraint) = compiled {
            for step in 0..24 {
                let started = std::time::Instant::now();
                let allowed = match constraint.allowed() {
                    Ok(allowed) => tokens_of(allowed),
                    Err(GrammarError::Stuck | GrammarError::TooComplex { .. }) => break,
                    Err(error) => panic!("{name}: step {step}: {error}"),
                };
                assert!(started.elapsed().as_secs() < 20, "{name}: step {step}");
                let at = key.word(step, 0, 0) as usize % allowed.len();
                constraint.accept(allowed[at]).unwrap();
            }
        }
        assert!(compiling.as_secs() < 20, "{name} took {compiling:?} to compile");
    }
}
