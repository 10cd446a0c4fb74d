//! Shards, the rule and proofs in their plainest form: everything is sought from the beginning.

use super::*;

/// A shard whose array is sorted by comparing suffixes.
#[derive(Clone)]
pub(super) struct Plain {
    pub(super) text: Vec<u8>,
    pub(super) array: Vec<u32>,
    pub(super) documents: Vec<Document>,
}

impl Plain {
    pub(super) fn new(texts: Vec<Vec<u8>>) -> Self {
        let (mut text, mut documents) = (vec![], vec![]);
        for (number, document) in texts.into_iter().enumerate() {
            documents.push(Document {
                start: text.len() as u32,
                size_bytes: document.len() as u32,
                digest: document_digest(&document),
                contribution: number as u32 % 2,
            });
            text.extend(document);
            text.push(SEPARATOR);
        }
        let mut array: Vec<u32> = (0..text.len() as u32).collect();
        array.sort_by_key(|at| &text[*at as usize..]);
        Self { text, array, documents }
    }

    pub(super) fn text_of(&self, document: usize) -> &[u8] {
        let Document { start, size_bytes, .. } = self.documents[document];
        &self.text[start as usize..(start + size_bytes) as usize]
    }

    pub(super) fn shard(&self) -> Shard {
        Shard {
            text_bytes: self.text.len() as u32,
            document_count: self.documents.len() as u32,
            documents_root: node_over(&self.document_hashes(), 0..self.documents.len() as u32),
            text_root: whole(&self.chunk_hashes()),
            array_root: whole(&self.leaves()).hash,
            contributions: vec![Digest::of_content(b"one"), Digest::of_content(b"two")],
        }
    }

    fn chunk_hashes(&self) -> Vec<Digest> {
        self.text.chunks(CHUNK_BYTES as usize).map(chunk_hash).collect()
    }

    fn document_hashes(&self) -> Vec<Digest> {
        self.documents.iter().map(Document::hash).collect()
    }

    fn leaf_bytes(&self) -> Vec<Vec<u8>> {
        let leaves = self.array.chunks(LEAF_ENTRIES as usize);
        leaves.map(|leaf| leaf.iter().flat_map(|entry| entry.to_le_bytes()).collect()).collect()
    }

    fn leaves(&self) -> Vec<Least> {
        self.leaf_bytes().iter().map(|leaf| Least::leaf(leaf)).collect()
    }

    /// All positions at which a text stands.
    pub(super) fn occurrences(&self, query: &[u8]) -> Vec<u32> {
        let all = 0..self.text.len() as u32;
        all.filter(|at| self.text[*at as usize..].starts_with(query)).collect()
    }

    pub(super) fn interval(&self, query: &[u8]) -> Range<u32> {
        let below = |at: &&u32| self.text[**at as usize..] < *query;
        let low = self.array.iter().filter(below).count() as u32;
        low..low + self.occurrences(query).len() as u32
    }

    pub(super) fn document_at(&self, position: u32) -> usize {
        self.documents.partition_point(|document| document.start <= position) - 1
    }

    /// The excerpt with these leaves, each kind by places.
    pub(super) fn excerpt(
        &self,
        chunks: &BTreeSet<u32>,
        leaves: &BTreeSet<u32>,
        documents: &BTreeSet<u32>,
    ) -> Excerpt {
        let list = |set: &BTreeSet<u32>| set.iter().copied().collect::<Vec<u32>>();
        let shard = self.shard();
        let (hashes, array, all) = (self.chunk_hashes(), self.leaves(), self.document_hashes());
        let bytes = self.leaf_bytes();
        let chunk = |at: u32| self.text.chunks(CHUNK_BYTES as usize).nth(at as usize).unwrap();
        Excerpt {
            chunks: chunks.iter().map(|at| (*at, chunk(*at).to_vec())).collect(),
            chunk_nodes: prove_leaves(shard.chunk_count(), &list(chunks), &mut |range| {
                node_over(&hashes, range)
            }),
            leaves: leaves.iter().map(|at| (*at, bytes[*at as usize].clone())).collect(),
            leaf_nodes: prove_leaves(shard.leaf_count(), &list(leaves), &mut |range| {
                node_over(&array, range)
            }),
            documents: documents.iter().map(|at| (*at, self.documents[*at as usize])).collect(),
            document_nodes: prove_leaves(shard.document_count, &list(documents), &mut |range| {
                node_over(&all, range)
            }),
            shard,
        }
    }
}

/// MTH of RFC 6962 §2.1, word for word, over any kind of node.
pub(super) fn node_over<N: Node>(leaves: &[N], range: Range<u32>) -> N {
    let (start, end) = (range.start, range.end);
    match end - start {
        1 => leaves[start as usize].clone(),
        len => {
            let middle = start + len.next_power_of_two() / 2;
            N::parent(&node_over(leaves, start..middle), &node_over(leaves, middle..end))
        }
    }
}

