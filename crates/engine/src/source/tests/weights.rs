//! Tensors: exact elements, and every way in which a file may lie.

use super::*;

/// A tensor of a file as (name, type, shape, data).
pub(super) type Part = (String, Dtype, Vec<usize>, Vec<u8>);

/// Every expected tensor, all zeros.
pub(super) fn parts(config: &SourceConfig) -> Vec<Part> {
    let of_shape = |(name, shape): (String, Shape)| {
        let lens = shape.lens().to_vec();
        let data = vec![0; 2 * lens.iter().product::<usize>()];
        (name, Dtype::BF16, lens, data)
    };
    super::super::tensors::expected_tensors(config).into_iter().map(of_shape).collect()
}

pub(super) fn file_of(parts: &[Part]) -> Vec<u8> {
    let view = |(name, dtype, shape, data): &Part| {
        (name.clone(), TensorView::new(*dtype, shape.clone(), data.clone().leak()).unwrap())
    };
    ::safetensors::serialize(parts.iter().map(view), None).unwrap()
}

fn config() -> SourceConfig {
    super::parse(CONFIG).unwrap()
}

/// The error for the parts after one change.
fn refusal(change: impl FnOnce(&mut Vec<Part>)) -> String {
    let mut parts = parts(&config());
    change(&mut parts);
    Weights::parse(file_of(&parts), &config()).unwrap_err().to_string()
}

#[test]
fn elements_of_every_type_are_exact_numbers() {
    let mut parts = parts(&config());
    let norm = parts.iter_mut().find(|part| part.0 == "model.norm.weight").unwrap();
    let values = [1.0_f32, -0.5, 0.0, -0.0, f32::MIN_POSITIVE / 8.0, f32::MAX, -3.25, 1e-3];
    norm.1 = Dtype::F32;
    norm.3 = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let up = parts.iter_mut().find(|part| part.0.ends_with("0.mlp.up_proj.weight")).unwrap();
    up.1 = Dtype::F16;
    // 1, −2, the smallest subnormal, the largest number of F16.
    up.3[16..24].copy_from_slice(&[0x00, 0x3c, 0x00, 0xc0, 0x01, 0x00, 0xff, 0x7b]);
    let gate = parts.iter_mut().find(|part| part.0.ends_with("1.mlp.gate_proj.weight")).unwrap();
    // In BF16: 1, the smallest subnormal, −the largest number.
    gate.3[..6].copy_from_slice(&[0x80, 0x3f, 0x01, 0x00, 0x7f, 0xff]);
    let weights = Weights::parse(file_of(&parts), &config()).unwrap();
    let row = |name: &str, row| -> Vec<(i64, i32)> {
        let mut out = vec![Dyadic::default()];
        weights.tensor(name).unwrap().read_row(row, &mut out).unwrap();
        out.into_iter().map(|each| (each.mantissa, each.exponent)).collect()
    };
    for (found, value) in row("final-norm", 0).into_iter().zip(values) {
        let mantissa = f64::from(i32::try_from(found.0).unwrap());
        assert_eq!(mantissa * 2_f64.powi(found.1), f64::from(value));
    }
    let found = row("layer.0.up", 1);
    assert_eq!(found[..5], [(1 << 10, -10), (-(1 << 10), -9), (1, -24), (0x7ff, 5), (0, 0)]);
    let found = row("layer.1.gate", 0);
    assert_eq!(found[..3], [(1 << 7, -7), (1, -133), (-0xff, 120)]);
    let tensor = weights.tensor("embedding").unwrap();
    assert_eq!((tensor.row_count(), tensor.column_count()), (5, 8));
    assert_eq!((row("embedding", 4).len(), row("embedding", 5).len()), (8, 0));
    assert!(weights.tensor("head").is_none());
}

