//! Rounding, narrowing, linear layers and what is added to the residual stream.

use super::{Case, Group, Numbers, Value, json, p, run};

/// Around every width that a kernel may treat apart: registers of 16, 32 and 64 bytes, and tails.
const WIDTHS: [usize; 9] = [1, 2, 31, 33, 63, 64, 65, 127, 130];
const WIDEST: usize = 65_536;

pub(super) fn groups() -> Vec<Group> {
    vec![rescale(), narrow(), linear(), requantise(), bias(), embedding(), residual()]
}

fn rescale() -> Group {
    let case = |what: &str, values: &[i64], from: i32, to: i32| {
        let bound = (1_i64 << 31) - 1;
        let given = json!({ "values": p(values), "from": from, "to": to, "operation": "any", "bound": bound });
        Case::new(what, given)
    };
    let most = (1 << 30) - 1;
    let near = [0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6, 7, -7, most, -most];
    let mut cases = vec![
        case("no shift", &near, 12, 12),
        case("ties go up, of negative numbers too", &near, 13, 12),
        case("two bits", &near, 14, 12),
        case("two bits to the left", &near[..15], 12, 14),
        case("negative fraction bits", &near, -3, -2),
        case("from negative to positive", &near[..15], -3, 3),
        case("all but the sign is lost at 29", &near, 29, 0),
        case("a half of 2^30 - 1 at 30", &near, 30, 0),
        case("31", &near, 31, 0),
        case("32", &near, 32, 0),
        case("62", &near, 62, 0),
        case("63", &near, 63, 0),
        case("64 and beyond", &near, 400, -100),
        case("one element", &[-1], 1, 0),
        case("zeros stay zeros under any left shift", &[0; 9], -400, 100),
        case("2^30 - 1 doubled is within the bound", &[most, -most], 0, 1),
        case("2^30 - 1 four times is not", &[most, 0], 0, 2),
        case("its negative is not either", &[0, -most], 0, 2),
        case("one under 32 to the left", &[0, 1], 0, 32),
        case("one under 33 to the left", &[0, 1], 0, 33),
        case("one under 500 to the left", &[-1], -250, 250),
    ];
    let mut numbers = Numbers(1);
    for (index, width) in WIDTHS.into_iter().enumerate() {
        let shift = [1, 5, 13, 17, 18, 30, 2, 40, 9][index];
        cases.push(case(&format!("{width} elements"), &numbers.list(width, -most, most), shift, 0));
    }
    let group = |operation: &str, values: &[i64], from: i32, to: i32| {
        let bound = 1_i64 << 30;
        json!({ "values": p(values), "from": from, "to": to, "operation": operation, "bound": bound })
    };
    for operation in ["gate", "logits"] {
        for (what, value, to) in [
            ("2^30 is within the bound", 1 << 29, 13),
            ("-2^30 is within the bound", -(1 << 29), 13),
            ("2^30 + 2 is not", (1 << 29) + 1, 13),
            ("-2^30 - 2 is not", -(1 << 29) - 1, 13),
        ] {
            cases.push(Case::new(
                format!("{operation}: {what}"),
                group(operation, &[0, value, 7], 12, to),
            ));
        }
    }
    Group {
        operation: "rescale",
        clauses: &["A-1", "A-2", "A-4", "A-5", "A-12", "A-24"],
        what: "Values of `from` fraction bits with `to` of them; refused above `bound`.",
        cases,
    }
}

