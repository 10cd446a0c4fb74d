//! Ratings, gold answers, uses, payouts and the journal's events: what is accepted has one encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tally_attribution::ledger::{Event, Payout};
use tally_core::cbor::Cbor;
use tally_core::feedback::{Feedback, Gold, Rating, Use, Word};
use tally_core::receipt::SignedStatement;

fn one_encoding<T: Cbor>(data: &[u8]) {
    if let Ok(value) = T::parse(data) {
        assert_eq!(value.encode(), data);
    }
}

fuzz_target!(|data: &[u8]| {
    one_encoding::<Rating>(data);
    one_encoding::<Gold>(data);
    one_encoding::<Use>(data);
    one_encoding::<Payout>(data);
    one_encoding::<Event>(data);
    let Ok(signed) = SignedStatement::parse(data) else { return };
    // Whatever is opened is what its own envelope says.
    match Feedback::open(&signed) {
        Ok(Feedback::Rating(rating)) => assert_eq!(rating.header().encode(), signed.protected),
        Ok(Feedback::Gold(gold)) => assert_eq!(gold.header().encode(), signed.protected),
        Ok(Feedback::Use(used)) => assert_eq!(used.header().encode(), signed.protected),
        Err(_) => {}
    }
});
