//! Files of safetensors: one, or shards with a list, with exactly the tensors of a configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use safetensors::tensor::{Dtype, SafeTensors, TensorInfo};
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::config::SourceConfig;
use super::element::Encoding;
use super::error::{SourceError, shown};
use super::folder::{Folder, not_found, plain_name};
use super::json::Fields;
use super::tensors::{Origin, Shape, Spelling, is_unused, origins};
use super::weights::{Place, RowOrder, Weights};

/// Most bytes of a header; a model of a thousand layers needs about one.
pub const HEADER_BYTES_MAX: u64 = 1 << 22;
/// Most tensors of one file.
pub const TENSORS_MAX: usize = 1 << 14;
/// Most bytes of a header that describe one tensor.
pub const DESCRIPTION_BYTES_MAX: usize = 1 << 9;
/// Most bytes of a header's remarks, which nothing here reads.
pub const REMARKS_BYTES_MAX: usize = 1 << 14;
/// Most bytes of all files of weights together, which are held in memory.
pub const WEIGHTS_BYTES_MAX: u64 = 1 << 36;
/// Most bytes of the list of shards.
pub const INDEX_BYTES_MAX: u64 = 1 << 22;
/// Most shards; the largest published models have a few hundred.
pub const SHARDS_MAX: usize = 1 << 10;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// For each tensor the shard that it is listed for.
type ShardList = BTreeMap<String, String>;

/// Reads `model.safetensors`, or else every shard that `model.safetensors.index.json` names.
pub(super) fn read(
    folder: &mut Folder<'_>,
    prefix: &str,
    config: &SourceConfig,
) -> Result<Weights, SourceError> {
    let single = format!("{prefix}{SINGLE}");
    if let Some(bytes) = folder.read(&single, WEIGHTS_BYTES_MAX)? {
        return parse(vec![(single, bytes)], None, config);
    }
    let index = folder.read(&format!("{prefix}{INDEX}"), INDEX_BYTES_MAX)?;
    let list = parse_index(&index.ok_or_else(|| not_found(&single))?)?;
    let names: BTreeSet<&String> = list.values().collect();
    let (mut files, mut rest) = (vec![], WEIGHTS_BYTES_MAX);
    for name in names {
        let bytes = folder.require(&format!("{prefix}{name}"), rest)?;
        rest -= bytes.len() as u64;
        files.push((name.clone(), bytes));
    }
    parse(files, Some(&list), config)
}

/// Parses `model.safetensors.index.json`, whose names must be plain.
///
/// # Errors
/// A file that is not such a list, a name that is not that of a file beside it, or too many.
pub fn parse_index(bytes: &[u8]) -> Result<BTreeMap<String, String>, SourceError> {
    let mut fields = Fields::parse(INDEX, bytes)?;
    let field = "weight_map";
    let list = fields.object(field)?.ok_or_else(|| fields.missing(field))?.into_texts()?;
    let names: BTreeSet<&String> = list.values().collect();
    if names.len() > SHARDS_MAX {
        let (file, limit, found) = (INDEX.to_owned(), SHARDS_MAX, names.len());
        return Err(SourceError::ShardCount { file, limit, found });
    }
    for name in names {
        plain_name(INDEX, name)?;
    }
    Ok(list)
}

/// A tensor as a header describes it.
struct Published {
    info: TensorInfo,
    file: usize,
    data_start: usize,
}

/// Parses files that hold exactly the tensors of `config`, and each where `list` says.
pub(super) fn parse(
    files: Vec<(String, Vec<u8>)>,
    list: Option<&ShardList>,
    config: &SourceConfig,
) -> Result<Weights, SourceError> {
    let mut published = BTreeMap::new();
    for (file, (name, bytes)) in files.iter().enumerate() {
        let data_start = parse_header_size(name, bytes)?;
        refuse_long(name, &bytes[8..data_start])?;
        let refused = |error: safetensors::SafeTensorError| SourceError::Header {
            file: name.clone(),
            reason: shown(&error.to_string()),
        };
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(refused)?;
        for tensor in metadata.offset_keys() {
            let Some(info) = metadata.info(&tensor).cloned() else { continue };
            appraise_listed(list, &tensor, name)?;
            published.insert(tensor, Published { info, file, data_start });
        }
    }
    let is_absent = |tensor: &&String| !published.contains_key(*tensor);
    if let Some((tensor, listed)) = list.and_then(|list| list.iter().find(|(t, _)| is_absent(t))) {
        return Err(shard_error(tensor, listed, "no file"));
    }
    let lens: Vec<usize> = files.iter().map(|(_, bytes)| bytes.len()).collect();
    let places = find(&published, &lens, config)?;
    let weights = Weights::new(files.into_iter().map(|(_, bytes)| bytes).collect(), places);
    refuse_extra(&published, &weights, config)?;
    Ok(weights)
}

fn appraise_listed(list: Option<&ShardList>, tensor: &str, file: &str) -> Result<(), SourceError> {
    let Some(list) = list else { return Ok(()) };
    // A tensor in two shards is listed for at most one of them.
    match list.get(tensor) {
        Some(listed) if listed == file => Ok(()),
        Some(listed) => Err(shard_error(tensor, listed, file)),
        None => Err(shard_error(tensor, "no file", file)),
    }
}

