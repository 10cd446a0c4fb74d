//! The frame of a model file: magic, manifest, aligned parts; written and parsed.

use tally_core::cbor::{Cbor as _, Encoder};
use tally_core::{Digest, tag, tree};

use crate::error::ModelError;

use super::MAGIC;
use super::layout::{self, Demand};
use super::manifest::{Manifest, Part, PartKind};
use super::storage::ALIGNMENT;

/// Longest manifest in bytes: 256 layers need about 256 KiB.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;
/// Magic and the manifest's length.
const HEAD_BYTES: usize = MAGIC.len() + 8;

/// A part's bytes on their way into a file.
pub(crate) struct Content {
    pub(crate) demand: Demand,
    pub(crate) fraction_bits: u32,
    pub(crate) bytes: Vec<u8>,
}

/// Lays out a model file; `manifest` gets its parts here.
pub(crate) fn assemble(mut manifest: Manifest, contents: &[Content]) -> Vec<u8> {
    let mut end = 0_usize;
    manifest.parts.clear();
    for content in contents {
        let offset = end.next_multiple_of(ALIGNMENT);
        end = offset + content.bytes.len();
        let size_bytes = content.bytes.len() as u64;
        let is_text = content.demand.kind == PartKind::Text;
        manifest.parts.push(Part {
            name: content.demand.name.clone(),
            kind: content.demand.kind,
            shape: if is_text { vec![size_bytes] } else { content.demand.shape.clone() },
            fraction_bits: content.fraction_bits,
            offset: offset as u64,
            size_bytes,
        });
    }
    let encoded = manifest.encode();
    let mut file = Vec::with_capacity(HEAD_BYTES + encoded.len() + ALIGNMENT + end);
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&(encoded.len() as u64).to_le_bytes());
    file.extend_from_slice(&encoded);
    for content in contents {
        file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
        file.extend_from_slice(&content.bytes);
    }
    file
}

/// A frame that holds: the manifest, and where its parts begin in the file.
pub(super) struct Frame {
    pub(super) manifest: Manifest,
    pub(super) start: usize,
}

/// Parses the frame of a whole file and compares every part with what the configuration demands.
pub(super) fn parse(file: &[u8]) -> Result<Frame, ModelError> {
    let (head, rest) = file
        .split_at_checked(HEAD_BYTES)
        .ok_or_else(|| truncated("head", HEAD_BYTES as u64, file.len() as u64))?;
    let (magic, length) = head.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(ModelError::Magic);
    }
    let mut length_bytes = [0; 8];
    length_bytes.copy_from_slice(length);
    let length = u64::from_le_bytes(length_bytes);
    if length > MANIFEST_BYTES_MAX {
        let limit = MANIFEST_BYTES_MAX;
        return Err(ModelError::ManifestTooLarge { found: length, limit });
    }
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let encoded = rest
        .get(..length)
        .ok_or_else(|| truncated("manifest", length as u64, rest.len() as u64))?;
    let manifest = Manifest::parse(encoded)?;
    appraise(&manifest)?;
    let start = (HEAD_BYTES + length).next_multiple_of(ALIGNMENT);
    place(file, &manifest, start, HEAD_BYTES + length)?;
    Ok(Frame { manifest, start })
}

fn appraise(manifest: &Manifest) -> Result<(), ModelError> {
    if manifest.arithmetic != crate::ARITHMETIC {
        let found = manifest.arithmetic.clone();
        return Err(ModelError::Arithmetic { expected: crate::ARITHMETIC, found });
    }
    let expected = manifest.configuration.family();
    if manifest.family != expected {
        return Err(ModelError::Family { expected, found: manifest.family.clone() });
    }
    manifest.configuration.appraise()?;
    let demands = layout::demands(&manifest.configuration);
    for (index, demand) in demands.iter().enumerate() {
        match manifest.parts.get(index) {
            Some(part) if part.name == demand.name => agree(part, demand)?,
            other => {
                let found = other.map_or_else(|| "missing".to_owned(), |part| part.name.clone());
                let expected = demand.name.clone();
                return Err(ModelError::PartName { index, expected, found });
            }
        }
    }
    match manifest.parts.get(demands.len()) {
        None => Ok(()),
        Some(part) => Err(ModelError::PartName {
            index: demands.len(),
            expected: "the end".to_owned(),
            found: part.name.clone(),
        }),
    }
}

