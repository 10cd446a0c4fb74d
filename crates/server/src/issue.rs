//! Receipts of a node: drafted as an answer grows, signed, logged and kept before they are told.

use std::sync::Arc;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use futures_util::future::join;
use tally_attribution::{
    attributor::Attributor,
    ledger::{Owed, OwedError},
};
use tally_core::{
    Digest,
    cbor::Cbor as _,
    commitment::ReceiptSecret,
    computation::FinishReason,
    receipt::{
        Bundle, Evidence, EvidenceKind, Kind, Openings, SignedStatement, Statement,
        openings_to_bytes,
    },
};
use tally_engine::Language;
use tally_issuer::{Admission, Behind, Draft, IssuerError, Node, PreparedEmbedding, embed};
use thiserror::Error;
use tokio::task::spawn_blocking;

use crate::{
    api::response::ReceiptObject,
    store::{StatementStore, StoreError},
    world::World,
};

/// Name and version that a statement carries.
pub const SOFTWARE: &str = concat!("tally/", env!("CARGO_PKG_VERSION"));

/// Why there is no receipt.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The issuer or its log refuses.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    /// The statement cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It cannot be said what the receipt owes.
    #[error(transparent)]
    Owed(#[from] OwedError),
    /// The thread that issued it is gone.
    #[error("the thread that issues receipts stopped")]
    Stopped,
}

/// Makes receipts durable.
#[derive(Clone, Debug)]
pub struct Desk {
    node: Arc<Node>,
    store: Arc<StatementStore>,
    world: Arc<dyn World>,
    /// What is known of those behind the answers; without it receipts say nothing of them.
    attributor: Option<Arc<Attributor>>,
}

/// A receipt that may be handed out.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// Its id.
    pub id: [u8; 16],
    /// The bundle with its openings.
    pub bundle: Bundle,
}

impl Desk {
    /// A desk over a node and its store.
    #[must_use]
    pub const fn new(node: Arc<Node>, store: Arc<StatementStore>, world: Arc<dyn World>) -> Self {
        Self { node, store, world, attributor: None }
    }

    /// The same desk, whose receipts say who is behind their answers.
    #[must_use]
    pub fn attributing(self, attributor: Attributor) -> Self {
        Self { attributor: Some(Arc::new(attributor)), ..self }
    }

    /// Ends the receipt of a generated answer, and says who is behind it.
    ///
    /// # Errors
    /// If it does not fit the wire format, or its price cannot be divided.
    pub async fn finish(
        &self,
        draft: Draft,
        finish: FinishReason,
        response: Arc<Vec<u8>>,
        language: Arc<Language>,
    ) -> Result<(Statement, Openings), IssueError> {
        let this = self.clone();
        // To trace a long output takes milliseconds.
        let made = spawn_blocking(move || {
            let output = match &this.attributor {
                Some(_) => language.spell(draft.output()),
                None => vec![],
            };
            this.behind(&output, |behind| draft.finish(finish, &response, behind))
        });
        Ok(made.await.map_err(|_| IssueError::Stopped)??)
    }

    /// Makes the statement about embeddings, and says who is behind them.
    ///
    /// # Errors
    /// If it does not fit the wire format, or its price cannot be divided.
    pub fn embed(
        &self,
        admission: Admission,
        prepared: PreparedEmbedding,
        vectors: &[Vec<i32>],
        response: &[u8],
    ) -> Result<(Statement, Openings), IssueError> {
        let made = self.behind(&[], |behind| embed(admission, prepared, vectors, response, behind));
        Ok(made?)
    }

