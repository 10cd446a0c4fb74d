//! A file is exactly what its manifest says, or it is refused with the part that differs.

use tally_core::cbor::Cbor as _;

use super::container::{self, Content};
use super::{Manifest, Model, layout};
use crate::error::ModelError;
use crate::import::tiny::{self, RandomTensors};

fn file() -> Vec<u8> {
    tiny::file(tiny::configuration(), &RandomTensors::default()).unwrap()
}

/// The file with its manifest changed and everything behind it as it was.
fn with_manifest(file: &[u8], change: impl FnOnce(&mut Manifest)) -> Vec<u8> {
    let length = usize::try_from(u64::from_le_bytes(file[16..24].try_into().unwrap())).unwrap();
    let mut manifest = Manifest::parse(&file[24..24 + length]).unwrap();
    change(&mut manifest);
    let encoded = manifest.encode();
    let mut changed = file[..16].to_vec();
    changed.extend_from_slice(&(encoded.len() as u64).to_le_bytes());
    changed.extend_from_slice(&encoded);
    changed.resize(changed.len().next_multiple_of(64), 0);
    changed.extend_from_slice(&file[(24 + length).next_multiple_of(64)..]);
    changed
}

fn refusal(file: &[u8]) -> ModelError {
    Model::parse(file).unwrap_err()
}

/// Offset in the file of a part's first byte.
fn offset_of(file: &[u8], name: &str) -> usize {
    let length = usize::try_from(u64::from_le_bytes(file[16..24].try_into().unwrap())).unwrap();
    let manifest = Manifest::parse(&file[24..24 + length]).unwrap();
    let part = manifest.parts.iter().find(|part| part.name == name).unwrap();
    (24 + length).next_multiple_of(64) + usize::try_from(part.offset).unwrap()
}

#[test]
fn the_same_tensors_give_the_same_file_and_root_and_the_bytes_come_back() {
    let (a, b) = (file(), file());
    assert_eq!(a, b);
    let model = Model::parse(&a).unwrap();
    assert_eq!(model.tokenizer(), b"{}");
    assert_eq!(model.template(), "t");
    assert_eq!(model.context_len(), 96);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    crate::import::write_model(&path, &a).unwrap();
    assert_eq!(Model::open(&path).unwrap().root(), model.root());
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    let leaked: &'static [u8] = Vec::leak(a);
    assert_eq!(Model::embedded(leaked).unwrap().root(), model.root());
    assert_eq!(
        Model::embedded(&Vec::leak([&[0], leaked].concat())[1..]).unwrap().root(),
        model.root()
    );
}

#[test]
fn a_missing_file_is_unreadable() {
    let missing = Model::open(std::path::Path::new("/nonexistent/model")).unwrap_err();
    assert_eq!(missing, ModelError::Read { kind: std::io::ErrorKind::NotFound });
}

#[test]
fn every_truncation_and_every_extension_is_refused() {
    let file = file();
    let lengths = (0..200).chain((200..file.len()).step_by(997)).chain([file.len() - 1]);
    for length in lengths {
        assert!(Model::parse(&file[..length]).is_err(), "{length}");
    }
    let longer = [file.as_slice(), &[0]].concat();
    assert_eq!(refusal(&longer), ModelError::Trailing { count: 1 });
    let cut = refusal(&file[..file.len() - 1]);
    assert!(
        matches!(&cut, ModelError::Truncated { what, expected: 1, found: 0 } if what == "chat-template"),
        "{cut}"
    );
}

#[test]
fn every_flipped_bit_is_refused_or_changes_the_root() {
    let file = file();
    let root = Model::parse(&file).unwrap().root();
    let manifest = offset_of(&file, "embedding");
    for at in (0..manifest).chain((manifest..file.len()).step_by(1009)) {
        for bit in if at < manifest { 0..8 } else { 3..4 } {
            let mut flipped = file.clone();
            flipped[at] ^= 1 << bit;
            if let Ok(model) = Model::parse(&flipped) {
                assert_ne!(model.root(), root, "byte {at} bit {bit}");
            }
        }
    }
}

