//! Retrieval: documents cut into passages, a vector of each, and which are nearest to a question.
//!
//! Vectors are the integers of a sentence encoder, and nearness is their exact dot product. So the
//! same texts give the same file, and file and question the same passages, on every machine. No
//! vector is made here, and nothing is said of what an answer owes to a passage.

use std::{collections::BTreeMap, ops::Range};

use tally_core::{
    Digest,
    cbor::{Cbor, CborError, Decoder, Encoder},
};
use thiserror::Error;

mod cut;
#[cfg(test)]
mod tests;

pub use cut::cut;

/// Most documents of one file.
pub const DOCUMENTS_MAX: u64 = 1 << 16;
/// Most passages of one file: with vectors of 1,024 integers they take a GiB.
pub const PASSAGES_MAX: u64 = 1 << 18;
/// Most bytes of all documents of one file; they are held in memory.
pub const TEXTS_BYTES_MAX: u64 = 1 << 28;
/// Most integers of a vector: sums of products then stay below 2^62.
pub const WIDTH_MAX: u64 = 1 << 13;
/// Largest magnitude in a vector of length one, of 24 fraction bits.
pub const COMPONENT_MAX: u32 = 1 << 24;
/// Most bytes of a document's name.
pub const NAME_BYTES_MAX: u64 = 1 << 12;
/// Most bytes of an arithmetic's id.
const ARITHMETIC_BYTES_MAX: u64 = 64;
/// Most bytes of a file: texts, vectors, and room for the rest.
pub const FILE_BYTES_MAX: u64 = (1 << 30) + TEXTS_BYTES_MAX + (1 << 28);

const VERSION: u64 = 1;
const COMPONENT_BYTES: usize = size_of::<i32>();

/// Why passages are not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RetrievalError {
    /// The file cannot be read.
    #[error("the passages cannot be read: {0}")]
    Form(#[from] CborError),
    /// There is more than a file can hold.
    #[error("{found} {what}, the limit is {limit}")]
    Limit {
        /// What was counted.
        what: &'static str,
        /// How much there is.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// A vector of another length.
    #[error("a vector has {found} integers, expected {expected}")]
    Width {
        /// The encoder's width.
        expected: usize,
        /// The vector's length.
        found: usize,
    },
    /// A vector that is longer than one.
    #[error("a vector has the component {found}, which no vector of length one has")]
    Component {
        /// The component.
        found: i32,
    },
    /// A document's text is not the one that its digest names.
    #[error("document {document} has digest {found}, the file says {expected}")]
    Document {
        /// Its number.
        document: u32,
        /// The digest in the file.
        expected: Digest,
        /// The text's.
        found: Digest,
    },
    /// The same document twice.
    #[error("document {digest} stands there twice")]
    Twice {
        /// Its digest.
        digest: Digest,
    },
    /// A passage that no document has.
    #[error("bytes {start} to {end} are no passage of document {document}")]
    Passage {
        /// The document's number.
        document: u32,
        /// The first byte.
        start: u32,
        /// The byte after the last.
        end: u32,
    },
}

/// Documents cut into passages, with a vector of each passage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passages {
    encoder: Digest,
    arithmetic: String,
    width: usize,
    documents: Vec<Document>,
    places: BTreeMap<Digest, u32>,
    passages: Vec<Passage>,
    /// (passages, width) integers.
    vectors: Vec<i32>,
}

/// A document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its name among people.
    pub name: String,
    /// SHA-256 of its text.
    pub digest: Digest,
    /// The manifest of the dataset that it was taken from, if it was.
    pub dataset: Option<Digest>,
    /// Its text.
    pub text: String,
}

/// A part of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage {
    /// The document's number.
    pub document: u32,
    /// Its first byte within the document.
    pub start: u32,
    /// The byte after its last.
    pub end: u32,
}

/// A passage, and how near it is to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Near {
    /// Its number.
    pub passage: usize,
    /// The dot product of both vectors, with 48 fraction bits.
    pub score: i64,
}

impl Passages {
    /// No passages yet, of an encoder whose vectors have `width` integers.
    ///
    /// # Errors
    /// A width of nothing, or above [`WIDTH_MAX`].
    pub fn new(encoder: Digest, arithmetic: &str, width: usize) -> Result<Self, RetrievalError> {
        limited("integers of a vector", width as u64, WIDTH_MAX)?;
        if width == 0 {
            return Err(RetrievalError::Width { expected: 1, found: 0 });
        }
        let (documents, passages, vectors) = (vec![], vec![], vec![]);
        let (arithmetic, places) = (arithmetic.to_owned(), BTreeMap::new());
        Ok(Self { encoder, arithmetic, width, documents, places, passages, vectors })
    }

