//! Rotation, scores, softmax, the weighted sum and its division.

use super::{Case, Group, Numbers, Value, json, one, p, run};

pub(super) fn groups() -> Vec<Group> {
    vec![rotate(), scores(), softmax(), weighted_sum(), divide()]
}

fn rotate() -> Group {
    let case = |what: String, x: &[i64], cosines: &[i64], sines: &[i64]| {
        Case::new(what, json!({ "x": p(x), "cosines": p(cosines), "sines": p(sines) }))
    };
    let name = str::to_owned;
    let (most, turn) = (32_767, 1 << 14);
    let mut cases = vec![
        case(name("zeros"), &[0; 4], &[turn, turn], &[0, 0]),
        case(name("not at all"), &[most, 1, -most, -1], &[turn, turn], &[0, 0]),
        case(name("a quarter turn"), &[most, 1, -most, -1], &[0, 0], &[turn, turn]),
        case(name("both at their largest"), &[most, -most], &[turn], &[-turn]),
        case(name("and of the other sign"), &[-32_768, -32_768], &[turn], &[-turn]),
        case(name("a key that carries"), &[255, 0], &[1], &[0]),
    ];
    let mut numbers = Numbers(21);
    for half in [1, 5, 8, 16, 17, 32, 64, 128] {
        let x = numbers.list(2 * half, -most, most);
        let (cosines, sines) = (numbers.list(half, -turn, turn), numbers.list(half, -turn, turn));
        cases.push(case(format!("a head of {}", 2 * half), &x, &cosines, &sines));
    }
    Group {
        operation: "rotate",
        clauses: &["A-17", "A-18", "A-19"],
        what: "One head rotated, and then narrowed as a query and as a key.",
        cases,
    }
}

fn scores() -> Group {
    let case = |what: String, query: Value, query_bits: i32, keys: Value, key_bits: &[i64]| {
        let key_bits = p(key_bits);
        let given =
            json!({ "query": query, "query_bits": query_bits, "keys": keys, "key_bits": key_bits });
        Case::new(what, given)
    };
    let name = str::to_owned;
    let widest = |x: i64, y: i64| (run(x, 256), run(y, 256));
    let (query, keys) = widest(32_767, 127);
    let mut cases = vec![
        case(name("the widest head, the largest, no shift"), query.clone(), 6, keys.clone(), &[6]),
        case(name("one to the left: refused"), query, 5, keys, &[6]),
    ];
    let (query, keys) = widest(-32_767, 127);
    cases.push(case(name("the smallest, no shift"), query.clone(), 6, keys.clone(), &[6]));
    cases.push(case(name("the smallest, one to the left: refused"), query, 6, keys, &[5]));
    cases.extend([
        case(name("2^30 is within the bound"), p(&[16_384, 0]), 0, p(&[64, 0]), &[2]),
        case(name("-2^30 is within the bound"), p(&[-16_384, 0]), 0, p(&[64, 0]), &[2]),
        case(name("above 2^30 is not"), p(&[16_384, 1]), 0, p(&[64, 1]), &[2]),
        case(name("ties"), p(&[1, 0]), 7, p(&[1, 0, -1, 0, 3, 0, -3, 0, 2, 0]), &[6; 5]),
        case(
            name("lost in 62 and more"),
            p(&[32_767, -32_767]),
            250,
            p(&[127, -127, -127, 127]),
            &[300, 511],
        ),
        case(name("one key, zeros"), p(&[0, 0]), -128, p(&[127, 127]), &[-128]),
        case(
            name("keys of many bits"),
            p(&[300, -300]),
            12,
            p(&[5, 1, 5, 1, 5, 1, 5, 1, 5, 1]),
            &[-3, 0, 1, 7, 40],
        ),
    ]);
    let mut numbers = Numbers(22);
    for (width, keys) in [(2, 1), (10, 3), (16, 2), (34, 5), (64, 17), (128, 4), (254, 2)] {
        let query = p(&numbers.list(width, -32_767, 32_767));
        let rows = p(&numbers.list(width * keys, -127, 127));
        let key_bits = numbers.list(keys, 4, 9);
        cases.push(case(format!("{keys} keys of {width}"), query, 11, rows, &key_bits));
    }
    Group {
        operation: "scores",
        clauses: &["A-5", "A-20"],
        what: "A query's scores with the keys that it sees.",
        cases,
    }
}

