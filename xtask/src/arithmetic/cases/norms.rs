//! The three norms.

use serde_json::json;

use super::{Case, Group, Numbers, Value, one, p, run};

const WIDTHS: [usize; 7] = [1, 2, 15, 16, 33, 64, 100];
const H_MAX: i64 = (1 << 31) - 1;

pub(super) fn groups() -> Vec<Group> {
    vec![norm(), head_norm(), layer_norm()]
}

fn norm() -> Group {
    let case = |what: String, h: Value, gains: Value, gain_bits: i32, epsilon: i128| {
        let epsilon = one(epsilon);
        Case::new(
            what,
            json!({ "h": h, "gains": gains, "gain_bits": gain_bits, "epsilon": epsilon }),
        )
    };
    let name = str::to_owned;
    let most = 32_767;
    let mut cases = vec![
        case(name("zeros without epsilon"), run(0, 8), run(most, 8), 15, 0),
        case(name("zeros with the largest epsilon"), run(0, 8), run(most, 8), 15, 1 << 60),
        case(name("one without epsilon"), p(&[1]), p(&[1]), 0, 0),
        case(name("minus one"), p(&[-1]), p(&[most]), 30, 1),
        case(name("the largest, one element"), p(&[H_MAX]), p(&[-most]), 30, 0),
        case(name("the largest, all equal"), run(H_MAX, 64), run(most, 64), 14, 1),
        case(name("the largest of both signs"), p(&[H_MAX, -H_MAX, H_MAX]), p(&[1, 1, -1]), 0, 5),
        case(name("2^23 - 1, which needs no shift"), p(&[(1 << 23) - 1, 3]), p(&[9, 9]), 3, 0),
        case(name("2^23, which needs one"), p(&[1 << 23, 3]), p(&[9, 9]), 3, 0),
        case(
            name("2^24 - 1, whose shift by one carries"),
            p(&[(1 << 24) - 1, 3]),
            p(&[9, 9]),
            3,
            0,
        ),
        case(name("epsilon shifted to a tie"), p(&[1 << 24, 0]), p(&[5, 5]), 0, 8),
        case(name("epsilon shifted out"), p(&[H_MAX, 1]), p(&[5, 5]), 0, 1 << 15),
        case(
            name("the largest epsilon beside the largest stream"),
            run(H_MAX, 5),
            run(1, 5),
            0,
            1 << 60,
        ),
        case(name("gains of zero"), p(&[5, 6, 7]), run(0, 3), 12, 1),
        case(name("the widest, the largest"), run(H_MAX, 16_384), run(most, 16_384), 15, 1),
        case(name("the widest, ones"), run(-1, 16_384), run(-most, 16_384), 15, 1 << 60),
    ];
    let mut numbers = Numbers(11);
    for width in WIDTHS {
        for limit in [3, 1 << 20, H_MAX] {
            let (h, gains) = (numbers.list(width, -limit, limit), numbers.list(width, -most, most));
            let what = format!("{width} channels up to {limit}");
            cases.push(case(what, p(&h), p(&gains), 14, 2_814_749_767));
        }
    }
    // Powers of two and their neighbours, where the largest even k changes.
    for power in 0..12_u32 {
        let h = [(1_i64 << power) - 1, 0, 0, 1 << (power / 2)];
        cases.push(case(format!("about 2^{power}"), p(&h), run(20_000, 4), 14, 0));
    }
    Group {
        operation: "norm",
        clauses: &["A-7", "A-8", "A-13", "A-14", "A-15"],
        what: "Root mean square norm of the residual stream.",
        cases,
    }
}

