//! The stable code of every rejection, and which of them mean that nothing could be read.

use tally_core::{cbor::CborError, tree::TreeError};

use super::{AttributionRejection, Rejection, StreamRejection};
use crate::policy::PolicyError;

const OWN_CODES: [&str; 72] = [
    "receipt/truncated",
    "receipt/type",
    "receipt/not-shortest",
    "receipt/form",
    "receipt/key-order",
    "receipt/duplicate-key",
    "receipt/unknown-claim",
    "receipt/missing-claim",
    "receipt/limit",
    "receipt/length",
    "receipt/utf8",
    "receipt/trailing-bytes",
    "receipt/tag",
    "receipt/unknown-value",
    "receipt/algorithm",
    "receipt/content-type",
    "receipt/issuer-name",
    "receipt/subject",
    "receipt/signature",
    "receipt/template",
    "receipt/stop-order",
    "receipt/output-above-max",
    "receipt/stop-without-token",
    "receipt/stop-string-without-controls",
    "receipt/outcome-kind",
    "receipt/seed-without-nonce",
    "receipt/evidence-digest",
    "receipt/evidence-twice",
    "receipt/opening-without-claim",
    "receipt/opening",
    "receipt/output-chain",
    "receipt/opened-tokens",
    "receipt/opened-vectors",
    "receipt/vector-count",
    "receipt/opened-controls",
    "receipt/no-stop-string",
    "receipt/seed-length",
    "receipt/input-count",
    "receipt/output-count",
    "receipt/stop-not-last",
    "receipt/stop-passed",
    "receipt/derived-seed",
    "log/proof-form",
    "log/no-proof",
    "log/origin",
    "log/signature",
    "log/leaf-index",
    "log/inclusion-length",
    "log/inclusion-root",
    "log/cosignature",
    "log/cosigner-twice",
    "log/quorum",
    "log/not-cosigned",
    "log/before-statement",
    "log/future",
    "log/delay",
    "policy/issuer",
    "policy/key-not-yet-valid",
    "policy/key-expired",
    "policy/key-revoked",
    "policy/key-revoked-unlogged",
    "policy/future",
    "policy/age",
    "policy/model",
    "policy/arithmetic",
    "expected/nonce",
    "expected/nonce-missing",
    "expected/request",
    "expected/response",
    "expected/not-opened",
    "expected/response-of-refusal",
    "expected/receipt-digest",
];

const CODE_COUNT: usize = OWN_CODES.len()
    + StreamRejection::CODES.len()
    + AttributionRejection::CODES.len()
    + PolicyError::CODES.len();

const CODES: [&str; CODE_COUNT] = {
    let mut codes = [""; CODE_COUNT];
    let (own, rest) = codes.split_at_mut(OWN_CODES.len());
    let (stream, rest) = rest.split_at_mut(StreamRejection::CODES.len());
    let (attribution, policy) = rest.split_at_mut(AttributionRejection::CODES.len());
    own.copy_from_slice(&OWN_CODES);
    stream.copy_from_slice(StreamRejection::CODES);
    attribution.copy_from_slice(AttributionRejection::CODES);
    policy.copy_from_slice(PolicyError::CODES);
    codes
};

impl Rejection {
    /// Every code that [`code`](Self::code) returns, those of a policy's faults included.
    pub const CODES: &[&str] = &CODES;

