//! The reasoned no: which demand of the specification is not met, and the values that differ.

use alloc::string::String;
use core::fmt;

use tally_core::{
    Digest,
    cbor::CborError,
    commitment::Field,
    computation::TokenId,
    note::NoteError,
    receipt::{EvidenceKind, Kind},
    tlog_proof::TlogProofError,
    tree::TreeError,
};
use thiserror::Error;

use crate::{
    policy::{PolicyError, Requirement},
    time::{Duration, UnixTime},
};

mod attribution;
mod code;
mod hint;
mod stream;

pub use attribution::{AttributionRejection, SectionPart};
pub use stream::StreamRejection;

/// Why a receipt does not satisfy a policy, or could not be read at all.
///
/// [`code`](Self::code) is stable; the message is for people.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The policy itself could not be read.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The receipt is above the size limit.
    #[error("receipt has {found} bytes, the limit is {limit}")]
    Size {
        /// Most bytes.
        limit: u64,
        /// The bytes found.
        found: u64,
    },
    /// A part of the receipt is not the deterministic CBOR that the format demands.
    #[error("{part} cannot be read: {cause}")]
    Form {
        /// Which part.
        part: Part,
        /// The first deviation.
        cause: CborError,
    },
    /// A log inclusion proof cannot be read.
    #[error("evidence {item} is not a log inclusion proof: {cause}")]
    ProofForm {
        /// 0-based place among the evidence.
        item: usize,
        /// The first deviation.
        cause: TlogProofError,
    },

    /// The statement is signed with another algorithm.
    #[error("statement is signed with algorithm {found}, expected {expected}")]
    Algorithm {
        /// Ed25519.
        expected: i64,
        /// The algorithm found.
        found: i64,
    },
    /// The statement is of another media type.
    #[error("statement has media type `{found}`, expected `{expected}`")]
    ContentType {
        /// The media type of this profile.
        expected: &'static str,
        /// The media type found.
        found: String,
    },
    /// The header names another issuer than its key id does.
    #[error("header names issuer `{found}`, its key id demands `{expected}`")]
    IssuerName {
        /// The name that the key id demands.
        expected: String,
        /// The name found.
        found: String,
    },
    /// The header is about another receipt than the statement.
    #[error("header is about `{found}`, the statement's id demands `{expected}`")]
    Subject {
        /// The subject that the statement's id demands.
        expected: String,
        /// The subject found.
        found: String,
    },
    /// The key that the header names did not sign this statement.
    #[error("signature is not by key {key_id} of issuer `{issuer}` over this statement")]
    Signature {
        /// The policy's name for the issuer.
        issuer: String,
        /// The key that the header names.
        key_id: Digest,
    },

    /// A chat without template, or a completion with one.
    #[error("{kind} {} a chat template, expected the opposite", has(*.found))]
    Template {
        /// What was asked for.
        kind: Kind,
        /// Whether a template is named.
        found: bool,
    },
    /// Stop tokens are not in strictly increasing order.
    #[error("stop token {found} does not come after {previous}")]
    StopOrder {
        /// The stop token before it.
        previous: TokenId,
        /// The stop token.
        found: TokenId,
    },
    /// The output is longer than was allowed.
    #[error("output has {found} tokens, at most {limit} were asked for")]
    OutputAboveMax {
        /// Most output tokens.
        limit: u32,
        /// The output tokens that are claimed.
        found: u32,
    },
    /// The output ended at a stop token, but there is none or no output.
    #[error(
        "output of {output_count} tokens is said to end at one of {stop_count} stop tokens, \
         expected at least one of each"
    )]
    StopWithoutToken {
        /// The output tokens that are claimed.
        output_count: u32,
        /// How many stop tokens there are.
        stop_count: usize,
    },
    /// The output ended at a stop string, but there is no output or nothing that holds one.
    #[error(
        "output of {output_count} tokens is said to complete a stop string, and the statement {} \
         controls, expected at least one token and a commitment",
        commits(*.has_controls)
    )]
    StopStringWithoutControls {
        /// The output tokens that are claimed.
        output_count: u32,
        /// Whether the statement commits to controls.
        has_controls: bool,
    },
    /// Vectors for a chat or completion, or tokens for an embedding.
    #[error("{kind} has {} for its outcome", outcome(*.is_embedding))]
    OutcomeKind {
        /// What was asked for.
        kind: Kind,
        /// Whether the outcome is embeddings.
        is_embedding: bool,
    },
    /// The seed is said to be derived from a nonce that the statement does not hold.
    #[error("seed is said to be derived from the client's nonce, and there is no nonce")]
    SeedWithoutNonce,

    /// Evidence is not what its digest names.
    #[error("evidence {item} has digest {computed}, the receipt names {expected}")]
    EvidenceDigest {
        /// 0-based place among the evidence.
        item: usize,
        /// The digest that the receipt names.
        expected: Digest,
        /// The digest of the value.
        computed: Digest,
    },
    /// The same evidence twice.
    #[error("evidence {item} ({kind}) stands there already as evidence {previous}")]
    EvidenceTwice {
        /// 0-based place of the second one.
        item: usize,
        /// 0-based place of the first one.
        previous: usize,
        /// What it is.
        kind: EvidenceKind,
    },

    /// An opening is about a field that the statement does not commit to.
    #[error("the {field} is opened, and the statement commits to none")]
    OpeningWithoutClaim {
        /// The field.
        field: Field,
    },
    /// An opened value is not the one that was committed to.
    #[error("opened {field} yields commitment {computed}, the statement says {expected}")]
    Opening {
        /// The field.
        field: Field,
        /// The commitment in the statement.
        expected: Digest,
        /// The commitment of the opened value.
        computed: Digest,
    },
    /// The opened output tokens do not yield the output chain.
    #[error("opened output yields chain {computed}, the statement says {expected}")]
    OutputChain {
        /// The last link in the statement.
        expected: Digest,
        /// The last link over the opened tokens.
        computed: Digest,
    },
    /// Opened tokens are no list of tokens.
    #[error("opened {field} is not a list of tokens: {cause}")]
    OpenedTokens {
        /// The field.
        field: Field,
        /// The first deviation.
        cause: CborError,
    },
    /// Opened vectors are no list of vectors.
    #[error("opened output is not a list of vectors: {cause}")]
    OpenedVectors {
        /// The first deviation.
        cause: CborError,
    },
    /// Opened texts or vectors are more or fewer than is stated.
    #[error("opened {field} is of {found} texts, the statement says {expected}")]
    VectorCount {
        /// The field: the texts are the input, the vectors the output.
        field: Field,
        /// The count in the statement.
        expected: u32,
        /// The count found.
        found: usize,
    },
    /// Opened controls are not of their form.
    #[error("opened controls cannot be read: {cause}")]
    OpenedControls {
        /// The first deviation.
        cause: CborError,
    },
    /// The output is said to end at a stop string, and the opened controls hold none.
    #[error("output is said to complete a stop string, and the opened controls hold none")]
    NoStopString,
    /// The opened seed has another length.
    #[error("opened seed has {found} bytes, expected 32")]
    SeedLength {
        /// The length found.
        found: usize,
    },
    /// The opened input has another number of tokens.
    #[error("opened input has {found} tokens, the statement says {expected}")]
    InputCount {
        /// The count in the statement.
        expected: u32,
        /// The tokens found.
        found: usize,
    },
    /// The opened output has another number of tokens.
    #[error("opened output has {found} tokens, the statement says {expected}")]
    OutputCount {
        /// The count in the statement.
        expected: u32,
        /// The tokens found.
        found: usize,
    },
    /// The opened output does not end where a stop token stands.
    #[error("output is said to end at a stop token, its last token is {last}")]
    StopNotLast {
        /// The last token.
        last: TokenId,
    },
    /// The opened output goes on after a stop token.
    #[error("output goes on after stop token {token} at place {place}")]
    StopPassed {
        /// 0-based place of the stop token.
        place: usize,
        /// The stop token.
        token: TokenId,
    },
    /// The seed is said to be derived and is another.
    #[error("nonce and input yield seed {computed}, the opened one is {expected}")]
    DerivedSeed {
        /// The opened seed.
        expected: Digest,
        /// The seed that nonce and input yield.
        computed: Digest,
    },

    /// No inclusion proof is there, and the policy demands one.
    #[error("policy demands `{required}`, and the receipt holds no log inclusion proof")]
    NoProof {
        /// The demand.
        required: Requirement,
    },
    /// The inclusion proofs that are there are of logs that the policy does not name.
    #[error(
        "policy demands `{required}`, and the proof is of log `{found}`, which it does not name"
    )]
    Origin {
        /// The demand.
        required: Requirement,
        /// The origin of the first proof.
        found: String,
    },
    /// The log did not sign the checkpoint.
    #[error("checkpoint of evidence {item} is not signed by log `{origin}`: {cause}")]
    LogSignature {
        /// 0-based place among the evidence.
        item: usize,
        /// The log.
        origin: String,
        /// Why.
        cause: NoteError,
    },
    /// The inclusion proof does not prove that this receipt is in the checkpointed tree.
    #[error("evidence {item} does not show this receipt in log `{origin}`: {cause}")]
    Inclusion {
        /// 0-based place among the evidence.
        item: usize,
        /// The log.
        origin: String,
        /// Why.
        cause: TreeError,
    },
    /// A cosignature by a cosigner of the policy is refused.
    #[error("cosignature of `{cosigner}` on evidence {item} is refused: {cause}")]
    Cosignature {
        /// 0-based place among the evidence.
        item: usize,
        /// The policy's name for the cosigner.
        cosigner: String,
        /// Why.
        cause: NoteError,
    },
    /// One cosigner stands twice on a checkpoint.
    #[error("cosigner `{cosigner}` stands twice on the checkpoint of evidence {item}")]
    CosignerTwice {
        /// 0-based place among the evidence.
        item: usize,
        /// The policy's name for the cosigner.
        cosigner: String,
    },
    /// The cosigners that vouch do not satisfy the quorum.
    #[error("checkpoint is cosigned by {found}, the quorum is {expected}")]
    Quorum {
        /// The rule.
        expected: String,
        /// The independent cosigners that vouch, or `nobody`.
        found: String,
    },
    /// No cosigner at all vouches.
    #[error("no cosigner of the policy has cosigned the checkpoint of log `{origin}`")]
    NotCosigned {
        /// The log.
        origin: String,
    },
    /// The log saw the receipt before it was made.
    #[error("statement is dated {statement}, and was cosigned in the log at {cosigned} already")]
    CosignedBeforeStatement {
        /// The statement's time.
        statement: UnixTime,
        /// The time that cosigners gave.
        cosigned: UnixTime,
    },
    /// The cosignature's time lies in the future.
    #[error("cosigned at {found}, and it is {now} now")]
    CosignedInFuture {
        /// Now.
        now: UnixTime,
        /// The time that cosigners gave.
        found: UnixTime,
    },
    /// The receipt came to the log too late.
    #[error("logged {} after the statement's time, the policy allows {}", Duration(*.found_ms), Duration(*.limit_ms))]
    LoggingDelay {
        /// Most milliseconds.
        limit_ms: u64,
        /// The milliseconds found.
        found_ms: u64,
    },

    /// The policy names no issuer with this key.
    #[error("statement names key {found}, and the policy has no issuer with that key")]
    Issuer {
        /// The key id in the header.
        found: Digest,
    },
    /// The issuer's key was not valid yet.
    #[error("key of `{issuer}` is accepted from {from} on, the receipt is of {at}")]
    KeyNotYetValid {
        /// The issuer.
        issuer: String,
        /// First accepted moment.
        from: UnixTime,
        /// The moment that was judged.
        at: UnixTime,
    },
    /// The issuer's key was not valid any longer.
    #[error("key of `{issuer}` is accepted until {until}, the receipt is of {at}")]
    KeyExpired {
        /// The issuer.
        issuer: String,
        /// First moment that is not accepted.
        until: UnixTime,
        /// The moment that was judged.
        at: UnixTime,
    },
    /// The issuer's key was revoked when the receipt was logged.
    #[error("key of `{issuer}` is revoked from {from} on, the receipt was logged at {at}")]
    KeyRevoked {
        /// The issuer.
        issuer: String,
        /// Moment of revocation.
        from: UnixTime,
        /// The logged time.
        at: UnixTime,
    },
    /// The issuer's key is revoked, and no log shows that the receipt is older.
    #[error("key of `{issuer}` is revoked from {from} on, and the receipt is not logged")]
    KeyRevokedUnlogged {
        /// The issuer.
        issuer: String,
        /// Moment of revocation.
        from: UnixTime,
    },
    /// The statement's time lies in the future.
    #[error("statement is dated {found}, and it is {now} now")]
    StatementInFuture {
        /// Now.
        now: UnixTime,
        /// The statement's time.
        found: UnixTime,
    },
    /// The receipt is too old.
    #[error("receipt is {} old, the policy allows {}", Duration(*.found_ms), Duration(*.limit_ms))]
    TooOld {
        /// Greatest age in milliseconds.
        limit_ms: u64,
        /// Its age in milliseconds.
        found_ms: u64,
    },
    /// The model is not an accepted one.
    #[error("answer is by model {found}, which the policy does not accept")]
    Model {
        /// The model root.
        found: Digest,
    },
    /// The arithmetic is not an accepted one.
    #[error("answer is in arithmetic `{found}`, which the policy does not accept")]
    Arithmetic {
        /// The arithmetic id.
        found: String,
    },

    /// The nonce is not the client's.
    #[error("statement holds nonce {}, the client sent {}", Hex(.found), Hex(.expected))]
    Nonce {
        /// The client's nonce.
        expected: alloc::vec::Vec<u8>,
        /// The statement's nonce.
        found: alloc::vec::Vec<u8>,
    },
    /// The client sent a nonce and the statement holds none.
    #[error("statement holds no nonce, the client sent {}", Hex(.expected))]
    NonceMissing {
        /// The client's nonce.
        expected: alloc::vec::Vec<u8>,
    },
    /// The request is not the client's.
    #[error("receipt is for a request with SHA-256 {found}, the client's has {expected}")]
    Request {
        /// SHA-256 of the client's request.
        expected: Digest,
        /// SHA-256 of the opened request.
        found: Digest,
    },
    /// The response is not what the client got.
    #[error("receipt is for a response with SHA-256 {found}, the client's has {expected}")]
    Response {
        /// SHA-256 of the client's response.
        expected: Digest,
        /// SHA-256 of the opened response.
        found: Digest,
    },
    /// The client has the value and the receipt does not open it.
    #[error("the client's {field} cannot be compared, the receipt does not open it")]
    NotOpened {
        /// The field.
        field: Field,
    },
    /// The client got a response and the receipt is for a refusal.
    #[error("the client got a response, and the receipt is for a refusal: {code}")]
    ResponseOfRefusal {
        /// The refusal's code.
        code: String,
    },
    /// A stream is not what the client asked for, or not what its receipts say.
    #[error(transparent)]
    Stream(#[from] StreamRejection),
    /// The attribution section does not follow from what it stands on.
    #[error(transparent)]
    Attribution(#[from] AttributionRejection),
    /// It is another receipt.
    #[error("receipt digest is {found}, expected {expected}")]
    ReceiptDigest {
        /// The digest that was asked for.
        expected: Digest,
        /// The receipt's digest.
        found: Digest,
    },
}

/// A part of a receipt that is parsed by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Statement's envelope, evidence and openings together.
    Bundle,
    /// The protected header of the envelope.
    Header,
    /// The statement.
    Statement,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bundle => "receipt",
            Self::Header => "statement's header",
            Self::Statement => "statement",
        })
    }
}

const fn has(found: bool) -> &'static str {
    if found { "has" } else { "lacks" }
}

const fn commits(has_controls: bool) -> &'static str {
    if has_controls { "commits to" } else { "commits to no" }
}

const fn outcome(is_embedding: bool) -> &'static str {
    if is_embedding { "vectors" } else { "output tokens" }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