fn agree(part: &Part, demand: &Demand) -> Result<(), ModelError> {
    if part.kind != demand.kind {
        return Err(differs(part, "kind", &demand.kind, &part.kind));
    }
    if part.kind == PartKind::Text {
        if part.size_bytes > demand.size_bytes_max {
            let limit = format!("at most {}", demand.size_bytes_max);
            return Err(differs(part, "size in bytes", &limit, &part.size_bytes));
        }
        if part.shape != [part.size_bytes] {
            let expected = format!("[{}]", part.size_bytes);
            return Err(differs(part, "shape", &expected, &format!("{:?}", part.shape)));
        }
    } else if part.shape != demand.shape {
        let (expected, found) = (format!("{:?}", demand.shape), format!("{:?}", part.shape));
        return Err(differs(part, "shape", &expected, &found));
    }
    let bits = demand.fraction_bits_min..=demand.fraction_bits_max;
    if !bits.contains(&part.fraction_bits) {
        let expected = format!("{}..={}", bits.start(), bits.end());
        return Err(differs(part, "fraction bits", &expected, &part.fraction_bits));
    }
    // Dimensions were compared with a configuration within its limits, so this cannot overflow.
    let size_bytes = part.kind.size_bytes(part.shape.iter().product());
    if part.size_bytes != size_bytes {
        return Err(differs(part, "size in bytes", &size_bytes, &part.size_bytes));
    }
    Ok(())
}

/// Every part begins at the first aligned byte after the one before; between them are zeros.
fn place(file: &[u8], manifest: &Manifest, start: usize, head: usize) -> Result<(), ModelError> {
    let file_bytes = file.len() as u64;
    let mut end = head as u64;
    for part in &manifest.parts {
        let begin = end.next_multiple_of(ALIGNMENT as u64);
        let expected = begin - start as u64;
        if part.offset != expected {
            return Err(differs(part, "offset", &expected, &part.offset));
        }
        let part_end = begin + part.size_bytes;
        if part_end > file_bytes {
            return Err(truncated(&part.name, part.size_bytes, file_bytes.saturating_sub(begin)));
        }
        let padding = &file[index(end)..index(begin)];
        if let Some(at) = padding.iter().position(|byte| *byte != 0) {
            let before = part.name.clone();
            return Err(ModelError::Padding { before, offset: end + at as u64 });
        }
        end = part_end;
    }
    match file_bytes - end {
        0 => Ok(()),
        count => Err(ModelError::Trailing { count }),
    }
}

/// The model root: RFC 6962 over configuration, provenance and every part, in that order.
pub(super) fn root(file: &[u8], frame: &Frame) -> Digest {
    let Manifest { arithmetic, family, configuration, provenance, parts } = &frame.manifest;
    let mut config = Encoder::new();
    config.array(3).text(arithmetic).text(family);
    configuration.encode_into(&mut config);
    let mut leaves = vec![
        meta_leaf("configuration", &config.finish()),
        meta_leaf("provenance", &provenance.encode()),
    ];
    for part in parts {
        let begin = frame.start + index(part.offset);
        let digest = Digest::of_content(&file[begin..begin + index(part.size_bytes)]);
        let mut encoder = Encoder::new();
        encoder.array(5);
        part.encode_identity(&mut encoder);
        encoder.bytes(digest.as_bytes());
        leaves.push(leaf(&encoder.finish()));
    }
    tree::root(&leaves)
}

fn meta_leaf(name: &str, encoded: &[u8]) -> Digest {
    let mut encoder = Encoder::new();
    encoder.array(2).text(name).bytes(Digest::of_content(encoded).as_bytes());
    leaf(&encoder.finish())
}

fn leaf(encoded: &[u8]) -> Digest {
    let mut entry = tag::MODEL_PART.as_bytes().to_vec();
    entry.extend_from_slice(encoded);
    tree::leaf_hash(&entry)
}

fn truncated(what: &str, expected: u64, found: u64) -> ModelError {
    ModelError::Truncated { what: what.to_owned(), expected, found }
}

fn differs(
    part: &Part,
    what: &'static str,
    expected: &dyn std::fmt::Display,
    found: &dyn std::fmt::Display,
) -> ModelError {
    let (expected, found) = (expected.to_string(), found.to_string());
    ModelError::Part { part: part.name.clone(), what, expected, found }
}

/// A size that was compared with the length of bytes in memory.
pub(super) fn index(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}
