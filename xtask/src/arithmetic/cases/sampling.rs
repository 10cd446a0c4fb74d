//! Philox, keys, variates, weights and draws.

use super::{Case, Group, Numbers, Value, json, p, packed, run};

pub(super) fn groups() -> Vec<Group> {
    vec![philox(), sampler_key(), sampler_tables(), gumbel(), weight(), sample()]
}

fn philox() -> Group {
    let case = |what: &str, counter: [u32; 4], key: [u32; 2]| {
        Case::new(what, json!({ "counter": counter, "key": key }))
    };
    Group {
        operation: "philox",
        clauses: &["A-31"],
        what: "Blocks of Philox4x32-10; the first three are published ones (Random123).",
        cases: vec![
            case("zeros", [0; 4], [0; 2]),
            case("ones", [u32::MAX; 4], [u32::MAX; 2]),
            case(
                "digits of pi",
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
            ),
            case("a position", [1, 0, 0, 0], [7, 9]),
            case("a token", [0, 1, 0, 0], [7, 9]),
            case("a choice", [0, 0, 1, 0], [7, 9]),
            case("the last of each", [131_071, (1 << 20) - 1, u32::MAX, 0], [u32::MAX, 0]),
        ],
    }
}

fn sampler_key() -> Group {
    let case = |what: &str, seed: &str| Case::new(what, json!({ "seed": seed }));
    Group {
        operation: "sampler-key",
        clauses: &["A-31"],
        what: "The two words of the key for a seed.",
        cases: vec![
            case("no byte", ""),
            case("one byte", "00"),
            case("32 zeros", &"00".repeat(32)),
            case("32 times 255", &"ff".repeat(32)),
            case("counting", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"),
        ],
    }
}

fn sampler_tables() -> Group {
    Group {
        operation: "sampler-tables",
        clauses: &["A-38", "A-39"],
        what: "SHA-256 of the sampler's tables.",
        cases: vec![Case::new("all entries", json!({}))],
    }
}

fn gumbel() -> Group {
    let case = |what: &str, words: Vec<u32>| Case::new(what, json!({ "words": packed(&words) }));
    let lengths =
        (0..32).flat_map(|bit| [(1_u32 << bit) - 1, 1 << bit, !(1 << bit), u32::MAX >> bit]);
    let half = 1_u32 << 31;
    Group {
        operation: "gumbel",
        clauses: &["A-31", "A-39"],
        what: "Variates with 24 fraction bits.",
        cases: vec![
            case("the lower tail", (0..64).collect()),
            case("the upper tail", (0..64).map(|i| u32::MAX - i).collect()),
            case("about one half", (half - 32..half + 32).collect()),
            case("every bit length", lengths.collect()),
            case(
                "without a pattern",
                (0..1_000_u32).map(|i| i.wrapping_mul(0x9e37_79b9)).collect(),
            ),
        ],
    }
}

fn weight() -> Group {
    let mut cases = vec![];
    for (fraction_bits, temperature) in
        [(16, 1_000_000_u32), (16, 800_000), (0, 1), (0, 100_000_000), (20, 700_001), (31, 3)]
    {
        let mut distances: Vec<u64> = (0..40).collect();
        distances.extend((6..=32).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit]));
        // The last before x = 32 and the first from there on, as far as they can be hit.
        let unit = (1_u128 << fraction_bits) * u128::from(temperature);
        let border = u64::try_from(32 * unit / 1_000_000).unwrap_or(u64::MAX).min(1 << 32);
        distances.extend(border.saturating_sub(2)..=(border + 2).min(1 << 32));
        let what =
            format!("{fraction_bits} fraction bits, temperature of {temperature} millionths");
        let distances = packed(&distances);
        let given = json!({ "fraction_bits": fraction_bits, "temperature": temperature, "distances": distances });
        cases.push(Case::new(what, given));
    }
    Group {
        operation: "weight",
        clauses: &["A-30", "A-38"],
        what: "Weights with 40 bits at distances below the largest logit.",
        cases,
    }
}

fn sample() -> Group {
    let given = |logits: Value, bits: u32, temperature: u32, top_k: u32, top_p: u32| {
        json!({
            "logits": logits, "fraction_bits": bits, "temperature": temperature, "top_k": top_k,
            "top_p": top_p, "choice": 0, "key": [1_234_567, 89], "positions": (0..24).collect::<Vec<u32>>()
        })
    };
    let (one, hot) = (1_000_000, 100_000_000);
    let bit = 11_629_080; // ln 2 · 2^24
    let quarters = p(&[-3 * bit, -bit, -3 * bit, -2 * bit]);
    let ties = p(&[5, 8, 8, 8, 1]);
    let extremes = p(&[i64::from(i32::MIN), i64::from(i32::MAX)]);
    let mut cases = vec![];
    let mut add = |what: &str, given: Value| cases.push(Case::new(what, given));
    add("greedy: the first maximum", given(ties.clone(), 16, 0, 0, one));
    add("greedy whatever top-k and top-p say", given(ties.clone(), 16, 0, 2, 0));
    add("top-k of one: the first maximum", given(ties.clone(), 16, 5_000_000, 1, one));
    add("top-k of two: the lower ids of equals", given(ties.clone(), 16, hot, 2, one));
    add("top-k of the vocabulary", given(ties.clone(), 16, hot, 5, one));
    add("top-k beyond the vocabulary", given(ties, 16, hot, 6, one));
    for top_p in [0, 1, 499_999, 500_001, 749_999, 750_001, 875_001, 999_999, one] {
        let what = format!("top-p of {top_p} millionths over 1/2, 1/4, 1/8, 1/8");
        add(&what, given(quarters.clone(), 24, one, 0, top_p));
    }
    add("top-p of what top-k kept", given(quarters, 24, one, 2, 600_000));
    add("the largest distance", given(extremes.clone(), 31, hot, 0, one));
    add("the lowest temperature", given(extremes, 0, 1, 0, 500_000));
    add("one token", given(p(&[-7]), 16, one, 0, one));
    add("all equal", given(run(3, 300), 16, one, 0, 900_000));
    let mut numbers = Numbers(41);
    for (what, temperature, top_k, top_p) in [
        ("600 logits", 800_000, 0, one),
        ("600 logits, top-p", 800_000, 0, 950_000),
        ("600 logits, top-k", 1_500_000, 40, one),
        ("600 logits, both", 1_500_000, 300, 900_000),
    ] {
        add(what, given(p(&numbers.list(600, -600_000, 600_000)), 16, temperature, top_k, top_p));
    }
    let mut other = given(p(&[1, 2, 3, 4]), 8, hot, 0, one);
    other["choice"] = json!(u32::MAX);
    add("the last choice", other);
    add("no logits", given(p(&[]), 16, one, 0, one));
    add("2^20 + 1 logits", given(run(0, (1 << 20) + 1), 16, one, 0, one));
    add("32 fraction bits", given(p(&[1, 2]), 32, one, 0, one));
    add("a temperature above 100", given(p(&[1, 2]), 16, hot + 1, 0, one));
    add("a top-p above one", given(p(&[1, 2]), 16, one, 0, one + 1));
    Group {
        operation: "sample",
        clauses: &["A-28", "A-29", "A-30", "A-31", "A-38", "A-39"],
        what: "The token drawn at each position.",
        cases,
    }
}
