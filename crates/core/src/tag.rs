//! Every domain tag of the project, in one place.
//!
//! Each hash or signature over a form of our own design begins with one of these, so that bytes
//! meant for one purpose can never be taken for another. A tag ends in a zero byte that it holds
//! nowhere else, so no tag is a prefix of another. Hashes defined by other standards (RFC 6962
//! leaves and nodes, COSE, C2SP notes) keep the form that those standards give them.

/// A domain tag: ASCII text that ends in one zero byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(&'static [u8]);

impl Tag {
    /// The tag's bytes, the final zero included.
    #[must_use]
    pub const fn as_bytes(self) -> &'static [u8] {
        self.0
    }
}

macro_rules! tags {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: Tag = Tag(concat!("tally/", $text, "\0").as_bytes());)*
        /// All tags, for the test that none is a prefix of another.
        pub const ALL: &[Tag] = &[$($name),*];
    };
}

tags! {
    /// Salted commitment to one value (`spec/receipt.md`, Commitments).
    COMMITMENT = "commitment/v1";
    /// Derivation of one salt from a receipt's secret.
    SALT = "salt/v1";
    /// First link of the output chain.
    CHAIN_START = "chain-start/v1";
    /// Every further link of the output chain.
    CHAIN_LINK = "chain-link/v1";
    /// Sampling seed from client nonce and effective request.
    SEED = "seed/v1";
    /// Philox key from a seed.
    SAMPLER_KEY = "sampler-key/v1";
    /// Leaf of the model root: one tensor, table or file of a model.
    MODEL_PART = "model-part/v1";
    /// The public header and digest that make a log entry.
    ENTRY = "entry/v1";
    /// Identifier of a signing key from its algorithm and public bytes.
    KEY_ID = "key-id/v1";
    /// First link of a stream's transcript, over its head.
    STREAM_START = "stream-start/v1";
    /// Every further link of a stream's transcript.
    STREAM_LINK = "stream-link/v1";
    /// What the signature of a stream's event is over.
    STREAM_EVENT = "stream-event/v1";
    /// Checksum of one frame of a log's segment file.
    FRAME = "frame/v1";
    /// Where the rounding of a split begins.
    SPLIT_OFFSET = "split-offset/v1";
    /// Leaf of a dataset's documents: the digest of one.
    DATASET_DOCUMENT = "dataset-document/v1";
    /// Digest of a split policy.
    SPLIT_POLICY = "split-policy/v1";
    /// Name of one transfer of a receipt.
    TRANSFER = "transfer/v1";
    /// Name of a transfer that resolves or corrects another.
    RESOLUTION = "resolution/v1";
    /// Name of the transfer that pays out what an epoch says.
    CLAIM = "claim/v1";
    /// Leaf of the sum tree: one account's cumulative earnings.
    SUM_LEAF = "sum-leaf/v1";
    /// Inner node of the sum tree.
    SUM_NODE = "sum-node/v1";
    /// Root of the sum tree, with count and total.
    SUM_ROOT = "sum-root/v1";
    /// Salt of one leaf, from an epoch's secret.
    SUM_SALT = "sum-salt/v1";
    /// The uses of ratings that a payout of the feedback pool is for.
    FEEDBACK_USES = "feedback-uses/v1";
    /// Where the rounding of a payout of the feedback pool begins.
    FEEDBACK_OFFSET = "feedback-offset/v1";
    /// Link of the book's journal.
    JOURNAL = "journal/v1";
    /// One evidence item referred to by digest.
    EVIDENCE = "evidence/v1";
    /// The index root of a shard.
    INDEX = "index/v1";
    /// Leaf of a shard's text: one chunk.
    INDEX_TEXT = "index-text/v1";
    /// Leaf of a shard's documents: one document.
    INDEX_DOCUMENT = "index-document/v1";
    /// Leaf of a shard's suffix array: some entries.
    INDEX_ARRAY_LEAF = "index-array-leaf/v1";
    /// Inner node of a shard's suffix array.
    INDEX_ARRAY_NODE = "index-array-node/v1";
    /// The influence root: vectors of the families that a model learned from.
    INFLUENCE = "influence/v1";
    /// Digest of the texts that stand for the families.
    INFLUENCE_SAMPLE = "influence-sample/v1";
}

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn no_tag_is_a_prefix_of_another() {
        for (i, a) in ALL.iter().enumerate() {
            assert_eq!(a.as_bytes().iter().filter(|byte| **byte == 0).count(), 1);
            assert_eq!(a.as_bytes().last(), Some(&0));
            for b in ALL.iter().skip(i + 1) {
                assert!(!a.as_bytes().starts_with(b.as_bytes()));
                assert!(!b.as_bytes().starts_with(a.as_bytes()));
            }
        }
    }
}
