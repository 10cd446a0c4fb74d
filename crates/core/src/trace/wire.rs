//! Proofs and refutations as deterministic CBOR; nothing here says whether they hold.

use alloc::{collections::BTreeMap, vec::Vec};

use super::{
    CHUNK_BYTES, CONTRIBUTION_COUNT_MAX, DOCUMENT_COUNT_MAX, Document, Excerpt, LEAF_ENTRIES,
    Least, PRESENCE_COUNT_MAX, PROBE_COUNT_MAX, PROOF_BYTES_MAX, Presence, Probe, Refutation,
    SHARD_COUNT_MAX, Shard, ShardTrace, TEXT_BYTES_MAX, TraceProof,
};
use crate::Digest;
use crate::cbor::{Cbor, CborError, Decoder, Encoder};

/// Most leaves of one kind: an encoded one has at least four bytes.
const LEAF_COUNT_MAX: u64 = PROOF_BYTES_MAX >> 2;

impl Cbor for TraceProof {
    fn encode_into(&self, encoder: &mut Encoder) {
        encoder.array(self.shards.len());
        for shard in &self.shards {
            shard.encode_into(encoder);
        }
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        let count = decoder.array("shards of a proof", SHARD_COUNT_MAX.into())?;
        Ok(Self { shards: list(decoder, count, ShardTrace::decode_from)? })
    }
}

impl Cbor for ShardTrace {
    fn encode_into(&self, encoder: &mut Encoder) {
        encoder.map(4).key(1).uint(self.number.into()).key(2);
        self.excerpt.encode_into(encoder);
        encoder.key(3).array(self.probes.len());
        for Probe { start, end, low, high } in &self.probes {
            encode_numbers(encoder, [*start, *end, *low, *high]);
        }
        encoder.key(4).array(self.presences.len());
        for Presence { start, end, document, position } in &self.presences {
            encode_numbers(encoder, [*start, *end, *document, *position]);
        }
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        let mut map = decoder.map("shard trace")?;
        map.require(decoder, 1)?;
        let number = decoder.u32("number of a shard")?;
        map.require(decoder, 2)?;
        let excerpt = Excerpt::decode_from(decoder)?;
        map.require(decoder, 3)?;
        let count = decoder.array("probes", PROBE_COUNT_MAX)?;
        let probes = list(decoder, count, |decoder| {
            let [start, end, low, high] = decode_numbers(decoder, "probe")?;
            Ok(Probe { start, end, low, high })
        })?;
        map.require(decoder, 4)?;
        let count = decoder.array("presences", PRESENCE_COUNT_MAX)?;
        let presences = list(decoder, count, |decoder| {
            let [start, end, document, position] = decode_numbers(decoder, "presence")?;
            Ok(Presence { start, end, document, position })
        })?;
        map.end(decoder)?;
        Ok(Self { number, excerpt, probes, presences })
    }
}

impl Cbor for Refutation {
    fn encode_into(&self, encoder: &mut Encoder) {
        encoder.map(2).key(1).uint(self.place.into()).key(2);
        self.excerpt.encode_into(encoder);
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        let mut map = decoder.map("refutation")?;
        map.require(decoder, 1)?;
        let place = decoder.u32("place of an entry")?;
        map.require(decoder, 2)?;
        let excerpt = Excerpt::decode_from(decoder)?;
        map.end(decoder)?;
        Ok(Self { excerpt, place })
    }
}