#[test]
fn an_element_that_is_not_finite_is_named_by_row_and_column() {
    for bytes in [[0x80, 0x7f], [0x80, 0xff], [0xc0, 0x7f]] {
        let mut parts = parts(&config());
        parts[0].3[2 * (3 * 8 + 6)..][..2].copy_from_slice(&bytes);
        let weights = Weights::parse(file_of(&parts), &config()).unwrap();
        let name = "embedding".to_owned();
        let found = weights.tensor(&name).unwrap().read_row(3, &mut vec![]);
        assert_eq!(found, Err(SourceError::NotFinite { name, row: 3, column: 6 }));
    }
}

#[test]
fn tensors_missing_extra_misshapen_or_of_another_type_are_named() {
    assert_eq!(
        refusal(|parts| {
            parts.retain(|part| part.0 != "model.norm.weight");
        }),
        "tensor model.norm.weight is missing, expected shape (8)"
    );
    assert_eq!(
        refusal(|parts| parts.push(("extra".into(), Dtype::U8, vec![3], vec![0; 3]))),
        "tensor extra of shape (3) is not part of this model"
    );
    assert_eq!(
        refusal(|parts| parts[0].2 = vec![8, 5]),
        "tensor model.embed_tokens.weight has shape (8, 5), expected (5, 8)"
    );
    assert_eq!(
        refusal(|parts| parts[0].1 = Dtype::I16),
        "tensor model.embed_tokens.weight has elements of type I16, expected F32, F16 or BF16"
    );
    let untied = super::altered("\"tie_word_embeddings\": true", "\"use_cache\": true").unwrap();
    let error = Weights::parse(file_of(&parts(&config())), &untied).unwrap_err();
    assert_eq!(error.to_string(), "tensor lm_head.weight is missing, expected shape (5, 8)");
}

#[test]
fn headers_whose_tables_would_outgrow_them_are_refused() {
    let refusal = |header: &str| {
        let len = (header.len() as u64).to_le_bytes();
        let bytes = [&len[..], header.as_bytes()].concat();
        Weights::parse(bytes, &config()).unwrap_err().to_string()
    };
    let tensors = |count: usize| {
        let tensor =
            |i| format!("\"{i}\":{{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}");
        refusal(&format!("{{{}}}", (0..count).map(tensor).collect::<Vec<_>>().join(",")))
    };
    assert!(tensors(16_384).contains("model.embed_tokens.weight is missing"));
    assert!(tensors(16_385).contains("more than 16384 tensors"));
    let shape = format!("{{\"a\":{{\"shape\":[1{}]}}}}", ",1".repeat(300));
    let error = refusal(&shape);
    assert!(error.contains("613 bytes, at most 512: a"), "{error}");
    let remarks = format!("{{\"__metadata__\":{{\"a\":\"{}\"}}}}", "x".repeat(1 << 14));
    let error = refusal(&remarks);
    assert!(error.contains("at most 16384: __metadata__"), "{error}");
}

#[test]
fn files_cut_lengthened_or_lying_are_refused() {
    let whole = file_of(&parts(&config()));
    let parse = |bytes: &[u8]| Weights::parse(bytes.to_vec(), &config());
    assert!(parse(&whole).is_ok());
    let header = u64::from_le_bytes(*whole.first_chunk().unwrap());
    let header = 8 + usize::try_from(header).unwrap();
    for len in [0, 7, 8, 9, header - 1, header, header + 1, whole.len() - 1] {
        assert!(parse(&whole[..len]).is_err(), "cut to {len}");
    }
    assert!(parse(&[&whole[..], &[0]].concat()).is_err(), "a byte follows");
    let mut long = whole.clone();
    long[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let file = "model.safetensors".to_owned();
    let expected = SourceError::HeaderSize { file, limit: whole.len() as u64 - 8, found: u64::MAX };
    assert_eq!(parse(&long).unwrap_err(), expected);
    // Every single digit of the header changed: shapes, offsets and sizes cannot all agree.
    for index in (8..header).filter(|index| whole[*index].is_ascii_digit()) {
        let mut altered = whole.clone();
        altered[index] = if altered[index] == b'9' { b'8' } else { altered[index] + 1 };
        let refused = parse(&altered).is_err();
        let may_differ = whole[index - 2..index].ends_with(b"F");
        assert!(refused || may_differ, "digit at {index}");
    }
}