#[test]
fn the_head_is_refused_with_its_own_reasons() {
    let original = file();
    let mut file = original.clone();
    file[0] ^= 1;
    assert_eq!(refusal(&file), ModelError::Magic);
    file = original.clone();
    file[16..24].copy_from_slice(&((1_u64 << 20) + 1).to_le_bytes());
    let limit = 1 << 20;
    assert_eq!(refusal(&file), ModelError::ManifestTooLarge { found: limit + 1, limit });
    file[16..24].copy_from_slice(&limit.to_le_bytes());
    assert!(matches!(refusal(&file), ModelError::Truncated { what, .. } if what == "manifest"));
    let padding = offset_of(&original, "embedding") - 1;
    file = original.clone();
    file[padding] = 1;
    assert_eq!(
        refusal(&file),
        ModelError::Padding { before: "embedding".to_owned(), offset: padding as u64 }
    );
    let file = with_manifest(&original, |manifest| manifest.arithmetic = "ra-2".to_owned());
    assert!(matches!(refusal(&file), ModelError::Arithmetic { found, .. } if found == "ra-2"));
    let file = with_manifest(&original, |manifest| manifest.family = "mamba".to_owned());
    assert!(matches!(refusal(&file), ModelError::Family { found, .. } if found == "mamba"));
}

#[test]
fn a_lying_part_is_refused_by_name_with_both_values() {
    let original = file();
    let with = |change: &dyn Fn(&mut Manifest)| refusal(&with_manifest(&original, change));
    let part = |part: &str, what, expected: &str, found: &str| ModelError::Part {
        part: part.to_owned(),
        what,
        expected: expected.to_owned(),
        found: found.to_owned(),
    };
    assert_eq!(
        with(&|m| m.parts[0].shape = vec![96, 40]),
        part("embedding", "shape", "[97, 40]", "[96, 40]")
    );
    assert_eq!(
        with(&|m| m.parts[0].size_bytes = u64::MAX),
        part("embedding", "size in bytes", "3880", "18446744073709551615")
    );
    assert_eq!(with(&|m| m.parts[1].offset = 0), part("embedding.scale", "offset", "3904", "0"));
    assert_eq!(
        with(&|m| m.parts[1].fraction_bits = 61),
        part("embedding.scale", "fraction bits", "0..=60", "61")
    );
    assert_eq!(
        with(&|m| m.parts[0].kind = super::PartKind::Uint16),
        part("embedding", "kind", "int8", "uint16")
    );
    let swapped = |m: &mut Manifest| m.parts.swap(0, 1);
    assert!(matches!(with(&swapped), ModelError::PartName { index: 0, .. }));
    let extra = |m: &mut Manifest| m.parts.push(m.parts[0].clone());
    assert!(matches!(with(&extra), ModelError::PartName { expected, .. } if expected == "the end"));
    let fewer = |m: &mut Manifest| m.parts.truncate(3);
    assert!(
        matches!(with(&fewer), ModelError::PartName { index: 3, found, .. } if found == "missing")
    );
}

