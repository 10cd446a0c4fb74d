//! Adjusted logits, draws of what is allowed, log-probabilities and stop strings.

use super::{Case, Group, Numbers, Value, json, p, run};

pub(super) fn groups() -> Vec<Group> {
    vec![adjust(), sample_allowed(), logprobs(), stop()]
}

const MAX: i64 = 1 << 30;

/// Logits with penalties, `counts` and `bias` as (token, value).
fn adjusted(
    logits: &[i64],
    bits: u32,
    penalties: (i64, i64),
    counts: &[(u32, u32)],
    bias: &[(u32, i64)],
) -> Value {
    json!({
        "logits": p(logits), "fraction_bits": bits, "presence_penalty": penalties.0,
        "frequency_penalty": penalties.1, "counts": counts, "bias": bias,
    })
}

fn adjust() -> Group {
    let few = [5, -5, 0, 70_000, -70_000];
    let one = 1_000_000;
    let counts = [(0, 1), (1, 3), (3, 0), (4, 1 << 20)];
    let mut cases = vec![];
    let mut add = |what: &str, given: Value| cases.push(Case::new(what, given));
    add("nothing to adjust", adjusted(&few, 16, (0, 0), &counts, &[]));
    add("presence takes once", adjusted(&few, 16, (one, 0), &counts, &[]));
    add("frequency takes each time", adjusted(&few, 16, (0, one), &counts, &[]));
    add("negative penalties give", adjusted(&few, 16, (-one, -2 * one), &counts, &[]));
    add("biases alone", adjusted(&few, 16, (0, 0), &[], &[(0, one), (4, -one)]));
    for total in [-2, -1, 1, 2, 7, 8, 15_258, 15_259, 15_260] {
        let what = format!("{total} millionths at 15 fraction bits");
        add(&what, adjusted(&[0, 0], 15, (0, 0), &[], &[(1, total)]));
    }
    // Apart, 8 and −1 millionths would round to 1 and 0 of 2^−16, together 7 round to 0.
    add(
        "bias and penalties are rounded together",
        adjusted(&[0, 0], 16, (1, 0), &[(0, 1)], &[(0, 8)]),
    );
    let edges = [MAX, -MAX, MAX - 1, 1 - MAX];
    add(
        "no further than the bound",
        adjusted(&edges, 20, (0, 0), &[], &[(0, 1), (1, -1), (2, 2), (3, -2)]),
    );
    let wide = [(0, 100_000_000), (1, -100_000_000)];
    add("the largest biases at 31 fraction bits", adjusted(&[0, 0], 31, (0, 0), &[], &wide));
    let most = [(0, 1 << 20), (1, 1 << 20)];
    add("the largest penalties", adjusted(&[0, 0, 9], 20, (2 * one, 2 * one), &most, &[]));
    add(
        "the largest penalties, negative",
        adjusted(&[0, 0, 9], 0, (-2 * one, -2 * one), &most, &[]),
    );
    let mut numbers = Numbers(43);
    let logits = numbers.list(300, -600_000, 600_000);
    let counts: Vec<(u32, u32)> = (0..300).step_by(3).map(|token| (token, token % 5)).collect();
    let biases = numbers.list(60, -100_000_000, 100_000_000);
    let bias: Vec<(u32, i64)> = (0..300).step_by(5).zip(biases).collect();
    add("without a pattern", adjusted(&logits, 16, (700_001, 299_999), &counts, &bias));
    add("a bias above 100", adjusted(&few, 16, (0, 0), &[], &[(1, 100_000_001)]));
    add("a bias below −100", adjusted(&few, 16, (0, 0), &[], &[(1, -100_000_001)]));
    add("biases out of order", adjusted(&few, 16, (0, 0), &[], &[(1, 1), (0, 1)]));
    add("two biases of one token", adjusted(&few, 16, (0, 0), &[], &[(1, 1), (1, 1)]));
    add("a bias of a token that is not there", adjusted(&few, 16, (0, 0), &[], &[(5, 1)]));
    add("a presence penalty above 2", adjusted(&few, 16, (2 * one + 1, 0), &[], &[]));
    add("a frequency penalty below −2", adjusted(&few, 16, (0, -2 * one - 1), &[], &[]));
    Group {
        operation: "adjust",
        clauses: &["A-28", "A-40"],
        what: "Logits after biases, as (token, millionths), and penalties for (token, count) of the output.",
        cases,
    }
}