fn narrow() -> Group {
    let mut cases = vec![];
    let mut numbers = Numbers(2);
    let most = (1_i64 << 31) - 1;
    for limit in [127_i64, 32_767] {
        let mut add = |what: String, values: Value| {
            cases.push(Case::new(
                format!("{what}, limit {limit}"),
                json!({ "values": values, "limit": limit }),
            ));
        };
        let carry = 2 * limit + 1;
        for (what, values) in [
            ("zeros", vec![0; 5]),
            ("one zero", vec![0]),
            ("the limit itself", vec![limit, -limit, 1]),
            ("one above the limit", vec![limit + 1, 0, -1]),
            ("one below the negative limit", vec![-limit - 1, 3]),
            ("twice the limit", vec![2 * limit, 1, 2, 3]),
            ("2 · limit + 1, which one shift rounds to limit + 1", vec![carry, -1, 1, 2]),
            ("the same, negative", vec![-carry, -1, 1, 2]),
            ("4 · limit + 1, which two shifts round to the limit", vec![4 * limit + 1, 5]),
            ("4 · limit + 2, which two shifts round to limit + 1", vec![4 * limit + 2, 5]),
            ("the largest and the smallest", vec![most, -most, 1, -1, 0]),
            ("only the smallest", vec![-most]),
            ("2^30 - 1, which carries", vec![(1 << 30) - 1, 1 << 29]),
        ] {
            add(what.to_owned(), p(&values));
        }
        add("all equal".to_owned(), run(-123_456, 67));
        for width in WIDTHS {
            add(format!("{width} elements"), p(&numbers.list(width, -most, most)));
        }
        let mut values = numbers.list(96, -100, 100);
        for at in [0, 15, 16, 31, 63, 64, 95] {
            values[at] = -70_000;
            add(format!("the largest at {at}"), p(&values));
            values[at] = 1;
        }
    }
    Group {
        operation: "narrow",
        clauses: &["A-3", "A-18", "A-19", "A-25"],
        what: "Values narrowed to a limit, and the least exponent.",
        cases,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "each value is made for its call")]
fn matrix(
    kind: &str,
    columns: usize,
    elements: Value,
    scales: Option<Value>,
    x: Vec<Value>,
) -> Value {
    let mut given = json!({ "kind": kind, "columns": columns, "elements": elements, "x": x });
    if let Some(scales) = scales {
        given["group_scales"] = scales;
    }
    given
}

fn linear() -> Group {
    let (mut cases, mut numbers) = (vec![], Numbers(3));
    for (index, width) in WIDTHS.into_iter().enumerate() {
        let (rows, tokens) = [(1, 1), (3, 2), (5, 1), (4, 4), (17, 1)][index % 5];
        let elements = p(&numbers.list(rows * width, -127, 127));
        let x = (0..tokens).map(|_| p(&numbers.list(width, -32_767, 32_767))).collect();
        let what = format!("int8, {rows} rows of {width}, {tokens} tokens");
        cases.push(Case::new(what, matrix("int8", width, elements, None, x)));
    }
    for (w, x) in [(127, 32_767), (-127, 32_767), (127, -32_767), (-127, -32_767), (127, -32_768)] {
        let what = format!("int8, the widest row of {w} with {x}");
        let given = matrix("int8", WIDEST, run(w, WIDEST), None, vec![run(x, WIDEST)]);
        cases.push(Case::new(what, given));
    }
    let zeros = matrix("int8", 70, run(0, 210), None, vec![run(0, 70), run(32_767, 70)]);
    cases.push(Case::new("int8, zeros", zeros));
    for kind in ["int8-groups", "int4"] {
        let (least, most) = if kind == "int4" { (-8, 7) } else { (-127, 127) };
        for (rows, width, tokens) in [(1, 32, 1), (3, 32, 2), (2, 64, 1), (5, 96, 3), (17, 160, 1)]
        {
            let elements = p(&numbers.list(rows * width, least, most));
            let scales = p(&numbers.list(rows * width / 32, 1, 127));
            let x = (0..tokens).map(|_| p(&numbers.list(width, -32_767, 32_767))).collect();
            let what = format!("{kind}, {rows} rows of {width}, {tokens} tokens");
            cases.push(Case::new(what, matrix(kind, width, elements, Some(scales), x)));
        }
        for (q, scale, x) in
            [(least, 127, -32_768), (least, 127, 32_767), (most, 127, -32_767), (most, 1, 32_767)]
        {
            let what = format!("{kind}, the widest row of {q} times {scale} with {x}");
            let scales = Some(run(scale, WIDEST / 32));
            let given = matrix(kind, WIDEST, run(q, WIDEST), scales, vec![run(x, WIDEST)]);
            cases.push(Case::new(what, given));
        }
        let mut order = vec![0; 64];
        order[..32].copy_from_slice(&(0..32).map(|k| k % 15 - 7).collect::<Vec<i64>>());
        let x: Vec<i64> = (0..64).map(|k| 1 << (k % 14)).collect();
        let given = matrix(kind, 64, p(&order), Some(p(&[3, 5])), vec![p(&x)]);
        cases.push(Case::new(format!("{kind}, one group in order and one of zeros"), given));
    }
    Group {
        operation: "linear",
        clauses: &["A-6", "A-9"],
        what: "Complete sums of every row with every token's vector.",
        cases,
    }
}