    /// Adds a document without passages and says its number; nothing if its text is there already.
    ///
    /// # Errors
    /// [`RetrievalError::Limit`].
    pub fn add_document(
        &mut self,
        name: &str,
        text: &str,
        dataset: Option<Digest>,
    ) -> Result<Option<u32>, RetrievalError> {
        let digest = Digest::of_content(text.as_bytes());
        if self.places.contains_key(&digest) {
            return Ok(None);
        }
        limited("bytes of a name", name.len() as u64, NAME_BYTES_MAX)?;
        limited("documents", self.documents.len() as u64 + 1, DOCUMENTS_MAX)?;
        limited("bytes of text", self.texts_bytes() + text.len() as u64, TEXTS_BYTES_MAX)?;
        let number = u32::try_from(self.documents.len()).unwrap_or(u32::MAX);
        self.places.insert(digest, number);
        let (name, text) = (name.to_owned(), text.to_owned());
        self.documents.push(Document { name, digest, dataset, text });
        Ok(Some(number))
    }

    /// Adds a passage of a document with its vector.
    ///
    /// # Errors
    /// Bytes that are no passage, a vector of another width or longer than one, and
    /// [`RetrievalError::Limit`].
    pub fn add_passage(&mut self, passage: Passage, vector: &[i32]) -> Result<(), RetrievalError> {
        let Passage { document, start, end } = passage;
        if self.text_at(&passage).is_none_or(str::is_empty) {
            return Err(RetrievalError::Passage { document, start, end });
        }
        limited("passages", self.passages.len() as u64 + 1, PASSAGES_MAX)?;
        require_vector(vector, self.width)?;
        self.passages.push(passage);
        self.vectors.extend(vector);
        Ok(())
    }

    /// The passages nearest to a question's vector, at most `count`: the highest score first, and
    /// among equals the one that was added first.
    ///
    /// # Errors
    /// A vector of another width or longer than one.
    pub fn nearest(&self, question: &[i32], count: usize) -> Result<Vec<Near>, RetrievalError> {
        require_vector(question, self.width)?;
        let scored = self.vectors.chunks_exact(self.width).enumerate();
        let scored = scored.map(|(passage, vector)| Near { passage, score: dot(vector, question) });
        let mut found: Vec<Near> = scored.collect();
        found.sort_unstable_by(|a, b| b.score.cmp(&a.score).then(a.passage.cmp(&b.passage)));
        found.truncate(count);
        Ok(found)
    }

    /// Root of the encoder that made the vectors.
    #[must_use]
    pub const fn encoder(&self) -> Digest {
        self.encoder
    }

    /// Id of the arithmetic in which they were made.
    #[must_use]
    pub fn arithmetic(&self) -> &str {
        &self.arithmetic
    }

    /// How many integers each vector has.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.width
    }

    /// The documents by number.
    #[must_use]
    pub fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// The document of this digest.
    #[must_use]
    pub fn document(&self, digest: &Digest) -> Option<&Document> {
        self.documents.get(*self.places.get(digest)? as usize)
    }

    /// The passages in order.
    #[must_use]
    pub fn passages(&self) -> &[Passage] {
        &self.passages
    }

    /// A passage's document and text.
    #[must_use]
    pub fn passage(&self, number: usize) -> Option<(Passage, &Document, &str)> {
        let passage = *self.passages.get(number)?;
        let document = self.documents.get(passage.document as usize)?;
        Some((passage, document, self.text_at(&passage)?))
    }

    fn text_at(&self, passage: &Passage) -> Option<&str> {
        let document = self.documents.get(passage.document as usize)?;
        document.text.get(range_of(passage))
    }

    fn texts_bytes(&self) -> u64 {
        self.documents.iter().map(|document| document.text.len() as u64).sum()
    }
}

fn range_of(passage: &Passage) -> Range<usize> {
    passage.start as usize..passage.end as usize
}

/// Σ aᵢ·bᵢ: at most [`WIDTH_MAX`] products of at most 2^48 each.
fn dot(a: &[i32], b: &[i32]) -> i64 {
    a.iter().zip(b).map(|(a, b)| i64::from(*a) * i64::from(*b)).sum()
}

fn require_vector(vector: &[i32], expected: usize) -> Result<(), RetrievalError> {
    let found = vector.len();
    if found != expected {
        return Err(RetrievalError::Width { expected, found });
    }
    match vector.iter().find(|component| component.unsigned_abs() > COMPONENT_MAX) {
        Some(found) => Err(RetrievalError::Component { found: *found }),
        None => Ok(()),
    }
}

const fn limited(what: &'static str, found: u64, limit: u64) -> Result<(), RetrievalError> {
    if found > limit {
        return Err(RetrievalError::Limit { what, found, limit });
    }
    Ok(())
}

