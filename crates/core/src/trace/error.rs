//! Why a span proof does not hold: one reason for each way to be wrong.

use core::fmt;

use thiserror::Error;

use super::DocumentId;
use crate::Digest;

/// One of a shard's three trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tree {
    /// Over the chunks of the text.
    Text,
    /// Over the entries of the suffix array.
    Array,
    /// Over the documents.
    Documents,
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Array => "array",
            Self::Documents => "documents",
        })
    }
}

/// An array entry at the edge of a probe's interval, and how its suffix must stand to the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// The last before the interval: it is smaller.
    Before,
    /// The first of the interval: it begins with the query.
    First,
    /// The last of the interval: it begins with the query.
    Last,
    /// The first behind the interval: it is greater and does not begin with the query.
    Behind,
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "before the interval is not smaller than the query",
            Self::First => "that is the interval's first does not begin with the query",
            Self::Last => "that is the interval's last does not begin with the query",
            Self::Behind => "behind the interval is not greater than all that begin with the query",
        })
    }
}

/// Why a span proof or a refutation does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TraceError {
    /// Something is larger than its limit, or empty where it must not be.
    #[error("{what} is {found}, it must be from {least} to {limit}")]
    Limit {
        /// What was measured.
        what: &'static str,
        /// The smallest legal value.
        least: u32,
        /// The largest legal value.
        limit: u32,
        /// The value found.
        found: u32,
    },
    /// A proof names a shard that the claim lacks, or names shards out of order.
    #[error("shard {number} is not one of the {count} of the claim, or does not come in order")]
    ShardNumber {
        /// The number found.
        number: u32,
        /// How many shards the claim has.
        count: u32,
    },
    /// The excerpt is one of another index.
    #[error("the excerpt has index root {computed}, the claim says {expected}")]
    IndexRoot {
        /// The root of the claim.
        expected: Digest,
        /// The root that the excerpt yields.
        computed: Digest,
    },
    /// The shown leaves and the nodes beside them lead to another root.
    #[error("the {tree} tree yields root {computed}, the index says {expected}")]
    TreeRoot {
        /// Which tree.
        tree: Tree,
        /// The root that the index root commits to.
        expected: Digest,
        /// The root that the proof yields.
        computed: Digest,
    },
    /// The nodes beside the shown leaves do not suffice.
    #[error("the {tree} tree lacks nodes: {found} are not enough")]
    NodesMissing {
        /// Which tree.
        tree: Tree,
        /// How many there are.
        found: usize,
    },
    /// More nodes than the shown leaves need.
    #[error("the {tree} tree needs {expected} nodes beside its leaves, the proof has {found}")]
    NodesLeft {
        /// Which tree.
        tree: Tree,
        /// How many are needed.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// A leaf that the tree does not have.
    #[error("the {tree} tree has {count} leaves, not one at {index}")]
    LeafOutside {
        /// Which tree.
        tree: Tree,
        /// The leaf's place.
        index: u32,
        /// How many leaves the tree has.
        count: u32,
    },
    /// A leaf that holds more or less than its place demands.
    #[error("leaf {index} of the {tree} tree has {found} bytes or entries, expected {expected}")]
    LeafSize {
        /// Which tree.
        tree: Tree,
        /// The leaf's place.
        index: u32,
        /// What its place demands.
        expected: u32,
        /// What it has.
        found: u32,
    },
    /// An item reads what the excerpt does not show.
    #[error("leaf {index} of the {tree} tree is needed and not shown")]
    NotShown {
        /// Which tree.
        tree: Tree,
        /// The leaf's place.
        index: u32,
    },
    /// An array entry that is no position of the text: the index itself is wrong.
    #[error("array entry {place} is {entry}, the text has {size} bytes")]
    EntryOutside {
        /// The entry's place in the array.
        place: u32,
        /// Its value.
        entry: u32,
        /// Bytes of the text.
        size: u32,
    },
    /// An item about bytes that the output does not have.
    #[error("bytes {start} to {end} are not a part of the output's {size}")]
    OutputRange {
        /// Where the item begins.
        start: u32,
        /// Where it ends.
        end: u32,
        /// Bytes of the output.
        size: u32,
    },
    /// An item about bytes with the byte that ends documents, which no document holds.
    #[error("byte {at} of the output is the one that ends documents")]
    Separator {
        /// Its place in the output.
        at: u32,
    },
    /// An interval that the array does not have.
    #[error("entries {low} to {high} are not a part of the array's {size}")]
    Interval {
        /// Its first entry.
        low: u32,
        /// The entry behind its last.
        high: u32,
        /// Entries of the array.
        size: u32,
    },
    /// An entry at an interval's edge does not stand to the query as it must.
    #[error("array entry {place}, {neighbour}")]
    Neighbour {
        /// The entry's place in the array.
        place: u32,
        /// Which edge it is.
        neighbour: Neighbour,
    },
    /// The text at the stated position is another than the output's.
    #[error("bytes {start} to {end} of the output do not stand at {position} of the text")]
    Text {
        /// Where the presence begins in the output.
        start: u32,
        /// Where it ends.
        end: u32,
        /// The stated position.
        position: u32,
    },
    /// The stated position is not inside the document.
    #[error("text from {start} to {end} is not inside document {document}")]
    OutsideDocument {
        /// The document.
        document: u32,
        /// Where the text begins.
        start: u32,
        /// Where it ends; saturated.
        end: u32,
    },
    /// A document of a contribution that the shard does not have.
    #[error("document {document} is of contribution {contribution}, the shard has {count}")]
    ContributionOutside {
        /// The document.
        document: u32,
        /// The contribution's place.
        contribution: u32,
        /// How many contributions the shard has.
        count: u32,
    },
    /// Spans that overlap, leave a gap or bytes, or are empty.
    #[error("a span from {start} to {end} stands where the next begins at {expected} of {size}")]
    Partition {
        /// Where it must begin, or the output's size if spans end early.
        expected: u32,
        /// Where it begins.
        start: u32,
        /// Where it ends.
        end: u32,
        /// Bytes of the output.
        size: u32,
    },
    /// Two spans of one owner that touch: they are one span.
    #[error("the spans that meet at byte {at} have one owner")]
    SpansMeet {
        /// Where they meet.
        at: u32,
    },
    /// No presence of the claimed owner covers a byte.
    #[error("byte {at} is not shown to be in {owner}")]
    NotCovered {
        /// The byte.
        at: u32,
        /// Its claimed owner.
        owner: DocumentId,
    },
    /// A window that covers a byte may occur in an earlier document than the claimed owner.
    #[error("byte {at} is said to be of {owner}; position {position} of shard {shard} is earlier")]
    EarlierOwner {
        /// The byte.
        at: u32,
        /// Its claimed owner.
        owner: DocumentId,
        /// The shard from which on the window may occur.
        shard: u32,
        /// The position in it from which on the window may occur.
        position: u32,
    },
    /// A window that covers a byte of the residual may occur somewhere.
    #[error("byte {at} is said to be nobody's; its windows are not absent from shard {shard}")]
    ResidualOwned {
        /// The byte.
        at: u32,
        /// The first shard in which a window may occur.
        shard: u32,
    },
    /// A refutation whose entries stand in order.
    #[error("array entries {place} and the next stand in order: nothing is refuted")]
    InOrder {
        /// The first entry's place.
        place: u32,
    },
}