impl Cbor for Shard {
    fn encode_into(&self, encoder: &mut Encoder) {
        encoder.map(6).key(1).uint(self.text_bytes.into());
        encoder.key(2).uint(self.document_count.into());
        encoder.key(3).bytes(self.documents_root.as_bytes());
        encoder.key(4).bytes(self.text_root.as_bytes());
        encoder.key(5).bytes(self.array_root.as_bytes());
        encoder.key(6);
        encode_nodes(encoder, self.contributions.iter(), |digest, out| {
            out.extend_from_slice(digest.as_bytes());
        });
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        let mut map = decoder.map("shard")?;
        map.require(decoder, 1)?;
        let text_bytes = number_from_one(decoder, "bytes of a shard's text", TEXT_BYTES_MAX)?;
        map.require(decoder, 2)?;
        let document_count = number_from_one(decoder, "documents", DOCUMENT_COUNT_MAX)?;
        map.require(decoder, 3)?;
        let documents_root = decoder.digest("documents root")?;
        map.require(decoder, 4)?;
        let text_root = decoder.digest("text root")?;
        map.require(decoder, 5)?;
        let array_root = decoder.digest("array root")?;
        map.require(decoder, 6)?;
        let offset = decoder.offset();
        let limit = u64::from(CONTRIBUTION_COUNT_MAX).saturating_mul(32);
        let contributions: Vec<Digest> =
            decode_nodes(decoder, "contributions", limit, Digest::from_bytes)?;
        if contributions.is_empty() {
            return Err(CborError::Empty { what: "contributions", offset });
        }
        map.end(decoder)?;
        Ok(Self {
            text_bytes,
            document_count,
            documents_root,
            text_root,
            array_root,
            contributions,
        })
    }
}

impl Cbor for Excerpt {
    fn encode_into(&self, encoder: &mut Encoder) {
        encoder.map(7).key(1);
        self.shard.encode_into(encoder);
        encoder.key(2);
        encode_leaves(encoder, &self.chunks, |encoder, chunk| {
            encoder.bytes(chunk);
        });
        encoder.key(3);
        encode_digests(encoder, &self.chunk_nodes);
        encoder.key(4);
        encode_leaves(encoder, &self.leaves, |encoder, leaf| {
            encoder.bytes(leaf);
        });
        encoder.key(5);
        encode_nodes(encoder, self.leaf_nodes.iter(), |node, out| {
            out.extend_from_slice(&node.entry.to_be_bytes());
            out.extend_from_slice(node.hash.as_bytes());
        });
        encoder.key(6);
        encode_leaves(encoder, &self.documents, |encoder, document| {
            encoder.array(4).uint(document.start.into()).uint(document.size_bytes.into());
            encoder.bytes(document.digest.as_bytes()).uint(document.contribution.into());
        });
        encoder.key(7);
        encode_digests(encoder, &self.document_nodes);
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        let mut map = decoder.map("excerpt")?;
        map.require(decoder, 1)?;
        let shard = Shard::decode_from(decoder)?;
        map.require(decoder, 2)?;
        let chunks = decode_leaves(decoder, "chunks", |decoder| {
            Ok(decoder.bytes("chunk of text", CHUNK_BYTES.into())?.to_vec())
        })?;
        map.require(decoder, 3)?;
        let chunk_nodes = decode_digests(decoder, "nodes of the text tree")?;
        map.require(decoder, 4)?;
        let leaves = decode_leaves(decoder, "leaves of the array", |decoder| {
            let limit = u64::from(LEAF_ENTRIES).saturating_mul(4);
            Ok(decoder.bytes("leaf of the array", limit)?.to_vec())
        })?;
        map.require(decoder, 5)?;
        let leaf_nodes =
            decode_nodes(decoder, "nodes of the array tree", PROOF_BYTES_MAX, |node: [u8; 36]| {
                let [e0, e1, e2, e3, hash @ ..] = node;
                let entry = u32::from_be_bytes([e0, e1, e2, e3]);
                Least { entry, hash: Digest::from_bytes(hash) }
            })?;
        map.require(decoder, 6)?;
        let documents = decode_leaves(decoder, "documents", decode_document)?;
        map.require(decoder, 7)?;
        let document_nodes = decode_digests(decoder, "nodes of the documents tree")?;
        map.end(decoder)?;
        Ok(Self { shard, chunks, chunk_nodes, leaves, leaf_nodes, documents, document_nodes })
    }
}

fn decode_document(decoder: &mut Decoder<'_>) -> Result<Document, CborError> {
    decoder.array_exact("document", 4)?;
    Ok(Document {
        start: decoder.u32("start of a document")?,
        size_bytes: decoder.u32("bytes of a document")?,
        digest: decoder.digest("digest of a document")?,
        contribution: decoder.u32("contribution of a document")?,
    })
}

