//! What the caller knows of the exchange and wants compared with the receipt.

use tally_core::Digest;

/// What the caller sent and got, as far as it has it.
///
/// Whatever is given is compared, and if it cannot be compared (because the receipt does not open
/// the field) the receipt is rejected: a caller that hands something over wants an answer. Whatever
/// is left out is listed as not established.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected<'a> {
    /// The nonce that the client sent.
    pub nonce: Option<&'a [u8]>,
    /// The request body exactly as the client sent it.
    pub request: Option<&'a [u8]>,
    /// The output bytes exactly as the client got them.
    pub response: Option<&'a [u8]>,
    /// The receipt digest that something else, such as a log or a ledger, refers to.
    pub receipt_digest: Option<Digest>,
}

impl Expected<'_> {
    /// Nothing known: everything that needs the caller's word is listed as not established.
    pub const NOTHING: Self =
        Self { nonce: None, request: None, response: None, receipt_digest: None };
}
