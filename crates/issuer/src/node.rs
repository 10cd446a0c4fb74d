//! A node: three keys, a log and its own cosigner, which together issue receipts.
//!
//! Every receipt that [`Node::issue`] returns is durable in the log under a checkpoint that the
//! node's own cosigner signed, whatever happens to the process afterwards.

use std::sync::Arc;

use tally_core::{
    Digest,
    checkpoint::SignedCheckpoint,
    cosignature::Timestamp,
    ed25519::{PublicKey, SigningKey},
    entry::{Entry, EntryKind, HourBucket},
    note::{KeyName, VerifierKey},
    receipt::{Openings, SignedStatement, Statement, key_id},
};
use tally_log::{Cosigner, Log, LogError, NamedKey, Sequencer, SequencerLimits, Storage};

use crate::{Admission, Issued, IssuerError, Prepared, StreamSigner, draft};

/// The three keys of a node, one for each purpose.
#[derive(Clone, Debug)]
pub struct NodeKeys {
    /// Signs statements.
    pub receipt: SigningKey,
    /// Signs the log's checkpoints.
    pub log: SigningKey,
    /// Cosigns them.
    pub cosigner: SigningKey,
}

impl NodeKeys {
    /// Log and cosigner keys under the names that this node's log has.
    ///
    /// The names hold the keys' own identifiers, so two nodes never share an origin.
    fn named(&self) -> Result<(NamedKey, NamedKey), IssuerError> {
        let name = |role: &str, key: &SigningKey| -> Result<NamedKey, IssuerError> {
            let id = key_id(key.public_key().as_bytes()).to_string();
            let name = KeyName::parse(&format!("{role}.tally.local/{}", &id[..16]))?;
            Ok(NamedKey::new(name, key.clone()))
        };
        Ok((name("log", &self.log)?, name("cosigner", &self.cosigner)?))
    }

    /// The newest checkpoint of the node's log that its cosigner has signed, if it has signed any.
    ///
    /// # Errors
    /// If the cosigner's folder is held, damaged or of another key.
    pub fn seen(
        &self,
        cosigner: Arc<dyn Storage>,
    ) -> Result<Option<SignedCheckpoint>, IssuerError> {
        let (log, key) = self.named()?;
        match Cosigner::open(cosigner, key) {
            Err(LogError::NoLog { .. }) => Ok(None),
            opened => newest_of(&mut opened?, &log),
        }
    }

    /// What others need to verify the log's checkpoints and the cosigner's cosignatures.
    ///
    /// # Errors
    /// Never for keys made by this crate; a key name that the note format refuses otherwise.
    pub fn verifiers(&self) -> Result<(VerifierKey, VerifierKey), IssuerError> {
        let (log, cosigner) = self.named()?;
        Ok((log.log_verifier(), cosigner.cosigner_verifier()))
    }
}

/// A node, open for the one process that may write its log.
#[derive(Debug)]
pub struct Node {
    key: SigningKey,
    sequencer: Sequencer,
}

impl Node {
    /// Opens log and cosigner, or makes them where there are none.
    ///
    /// # Errors
    /// If another process holds them, they are damaged, or the log was restored from an older
    /// state than the cosigner has signed.
    pub fn open(
        log: Arc<dyn Storage>,
        cosigner: Arc<dyn Storage>,
        keys: &NodeKeys,
    ) -> Result<Self, IssuerError> {
        let (log_key, cosigner_key) = keys.named()?;
        let mut cosigner = match Cosigner::open(Arc::clone(&cosigner), cosigner_key.clone()) {
            Err(LogError::NoLog { .. }) => Cosigner::create(cosigner, cosigner_key)?,
            opened => opened?,
        };
        let seen = newest_of(&mut cosigner, &log_key)?;
        let log = match Log::open(Arc::clone(&log), log_key.clone(), seen.as_slice()) {
            // An empty log beside a cosigner that signed a larger one would be a fork.
            Err(LogError::NoLog { .. }) if seen.is_none() => Log::create(log, log_key)?,
            opened => opened?,
        };
        let sequencer = Sequencer::new(log, Some(cosigner), SequencerLimits::default());
        Ok(Self { key: keys.receipt.clone(), sequencer })
    }