fn whole<N: Node>(leaves: &[N]) -> N {
    node_over(leaves, 0..leaves.len() as u32)
}

#[derive(Clone)]
pub(super) struct Corpus(pub(super) Vec<Plain>);

impl Corpus {
    pub(super) fn ids(&self) -> impl Iterator<Item = DocumentId> {
        (0_u32..).zip(&self.0).flat_map(|(shard, plain)| {
            (0..plain.documents.len() as u32).map(move |document| DocumentId { shard, document })
        })
    }

    fn holds(&self, id: DocumentId, query: &[u8]) -> bool {
        let text = self.0[id.shard as usize].text_of(id.document as usize);
        text.windows(query.len()).any(|found| found == query)
    }
}

#[derive(Clone)]
pub(super) struct Answer {
    pub(super) corpus: Corpus,
    pub(super) output: Vec<u8>,
    pub(super) window: usize,
}

impl Answer {
    /// The earliest document of every window.
    fn windows(&self) -> Vec<Option<DocumentId>> {
        let earliest = |text| self.corpus.ids().find(|id| self.corpus.holds(*id, text));
        self.output.windows(self.window).map(earliest).collect()
    }

    /// The rule, byte by byte.
    pub(super) fn spans(&self) -> Vec<Span> {
        let windows = self.windows();
        let spans = (0..self.output.len()).map(|at| {
            let first = at.saturating_sub(self.window - 1).min(windows.len());
            let owner = windows[first..windows.len().min(at + 1)].iter().flatten().min();
            Span { start: at as u32, end: at as u32 + 1, owner: owner.copied() }
        });
        merged(spans.collect())
    }

    /// One probe for every window in every shard, one presence for every window that occurs, and all
    /// that they read.
    pub(super) fn proof(&self) -> TraceProof {
        let owners = self.windows();
        let shards = (0_u32..).zip(&self.corpus.0).map(|(number, plain)| {
            let (mut probes, mut presences) = (vec![], vec![]);
            for (start, text) in self.output.windows(self.window).enumerate() {
                if text.contains(&SEPARATOR) {
                    continue;
                }
                let (start, end) = (start as u32, (start + self.window) as u32);
                let Range { start: low, end: high } = plain.interval(text);
                probes.push(Probe { start, end, low, high });
                if owners[start as usize].is_some_and(|id| id.shard == number) {
                    let position = plain.occurrences(text)[0];
                    let document = plain.document_at(position) as u32;
                    presences.push(Presence { start, end, document, position });
                }
            }
            let excerpt = self.excerpt(plain, &probes, &presences);
            ShardTrace { number, excerpt, probes, presences }
        });
        TraceProof { shards: shards.collect() }
    }

    fn excerpt(&self, plain: &Plain, probes: &[Probe], presences: &[Presence]) -> Excerpt {
        let size = plain.text.len() as u32;
        let (mut chunks, mut leaves, mut documents) =
            <(BTreeSet<_>, BTreeSet<_>, BTreeSet<_>)>::default();
        let mut read = |position: u32, len: u32| {
            let last = (position + len - 1).min(size - 1);
            chunks.extend(position / CHUNK_BYTES..=last / CHUNK_BYTES);
        };
        for Probe { start, end, low, high } in probes {
            for place in [low.wrapping_sub(1), *low, high.wrapping_sub(1), *high] {
                if place < size {
                    leaves.insert(place / LEAF_ENTRIES);
                    read(plain.array[place as usize], end - start);
                }
            }
        }
        for Presence { start, end, document, position } in presences {
            read(*position, end - start);
            documents.insert(*document);
        }
        plain.excerpt(&chunks, &leaves, &documents)
    }

    pub(super) fn roots(&self) -> Vec<Digest> {
        self.corpus.0.iter().map(|plain| plain.shard().root()).collect()
    }

    pub(super) fn verify(
        &self,
        spans: &[Span],
        proof: &TraceProof,
    ) -> Result<BTreeMap<DocumentId, Owner>, TraceError> {
        let (output, window_bytes) = (&self.output[..], self.window as u32);
        verify_spans(&Claim { output, window_bytes, roots: &self.roots(), spans }, proof)
    }
}

/// Neighbours of one owner as one span.
pub(super) fn merged(spans: Vec<Span>) -> Vec<Span> {
    let mut merged: Vec<Span> = vec![];
    for span in spans {
        match merged.last_mut() {
            Some(last) if last.owner == span.owner => last.end = span.end,
            _ => merged.push(span),
        }
    }
    merged
}
