//! Verifying a receipt, in the order of `spec/receipt.md`, "Verifying a receipt".
//!
//! First whether it is authentic, then whether the policy accepts it. Each step either adds to what
//! is established, adds a gap with its reason, or ends in a rejection.

use alloc::vec::Vec;

use tally_core::{
    Digest,
    cbor::{Cbor as _, CborError},
    ed25519::{self, Signature},
    receipt::{
        ALGORITHM_ED25519, BUNDLE_BYTES_MAX, Bundle, CONTENT_TYPE, ProtectedHeader,
        SignedStatement, Statement,
    },
};

use crate::{
    expected::Expected,
    gap::Gap,
    policy::{Issuer, Policy},
    rejection::{Part, Rejection},
    time::UnixTime,
    verdict::{Assurance, Established, Receipt, Verified},
};

mod accept;
mod attribution;
mod compare;
mod evidence;
mod open;
mod openings;
mod statement;

pub(crate) use accept::appraise_live;
pub use open::{Opened, open};

/// Verifies a receipt's bytes and appraises them under a policy, at the time `now`.
///
/// A pure function: the same arguments yield the same verdict everywhere. A receipt is rejected if
/// one demand of `spec/receipt.md` or of the policy is not met; what merely could not be
/// established is listed in the [`Verified`].
///
/// # Errors
/// The first demand that is not met, in the order of the specification.
pub fn verify(
    receipt: &[u8],
    policy: &Policy,
    expected: &Expected<'_>,
    now: UnixTime,
) -> Result<Verified<Receipt>, Rejection> {
    let Parsed { bundle, header, statement } = parse(receipt)?;
    let digest = bundle.statement.digest();
    let mut findings = Findings::default();
    let issuer = verify_signature(&bundle.statement, &header, &statement, policy)?;
    findings.assure(Assurance::Signed { issuer: issuer.name.clone(), key_id: issuer.key_id });
    statement::verify(&statement)?;
    let log = evidence::verify(&bundle.evidence, &digest, &statement, policy, &mut findings)?;
    openings::verify(&bundle, &statement, &header.key_id, &mut findings)?;
    let receipt = Receipt { digest, statement, openings: bundle.openings };
    compare::compare(&receipt, expected, &mut findings)?;
    let judged_at = accept::appraise(&receipt.statement, issuer, &log, policy, now, &mut findings)?;
    findings.gaps.extend([Gap::Attested, Gap::Audited, Gap::Replayed, Gap::Proved]);
    Ok(Verified::new(receipt, findings.established, findings.gaps, judged_at))
}

/// What has been found so far.
#[derive(Default)]
struct Findings {
    established: Vec<Established>,
    gaps: Vec<Gap>,
}

impl Findings {
    fn establish(&mut self, established: Established) {
        self.established.push(established);
    }

    fn assure(&mut self, assurance: Assurance) {
        self.establish(Established::Assurance(assurance));
    }

    fn miss(&mut self, gap: Gap) {
        self.gaps.push(gap);
    }
}

/// The parts of a receipt, read and not yet believed.
struct Parsed {
    bundle: Bundle,
    header: ProtectedHeader,
    statement: Statement,
}

fn parse(receipt: &[u8]) -> Result<Parsed, Rejection> {
    let found = u64::try_from(receipt.len()).unwrap_or(u64::MAX);
    if found > BUNDLE_BYTES_MAX {
        return Err(Rejection::Size { limit: BUNDLE_BYTES_MAX, found });
    }
    let form = |part| move |cause: CborError| Rejection::Form { part, cause };
    let bundle = Bundle::parse(receipt).map_err(form(Part::Bundle))?;
    let header = ProtectedHeader::parse(&bundle.statement.protected).map_err(form(Part::Header))?;
    let statement = Statement::parse(&bundle.statement.payload).map_err(form(Part::Statement))?;
    Ok(Parsed { bundle, header, statement })
}

/// Verifies that the header is the profile's and that the key it names signed; says whose key.
fn verify_signature<'p>(
    signed: &SignedStatement,
    header: &ProtectedHeader,
    statement: &Statement,
    policy: &'p Policy,
) -> Result<&'p Issuer, Rejection> {
    let ProtectedHeader { algorithm, content_type, key_id, issuer, subject } = header;
    if *algorithm != ALGORITHM_ED25519 {
        return Err(Rejection::Algorithm { expected: ALGORITHM_ED25519, found: *algorithm });
    }
    if content_type != CONTENT_TYPE {
        let found = content_type.clone();
        return Err(Rejection::ContentType { expected: CONTENT_TYPE, found });
    }
    let demanded = ProtectedHeader::new(*key_id, &statement.id);
    if *issuer != demanded.issuer {
        let found = issuer.clone();
        return Err(Rejection::IssuerName { expected: demanded.issuer, found });
    }
    if *subject != demanded.subject {
        let found = subject.clone();
        return Err(Rejection::Subject { expected: demanded.subject, found });
    }
    let issuer = policy.issuer(key_id).ok_or(Rejection::Issuer { found: *key_id })?;
    let message = SignedStatement::to_be_signed(&signed.protected, &signed.payload);
    let signature = Signature::from_bytes(signed.signature);
    ed25519::verify(&issuer.key, &message, &signature)
        .map_err(|_| Rejection::Signature { issuer: issuer.name.clone(), key_id: *key_id })?;
    Ok(issuer)
}

/// A hash as a digest, to be shown.
const fn shown(bytes: [u8; 32]) -> Digest {
    Digest::from_bytes(bytes)
}