fn sample_allowed() -> Group {
    let given = |allowed: &[u32], temperature: u32, top_k: u32, top_p: u32| {
        let mut given = adjusted(
            &[90_000, 80_000, 80_000, 10, 80_000, -9, 0, 70_000],
            16,
            (500_000, 250_000),
            &[(1, 2), (7, 1)],
            &[(3, 1_000_000), (6, 1_200_000)],
        );
        for (name, value) in [
            ("allowed", json!(allowed)),
            ("temperature", json!(temperature)),
            ("top_k", json!(top_k)),
            ("top_p", json!(top_p)),
            ("choice", json!(0)),
            ("key", json!([77, 78])),
            ("positions", json!((0..24).collect::<Vec<u32>>())),
        ] {
            given[name] = value;
        }
        given
    };
    let (one, all) = (1_000_000, [0, 1, 2, 3, 4, 5, 6, 7]);
    let mut cases = vec![];
    let mut add = |what: &str, given: Value| cases.push(Case::new(what, given));
    add("greedy among all", given(&all, 0, 0, one));
    add("greedy among some, the lowest of equals", given(&[2, 4, 5], 0, 0, one));
    add("all", given(&all, 2 * one, 0, one));
    add("without the highest", given(&all[1..], 2 * one, 0, one));
    add("top-k of what is allowed", given(&[3, 4, 5, 7], 5 * one, 2, one));
    add("top-p of what is allowed", given(&[3, 4, 5, 6, 7], 2 * one, 0, 800_000));
    add("one", given(&[5], 100 * one, 0, one));
    add("none", given(&[], one, 0, one));
    Group {
        operation: "sample-allowed",
        clauses: &["A-28", "A-29", "A-30", "A-31", "A-40"],
        what: "The token drawn at each position of adjusted logits among the tokens that are allowed.",
        cases,
    }
}

fn logprobs() -> Group {
    let given = |logits: Value, bits: u32, tokens: Vec<u32>, count: u32| json!({ "logits": logits, "fraction_bits": bits, "tokens": tokens, "count": count });
    let bit = 11_629_080; // ln 2 · 2^24
    let mut cases = vec![];
    let mut add = |what: &str, given: Value| cases.push(Case::new(what, given));
    add("one token is certain", given(p(&[-7]), 16, vec![0], 1));
    add("halves", given(p(&[0, 0]), 16, vec![0, 1], 2));
    let quarters = p(&[-3 * bit, -bit, -3 * bit, -2 * bit]);
    add("1/8, 1/2, 1/8, 1/4", given(quarters, 24, vec![0, 1, 2, 3], 3));
    let extremes = p(&[i64::from(i32::MIN), i64::from(i32::MAX)]);
    add("the largest distance", given(extremes.clone(), 0, vec![0, 1], 2));
    add("the largest distance at 31 fraction bits", given(extremes, 31, vec![0, 1], 2));
    add("2^20 equals", given(run(3, 1 << 20), 20, vec![0, (1 << 20) - 1], 20));
    let mut numbers = Numbers(44);
    let logits = numbers.list(600, -600_000, 600_000);
    add("600 logits", given(p(&logits), 16, (0..600).step_by(7).collect(), 20));
    add("no alternatives", given(p(&logits), 16, vec![5], 0));
    add("more alternatives than tokens", given(p(&[3, 9, 9]), 16, vec![0], 20));
    add("no logits", given(p(&[]), 16, vec![0], 0));
    add("32 fraction bits", given(p(&[1]), 32, vec![0], 0));
    add("a token that is not there", given(p(&[1]), 16, vec![1], 0));
    add("21 alternatives", given(p(&[1]), 16, vec![0], 21));
    Group {
        operation: "logprobs",
        clauses: &["A-38", "A-39", "A-41"],
        what: "Log-probabilities of tokens in millionths, and (token, millionths) of the likeliest.",
        cases,
    }
}

fn stop() -> Group {
    let case = |what: &str, tokens: &[&[u8]], stops: &[&str]| {
        let hex = |bytes: &&[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let tokens: Vec<String> = tokens.iter().map(hex).collect();
        Case::new(what, json!({ "tokens": tokens, "stop": stops }))
    };
    Group {
        operation: "stop",
        clauses: &["A-42"],
        what: "Of tokens with these bytes: how many the output has, whether a stop string ends it, and the text that is shown.",
        cases: vec![
            case("no stop string", &[b"ab", b"c"], &[]),
            case("within one token", &[b"x", b"abcd", b"e"], &["bc"]),
            case("over three tokens", &[b"xa", b"b", b"cy", b"z"], &["abc"]),
            case("at the beginning", &[b"abc", b"d"], &["ab"]),
            case("with the last token", &[b"a", b"b"], &["ab"]),
            case("not whole", &[b"xa", b"b"], &["abc"]),
            case("begun again within itself", &[b"aba", b"abab", b"c"], &["abab"]),
            case("two with one token: the first to begin", &[b"abc", b"d", b"e"], &["cd", "abcd"]),
            case(
                "two, of which the later to begin is whole first",
                &[b"ab", b"c", b"d"],
                &["abcd", "bc"],
            ),
            case("a token without bytes", &[b"a", b"", b"b", b"", b"c"], &["ab"]),
            case(
                "a character in four tokens",
                &[b"x\xf0", b"\x9f", b"\x98", b"\x80y"],
                &["\u{1f600}"],
            ),
            case("its first three bytes", &[b"x\xf0\x9f\x98", b"\x81y"], &["\u{1f600}"]),
            case("bytes that are no text", &[b"\xff\xc3", b"(\x80", b"!\xe2\x82"], &["!?"]),
            case("bytes that are no text before a stop string", &[b"\xe2\x82", b"!\xe2"], &["!"]),
            case("the longest", &[&[b'a'; 200], &[b'a'; 200]], &["a".repeat(256).as_str()]),
        ],
    }
}