fn number_from_one(
    decoder: &mut Decoder<'_>,
    what: &'static str,
    limit: u32,
) -> Result<u32, CborError> {
    let offset = decoder.offset();
    let number = decoder.uint_up_to(what, limit.into())?;
    match u32::try_from(number).unwrap_or(u32::MAX) {
        0 => Err(CborError::Empty { what, offset }),
        number => Ok(number),
    }
}

fn list<T>(
    decoder: &mut Decoder<'_>,
    count: u64,
    mut item: impl FnMut(&mut Decoder<'_>) -> Result<T, CborError>,
) -> Result<Vec<T>, CborError> {
    (0..count).map(|_| item(decoder)).collect()
}

fn encode_numbers(encoder: &mut Encoder, numbers: [u32; 4]) {
    encoder.array(numbers.len());
    for number in numbers {
        encoder.uint(number.into());
    }
}

fn decode_numbers(decoder: &mut Decoder<'_>, what: &'static str) -> Result<[u32; 4], CborError> {
    decoder.array_exact(what, 4)?;
    Ok([decoder.u32(what)?, decoder.u32(what)?, decoder.u32(what)?, decoder.u32(what)?])
}

/// Leaves as an array of pairs, place and contents, by increasing place.
fn encode_leaves<T>(
    encoder: &mut Encoder,
    leaves: &BTreeMap<u32, T>,
    mut item: impl FnMut(&mut Encoder, &T),
) {
    encoder.array(leaves.len());
    for (place, leaf) in leaves {
        encoder.array(2).uint((*place).into());
        item(encoder, leaf);
    }
}

fn decode_leaves<T>(
    decoder: &mut Decoder<'_>,
    what: &'static str,
    mut item: impl FnMut(&mut Decoder<'_>) -> Result<T, CborError>,
) -> Result<BTreeMap<u32, T>, CborError> {
    let mut leaves = BTreeMap::new();
    for _ in 0..decoder.array(what, LEAF_COUNT_MAX)? {
        decoder.array_exact(what, 2)?;
        let offset = decoder.offset();
        let place = decoder.u32(what)?;
        if let Some((previous, _)) = leaves.last_key_value().filter(|(last, _)| **last >= place) {
            let (key, previous) = (place.into(), i64::from(*previous));
            return Err(CborError::KeyOrder { offset, key, previous });
        }
        leaves.insert(place, item(decoder)?);
    }
    Ok(leaves)
}

fn encode_digests(encoder: &mut Encoder, digests: &[Digest]) {
    encode_nodes(encoder, digests.iter(), |digest, out| {
        out.extend_from_slice(digest.as_bytes());
    });
}

fn decode_digests(decoder: &mut Decoder<'_>, what: &'static str) -> Result<Vec<Digest>, CborError> {
    decode_nodes(decoder, what, PROOF_BYTES_MAX, Digest::from_bytes)
}

/// Nodes of one size as one byte string, one after another.
fn encode_nodes<'a, N: 'a>(
    encoder: &mut Encoder,
    nodes: impl Iterator<Item = &'a N>,
    mut append: impl FnMut(&N, &mut Vec<u8>),
) {
    let mut bytes = Vec::new();
    for node in nodes {
        append(node, &mut bytes);
    }
    encoder.bytes(&bytes);
}

fn decode_nodes<N, const SIZE: usize>(
    decoder: &mut Decoder<'_>,
    what: &'static str,
    limit: u64,
    node: impl Fn([u8; SIZE]) -> N,
) -> Result<Vec<N>, CborError> {
    let offset = decoder.offset();
    let bytes = decoder.bytes(what, limit)?;
    let (nodes, rest) = bytes.as_chunks::<SIZE>();
    if !rest.is_empty() {
        let [expected, found] = [bytes.len().saturating_sub(rest.len()), bytes.len()]
            .map(|len| u64::try_from(len).unwrap_or(u64::MAX));
        return Err(CborError::Length { what, offset, expected, found });
    }
    Ok(nodes.iter().map(|bytes| node(*bytes)).collect())
}
