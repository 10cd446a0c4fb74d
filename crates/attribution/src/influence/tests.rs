//! Vectors and scores beside rationals, the file's one encoding, and what is refused.

use super::*;

const UNIT: i64 = 1 << GRADIENT_BITS;

fn influence() -> Influence {
    let counts = [10, 0, 3, 1_000];
    let family = |name: &str, gradient: [i64; 4]| Family {
        contribution: Digest::of_content(b"manifest"),
        name: name.into(),
        documents: Digest::of_content(b"documents"),
        document_count: 3,
        size_bytes: 1_000,
        token_count: 100,
        vector: Vector::new(&gradient, &counts).unwrap(),
    };
    let families = vec![
        family("locks", [-6 * UNIT, UNIT, 2 * UNIT, 3 * UNIT]),
        family("triggers", [5 * UNIT, 0, -4 * UNIT, -UNIT]),
    ];
    let digest = Digest::of_content;
    Influence::new(digest(b"model"), digest(b"sample"), 4, families).unwrap()
}

#[test]
fn a_vector_is_the_gradient_by_count_as_int8() {
    let vector = Vector::new(&[-6 * UNIT, UNIT, 2 * UNIT, 3 * UNIT], &[10, 0, 3, 1_000]).unwrap();
    // −1/2, 1/2, 2/5 and 3/1002; 2^23 becomes 2^23 / 2^17 = 64, since 128 is above int8.
    assert_eq!(vector, Vector { exponent: 17, values: vec![-64, 64, 51, 0] });
    let zero = Vector::new(&[0; 4], &[1; 4]).unwrap();
    assert_eq!(zero, Vector { exponent: 0, values: vec![0; 4] });
}

#[test]
fn the_example_of_the_specification() {
    let gradient = [-UNIT / 4, UNIT / 2, -UNIT / 4];
    assert_eq!(gradient, [-4_194_304, 8_388_608, -4_194_304]);
    let vector = Vector::new(&gradient, &[8, 2, 1]).unwrap();
    assert_eq!(vector, Vector { exponent: 15, values: vec![-13, 64, -43] });
    assert_eq!(vector.score(&gradient), Some(89_844));
}

#[test]
fn a_half_is_rounded_up_on_both_sides_of_zero() {
    let vector = Vector::new(&[1, -1, 3, -3, 5, -5], &[0; 6]).unwrap();
    assert_eq!(vector.values, [1, 0, 2, -1, 3, -2]);
    assert_eq!(vector.exponent, 0);
}

#[test]
fn the_limits_of_int8_are_reached_and_not_passed() {
    for (number, exponent, value) in
        [(254, 0, 127), (255, 1, 64), (-254, 0, -127), (-255, 0, -127), (-256, 1, -64)]
    {
        let vector = Vector::new(&[number], &[0]).unwrap();
        assert_eq!((vector.exponent, vector.values[0]), (exponent, value), "{number}");
    }
    let largest = Vector::new(&[1 << 42, -(1 << 42)], &[0, 0]).unwrap();
    assert_eq!(u64::from(largest.exponent), EXPONENT_MAX - 1);
}

#[test]
fn a_score_is_above_zero_where_both_pull_alike() {
    // An answer that has the first token more often than the model thought, and less of the third.
    let scores = influence().scores(&[-UNIT, 0, UNIT / 2, 0]).unwrap();
    // 64 · 2^17 · 2^−24 = 1/2 and 51/128 · 1/2 = 0.19921875; the other family pulls the other way.
    assert_eq!(scores[0], 699_219);
    assert!(scores[1] < 0, "{scores:?}");
    assert_eq!(influence().scores(&[0; 4]).unwrap(), [0, 0]);
}

#[test]
fn scores_of_parts_add_up_to_the_score_of_the_whole() {
    let influence = influence();
    let (a, b) = ([5_000_001, -3, 77, 123_456_789], [-900_000_007, 40, 3_000_000, -1]);
    let whole: Vec<i64> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
    let [a, b, whole] = [&a[..], &b, &whole].map(|it| influence.scores(it).unwrap());
    for family in 0..2 {
        assert!((a[family] + b[family] - whole[family]).abs() <= 1);
    }
}

#[test]
fn a_file_comes_back_and_has_one_root() {
    let influence = influence();
    let bytes = influence.encode();
    let again = Influence::parse(&bytes).unwrap();
    assert_eq!(again, influence);
    assert_eq!(again.encode(), bytes);
    assert_eq!(again.root(), influence.root());
    let mut other = influence.clone();
    other.families[1].vector.values[3] += 1;
    assert_ne!(other.root(), influence.root());
}

