//! Signing a stream's events, so that a client can verify each of them as it arrives.

use tally_core::{
    cbor::Cbor as _,
    commitment::{Field, Salt},
    computation::TokenId,
    ed25519::SigningKey,
    receipt::{SignedStatement, key_id},
    stream::{STREAM_CHOICES_MAX, StreamHead, StreamTranscript},
};

use crate::{
    Admission, IssuerError, Prepared,
    draft::{require_at_most, require_legal},
};

/// Signs the events of one stream, each together with all before it.
pub struct StreamSigner {
    key: SigningKey,
    head: Vec<u8>,
    salt: Salt,
    transcript: StreamTranscript,
}

impl StreamSigner {
    /// Signs a stream's head: for one request, with the admission of each choice in order.
    ///
    /// # Errors
    /// No choice or more than 128, or a request that does not fit the wire format.
    pub(crate) fn new(
        admissions: &[&Admission],
        prepared: &Prepared,
        key: SigningKey,
    ) -> Result<Self, IssuerError> {
        require_at_most("stream", "choices", admissions.len(), STREAM_CHOICES_MAX)?;
        let first = admissions.first().ok_or(IssuerError::NoChoice)?;
        require_legal(first)?;
        let salt = first.secret.salt(Field::Request);
        let head = StreamHead {
            ids: admissions.iter().map(|admission| admission.id).collect(),
            nonce: first.nonce.clone(),
            kind: first.kind,
            time_ms: first.time_ms,
            request: salt.commit(&first.body),
            arithmetic: prepared.arithmetic.clone(),
            model_root: prepared.model_root,
        };
        let header = head.header(key_id(key.public_key().as_bytes()));
        let (protected, payload) = (header.encode(), head.encode());
        let message = SignedStatement::to_be_signed(&protected, &payload);
        let signature = *key.sign(&message).as_bytes();
        let head = SignedStatement { protected, payload, signature }.encode();
        let transcript = StreamTranscript::start(&head);
        Ok(Self { key, head, salt, transcript })
    }

    /// The head's bytes, which the client gets first.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// The salt of the request's commitment, which the client gets with the head.
    #[must_use]
    pub const fn salt(&self) -> &Salt {
        &self.salt
    }

    /// Signs the next event: its payload, the choice that it continues, the tokens it stands for.
    #[must_use = "an event without its signature ends the client's stream"]
    pub fn sign(&mut self, payload: &[u8], choice: u32, tokens: &[TokenId]) -> [u8; 64] {
        self.transcript = self.transcript.append(payload, choice, tokens);
        *self.key.sign(&self.transcript.signed_bytes()).as_bytes()
    }
}

impl core::fmt::Debug for StreamSigner {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("StreamSigner").field("transcript", &self.transcript).finish_non_exhaustive()
    }
}
