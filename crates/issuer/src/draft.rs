//! A receipt in the making: from an admitted request to a signed, logged bundle.
//!
//! The order is the promise: the answer is complete, then the statement is signed, then the log
//! has it durably under a cosigned checkpoint, and only then does anyone get the receipt.

use tally_core::{
    Digest,
    cbor::Cbor as _,
    commitment::{Field, Opening, OutputChain, ReceiptSecret},
    computation::{
        Computation, Controls, FinishReason, SamplingParameters, TOKENS_MAX, TokenId, derived_seed,
        tokens_to_bytes,
    },
    ed25519::SigningKey,
    entry::{Entry, EntryKind, HourBucket},
    receipt::{
        Answer, Bundle, ComputationClaims, Evidence, EvidenceKind, Kind, OPENING_BYTES_MAX,
        Openings, Outcome, Preparation, ProtectedHeader, Refusal, SeedSource, SignedStatement,
        Statement, key_id,
    },
};

use crate::{Behind, IssuerError, behind::attribute};

const NONCE_BYTES: core::ops::RangeInclusive<usize> = 8..=64;

/// A request that was let in, and the randomness that its receipt needs.
#[derive(Debug)]
pub struct Admission {
    /// Random receipt id.
    pub id: [u8; 16],
    /// Random secret from which the salts come.
    pub secret: ReceiptSecret,
    /// The clock when the request was let in, in milliseconds since 1970.
    pub time_ms: u64,
    /// The client's nonce of 8 to 64 bytes.
    pub nonce: Option<Vec<u8>>,
    /// What was asked for.
    pub kind: Kind,
    /// The request body exactly as received.
    pub body: Vec<u8>,
    /// Name and version of the software that answers.
    pub software: String,
}

/// What is computed for a request: everything that determines the integers but the output.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Id of the exact arithmetic.
    pub arithmetic: String,
    /// Merkle root of the model.
    pub model_root: Digest,
    /// The effective input.
    pub input: Vec<TokenId>,
    /// Sampling parameters and stop conditions.
    pub parameters: SamplingParameters,
    /// Stop strings, biases and grammar; empty where the request has none.
    pub controls: Controls,
    /// The sampler's seed.
    pub seed: [u8; 32],
    /// Where the seed came from.
    pub seed_source: SeedSource,
    /// How the input came from the request.
    pub preparation: Preparation,
}

/// The seed of a request: the client's, else derived from its nonce, else the issuer's choice.
#[must_use]
pub fn choose_seed(
    client: Option<[u8; 32]>,
    nonce: Option<&[u8]>,
    input: &[TokenId],
    issuer: [u8; 32],
) -> ([u8; 32], SeedSource) {
    match (client, nonce) {
        (Some(seed), _) => (seed, SeedSource::Client),
        (None, Some(nonce)) => (derived_seed(nonce, input), SeedSource::Derived),
        (None, None) => (issuer, SeedSource::Issuer),
    }
}

/// A receipt whose output is still growing.
#[derive(Debug)]
pub struct Draft {
    admission: Admission,
    prepared: Prepared,
    output: Vec<TokenId>,
    chain: OutputChain,
}

impl Draft {
    /// Begins a receipt before the first output token.
    ///
    /// # Errors
    /// If the nonce, the body, the input or the controls do not fit the wire format.
    pub fn new(admission: Admission, prepared: Prepared) -> Result<Self, IssuerError> {
        require_legal(&admission)?;
        require_at_most("input", "tokens", prepared.input.len(), TOKENS_MAX)?;
        require_encodable(&prepared.controls)?;
        let chain = OutputChain::start(&admission.secret.salt(Field::Output));
        Ok(Self { admission, prepared, output: Vec::new(), chain })
    }

    /// Appends an output token; the link returned lets the client verify the stream so far.
    pub fn append(&mut self, token: TokenId) -> Digest {
        self.output.push(token);
        self.chain.append(token);
        self.chain.link()
    }

    /// The output so far.
    #[must_use]
    pub fn output(&self) -> &[TokenId] {
        &self.output
    }

    /// What was computed, with its output: what a replay computes again.
    #[must_use]
    pub fn computation(&self, finish: FinishReason) -> Computation {
        Computation {
            arithmetic: self.prepared.arithmetic.clone(),
            model_root: self.prepared.model_root,
            input: self.prepared.input.clone(),
            parameters: self.prepared.parameters.clone(),
            controls: self.prepared.controls.clone(),
            seed: self.prepared.seed,
            output: self.output.clone(),
            finish,
        }
    }

    /// Ends the receipt without an answer: nothing of the output so far is stated.
    ///
    /// # Errors
    /// As [`refuse`].
    pub fn refuse(self, code: &'static str) -> Result<(Statement, Openings), IssuerError> {
        refuse(self.admission, code)
    }