impl Passages {
    /// The file's bytes: deterministic CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new();
        encoder.map(7).key(1).uint(VERSION);
        encoder.key(2).bytes(self.encoder.as_bytes());
        encoder.key(3).text(&self.arithmetic);
        encoder.key(4).uint(self.width as u64);
        encoder.key(5).array(self.documents.len());
        for document in &self.documents {
            document.encode_into(&mut encoder);
        }
        encoder.key(6).array(self.passages.len());
        for Passage { document, start, end } in &self.passages {
            encoder.array(3).uint((*document).into()).uint((*start).into()).uint((*end).into());
        }
        let vectors: Vec<u8> = self.vectors.iter().flat_map(|each| each.to_le_bytes()).collect();
        encoder.key(7).bytes(&vectors);
        encoder.finish()
    }

    /// Reads a file's bytes; every document has the digest that the file names.
    ///
    /// # Errors
    /// What is not such a file, what contradicts itself, and what is above a limit.
    pub fn parse(bytes: &[u8]) -> Result<Self, RetrievalError> {
        let mut decoder = Decoder::new(bytes);
        let mut map = decoder.map("passages")?;
        map.require(&mut decoder, 1)?;
        let version = decoder.uint()?;
        if version != VERSION {
            let found = i64::try_from(version).unwrap_or(i64::MAX);
            return Err(CborError::Value { what: "version of passages", found }.into());
        }
        map.require(&mut decoder, 2)?;
        let encoder = decoder.digest("encoder root")?;
        map.require(&mut decoder, 3)?;
        let arithmetic = decoder.text("arithmetic", ARITHMETIC_BYTES_MAX)?;
        map.require(&mut decoder, 4)?;
        let width = decoder.uint_up_to("width", WIDTH_MAX)?;
        let mut all = Self::new(encoder, arithmetic, usize::try_from(width).unwrap_or(0))?;
        map.require(&mut decoder, 5)?;
        for document in 0..decoder.array("documents", DOCUMENTS_MAX)? {
            let Document { name, digest, dataset, text } = Document::decode_from(&mut decoder)?;
            let found = Digest::of_content(text.as_bytes());
            if found != digest {
                let document = u32::try_from(document).unwrap_or(u32::MAX);
                return Err(RetrievalError::Document { document, expected: digest, found });
            }
            if all.add_document(&name, &text, dataset)?.is_none() {
                return Err(RetrievalError::Twice { digest });
            }
        }
        map.require(&mut decoder, 6)?;
        let mut passages = vec![];
        for _ in 0..decoder.array("passages", PASSAGES_MAX)? {
            decoder.array_exact("passage", 3)?;
            let document = decoder.u32("document")?;
            let (start, end) = (decoder.u32("first byte")?, decoder.u32("byte after the last")?);
            passages.push(Passage { document, start, end });
        }
        map.require(&mut decoder, 7)?;
        let vectors = decoder.bytes("vectors", FILE_BYTES_MAX)?;
        map.end(&mut decoder)?;
        decoder.finish()?;
        all.add_vectors(&passages, vectors)?;
        Ok(all)
    }

    fn add_vectors(&mut self, passages: &[Passage], bytes: &[u8]) -> Result<(), RetrievalError> {
        let (numbers, rest) = bytes.as_chunks::<COMPONENT_BYTES>();
        let (expected, found) = (passages.len() * self.width, numbers.len());
        if found != expected || !rest.is_empty() {
            return Err(RetrievalError::Width { expected, found });
        }
        let numbers: Vec<i32> = numbers.iter().map(|each| i32::from_le_bytes(*each)).collect();
        for (passage, vector) in passages.iter().zip(numbers.chunks_exact(self.width)) {
            self.add_passage(*passage, vector)?;
        }
        Ok(())
    }
}

impl Cbor for Document {
    fn encode_into(&self, encoder: &mut Encoder) {
        let dataset = self.dataset.as_ref().map_or([].as_slice(), |digest| digest.as_bytes());
        encoder.array(4).text(&self.name).bytes(self.digest.as_bytes());
        encoder.bytes(dataset).text(&self.text);
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        decoder.array_exact("document", 4)?;
        let name = decoder.text("document name", NAME_BYTES_MAX)?.to_owned();
        let digest = decoder.digest("document digest")?;
        let offset = decoder.offset();
        let dataset = match decoder.bytes("dataset", Digest::SIZE_BYTES as u64)? {
            [] => None,
            bytes => Some(Digest::from_slice(bytes).ok_or(CborError::Length {
                what: "dataset",
                offset,
                expected: Digest::SIZE_BYTES as u64,
                found: bytes.len() as u64,
            })?),
        };
        let text = decoder.text("document text", TEXTS_BYTES_MAX)?.to_owned();
        Ok(Self { name, digest, dataset, text })
    }
}
