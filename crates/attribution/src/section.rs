//! An attribution section in the making: grounds in, section with its split out.

use tally_core::{
    Digest,
    account::TransferId,
    attribution::{
        AllocationError, Bound, Context, Grounds, Residual, Section, Shard, Span, SplitPolicy,
        Transfer, allocate,
    },
    cbor::Cbor as _,
    contribution::Contribution,
    receipt::SignedStatement,
};

/// What an answer rests on, before its price is divided.
#[derive(Clone, Debug)]
pub struct SectionDraft<'a> {
    /// The split policy.
    pub policy: &'a SplitPolicy,
    /// Signed manifests with what they say: each before all that it names as parents.
    pub contributions: Vec<(SignedStatement, Contribution)>,
    /// What entered the computation, in the order of roles.
    pub bound: Vec<Bound>,
    /// Registered documents in the input.
    pub context: Vec<Context>,
    /// The output's bytes.
    pub output: Vec<u8>,
    /// The indices that it was traced in.
    pub shards: Vec<Shard>,
    /// Whom its bytes belong to.
    pub spans: Vec<Span>,
}

impl SectionDraft<'_> {
    /// Divides the price and closes the section.
    ///
    /// `receipt_id` names the receipt, `computation` is SHA-256 of its encoded computation map, and
    /// the amount is what the policy's tariff yields.
    ///
    /// # Errors
    /// If the lineage has a cycle, a gap or shares above the whole, or a place names nothing.
    pub fn finish(
        self,
        receipt_id: &[u8; 16],
        computation: &Digest,
        amount: u64,
    ) -> Result<Section, AllocationError> {
        let policy = self.policy.encode();
        let policy_digest = SplitPolicy::digest_of(&policy);
        let (signed, contributions): (Vec<_>, Vec<_>) = self.contributions.into_iter().unzip();
        let manifests: Vec<Digest> = signed.iter().map(SignedStatement::digest).collect();
        let allocation = allocate(
            &Grounds {
                computation,
                policy_digest: &policy_digest,
                policy: self.policy,
                manifests: &manifests,
                contributions: &contributions,
                bound: &self.bound,
                context: &self.context,
                spans: &self.spans,
            },
            amount,
        )?;
        let transfer = |(number, ((label, account), amount))| {
            let id = TransferId::derive(receipt_id, number);
            Transfer { id, label, account, amount }
        };
        let transfers: Vec<Transfer> = (0..).zip(allocation.shares).map(transfer).collect();
        let number = u32::try_from(transfers.len()).unwrap_or(u32::MAX);
        let residual = Residual {
            id: TransferId::derive(receipt_id, number),
            size_bytes: residual_bytes(&self.spans),
            amount: allocation.residual,
        };
        Ok(Section {
            policy_digest,
            policy,
            contributions: signed.iter().map(|signed| signed.encode()).collect(),
            bound: self.bound,
            context: self.context,
            output: self.output,
            shards: self.shards,
            spans: self.spans,
            amount,
            transfers,
            residual,
        })
    }
}

/// How many bytes belong to nobody.
fn residual_bytes(spans: &[Span]) -> u32 {
    let starts = [0].into_iter().chain(spans.iter().map(|span| span.end));
    let free = spans.iter().zip(starts).filter(|(span, _)| span.owner.is_none());
    free.map(|(span, start)| span.end.saturating_sub(start)).sum()
}