    /// The key under which statements are signed.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.key.public_key()
    }

    /// Signs a statement; nobody may be told of it before it is [entered](Self::enter).
    #[must_use]
    pub fn sign(&self, statement: &Statement) -> SignedStatement {
        draft::sign(statement, &self.key)
    }

    /// Enters a signed statement into the log; what is returned, its inclusion proof, survives a
    /// crash. `time_ms` is the statement's own time, `now_seconds` what the cosignature states.
    ///
    /// # Errors
    /// If the log or the cosigner refuses; then no receipt exists.
    pub fn enter(
        &self,
        signed: &SignedStatement,
        time_ms: u64,
        now_seconds: u64,
    ) -> Result<Vec<u8>, IssuerError> {
        let now = Timestamp::new(now_seconds)?;
        let index = self.sequencer.append_wait(draft::entry_of(signed, time_ms), now)?;
        Ok(self.sequencer.prove(index)?.encode().into_bytes())
    }

    /// Enters a digest into the log, unless it is there; returns its index once that survives a
    /// crash.
    ///
    /// # Errors
    /// If the log or the cosigner refuses; then it is not entered.
    pub fn enter_once(
        &self,
        kind: EntryKind,
        digest: Digest,
        now_seconds: u64,
    ) -> Result<u64, IssuerError> {
        if let Some(index) = self.sequencer.with_log(|log| log.lookup(&digest))? {
            return Ok(index.0);
        }
        let hour = HourBucket::of_unix_seconds(now_seconds);
        let now = Timestamp::new(now_seconds)?;
        Ok(self.sequencer.append_wait(Entry { kind, hour, digest }, now)?.0)
    }

    /// The key id under which statements are signed.
    #[must_use]
    pub fn key_id(&self) -> Digest {
        key_id(self.key.public_key().as_bytes())
    }

    /// Issues a receipt; it is durable in the log, and cosigned, when this returns.
    ///
    /// Many threads may call this at once and share the log's writes. `now_seconds` is the clock
    /// that the cosignature states.
    ///
    /// # Errors
    /// If the log or the cosigner refuses; then no receipt exists.
    pub fn issue(
        &self,
        statement: &Statement,
        openings: Openings,
        now_seconds: u64,
    ) -> Result<Issued, IssuerError> {
        let now = Timestamp::new(now_seconds)?;
        draft::issue(statement, openings, &self.key, |entry| {
            let index = self.sequencer.append_wait(entry, now)?;
            let proof = self.sequencer.prove(index)?;
            Ok((index.0, proof.encode().into_bytes()))
        })
    }

    /// Signs the head of a stream and then its events; see [`StreamSigner`].
    ///
    /// `admissions` holds one for each choice, in order, all of one request; they are what the
    /// choices' receipts are made from afterwards.
    ///
    /// # Errors
    /// No choice or more than 128, or a request that does not fit the wire format.
    pub fn stream(
        &self,
        admissions: &[&Admission],
        prepared: &Prepared,
    ) -> Result<StreamSigner, IssuerError> {
        StreamSigner::new(admissions, prepared, self.key.clone())
    }

    /// Publishes tiles and checkpoint of everything issued.
    ///
    /// # Errors
    /// If the storage refuses.
    pub fn publish(&self, now_seconds: u64) -> Result<(), IssuerError> {
        Ok(self.sequencer.publish(Timestamp::new(now_seconds)?)?)
    }

    /// The log and its cosigner.
    #[must_use]
    pub const fn sequencer(&self) -> &Sequencer {
        &self.sequencer
    }
}

fn newest_of(
    cosigner: &mut Cosigner,
    log: &NamedKey,
) -> Result<Option<SignedCheckpoint>, IssuerError> {
    let verifier = log.log_verifier();
    let origin = verifier.name().into();
    cosigner.trust(verifier)?;
    Ok(cosigner.newest(&origin)?)
}
