//! Verifying a stream as it arrives, and comparing it with its receipts when they come.
//!
//! `spec/receipt.md`, Streams. A [`StreamVerifier`] exists for a verified head alone, and knows of
//! no event that the issuer did not sign in its place.

use alloc::{string::String, vec::Vec};

use tally_core::{
    Digest, Hasher,
    cbor::Cbor as _,
    commitment::{Field, OutputChain, Salt},
    computation::{TokenId, tokens_from_bytes},
    ed25519::{self, PublicKey, Signature},
    receipt::{Answer, ProtectedHeader, SignedStatement},
    stream::{StreamHead, StreamTranscript},
};

use crate::{
    policy::Policy,
    rejection::{Rejection, StreamRejection},
    time::UnixTime,
    verdict::{Assurance, Receipt, Verified},
    verify::appraise_live,
};

/// What the client knows of the exchange whose answer is streamed.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedStream<'a> {
    /// The nonce that the client sent. Without one, an old answer to the same request is not told
    /// from a new one.
    pub nonce: Option<&'a [u8]>,
    /// The request body exactly as the client sent it.
    pub request: &'a [u8],
    /// The salt of the request's commitment, which comes with the head.
    pub salt: Salt,
}

/// A stream whose head was verified, and every event so far.
#[derive(Clone)]
pub struct StreamVerifier {
    head: StreamHead,
    issuer: String,
    key_id: Digest,
    key: PublicKey,
    transcript: StreamTranscript,
    /// The tokens of each choice, as a chain under a salt of zeros: only compared, never shown.
    outputs: Vec<OutputChain>,
    response: Hasher,
}

/// How a stream ended whose receipts are those of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// Every choice has an answer, and the answers are what was streamed.
    Answered,
    /// At least one choice was refused in the end.
    Refused {
        /// The first such choice.
        choice: u32,
        /// The refusal's code.
        code: String,
    },
}

/// The salt under which streamed and opened tokens are compared.
const COMPARED: Salt = Salt::from_bytes([0; 32]);

impl StreamVerifier {
    /// Verifies a stream's head: that it is of an issuer of the policy and for the client's request.
    ///
    /// `head` is the encoded COSE_Sign1. The issuer's key, the time, the model and the arithmetic
    /// are appraised now; what the policy demands of logs is the business of the receipts.
    ///
    /// # Errors
    /// The first demand that is not met.
    pub fn start(
        head: &[u8],
        policy: &Policy,
        expected: &ExpectedStream<'_>,
        now: UnixTime,
    ) -> Result<Self, Rejection> {
        let form = |cause| StreamRejection::Form { cause };
        let signed = SignedStatement::parse(head).map_err(form)?;
        let header = ProtectedHeader::parse(&signed.protected).map_err(form)?;
        let stream = StreamHead::parse(&signed.payload).map_err(form)?;
        if header != stream.header(header.key_id) {
            return Err(StreamRejection::Header { subject: header.subject }.into());
        }
        let key_id = header.key_id;
        let issuer = policy.issuer(&key_id).ok_or(Rejection::Issuer { found: key_id })?;
        let message = SignedStatement::to_be_signed(&signed.protected, &signed.payload);
        let signature = Signature::from_bytes(signed.signature);
        ed25519::verify(&issuer.key, &message, &signature)
            .map_err(|_| StreamRejection::Signature { issuer: issuer.name.clone(), key_id })?;
        compare(&stream, expected)?;
        let made = UnixTime::from_ms(stream.time_ms);
        let model = (stream.model_root, stream.arithmetic.as_str());
        appraise_live(made, model, issuer, policy, now)?;
        Ok(Self {
            issuer: issuer.name.clone(),
            key_id,
            key: issuer.key,
            transcript: StreamTranscript::start(head),
            outputs: stream.ids.iter().map(|_| OutputChain::start(&COMPARED)).collect(),
            response: Hasher::plain(),
            head: stream,
        })
    }

    /// What the issuer said of the stream.
    #[must_use]
    pub const fn head(&self) -> &StreamHead {
        &self.head
    }

    /// The policy's name for the issuer.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Verifies the next event; only then may anybody see it.
    ///
    /// `payload` is the event without what speaks of the receipt, `tokens` are those that it adds
    /// to the output of `choice`. An event that is rejected is not part of the stream: whoever
    /// gets one ends the stream there.
    ///
    /// # Errors
    /// If the head names no such choice, or the issuer did not sign this event in this place.
    pub fn event(
        &mut self,
        payload: &[u8],
        choice: u32,
        tokens: &[TokenId],
        signature: &[u8; 64],
    ) -> Result<(), Rejection> {
        let count = self.outputs.len();
        let output = usize::try_from(choice).ok().and_then(|index| self.outputs.get_mut(index));
        let output = output.ok_or(StreamRejection::Choice { found: choice, count })?;
        let transcript = self.transcript.append(payload, choice, tokens);
        let signature = Signature::from_bytes(*signature);
        ed25519::verify(&self.key, &transcript.signed_bytes(), &signature)
            .map_err(|_| StreamRejection::Event { issuer: self.issuer.clone() })?;
        self.transcript = transcript;
        tokens.iter().for_each(|token| output.append(*token));
        self.response.update(payload);
        self.response.update(b"\n");
        Ok(())
    }