#[test]
fn a_cut_or_lengthened_file_is_refused() {
    let bytes = influence().encode();
    for len in 0..bytes.len() {
        assert!(matches!(Influence::parse(&bytes[..len]), Err(InfluenceError::Form(_))), "{len}");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    let found = Influence::parse(&longer);
    assert_eq!(found, Err(InfluenceError::Form(CborError::Trailing { count: 1 })));
    let beyond = vec![0; INFLUENCE_BYTES_MAX + 1];
    let found = beyond.len();
    assert_eq!(Influence::parse(&beyond), Err(InfluenceError::Size { found }));
}

#[test]
fn vectors_and_gradients_that_cannot_be_are_refused() {
    let mut short = influence();
    short.families[1].vector.values.pop();
    let expected = InfluenceError::Length { what: "a vector", expected: 4, found: 3 };
    assert_eq!(Influence::parse(&short.encode()), Err(expected));
    let mut low = influence();
    low.families[1].vector.values[2] = -128;
    let expected = InfluenceError::Element { family: 1, index: 2 };
    assert_eq!(Influence::parse(&low.encode()), Err(expected));
    let mut large = influence();
    large.families[0].vector.exponent = 37;
    assert!(matches!(Influence::parse(&large.encode()), Err(InfluenceError::Form(_))));
    let mut none = influence();
    none.families.clear();
    assert!(matches!(Influence::parse(&none.encode()), Err(InfluenceError::Form(_))));
    let expected = InfluenceError::Length { what: "the gradient", expected: 4, found: 5 };
    assert_eq!(influence().scores(&[0; 5]), Err(expected.clone()));
    assert_eq!(Vector::new(&[0; 5], &[0; 4]), Err(expected));
    let found = (1 << 42) + 1;
    let expected = InfluenceError::Magnitude { index: 1, found };
    assert_eq!(influence().scores(&[0, -(1 << 42) - 1, 0, 0]), Err(expected));
}

fn measurement() -> Accuracy {
    let lds = Correlation { mean: 5_951, low: 5_449, high: 6_450 };
    let digest = Digest::of_content(b"x").to_string();
    Accuracy {
        method: METHOD.into(),
        measured_on: "a small model".into(),
        model: digest.clone(),
        sample: digest,
        families: 99,
        subsets: 64,
        queries: 50,
        lds,
        beside: vec![Beside {
            name: "random".into(),
            lds: Correlation { mean: -3, low: -120, high: 95 },
        }],
    }
}

fn parsed(change: impl FnOnce(&mut Accuracy)) -> Result<Accuracy, AccuracyError> {
    let mut measurement = measurement();
    change(&mut measurement);
    Accuracy::parse(&serde_json::to_vec(&measurement).unwrap())
}

#[test]
fn a_measurement_comes_back_and_is_said_in_hundredths() {
    assert_eq!(parsed(|_| ()).unwrap(), measurement());
    assert_eq!(measurement().lds.to_string(), "0.60 (0.54 to 0.65)");
    assert_eq!(measurement().beside[0].lds.to_string(), "0.00 (-0.01 to 0.01)");
}

#[test]
fn a_measurement_that_cannot_be_is_refused() {
    let other = parsed(|it| it.method = "guessing/1".into());
    assert!(matches!(other, Err(AccuracyError::Method { .. })));
    let few = parsed(|it| it.subsets = 63);
    assert!(matches!(few, Err(AccuracyError::Few { what: "subsets", .. })));
    let few = parsed(|it| it.queries = 49);
    assert!(matches!(few, Err(AccuracyError::Few { what: "held-out texts", .. })));
    let changes: [fn(&mut Correlation); 2] = [|it| it.low = it.mean + 1, |it| it.high = 10_001];
    for change in changes {
        let found = parsed(|it| change(&mut it.lds));
        assert!(matches!(found, Err(AccuracyError::Correlation { .. })));
        let found = parsed(|it| change(&mut it.beside[0].lds));
        assert!(matches!(found, Err(AccuracyError::Correlation { .. })));
    }
    let none = parsed(|it| it.sample.truncate(63));
    assert!(matches!(none, Err(AccuracyError::Digest { what: "the sample", .. })));
    assert!(matches!(Accuracy::parse(b"{}"), Err(AccuracyError::Form(_))));
}
