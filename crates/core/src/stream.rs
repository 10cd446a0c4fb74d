//! Streams: what makes the events of an answer verifiable as they arrive.
//!
//! A signed head says to which request the stream belongs and which receipts will follow; every
//! event is signed together with all that came before it (`spec/receipt.md`, Streams).

use alloc::{format, string::String, vec::Vec};

use crate::cbor::{Cbor, CborError, Decoder, Encoder, Key};
use crate::computation::{ARITHMETIC_ID_BYTES_MAX, TokenId, tokens_to_bytes};
use crate::receipt::{Kind, ProtectedHeader, decode_nonce};
use crate::{Digest, tag};

/// The profile of streams that this crate reads and writes (EAT claim 265).
pub const STREAM_PROFILE: &str = "tally:stream:1";
/// Media type of a head's payload.
pub const STREAM_CONTENT_TYPE: &str = "application/tally-stream-head+cbor";
/// Most choices of one stream, each of which has a receipt.
pub const STREAM_CHOICES_MAX: u64 = 128;

const IDS: Key = 7;
const NONCE: Key = 10;
const PROFILE_CLAIM: Key = 265;
const KIND: Key = -70_001;
const TIME_MS: Key = -70_002;
const REQUEST: Key = -70_003;
const ARITHMETIC: Key = -70_012;
const MODEL_ROOT: Key = -70_013;

/// What an issuer says of a stream before its first event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamHead {
    /// The ids of the receipts that will follow, one for each choice, 1 to 128.
    pub ids: Vec<[u8; 16]>,
    /// The client's nonce of 8 to 64 bytes, if it sent one.
    pub nonce: Option<Vec<u8>>,
    /// What was asked for: a chat or a completion.
    pub kind: Kind,
    /// Issuer's clock in milliseconds since 1970-01-01T00:00:00Z.
    pub time_ms: u64,
    /// The commitment to the request that stands in the first receipt.
    pub request: Digest,
    /// Id of the exact arithmetic.
    pub arithmetic: String,
    /// Merkle root over everything the model consists of.
    pub model_root: Digest,
}

impl StreamHead {
    /// The only protected header that this head has under a key.
    #[must_use]
    pub fn header(&self, key_id: Digest) -> ProtectedHeader {
        let first = self.ids.first().into_iter().flatten();
        let hex: String = first.map(|byte| format!("{byte:02x}")).collect();
        ProtectedHeader {
            content_type: STREAM_CONTENT_TYPE.into(),
            subject: format!("tally:stream:{hex}"),
            ..ProtectedHeader::new(key_id, &[0; 16])
        }
    }
}

impl Cbor for StreamHead {
    fn encode_into(&self, encoder: &mut Encoder) {
        encoder.map(if self.nonce.is_some() { 8 } else { 7 });
        encoder.key(IDS).array(self.ids.len());
        for id in &self.ids {
            encoder.bytes(id);
        }
        if let Some(nonce) = &self.nonce {
            encoder.key(NONCE).bytes(nonce);
        }
        encoder.key(PROFILE_CLAIM).text(STREAM_PROFILE);
        encoder.key(KIND).uint(self.kind.code());
        encoder.key(TIME_MS).uint(self.time_ms);
        encoder.key(REQUEST).bytes(self.request.as_bytes());
        encoder.key(ARITHMETIC).text(&self.arithmetic);
        encoder.key(MODEL_ROOT).bytes(self.model_root.as_bytes());
    }

    fn decode_from(decoder: &mut Decoder<'_>) -> Result<Self, CborError> {
        let mut map = decoder.map("stream head")?;
        map.require(decoder, IDS)?;
        let count = decoder.array_nonempty("receipt ids", STREAM_CHOICES_MAX)?;
        let ids = (0..count).map(|_| decoder.array_of("receipt id")).collect::<Result<_, _>>()?;
        let nonce = if map.optional(decoder, NONCE)? { Some(decode_nonce(decoder)?) } else { None };
        map.require(decoder, PROFILE_CLAIM)?;
        if decoder.text("profile", 128)? != STREAM_PROFILE {
            return Err(CborError::Value { what: "stream profile", found: 0 });
        }
        map.require(decoder, KIND)?;
        let kind = match Kind::decode_from(decoder)? {
            kind @ (Kind::Chat | Kind::Completion) => kind,
            Kind::Embedding => return Err(CborError::Value { what: "kind of a stream", found: 3 }),
        };
        map.require(decoder, TIME_MS)?;
        let time_ms = decoder.uint()?;
        map.require(decoder, REQUEST)?;
        let request = decoder.digest("request commitment")?;
        map.require(decoder, ARITHMETIC)?;
        let arithmetic = decoder.text("arithmetic id", ARITHMETIC_ID_BYTES_MAX)?.into();
        map.require(decoder, MODEL_ROOT)?;
        let model_root = decoder.digest("model root")?;
        map.end(decoder)?;
        Ok(Self { ids, nonce, kind, time_ms, request, arithmetic, model_root })
    }
}