    /// Compares the whole stream with its receipts, one for each choice in order.
    ///
    /// A stream that was cut short fails here: its response is not the receipts'.
    ///
    /// # Errors
    /// The first difference between the stream and its receipts, or an answer of which response or
    /// output is not opened.
    pub fn finish(&self, receipts: &[&Verified<Receipt>]) -> Result<StreamEnd, Rejection> {
        let (expected, found) = (self.head.ids.len(), receipts.len());
        if found != expected {
            return Err(StreamRejection::ReceiptCount { expected, found }.into());
        }
        let mut end = StreamEnd::Answered;
        let choices = (0_u32..).zip(self.head.ids.iter().zip(&self.outputs));
        for ((choice, (id, output)), verified) in choices.zip(receipts) {
            self.compare_statement(choice, id, verified)?;
            // Never embeddings: the kinds are equal, and a head's is a chat or a completion.
            let outcome = &verified.get().statement.outcome;
            if let Some(answer) = outcome.answer() {
                self.compare_answer(choice, output, answer, verified.get())?;
            } else if let (StreamEnd::Answered, Some(refusal)) = (&end, outcome.refusal()) {
                end = StreamEnd::Refused { choice, code: refusal.code.clone() };
            }
        }
        Ok(end)
    }

    /// Compares what the receipt states of the exchange with what the head did.
    fn compare_statement(
        &self,
        choice: u32,
        id: &[u8; 16],
        verified: &Verified<Receipt>,
    ) -> Result<(), Rejection> {
        let statement = &verified.get().statement;
        if statement.id != *id {
            let (expected, found) = (*id, statement.id);
            return Err(StreamRejection::Receipt { choice, expected, found }.into());
        }
        let is_by_issuer = verified.assurances().any(|assurance| {
            matches!(assurance, Assurance::Signed { key_id, .. } if *key_id == self.key_id)
        });
        // Each receipt commits under salts of its own, and the head under those of the first.
        let is_first = choice == 0;
        let differences = [
            ("key", !is_by_issuer),
            ("nonce", statement.nonce != self.head.nonce),
            ("kind", statement.kind != self.head.kind),
            ("request commitment", is_first && statement.request != self.head.request),
        ];
        match differences.into_iter().find(|(_, differs)| *differs) {
            Some((what, _)) => Err(StreamRejection::Statement { choice, what }.into()),
            None => Ok(()),
        }
    }

    /// Compares the answer's model, output and response with what was streamed.
    fn compare_answer(
        &self,
        choice: u32,
        output: &OutputChain,
        answer: &Answer,
        receipt: &Receipt,
    ) -> Result<(), Rejection> {
        let claims = &answer.computation;
        if claims.model_root != self.head.model_root {
            return Err(StreamRejection::Statement { choice, what: "model root" }.into());
        }
        if claims.arithmetic != self.head.arithmetic {
            return Err(StreamRejection::Statement { choice, what: "arithmetic" }.into());
        }
        let field = Field::Output;
        let tokens = tokens_from_bytes(opened(receipt, field)?)
            .map_err(|cause| Rejection::OpenedTokens { field, cause })?;
        if OutputChain::of(&COMPARED, &tokens) != *output {
            let (expected, found) = (tokens.len(), output.count());
            return Err(StreamRejection::Output { choice, expected, found }.into());
        }
        let expected = Digest::of_content(opened(receipt, Field::Response)?);
        let found = self.response.clone().finish();
        if found != expected {
            return Err(StreamRejection::Response { choice, expected, found }.into());
        }
        Ok(())
    }
}

/// The opened value of a field, which was verified with the receipt.
fn opened(receipt: &Receipt, field: Field) -> Result<&[u8], Rejection> {
    let opening = receipt.openings.get(&field).ok_or(Rejection::NotOpened { field })?;
    Ok(&opening.value)
}

/// Compares the head with what the client knows.
fn compare(head: &StreamHead, expected: &ExpectedStream<'_>) -> Result<(), Rejection> {
    if let Some(nonce) = expected.nonce
        && head.nonce.as_deref() != Some(nonce)
    {
        let (expected, found) = (nonce.into(), head.nonce.clone().unwrap_or_default());
        return Err(StreamRejection::Nonce { expected, found }.into());
    }
    let computed = expected.salt.commit(expected.request);
    if computed != head.request {
        return Err(StreamRejection::Request { expected: head.request, computed }.into());
    }
    Ok(())
}