fn head_norm() -> Group {
    let case = |what: String, values: Value, bits: i32, gains: Value, epsilon: i128| {
        let epsilon = one(epsilon);
        let given = json!({ "p": values, "bits": bits, "gains": gains, "gain_bits": 14, "epsilon": epsilon });
        Case::new(what, given)
    };
    let (most, gain, epsilon) = (32_767_i64 * 32_767, 32_767, 18_014_398_509_i128);
    let mut cases = vec![];
    for bits in [-100, -7, 0, 23, 24, 25, 26, 40, 54, 55, 90] {
        let values = p(&[most, -most, 1, -1, 0, 3, -3, 2]);
        cases.push(case(format!("{bits} fraction bits"), values, bits, run(gain, 8), epsilon));
    }
    cases.push(case("zeros".to_owned(), run(0, 6), 30, run(gain, 6), epsilon));
    cases.push(case("the largest epsilon".to_owned(), run(1, 6), 24, run(gain, 6), 1 << 60));
    cases.push(case(
        "the largest epsilon, shifted by 60 to one".to_owned(),
        run(1, 6),
        -6,
        run(gain, 6),
        1 << 60,
    ));
    cases.push(case(
        "the largest epsilon, shifted by 62 to zero".to_owned(),
        run(1, 6),
        -7,
        run(gain, 6),
        1 << 60,
    ));
    // Beyond 24 fraction bits a head is rounded first; of less than half a unit nothing is left.
    let above = 1_610_047_200;
    for bits in [54, 55, 56, 60, 90] {
        cases.push(case(
            format!("above 2^30, {bits} fraction bits, no epsilon"),
            p(&[above, -above, 1 << 30, -(1 << 30)]),
            bits,
            run(gain, 4),
            0,
        ));
    }
    let mut numbers = Numbers(12);
    for width in [2, 10, 16, 64, 128] {
        let (values, gains) = (numbers.list(width, -most, most), numbers.list(width, -gain, gain));
        cases.push(case(format!("{width} elements"), p(&values), 28, p(&gains), epsilon));
    }
    Group {
        operation: "head-norm",
        clauses: &["A-8", "A-14", "A-35"],
        what: "Norm of one head of query or key.",
        cases,
    }
}

fn layer_norm() -> Group {
    let case =
        |what: String, h: Value, gains: Value, bias: Value, bias_bits: i32, epsilon: i128| {
            let epsilon = one(epsilon);
            let given = json!({
                "h": h, "gains": gains, "gain_bits": 14, "epsilon": epsilon, "bias": bias,
                "bias_bits": bias_bits, "residual_bits": 20
            });
            Case::new(what, given)
        };
    let name = str::to_owned;
    let (gain, most) = (32_767, (1_i64 << 29) - 1);
    let mut cases = vec![
        case(
            name("all equal: the differences are zero"),
            run(-77, 9),
            run(gain, 9),
            run(0, 9),
            0,
            0,
        ),
        case(name("one element"), p(&[H_MAX]), p(&[gain]), p(&[5]), 30, 1 << 60),
        case(
            name("the largest of both signs"),
            p(&[H_MAX, -H_MAX]),
            run(gain, 2),
            run(0, 2),
            20,
            0,
        ),
        case(name("one apart"), p(&[0, 1]), run(1, 2), run(0, 2), 20, 0),
        case(name("the bias alone"), run(5, 4), run(gain, 4), p(&[most, -most, 1, -1]), 60, 0),
        case(
            name("the largest bias within the bound"),
            run(5, 4),
            run(gain, 4),
            run(most, 4),
            18,
            0,
        ),
        case(
            name("the largest bias beyond the bound"),
            run(5, 4),
            run(gain, 4),
            run(most, 4),
            17,
            0,
        ),
        case(name("a bias far beyond the bound"), run(5, 2), run(gain, 2), p(&[0, 1]), 0, 1),
        case(name("epsilon above everything"), p(&[1, 2, 3]), run(gain, 3), run(0, 3), 30, 1 << 60),
        case(name("the widest"), p16384(), run(gain, 16_384), run(-3, 16_384), 20, 1),
    ];
    let mut numbers = Numbers(13);
    for width in WIDTHS {
        for limit in [3, 1 << 22, H_MAX] {
            let (h, gains) = (numbers.list(width, -limit, limit), numbers.list(width, -gain, gain));
            let bias = numbers.list(width, -(1 << 20), 1 << 20);
            let what = format!("{width} channels up to {limit}");
            cases.push(case(what, p(&h), p(&gains), p(&bias), 22, 1 << 40));
        }
    }
    Group {
        operation: "layer-norm",
        clauses: &["A-5", "A-8", "A-14", "A-34"],
        what: "Layer norm of an encoder's residual stream.",
        cases,
    }
}

/// Half of the widest stream at the top, half at the bottom.
fn p16384() -> Value {
    let mut h = vec![H_MAX; 8_192];
    h.resize(16_384, -H_MAX);
    p(&h)
}