    /// The rejection's stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Policy(cause) => cause.code(),
            Self::Size { .. } => "receipt/limit",
            Self::Stream(cause) => cause.code(),
            Self::Attribution(cause) => cause.code(),
            Self::Form { cause, .. } => form(cause),
            Self::Algorithm { .. } => "receipt/algorithm",
            Self::ContentType { .. } => "receipt/content-type",
            Self::IssuerName { .. } => "receipt/issuer-name",
            Self::Subject { .. } => "receipt/subject",
            Self::Signature { .. } => "receipt/signature",
            Self::Template { .. } => "receipt/template",
            Self::StopOrder { .. } => "receipt/stop-order",
            Self::OutputAboveMax { .. } => "receipt/output-above-max",
            Self::StopWithoutToken { .. } => "receipt/stop-without-token",
            Self::SeedWithoutNonce => "receipt/seed-without-nonce",
            Self::EvidenceDigest { .. } => "receipt/evidence-digest",
            Self::EvidenceTwice { .. } => "receipt/evidence-twice",
            Self::OpeningWithoutClaim { .. } => "receipt/opening-without-claim",
            Self::Opening { .. } => "receipt/opening",
            Self::OutputChain { .. } => "receipt/output-chain",
            Self::OpenedTokens { .. } => "receipt/opened-tokens",
            Self::StopStringWithoutControls { .. } => "receipt/stop-string-without-controls",
            Self::OutcomeKind { .. } => "receipt/outcome-kind",
            Self::OpenedVectors { .. } => "receipt/opened-vectors",
            Self::VectorCount { .. } => "receipt/vector-count",
            Self::OpenedControls { .. } => "receipt/opened-controls",
            Self::NoStopString => "receipt/no-stop-string",
            Self::SeedLength { .. } => "receipt/seed-length",
            Self::InputCount { .. } => "receipt/input-count",
            Self::OutputCount { .. } => "receipt/output-count",
            Self::StopNotLast { .. } => "receipt/stop-not-last",
            Self::StopPassed { .. } => "receipt/stop-passed",
            Self::DerivedSeed { .. } => "receipt/derived-seed",
            Self::ProofForm { .. } => "log/proof-form",
            Self::NoProof { .. } => "log/no-proof",
            Self::Origin { .. } => "log/origin",
            Self::LogSignature { .. } => "log/signature",
            Self::Inclusion { cause, .. } => inclusion(cause),
            Self::Cosignature { .. } => "log/cosignature",
            Self::CosignerTwice { .. } => "log/cosigner-twice",
            Self::Quorum { .. } => "log/quorum",
            Self::NotCosigned { .. } => "log/not-cosigned",
            Self::CosignedBeforeStatement { .. } => "log/before-statement",
            Self::CosignedInFuture { .. } => "log/future",
            Self::LoggingDelay { .. } => "log/delay",
            Self::Issuer { .. } => "policy/issuer",
            Self::KeyNotYetValid { .. } => "policy/key-not-yet-valid",
            Self::KeyExpired { .. } => "policy/key-expired",
            Self::KeyRevoked { .. } => "policy/key-revoked",
            Self::KeyRevokedUnlogged { .. } => "policy/key-revoked-unlogged",
            Self::StatementInFuture { .. } => "policy/future",
            Self::TooOld { .. } => "policy/age",
            Self::Model { .. } => "policy/model",
            Self::Arithmetic { .. } => "policy/arithmetic",
            Self::Nonce { .. } => "expected/nonce",
            Self::NonceMissing { .. } => "expected/nonce-missing",
            Self::Request { .. } => "expected/request",
            Self::Response { .. } => "expected/response",
            Self::NotOpened { .. } => "expected/not-opened",
            Self::ResponseOfRefusal { .. } => "expected/response-of-refusal",
            Self::ReceiptDigest { .. } => "expected/receipt-digest",
        }
    }

    /// Whether the input could not be read at all, as opposed to being read and refused.
    #[must_use]
    pub const fn is_unreadable(&self) -> bool {
        matches!(
            self,
            Self::Policy(_)
                | Self::Size { .. }
                | Self::Form { .. }
                | Self::ProofForm { .. }
                | Self::Stream(StreamRejection::Form { .. })
        )
    }
}

const fn form(cause: &CborError) -> &'static str {
    match cause {
        CborError::Truncated { .. } => "receipt/truncated",
        CborError::Type { .. } => "receipt/type",
        CborError::NotShortest { .. } => "receipt/not-shortest",
        CborError::KeyOrder { .. } => "receipt/key-order",
        CborError::DuplicateKey { .. } => "receipt/duplicate-key",
        CborError::UnknownKey { .. } => "receipt/unknown-claim",
        CborError::MissingKey { .. } => "receipt/missing-claim",
        CborError::Limit { .. } | CborError::Below { .. } => "receipt/limit",
        CborError::Length { .. } => "receipt/length",
        CborError::Utf8 { .. } => "receipt/utf8",
        CborError::Trailing { .. } => "receipt/trailing-bytes",
        CborError::Value { what, .. } if matches!(what.as_bytes(), b"tag") => "receipt/tag",
        CborError::Value { .. } => "receipt/unknown-value",
        CborError::Form { .. } | _ => "receipt/form",
    }
}

const fn inclusion(cause: &TreeError) -> &'static str {
    match cause {
        TreeError::LeafOutOfTree { .. } => "log/leaf-index",
        TreeError::ProofLength { .. } => "log/inclusion-length",
        TreeError::InclusionRoot { .. } | _ => "log/inclusion-root",
    }
}
