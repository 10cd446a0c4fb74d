//! This home's feedback: what is kept of it, and where that stands in the log.

use anyhow::{Context as _, Result};
use tally_attribution::feedback::{FeedbackStore, Records};
use tally_core::{
    Digest,
    entry::EntryKind,
    feedback::{Feedback, Gold, Rating, Use},
    receipt::SignedStatement,
};
use tally_issuer::Node;

use crate::{context::now_ms, home::Home};

/// What is entered into the log at a time.
const WAITING_LEN_MAX: usize = 1024;

/// The home's store of feedback.
pub(crate) fn store(home: &Home) -> Result<FeedbackStore> {
    FeedbackStore::open(&home.feedback()).context("cannot open the feedback that this home keeps")
}

/// Enters whatever is kept and not in the log yet.
pub(crate) fn enter_waiting(store: &FeedbackStore, node: &Node) -> Result<()> {
    loop {
        let waiting = store.waiting(WAITING_LEN_MAX)?;
        if waiting.is_empty() {
            return Ok(());
        }
        for digest in waiting {
            enter(store, node, &digest)?;
        }
    }
}

/// Enters something kept into the log, unless it is there; says where it stands.
pub(crate) fn enter(store: &FeedbackStore, node: &Node, digest: &Digest) -> Result<u64> {
    let index = node.enter_once(EntryKind::FEEDBACK, *digest, now_ms()? / 1000)?;
    store.entered(digest)?;
    Ok(index)
}

/// Something that is kept, by its place in the log.
pub(crate) struct Placed<T> {
    pub(crate) log_index: u64,
    pub(crate) digest: Digest,
    pub(crate) of: T,
}

/// All that this home keeps, in the log's order.
pub(crate) struct All {
    pub(crate) ratings: Vec<Placed<Rating>>,
    pub(crate) golds: Vec<Placed<Gold>>,
    pub(crate) uses: Vec<Placed<Use>>,
    /// The same, as payouts are computed from it.
    pub(crate) records: Records,
}

/// Reads all that is kept, after entering what the log does not have.
pub(crate) fn read_all(store: &FeedbackStore, node: &Node) -> Result<All> {
    enter_waiting(store, node)?;
    let operator = *node.public_key().as_bytes();
    let records = Records::new(operator);
    let mut all = All { ratings: vec![], golds: vec![], uses: vec![], records };
    store.each(&mut |digest, signed: SignedStatement| -> Result<()> {
        let log_index = node.sequencer().with_log(|log| log.lookup(&digest))?;
        let log_index = log_index.with_context(|| format!("{digest} is not in the log"))?.0;
        all.records.add(log_index, &signed).with_context(|| format!("feedback {digest}"))?;
        match Feedback::open(&signed)? {
            Feedback::Rating(of) => all.ratings.push(Placed { log_index, digest, of }),
            Feedback::Gold(of) => all.golds.push(Placed { log_index, digest, of }),
            Feedback::Use(of) => all.uses.push(Placed { log_index, digest, of }),
        }
        Ok(())
    })?;
    all.ratings.sort_by_key(|it| it.log_index);
    all.golds.sort_by_key(|it| it.log_index);
    all.uses.sort_by_key(|it| it.log_index);
    Ok(all)
}
