//! Activation, gated product, an encoder's vector, and the tables.

use super::{Case, Group, Numbers, Value, json, p, run};

pub(super) fn groups() -> Vec<Group> {
    vec![activate(), gated(), pool(), table(), rotation()]
}

fn activate() -> Group {
    let mut cases = vec![];
    let mut numbers = Numbers(31);
    for table in ["silu", "gelu"] {
        let mut add = |what: &str, x: &[i64]| {
            cases.push(Case::new(format!("{table}: {what}"), json!({ "table": table, "x": p(x) })));
        };
        let most = 1 << 30;
        add("zero", &[0]);
        add("small", &[1, -1, 2, -2, 3, -3, 4096, -4096, 8192, -8192]);
        add("the deepest of the bend", &[-5_236, -3_081, -3_080, -5_235, 5_236]);
        add("the end of the table", &[65_535, -65_535, 65_536, -65_536, 65_537, -65_537]);
        add("the largest and the smallest", &[most, -most]);
        add("the smallest alone, which yields zero", &[-most]);
        add("all equal", &[-2_000; 40]);
        for width in [7, 8, 9, 16, 33, 100] {
            add(&format!("{width} elements"), &numbers.list(width, -40_000, 40_000));
        }
    }
    Group {
        operation: "activate",
        clauses: &["A-24", "A-25", "A-27"],
        what: "SiLU or GELU by its table, and the result narrowed.",
        cases,
    }
}

fn gated() -> Group {
    let case =
        |what: String, gate: Value, up: Value| Case::new(what, json!({ "gate": gate, "up": up }));
    let most = 32_767;
    let mut cases = vec![
        case("zeros".to_owned(), run(0, 5), run(most, 5)),
        case("the largest".to_owned(), p(&[most, -most, most]), p(&[most, most, -most])),
        case("a carry".to_owned(), p(&[255, 1]), p(&[257, 1])),
    ];
    let mut numbers = Numbers(32);
    for width in [1, 15, 16, 17, 64, 100] {
        let (gate, up) = (numbers.list(width, -300, most), numbers.list(width, -most, most));
        cases.push(case(format!("{width} elements"), p(&gate), p(&up)));
    }
    Group {
        operation: "gated",
        clauses: &["A-26"],
        what: "Products of gate and up, and the result narrowed.",
        cases,
    }
}

fn pool() -> Group {
    let (mut cases, mut numbers) = (vec![], Numbers(33));
    let most = (1_i64 << 31) - 1;
    for is_mean in [true, false] {
        for is_normalised in [true, false] {
            let mut add = |what: &str, streams: Vec<Value>, residual_bits: u32| {
                let kind = if is_mean { "mean" } else { "first token" };
                let norm = if is_normalised { ", normalised" } else { "" };
                let given = json!({
                    "streams": streams, "is_mean": is_mean, "is_normalised": is_normalised,
                    "residual_bits": residual_bits
                });
                cases.push(Case::new(format!("{kind}{norm}: {what}"), given));
            };
            add("zeros", vec![run(0, 6), run(0, 6)], 20);
            add("one", vec![p(&[1])], 24);
            add("minus one", vec![p(&[-1])], 20);
            add("three and four", vec![p(&[3, -4, 0]), p(&[3, -4, 0])], 24);
            add("halves", vec![p(&[1, -1, 3, -3]), p(&[0, 0, 0, 0])], 24);
            add("thirds", vec![p(&[1, -1, 2]), p(&[0, 0, 0]), p(&[0, 0, 3])], 23);
            add("2^30 is within the bound", vec![p(&[64, -64])], 0);
            add("above is not", vec![p(&[0, 65])], 0);
            add("below is not", vec![p(&[-65, 0])], 0);
            add("the largest", vec![run(most, 5), run(most, 5)], 24);
            add("the smallest", vec![run(-most, 5)], 24);
            add("2^24 - 1, which carries", vec![p(&[(1 << 24) - 1, 1, 0])], 20);
            for (tokens, width) in [(1, 33), (3, 10), (7, 16)] {
                let streams = (0..tokens).map(|_| p(&numbers.list(width, -(1 << 23), 1 << 23)));
                add(&format!("{tokens} tokens of {width}"), streams.collect(), 20);
            }
        }
    }
    let given = json!({
        "streams": vec![run(most, 2); 300], "is_mean": true, "is_normalised": true,
        "residual_bits": 0
    });
    cases.push(Case::new("mean, normalised: 300 tokens at their largest", given));
    Group {
        operation: "pool",
        clauses: &["A-5", "A-36", "A-37"],
        what: "An encoder's vector of a text from its tokens' residual streams.",
        cases,
    }
}

fn table() -> Group {
    let mut indices: Vec<i64> = vec![0, 1, 2, 3, 4, 5, 4_095, 4_096, 5_236, 65_534, 65_535];
    indices.extend((0..64).map(|i| i * 1_024 + 7));
    let case = |name: &str| Case::new(name, json!({ "table": name, "indices": p(&indices) }));
    Group {
        operation: "table",
        clauses: &["A-27"],
        what: "Entries of a table, and the SHA-256 of all its 65,536 little-endian entries.",
        cases: ["exponential", "silu", "gelu"].map(case).into(),
    }
}

fn rotation() -> Group {
    let positions = [0, 1, 2, 3, 100, 511, 512, 4_095, 131_071];
    let case = |what: &str, theta: &str, head_dim: u32, scaling: Value| {
        let positions = p(&positions);
        let given = json!({ "theta": theta, "head_dim": head_dim, "scaling": scaling, "positions": positions });
        Case::new(what, given)
    };
    let none = json!({ "kind": "none" });
    let linear = |factor: &str| json!({ "kind": "linear", "factor": factor });
    let llama3 = |factor: &str, original: u32| json!({ "kind": "llama3", "factor": factor, "low": "1.0", "high": "4.0", "original_context": original });
    Group {
        operation: "rotation",
        clauses: &["A-27"],
        what: "Cosines and sines, position by position.",
        cases: vec![
            case("one pair, theta 1", "1", 2, none.clone()),
            case("theta 10,000", "10000.0", 32, none.clone()),
            case("theta 500,000", "500000", 64, none),
            case("linear", "10000", 16, linear("2.5")),
            case("linear by one", "10000", 16, linear("1")),
            case("llama3, all three ranges", "500000", 64, llama3("8", 8_192)),
            case("llama3, another length", "500000.0", 32, llama3("32.0", 256)),
        ],
    }
}