fn softmax() -> Group {
    let case = |what: String, scores: Value, value_bits: Value| {
        Case::new(what, json!({ "scores": scores, "value_bits": value_bits }))
    };
    let name = str::to_owned;
    let most = 1_i64 << 30;
    let mut cases = vec![
        case(name("one key"), p(&[-most]), p(&[7])),
        case(name("all equal"), run(4096, 70), run(3, 70)),
        case(name("the ends of the table"), p(&[0, -65_535, -65_536, -65_537, -1]), run(0, 5)),
        case(name("the largest distance"), p(&[most, -most, most]), p(&[511, -128, 0])),
        case(
            name("the first place from which the table is zero"),
            p(&[0, -48_000, -49_000, -50_000]),
            run(0, 4),
        ),
        case(name("ties of the weights"), p(&[0, 0, 0, 0, 0, 0]), p(&[0, 1, 2, 15, 16, 17])),
        case(name("weights that vanish"), p(&[0, 0, 0, 0]), p(&[0, 18, 62, 600])),
        case(name("negative fraction bits"), p(&[0, -100, 100]), p(&[-128, -127, -126])),
    ];
    let mut numbers = Numbers(23);
    for keys in [2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 257] {
        let (scores, bits) = (numbers.list(keys, -30_000, 30_000), numbers.list(keys, 5, 9));
        cases.push(case(format!("{keys} keys"), p(&scores), p(&bits)));
    }
    let mut scores = numbers.list(40, -9_000, -8_000);
    for at in [0, 7, 8, 31, 39] {
        scores[at] = 0;
        cases.push(case(format!("the largest at {at}"), p(&scores), run(1, 40)));
        scores[at] = -8_500;
    }
    Group {
        operation: "softmax",
        clauses: &["A-21", "A-22", "A-27"],
        what: "Numerators, their sum, and the weights at the least fraction bits.",
        cases,
    }
}

fn weighted_sum() -> Group {
    let case = |what: String, weights: Value, values: Value, head_dim: usize| {
        Case::new(what, json!({ "weights": weights, "values": values, "head_dim": head_dim }))
    };
    let name = str::to_owned;
    let mut cases = vec![
        case(name("one key"), p(&[65_535]), p(&[127, -127]), 2),
        case(name("weights of zero"), run(0, 9), run(127, 18), 2),
        case(name("70,000 keys at their largest"), run(65_535, 70_000), run(127, 140_000), 2),
        case(name("70,000 keys at their smallest"), run(65_535, 70_000), run(-127, 140_000), 2),
        case(name("257 keys of the widest head"), run(65_535, 257), run(-127, 257 * 256), 256),
    ];
    let mut numbers = Numbers(24);
    for (keys, width) in [(1, 10), (2, 2), (3, 16), (7, 34), (16, 64), (33, 10), (300, 6), (5, 130)]
    {
        let weights = p(&numbers.list(keys, 0, 65_535));
        let values = p(&numbers.list(keys * width, -127, 127));
        cases.push(case(format!("{keys} keys of {width}"), weights, values, width));
    }
    Group {
        operation: "weighted-sum",
        clauses: &["A-22"],
        what: "Complete sums of weighted values.",
        cases,
    }
}

fn divide() -> Group {
    let case = |what: String, sums: &[i64], total: i128, lag: u32| {
        Case::new(what, json!({ "sums": p(sums), "total": one(total), "lag": lag }))
    };
    let largest = 131_072_i64 * 65_535;
    let mut cases = vec![];
    for lag in [0, 1, 7, 8, 9, 15, 16, 17, 24, 25, 63, 639] {
        let z = 65_535_i64;
        let near = [0, 1, -1, z, -z, z / 2, -z / 2, 127 * z, -127 * z, 128, -128, 12_345_678];
        // No sum exceeds 127 times Z.
        let near: Vec<i64> = near.into_iter().filter(|sum| sum.abs() <= 127 * z).collect();
        cases.push(case(format!("one key, lag {lag}"), &near, z.into(), lag));
        let ends = [127 * largest, -127 * largest, 127 * largest - 1, largest, 1, 0];
        cases.push(case(format!("the largest Z, lag {lag}"), &ends, largest.into(), lag));
    }
    // Z = 2^17 makes exact halves with a lag of none: o · 2^8 / Z.
    let halves: Vec<i64> = (-9..=9).map(|i| i << 8).collect();
    cases.push(case("ties".to_owned(), &halves, 1 << 17, 0));
    let ties: Vec<i64> = (-9..=9).map(|i| i << 17).collect();
    cases.push(case("ties with a lag of 9".to_owned(), &ties, 1 << 17, 9));
    let mut numbers = Numbers(25);
    for width in [1, 7, 8, 9, 33, 64, 256] {
        let z = numbers.within(65_535, 1 << 33);
        let sums = numbers.list(width, -127 * z, 127 * z);
        cases.push(case(format!("a head of {width}"), &sums, z.into(), 3));
    }
    Group {
        operation: "divide",
        clauses: &["A-1", "A-23"],
        what: "The division of attention.",
        cases,
    }
}