fn shard_error(tensor: &str, listed: &str, found: &str) -> SourceError {
    let (listed, found) = (listed.to_owned(), found.to_owned());
    SourceError::ShardTensor { file: INDEX.to_owned(), tensor: shown(tensor), listed, found }
}

/// Where each of our tensors lies.
fn find(
    published: &BTreeMap<String, Published>,
    lens: &[usize],
    config: &SourceConfig,
) -> Result<BTreeMap<String, Place>, SourceError> {
    let spelling = Spelling::find(config, |name| published.contains_key(name));
    let mut places = BTreeMap::new();
    for Origin { name, shape, tensor, whole, first_row } in origins(config, spelling) {
        let found = published.get(&tensor).ok_or_else(|| SourceError::TensorMissing {
            name: tensor.clone(),
            expected: whole.clone(),
        })?;
        let place = parse_place(&tensor, found, whole, lens[found.file])?;
        places.insert(name, place.portion(shape, first_row));
    }
    Ok(places)
}

/// Refuses tensors that are not part of the model and not known to be of no use to it.
fn refuse_extra(
    published: &BTreeMap<String, Published>,
    weights: &Weights,
    config: &SourceConfig,
) -> Result<(), SourceError> {
    let spelling = Spelling::find(config, |name| published.contains_key(name));
    let used: BTreeSet<String> =
        origins(config, spelling).into_iter().map(|origin| origin.tensor).collect();
    let extra = published.iter().find(|(name, found)| {
        !used.contains(*name)
            && !is_unused(config, name)
            && !is_same_head(name, found, weights, config)
    });
    match extra {
        Some((name, found)) => Err(SourceError::TensorExtra {
            name: shown(name),
            found: Shape(found.info.shape.clone()),
        }),
        None => Ok(()),
    }
}

/// Whether this is a tied head that was written out though it is the embedding, byte for byte.
fn is_same_head(name: &str, found: &Published, weights: &Weights, config: &SourceConfig) -> bool {
    let (start, end) = found.info.data_offsets;
    let start = found.data_start.saturating_add(start);
    let end = found.data_start.saturating_add(end);
    let is_tied = config.is_head_tied && name == "lm_head.weight";
    is_tied
        && weights.is_embedding(
            parse_encoding(found.info.dtype),
            &found.info.shape,
            found.file,
            start..end,
        )
}

/// Offset of the data: eight bytes of length, then the header.
fn parse_header_size(file: &str, bytes: &[u8]) -> Result<usize, SourceError> {
    let file = file.to_owned();
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(SourceError::Header { file, reason: "fewer than 8 bytes".to_owned() });
    };
    let found = u64::from_le_bytes(*length);
    let limit = HEADER_BYTES_MAX.min(rest.len() as u64);
    match usize::try_from(found) {
        Ok(size) if found <= limit => Ok(8 + size),
        _ => Err(SourceError::HeaderSize { file, limit, found }),
    }
}

/// Refuses a header whose tables would be far longer than itself, before they are made.
fn refuse_long(file: &str, header: &[u8]) -> Result<(), SourceError> {
    let mut deserializer = serde_json::Deserializer::from_slice(header);
    deserializer.deserialize_map(LimitsVisitor).map_err(|error| SourceError::Header {
        file: file.to_owned(),
        reason: shown(&error.to_string()),
    })
}

struct LimitsVisitor;

impl<'de> Visitor<'de> for LimitsVisitor {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut count = 0;
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            let is_remarks = name == "__metadata__";
            let limit = if is_remarks { REMARKS_BYTES_MAX } else { DESCRIPTION_BYTES_MAX };
            let found = value.get().len();
            if found > limit {
                let name = shown(&name);
                return Err(A::Error::custom(format!("{found} bytes, at most {limit}: {name}")));
            }
            count += 1;
            if count > TENSORS_MAX {
                return Err(A::Error::custom(format!("more than {TENSORS_MAX} tensors")));
            }
        }
        Ok(())
    }
}

const fn parse_encoding(dtype: Dtype) -> Option<Encoding> {
    match dtype {
        Dtype::F32 => Some(Encoding::F32),
        Dtype::F16 => Some(Encoding::F16),
        Dtype::BF16 => Some(Encoding::Bf16),
        _ => None,
    }
}

fn parse_place(
    name: &str,
    found: &Published,
    expected: Shape,
    file_len: usize,
) -> Result<Place, SourceError> {
    let info = &found.info;
    if info.shape != expected.0 {
        let found = Shape(info.shape.clone());
        return Err(SourceError::TensorShape { name: name.to_owned(), expected, found });
    }
    let encoding = parse_encoding(info.dtype).ok_or_else(|| SourceError::TensorType {
        name: name.to_owned(),
        found: info.dtype.to_string(),
        expected: "F32, F16 or BF16",
    })?;
    let (start, end) = info.data_offsets;
    let (rows, columns) = expected.rows_and_columns();
    let size = rows.checked_mul(columns).and_then(|len| encoding.size_bytes(len));
    let available = file_len - found.data_start;
    if end > available || end.checked_sub(start) != size {
        return Err(SourceError::TensorBytes {
            name: name.to_owned(),
            expected: size.map_or(u64::MAX, |size| size as u64),
            start: start as u64,
            end: end as u64,
            available: available as u64,
        });
    }
    let start = found.data_start + start;
    Ok(Place { encoding, shape: expected, file: found.file, start, order: RowOrder::Plain })
}
