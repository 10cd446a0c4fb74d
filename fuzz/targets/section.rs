//! Attribution sections, split policies and manifests: what is accepted has one encoding, and a
//! split loses nothing and adds nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tally_attribution::policy_file;
use tally_core::Digest;
use tally_core::attribution::{Grounds, Section, SplitPolicy, allocate};
use tally_core::cbor::Cbor;
use tally_core::contribution::Contribution;
use tally_core::receipt::SignedStatement;

fuzz_target!(|data: &[u8]| {
    if let Ok(policy) = SplitPolicy::parse(data) {
        assert_eq!(policy.encode(), data);
        // A policy whose texts are TOML's too comes back from its file.
        if let Ok(again) = policy_file::parse(&policy_file::text_of(&policy)) {
            assert_eq!(again, policy);
        }
    }
    if let Ok(contribution) = Contribution::parse(data) {
        assert_eq!(contribution.encode(), data);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        // It may be refused; it must not panic.
        let _ = policy_file::parse(text);
    }
    let Ok(section) = Section::parse(data) else { return };
    assert_eq!(section.encode(), data);
    let Ok(policy) = SplitPolicy::parse(&section.policy) else { return };
    let signed = |bytes: &Vec<u8>| SignedStatement::parse(bytes).ok();
    let Some(signed) = section.contributions.iter().map(signed).collect::<Option<Vec<_>>>() else {
        return;
    };
    let contribution = |signed: &SignedStatement| Contribution::parse(&signed.payload).ok();
    let Some(contributions) = signed.iter().map(contribution).collect::<Option<Vec<_>>>() else {
        return;
    };
    let manifests: Vec<Digest> = signed.iter().map(SignedStatement::digest).collect();
    let grounds = Grounds {
        computation: &section.policy_digest,
        policy_digest: &section.policy_digest,
        policy: &policy,
        manifests: &manifests,
        contributions: &contributions,
        bound: &section.bound,
        context: &section.context,
        spans: &section.spans,
    };
    if let Ok(allocation) = allocate(&grounds, section.amount) {
        let shares = allocation.shares.values().map(|share| u128::from(*share));
        let all = shares.sum::<u128>() + u128::from(allocation.residual);
        assert_eq!(all, u128::from(section.amount));
    }
});