fn requantise() -> Group {
    let case = |what: String, sums: &[i64], scales: &[i64], bits: i32, j: i32| {
        Case::new(what, json!({ "sums": p(sums), "scales": p(scales), "bits": bits, "j": j }))
    };
    let name = str::to_owned;
    let widest = 127 * 127 * 32_768 * 65_536;
    let mut cases = vec![
        case(name("the example of the specification"), &[3_810_085], &[20_000], 12, 21),
        case(name("zeros"), &[0; 5], &[1, 2, 3, 4, 32_767], 0, 0),
        case(name("within int16"), &[32_767, -32_767, 1, 0], &[32_767, 32_767, 1, 9], 15, 60),
        case(name("65,535, which one shift rounds to 32,768"), &[65_535, -3, 3], &[7; 3], -9, 3),
        case(name("-65,535"), &[-65_535, -3, 3], &[7; 3], 200, 60),
        case(name("65,536"), &[65_536, -3, 3], &[7; 3], -128, 0),
        case(name("the largest sums"), &[widest, -widest, widest - 1, 1], &[32_767; 4], 1, 1),
        case(name("one element"), &[-1 << 41], &[1], 4, 4),
    ];
    let mut numbers = Numbers(4);
    for width in WIDTHS {
        let limit = widest >> (width % 40);
        let (sums, scales) = (numbers.list(width, -limit, limit), numbers.list(width, 1, 32_767));
        cases.push(case(format!("{width} rows"), &sums, &scales, 9, 30));
    }
    Group {
        operation: "requantise",
        clauses: &["A-9"],
        what: "Sums narrowed to int16, times the rows' scales.",
        cases,
    }
}

fn bias() -> Group {
    let case = |what: String, values: &[i64], bits: i32, bias: &[i64], bias_bits: i32| {
        Case::new(
            what,
            json!({ "p": p(values), "bits": bits, "bias": p(bias), "bias_bits": bias_bits }),
        )
    };
    let name = str::to_owned;
    let (value, most) = (32_767_i64 * 32_767, (1_i64 << 29) - 1);
    let pair = [value, -value, value, -value, 0];
    let biases = [most, -most, -most, most, 0];
    let mut cases = vec![
        case(name("the same bits, extremes"), &pair, 20, &biases, 20),
        case(name("one bit more than the bias"), &pair, 21, &biases, 20),
        case(name("one bit less than the bias"), &pair, 20, &biases, 21),
        case(name("31 more"), &pair, 60, &biases, 29),
        case(name("the values vanish"), &pair, 300, &biases, 0),
        case(name("the bias vanishes"), &pair, -120, &biases, 60),
        case(name("ties of both"), &[1, -1, 3, -3], 7, &[1, -1, -3, 3], 6),
        case(name("ties of the bias"), &[1, -1, 3, -3], 6, &[1, -1, -3, 3], 7),
    ];
    let mut numbers = Numbers(5);
    for width in WIDTHS {
        let (values, biases) =
            (numbers.list(width, -value, value), numbers.list(width, -most, most));
        cases.push(case(format!("{width} rows"), &values, 24, &biases, 27));
    }
    Group {
        operation: "bias",
        clauses: &["A-7", "A-33"],
        what: "A layer's values with its bias, at the fewer fraction bits of the two.",
        cases,
    }
}