    /// Ends the receipt: the statement, and the openings of all that it commits to.
    ///
    /// Without anything known of those behind the answer, the statement says nothing of them.
    ///
    /// # Errors
    /// If the output or the response does not fit the wire format, or the price cannot be divided.
    pub fn finish(
        self,
        finish: FinishReason,
        response: &[u8],
        behind: Option<&Behind<'_>>,
    ) -> Result<(Statement, Openings), IssuerError> {
        require_at_most("output", "tokens", self.output.len(), TOKENS_MAX)?;
        require_at_most("response", "bytes", response.len(), OPENING_BYTES_MAX)?;
        let Self { mut admission, prepared, output, chain } = self;
        let body = std::mem::take(&mut admission.body);
        let mut openings = Openings::new();
        let mut commit = |field, value: Vec<u8>| {
            let salt = admission.secret.salt(field);
            let commitment = salt.commit(&value);
            openings.insert(field, Opening { salt, value });
            commitment
        };
        let request = commit(Field::Request, body);
        let controls = &prepared.controls;
        let controls = (!controls.is_empty()).then(|| commit(Field::Controls, controls.encode()));
        let computation = ComputationClaims {
            arithmetic: prepared.arithmetic,
            model_root: prepared.model_root,
            input: commit(Field::Input, tokens_to_bytes(&prepared.input)),
            input_count: count(&prepared.input),
            parameters: prepared.parameters,
            seed: commit(Field::Seed, prepared.seed.to_vec()),
            output: chain.link(),
            output_count: chain.count(),
            finish,
            controls,
        };
        let response = commit(Field::Response, response.to_vec());
        let salt = admission.secret.salt(Field::Output);
        openings.insert(Field::Output, Opening { salt, value: tokens_to_bytes(&output) });
        let answer = Answer {
            computation,
            preparation: prepared.preparation,
            seed_source: prepared.seed_source,
            response,
        };
        let secret = admission.secret.clone();
        let mut statement = state(admission, request, Outcome::Answer(answer));
        if let Some(behind) = behind {
            attribute(&mut statement, &mut openings, &secret, behind)?;
        }
        Ok((statement, openings))
    }
}

/// The statement that an admitted request has no answer, and why.
///
/// # Errors
/// If the nonce or the body does not fit the wire format.
pub fn refuse(
    mut admission: Admission,
    code: &'static str,
) -> Result<(Statement, Openings), IssuerError> {
    require_legal(&admission)?;
    let salt = admission.secret.salt(Field::Request);
    let value = std::mem::take(&mut admission.body);
    let request = salt.commit(&value);
    let openings = Openings::from([(Field::Request, Opening { salt, value })]);
    let outcome = Outcome::Refusal(Refusal { code: code.into() });
    Ok((state(admission, request, outcome), openings))
}

/// The statement about a request whose body has been committed to.
pub(crate) fn state(admission: Admission, request: Digest, outcome: Outcome) -> Statement {
    Statement {
        id: admission.id,
        nonce: admission.nonce,
        kind: admission.kind,
        time_ms: admission.time_ms,
        request,
        outcome,
        software: admission.software,
        price: None,
        attribution: None,
        trace_root: None,
        keyset: None,
    }
}

/// Signs a statement.
#[must_use]
pub fn sign(statement: &Statement, key: &SigningKey) -> SignedStatement {
    let header = ProtectedHeader::new(key_id(key.public_key().as_bytes()), &statement.id);
    let (protected, payload) = (header.encode(), statement.encode());
    let message = SignedStatement::to_be_signed(&protected, &payload);
    let signature = *key.sign(&message).as_bytes();
    SignedStatement { protected, payload, signature }
}

/// A receipt that may be handed out.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The receipt digest.
    pub digest: Digest,
    /// Index of its entry in the log.
    pub log_index: u64,
    /// The bundle with inclusion proof and all openings.
    pub bundle: Bundle,
}

/// Signs a statement, logs it durably and returns the whole receipt with its inclusion proof.
///
/// `log` appends the entry and returns its index and a tlog-proof under a cosigned checkpoint;
/// what it returned must survive a crash.
///
/// # Errors
/// If the log cannot take the entry; then no receipt exists.
pub fn issue<E: From<IssuerError>>(
    statement: &Statement,
    openings: Openings,
    key: &SigningKey,
    log: impl FnOnce(Entry) -> Result<(u64, Vec<u8>), E>,
) -> Result<Issued, E> {
    let signed = sign(statement, key);
    let digest = signed.digest();
    let (log_index, proof) = log(entry_of(&signed, statement.time_ms))?;
    let evidence = vec![Evidence::new(EvidenceKind::Inclusion, proof)];
    Ok(Issued { digest, log_index, bundle: Bundle { statement: signed, evidence, openings } })
}

/// The log entry of a statement: its digest and the hour of its time.
pub(crate) fn entry_of(signed: &SignedStatement, time_ms: u64) -> Entry {
    let hour = HourBucket::of_unix_seconds(time_ms / 1000);
    Entry { kind: EntryKind::RECEIPT, hour, digest: signed.digest() }
}

pub(crate) fn require_legal(admission: &Admission) -> Result<(), IssuerError> {
    match &admission.nonce {
        Some(nonce) if !NONCE_BYTES.contains(&nonce.len()) => {
            return Err(IssuerError::Nonce { found: nonce.len() });
        }
        _ => {}
    }
    require_at_most("request body", "bytes", admission.body.len(), OPENING_BYTES_MAX)
}

/// Refuses controls that no verifier could read back.
fn require_encodable(controls: &Controls) -> Result<(), IssuerError> {
    if !controls.is_empty() {
        Controls::parse(&controls.encode()).map_err(IssuerError::Controls)?;
    }
    Ok(())
}

pub(crate) fn require_at_most(
    what: &'static str,
    unit: &'static str,
    found: usize,
    limit: u64,
) -> Result<(), IssuerError> {
    let found = u64::try_from(found).unwrap_or(u64::MAX);
    if found > limit { Err(IssuerError::Limit { what, unit, limit, found }) } else { Ok(()) }
}

fn count(tokens: &[TokenId]) -> u32 {
    u32::try_from(tokens.len()).unwrap_or(u32::MAX)
}