    fn behind<T>(&self, output: &[u8], make: impl FnOnce(Option<&Behind<'_>>) -> T) -> T {
        let signer = self.node.key_id();
        match self.attributor.as_deref() {
            Some(attributor) => {
                make(Some(&Behind { attributor, signer: &signer, output, context: &[] }))
            }
            None => make(None),
        }
    }

    /// The node.
    #[must_use]
    pub const fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// What a receipt needs of the moment when its request is let in.
    #[must_use]
    pub fn admit(&self, kind: Kind, nonce: Option<Vec<u8>>, body: Vec<u8>) -> Admission {
        let (mut id, mut secret) = ([0; 16], [0; 32]);
        self.world.random(&mut id);
        self.world.random(&mut secret);
        Admission {
            id,
            secret: ReceiptSecret::from_bytes(secret),
            time_ms: self.world.now_ms(),
            nonce,
            kind,
            body,
            software: SOFTWARE.into(),
        }
    }

    /// Issues a receipt: it is in the log and in the store, durably, when this returns.
    ///
    /// # Errors
    /// If the issuer, the log or the store refuses; then nobody may be told of the receipt.
    pub async fn issue(
        &self,
        statement: Statement,
        openings: Openings,
    ) -> Result<Receipt, IssueError> {
        let (id, time_ms) = (statement.id, statement.time_ms);
        let signed = self.node.sign(&statement);
        // Kept with the statement: nobody is told of a receipt that the ledger could lose.
        let owed = Owed::of(signed.digest(), &statement, &openings)?;
        // Log and store are written at the same time: each waits for the disk.
        let keeping = {
            let (store, digest, bytes) =
                (Arc::clone(&self.store), signed.digest(), signed.encode());
            spawn_blocking(move || store.put(id, digest, bytes, owed))
        };
        let entering = {
            let (this, signed) = (self.clone(), signed.clone());
            spawn_blocking(move || this.node.enter(&signed, time_ms, this.world.now_ms() / 1000))
        };
        let (kept, proof) = join(keeping, entering).await;
        kept.map_err(|_| IssueError::Stopped)??;
        let proof = proof.map_err(|_| IssueError::Stopped)??;
        let evidence = vec![Evidence::new(EvidenceKind::Inclusion, proof)];
        Ok(Receipt { id, bundle: Bundle { statement: signed, evidence, openings } })
    }

    /// The receipt of an id again, with its newest inclusion proof and without openings.
    ///
    /// # Errors
    /// If store or log cannot be read.
    pub fn find(&self, id: &[u8; 16]) -> Result<Option<Bundle>, IssueError> {
        let Some(statement) = self.store.get(id)? else { return Ok(None) };
        self.bundle_of(&statement)
    }

    /// The signed statement of a receipt id.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn statement_of(&self, id: &[u8; 16]) -> Result<Option<Vec<u8>>, IssueError> {
        Ok(self.store.get(id)?)
    }

    /// The signed statement with a receipt digest.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn statement(&self, digest: &Digest) -> Result<Option<Vec<u8>>, IssueError> {
        Ok(self.store.get_by_digest(digest)?)
    }

    fn bundle_of(&self, statement: &[u8]) -> Result<Option<Bundle>, IssueError> {
        let Ok(statement) = SignedStatement::parse(statement) else { return Ok(None) };
        let sequencer = self.node.sequencer();
        let index = sequencer.with_log(|log| log.lookup(&statement.digest()));
        let index = index.map_err(IssuerError::from)?;
        let prove = |index| sequencer.prove(index).map(|proof| proof.encode().into_bytes());
        let proof = index.map(prove).transpose().map_err(IssuerError::from)?;
        let evidence = proof.map(|proof| Evidence::new(EvidenceKind::Inclusion, proof));
        let evidence = evidence.into_iter().collect();
        Ok(Some(Bundle { statement, evidence, openings: Openings::new() }))
    }
}

impl Receipt {
    /// The `tally` member that hands it over.
    #[must_use]
    pub fn object(&self) -> ReceiptObject {
        let bare = Bundle { openings: Openings::new(), ..self.bundle.clone() };
        ReceiptObject {
            id: hex::encode(self.id),
            receipt: Base64UrlUnpadded::encode_string(&bare.encode()),
            openings: Base64UrlUnpadded::encode_string(&openings_to_bytes(&self.bundle.openings)),
            receipts: vec![],
        }
    }
}

/// The `tally` member that hands over the receipts of all choices.
#[must_use]
pub fn object_of(receipts: &[Receipt]) -> Option<ReceiptObject> {
    let objects: Vec<ReceiptObject> = receipts.iter().map(Receipt::object).collect();
    let first = objects.first()?.clone();
    Some(match objects.len() {
        1 => first,
        _ => ReceiptObject { receipts: objects, ..first },
    })
}

/// A body with the member `tally` added as its last.
#[must_use]
pub fn with_member(payload: &[u8], member: &impl serde::Serialize) -> Vec<u8> {
    let mut bytes = payload.to_vec();
    // A payload is one JSON object, which ends in a brace and is never empty.
    bytes.pop();
    bytes.extend_from_slice(br#","tally":"#);
    bytes.extend(serde_json::to_vec(member).unwrap_or_default());
    bytes.push(b'}');
    bytes
}