fn embedding() -> Group {
    let case = |what: &str, elements: &[i64], scale: i64, j: i32, residual_bits: i32| {
        let elements = p(elements);
        let given =
            json!({ "elements": elements, "scale": scale, "j": j, "residual_bits": residual_bits });
        Case::new(what, given)
    };
    let row = [127, -127, 1, -1, 0];
    Group {
        operation: "embedding",
        clauses: &["A-5", "A-10"],
        what: "A token's row in the residual stream's fixed point.",
        cases: vec![
            case("as it is", &row, 32_767, 20, 20),
            case("ties", &[1, -1, 3, -3, 5], 1, 21, 20),
            case("to the right by 60", &row, 32_767, 60, 0),
            case("to the left by 9: within the bound", &row, 32_767, 11, 20),
            case("to the left by 10: refused", &row, 32_767, 10, 20),
            case("to the left by 24, one", &[0, 1, -1], 1, 0, 24),
            case("to the left by 24, 128: refused", &[0, 0, 1], 128, 0, 24),
            case("2^31 is refused", &[64], 16_384, 4, 15),
            case("zeros stay", &[0; 40], 32_767, 0, 24),
        ],
    }
}

fn residual() -> Group {
    let case = |what: String, operation: &str, h: &[i64], values: &[i64], bits: i32, to: i32| {
        let (h, values) = (p(h), p(values));
        let given = json!({ "h": h, "p": values, "bits": bits, "residual_bits": to, "operation": operation });
        Case::new(what, given)
    };
    let (h_most, most) = ((1_i64 << 31) - 1, 32_767_i64 * 32_767);
    let mut cases = vec![];
    for operation in ["attention residual", "feed-forward residual"] {
        let mut add = |what: &str, h: &[i64], values: &[i64], bits, to| {
            cases.push(case(format!("{operation}: {what}"), operation, h, values, bits, to));
        };
        add("zeros", &[0; 3], &[0; 3], 10, 20);
        add("ties", &[0, 0, 0, 5, 5], &[1, -1, 3, -3, 2], 21, 20);
        add("2^31 - 1 is within the bound", &[h_most - 1, 1 - h_most], &[1, -1], 20, 20);
        add("2^31 is not", &[h_most, 0], &[1, 0], 20, 20);
        add("-2^31 is not", &[0, -h_most], &[0, -1], 20, 20);
        add("two halves away from the bound", &[h_most - 1, h_most], &[1, 0], 21, 20);
        add("a half beyond the bound", &[h_most], &[1], 21, 20);
        add("a negative half at the bound", &[-h_most], &[-1], 21, 20);
        add("lost in 62", &[h_most, -h_most], &[most, -most], 82, 20);
        add("lost in 200", &[h_most, -h_most], &[most, -most], 220, 20);
        add("one by 30 to the left", &[0], &[1], -10, 20);
        add("one by 31 to the left: refused", &[0], &[1], -11, 20);
        add("minus one by 31 to the left: refused", &[0], &[-1], -11, 20);
        add("one by 31 to the left, which the stream balances", &[-h_most], &[1], -11, 20);
        add("one by 33 to the left", &[0], &[1], -13, 20);
        add("one by 140 to the left", &[7], &[1], -120, 20);
        add("zero by 140 to the left", &[7], &[0], -120, 20);
    }
    let mut numbers = Numbers(6);
    for width in WIDTHS {
        let (h, values) =
            (numbers.list(width, -h_most / 2, h_most / 2), numbers.list(width, -most, most));
        let what = format!("{width} channels");
        cases.push(case(what, "attention residual", &h, &values, 23, 20));
    }
    Group {
        operation: "residual",
        clauses: &["A-5", "A-11"],
        what: "The residual stream with a linear layer's output added.",
        cases,
    }
}