#[test]
fn a_configuration_outside_the_bounds_is_refused_by_field() {
    let original = file();
    let with = |change: &dyn Fn(&mut super::Configuration)| {
        refusal(&with_manifest(&original, |manifest| change(&mut manifest.configuration)))
    };
    let range = |refusal, expected| {
        assert!(
            matches!(&refusal, ModelError::Configuration { field, .. } if *field == expected),
            "{refusal}"
        );
    };
    range(with(&|c| c.width = (1 << 14) + 1), "width");
    range(with(&|c| c.hidden = (1 << 16) + 1), "hidden");
    range(with(&|c| c.head_dim = 258), "head_dim");
    range(with(&|c| c.head_dim = 0), "head_dim");
    range(with(&|c| c.heads = 1 << 13), "heads · head_dim");
    range(with(&|c| c.kv_heads = 5), "kv_heads");
    range(with(&|c| c.kv_heads = 0), "kv_heads");
    range(with(&|c| c.layers = 257), "layers");
    range(with(&|c| c.context = (1 << 17) + 1), "context");
    range(with(&|c| c.residual_bits = 25), "residual_bits");
    range(with(&|c| c.norm_epsilon = (1 << 60) + 1), "norm_epsilon");
    range(with(&|c| c.end_tokens = vec![97]), "begin or end token");
    assert_eq!(with(&|c| c.end_tokens = vec![2, 2]), ModelError::EndTokens);
    let divisor = |found, divisor| ModelError::Divisibility { field: "heads", found, divisor };
    assert_eq!(with(&|c| c.kv_heads = 3), divisor(4, 3));
}

#[test]
fn an_element_outside_its_range_is_refused_by_part_and_index() {
    let original = file();
    let with = |name: &str, at: usize, bytes: &[u8]| {
        let mut changed = original.clone();
        let offset = offset_of(&changed, name) + at;
        changed[offset..offset + bytes.len()].copy_from_slice(bytes);
        Model::parse(&changed).map(|_| ())
    };
    let element = |part: &str, index, found, minimum, maximum| {
        Err(ModelError::Element { part: part.to_owned(), index, found, minimum, maximum })
    };
    let key = "layer.1.key";
    assert_eq!(with(key, 5, &[128]), element(key, 5, -128, -127, 127));
    assert_eq!(with(key, 5, &[129]), Ok(()));
    let scale = "layer.1.key.scale";
    assert_eq!(with(scale, 2, &[0, 0]), element(scale, 1, 0, 1, 32_767));
    assert_eq!(with(scale, 2, &[1, 0]), Ok(()));
    let norm = "layer.0.attention-norm";
    assert_eq!(with(norm, 0, &[0, 128]), element(norm, 0, -32_768, -32_767, 32_767));
    let cosine = "rotation-cosine";
    assert_eq!(with(cosine, 2, &[1, 64]), element(cosine, 1, 16_385, -16_384, 16_384));
    assert_eq!(with(cosine, 2, &[0, 64]), Ok(()));
    assert_eq!(with("exponential", 0, &[0, 0]), element("exponential", 0, 0, 65_535, 65_535));
    assert_eq!(with("silu", 2, &[1, 0]), element("silu", 1, 1, -32_768, 0));
    let text = ModelError::Utf8 { part: "chat-template".to_owned(), offset: 0 };
    assert_eq!(with("chat-template", 0, &[255]), Err(text));
}

#[test]
fn a_text_part_beyond_its_limit_is_refused() {
    let model = Model::parse(&file()).unwrap();
    let demands = layout::demands(model.configuration());
    let contents: Vec<Content> = demands
        .into_iter()
        .zip(&model.manifest().parts)
        .map(|(demand, part)| Content {
            fraction_bits: part.fraction_bits,
            bytes: match demand.name.as_str() {
                "chat-template" => vec![b' '; (1 << 20) + 1],
                name => model.part(name).unwrap().to_vec(),
            },
            demand,
        })
        .collect();
    let refusal = refusal(&container::assemble(model.manifest().clone(), &contents));
    assert!(
        matches!(&refusal, ModelError::Part { part, what: "size in bytes", .. } if part == "chat-template"),
        "{refusal}"
    );
}

#[test]
fn arbitrary_bytes_behind_the_magic_never_panic() {
    let mut bytes = super::MAGIC.to_vec();
    let mut state = 1_u64;
    for _ in 0..2000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        bytes.truncate(16);
        bytes.extend_from_slice(&(state >> 56).to_le_bytes());
        for shift in 0..40 {
            bytes.extend_from_slice(&state.rotate_left(shift * 7).to_be_bytes());
        }
        assert!(Model::parse(&bytes).is_err());
    }
}