/// Everything of a stream so far, as one hash.
///
/// The first link is SHA-256(tag ‖ the head's COSE_Sign1), each further one SHA-256(tag ‖ link
/// before ‖ length of the payload in bytes as u64 ‖ payload ‖ choice as u32 ‖ token ids as a CBOR
/// array).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamTranscript {
    link: Digest,
}

impl StreamTranscript {
    /// The transcript before the first event; `head` is the encoded COSE_Sign1.
    #[must_use]
    pub fn start(head: &[u8]) -> Self {
        Self { link: Digest::of_tagged(tag::STREAM_START, &[head]) }
    }

    /// Appends one event: its payload, whose choice it continues, and the tokens it stands for.
    #[must_use]
    pub fn append(self, payload: &[u8], choice: u32, tokens: &[TokenId]) -> Self {
        let length = u64::try_from(payload.len()).unwrap_or(u64::MAX).to_be_bytes();
        let (choice, tokens) = (choice.to_be_bytes(), tokens_to_bytes(tokens));
        let parts = [self.link.as_bytes(), &length[..], payload, &choice, &tokens];
        Self { link: Digest::of_tagged(tag::STREAM_LINK, &parts) }
    }

    /// The bytes that the newest event's signature is over: tag ‖ newest link.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        [tag::STREAM_EVENT.as_bytes(), self.link.as_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    fn head() -> StreamHead {
        StreamHead {
            ids: vec![[0xa1; 16], [0xa2; 16]],
            nonce: Some(vec![7; 8]),
            kind: Kind::Chat,
            time_ms: 1_790_000_000_000,
            request: Digest::from_bytes([3; 32]),
            arithmetic: "ra-1-draft.2".into(),
            model_root: Digest::from_bytes([4; 32]),
        }
    }

    #[test]
    fn a_head_round_trips_with_and_without_a_nonce() {
        for nonce in [head().nonce, None] {
            let head = StreamHead { nonce, ..head() };
            assert_eq!(StreamHead::parse(&head.encode()), Ok(head));
        }
    }

    #[test]
    fn a_head_names_1_to_128_receipts() {
        for (count, is_legal) in [(0, false), (1, true), (128, true), (129, false)] {
            let head = StreamHead { ids: vec![[1; 16]; count], ..head() };
            assert_eq!(StreamHead::parse(&head.encode()).is_ok(), is_legal, "{count}");
        }
    }

    #[test]
    fn embeddings_are_not_streamed_and_other_profiles_are_not_read() {
        let bytes = StreamHead { kind: Kind::Embedding, ..head() }.encode();
        assert!(matches!(StreamHead::parse(&bytes), Err(CborError::Value { found: 3, .. })));
        let mut bytes = head().encode();
        let start = bytes.windows(14).position(|w| w == STREAM_PROFILE.as_bytes()).unwrap();
        bytes[start + 13] = b'2';
        let expected = CborError::Value { what: "stream profile", found: 0 };
        assert_eq!(StreamHead::parse(&bytes), Err(expected));
    }

    #[test]
    fn the_header_names_the_first_receipt_and_is_no_statements() {
        let header = head().header(Digest::from_bytes([9; 32]));
        assert_eq!(header.subject, "tally:stream:a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1");
        assert_eq!(header.content_type, "application/tally-stream-head+cbor");
        assert_eq!(header.key_id, Digest::from_bytes([9; 32]));
    }

    #[test]
    fn the_transcript_binds_head_payloads_choices_tokens_and_their_borders() {
        let start = StreamTranscript::start(b"head");
        let one = start.append(b"ab", 0, &[1]);
        for other in [
            start,
            StreamTranscript::start(b"Head").append(b"ab", 0, &[1]),
            start.append(b"ac", 0, &[1]),
            start.append(b"a", 0, &[1]),
            start.append(b"ab", 1, &[1]),
            start.append(b"ab", 0, &[2]),
            start.append(b"ab", 0, &[]),
            start.append(b"a", 0, &[]).append(b"b", 0, &[1]),
            one.append(b"", 0, &[]),
        ] {
            assert_ne!(one.signed_bytes(), other.signed_bytes());
        }
        assert!(one.signed_bytes().starts_with(b"tally/stream-event/v1\0"));
        assert_eq!(one.signed_bytes().len(), 22 + 32);
    }

    #[test]
    fn the_links_are_those_of_the_specification() {
        let head = Digest::of_content(b"tally/stream-start/v1\0head");
        assert_eq!(StreamTranscript::start(b"head").link, head);
        let event = [
            &b"tally/stream-link/v1\0"[..],
            head.as_bytes(),
            &[0, 0, 0, 0, 0, 0, 0, 2],
            b"{}",
            &[0, 0, 0, 1],
            &[0x82, 0x07, 0x18, 0x18],
        ]
        .concat();
        let transcript = StreamTranscript::start(b"head").append(b"{}", 1, &[7, 24]);
        assert_eq!(transcript.link, Digest::of_content(&event));
    }
}
