//! What whoever holds a rejected receipt can do about it.

use super::Rejection;

impl Rejection {
    /// One sentence of advice, where there is something to advise.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        Some(match self.code().as_bytes() {
            _ if self.is_damaged() => {
                "the file may be damaged or cut short; get it again from whoever gave it to you"
            }
            b"receipt/signature" => {
                "something in the statement was changed after it was signed, or another key \
                 signed it"
            }
            b"receipt/evidence-digest" | b"receipt/opening" | b"receipt/output-chain" => {
                "something was changed after the receipt was made, or belongs to another receipt"
            }
            b"log/leaf-index" | b"log/inclusion-length" | b"log/inclusion-root" => {
                "the proof may belong to another receipt; ask the log for a new one"
            }
            b"log/no-proof" | b"log/quorum" | b"log/not-cosigned" => {
                "the receipt may be newer than its proof; ask the issuer to complete it"
            }
            b"policy/issuer" => {
                "add the issuer's key to the policy only if you know from elsewhere whose it is"
            }
            b"policy/model" => {
                "add the model's root to `models` in the policy only if you know what model it is; \
                 `tally policy accept MODEL` does it for one that you imported"
            }
            b"expected/response" => {
                "it is compared byte for byte, a line feed at the end included; of an HTTP answer it \
                 is the body without the member `tally`"
            }
            b"log/origin" => {
                "add the log to the policy only if you know from elsewhere whose it is"
            }
            b"policy/key-revoked-unlogged" => {
                "whoever has a revoked key can put any date into a statement; only a quorum of \
                 cosigners can show that it is older"
            }
            b"policy/future" | b"log/future" | b"log/before-statement" => {
                "one of the clocks is wrong; `clock_tolerance_s` in the policy is the difference \
                 that is let pass"
            }
            b"stream/event" | b"stream/response" | b"stream/output" => {
                "something between the issuer and you changed the stream or cut it short; ask again"
            }
            b"stream/nonce" | b"stream/request" => {
                "the stream may be an old answer, or one to somebody else; ask again"
            }
            b"expected/not-opened" => {
                "use the bundle with its openings, or leave the comparison out"
            }
            b"policy/unattainable" => {
                "a demand for `logged` needs a `[[log]]` and a `quorum`; a demand for \
                 `self-cosigned` needs a `[[log]]` and a `[[cosigner]]`"
            }
            _ => return None,
        })
    }

    /// Whether the receipt's own bytes could not be read.
    const fn is_damaged(&self) -> bool {
        self.is_unreadable() && !matches!(self, Self::Policy(_) | Self::Stream(_))
    }
}
