//! `tally feedback`: ratings bound to receipts, gold answers, and what was used.

use std::{collections::BTreeSet, fs::File, io, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde_json::{Value, json};
use tally_attribution::{did::to_did, feedback::FeedbackStore};
use tally_core::{
    Digest,
    account::Account,
    cbor::Cbor as _,
    commitment::Salt,
    entry::EntryKind,
    feedback::{Feedback, Gold, Rating, USED_RATINGS_MAX, Use, Word as _},
    receipt::{Openings, SignedStatement, openings_to_bytes},
};
use tally_issuer::Node;
use tally_server::{
    api::feedback::FeedbackAnswer,
    client::{FetchLimits, post},
};
use tally_verifier::open;

use super::{Verdict, write_new};
use crate::{
    args,
    context::{Context, now_ms},
    feedback::{self, All},
    home::{Home, random},
    node,
    output::quoted,
    receipts,
};

const WAIT_MAX: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Fewest digits that name a rating.
const DIGITS_MIN: usize = 4;

pub(crate) fn run(args: &args::Feedback, context: &Context) -> Result<Verdict> {
    match args {
        args::Feedback::Give(args) => give(args, context)?,
        args::Feedback::List => list(context)?,
        args::Feedback::Gold(args) => gold(args, context)?,
        args::Feedback::Use(args) => say_used(args, context)?,
    }
    Ok(Verdict::Satisfied)
}

/// A home's log and feedback, open for writing.
struct Desk {
    home: Home,
    node: Node,
    store: FeedbackStore,
}

impl Desk {
    fn open(context: &Context) -> Result<Self> {
        let home = context.existing_home()?;
        let node = node::open(&home)?;
        let store = feedback::store(&home)?;
        feedback::enter_waiting(&store, &node)?;
        Ok(Self { home, node, store })
    }

    /// Refuses what is no receipt of this home's log.
    fn require_receipt(&self, receipt: &Digest) -> Result<()> {
        let log = self.node.sequencer();
        let index = log.with_log(|log| log.lookup(receipt))?;
        let entry = index.map(|index| log.with_log(|log| log.read(index))).transpose()?;
        ensure!(
            entry.is_some_and(|entry| entry.kind == EntryKind::RECEIPT),
            "receipt {receipt} is not in this home's log\n\nhint: `--to URL` sends a rating to the node that issued it"
        );
        Ok(())
    }

    /// Keeps what the operator signed, and enters it into the log.
    fn put(&self, signed: &SignedStatement, what: &Feedback) -> Result<u64> {
        self.store.keep(signed, what)?;
        self.publish(&signed.digest())
    }

    fn publish(&self, digest: &Digest) -> Result<u64> {
        let index = feedback::enter(&self.store, &self.node, digest)?;
        self.node.publish(now_ms()? / 1000)?;
        Ok(index)
    }
}

fn give(args: &args::Give, context: &Context) -> Result<()> {
    let bytes = receipts::read(&receipts::find(&args.receipt, context)?)?;
    let opened = open(&bytes).context("the receipt's openings cannot be used")?;
    let receipt = opened.receipt();
    let home = context.open_home()?;
    let key = home.load_or_create_contributor()?;
    let rater = *key.public_key().as_bytes();
    let rating = Rating {
        rater,
        receipt: receipt.digest,
        score: args.score,
        time_ms: now_ms()?,
        payee: args.payee.filter(|payee| *payee != Account::Contributor(rater)),
        comment: args.comment.clone(),
    };
    // What nobody could read back is refused before it is signed for good.
    Rating::parse(&rating.encode()).context("this cannot stand in a rating")?;
    let signed = rating.signed(|message| *key.sign(message).as_bytes());
    let answer = match (&args.to, &args.out) {
        (Some(url), _) => {
            let body = body_of(&signed, &receipt.openings)?;
            Some(send(url, args.api_key.as_deref(), body, context)?)
        }
        (None, Some(path)) => {
            write_new(path, &body_of(&signed, &receipt.openings)?)?;
            None
        }
        (None, None) => Some(keep(&signed, rating, context)?),
    };
    tell_given(args, &receipt.digest, &signed, answer.as_ref(), context)
}

/// The body that a node takes: the rating, and the smallest opening, which shows who holds the receipt.
fn body_of(signed: &SignedStatement, openings: &Openings) -> Result<Vec<u8>> {
    let smallest = openings.iter().min_by_key(|(_, opening)| opening.value.len());
    let (field, opening) = smallest.context(
        "the receipt opens nothing, so it does not show that you hold it\n\nhint: take the receipt with its openings, as it was handed to you",
    )?;
    let openings = openings_to_bytes(&Openings::from([(*field, opening.clone())]));
    let body = json!({
        "rating": Base64UrlUnpadded::encode_string(&signed.encode()),
        "openings": Base64UrlUnpadded::encode_string(&openings),
    });
    Ok(body.to_string().into_bytes())
}

fn send(url: &str, key: Option<&str>, body: Vec<u8>, context: &Context) -> Result<FeedbackAnswer> {
    let limits = FetchLimits { bytes_max: ANSWER_BYTES_MAX, wait_max: WAIT_MAX };
    let runtime = super::serve::runtime(context)?;
    let answer = runtime.block_on(post(url, "/v1/feedback", key, body, limits))?;
    serde_json::from_slice(&answer).with_context(|| format!("{url} does not answer as a node"))
}

/// Keeps a rating in this home, whose node issued the receipt.
fn keep(signed: &SignedStatement, rating: Rating, context: &Context) -> Result<FeedbackAnswer> {
    let desk = Desk::open(context)?;
    desk.require_receipt(&rating.receipt)?;
    let (digest, rating, is_new) = desk.store.keep_rating(signed, rating)?;
    Ok(FeedbackAnswer {
        rating: digest.to_string(),
        rater: to_did(&rating.rater),
        receipt: rating.receipt.to_string(),
        score: rating.score,
        log_index: desk.publish(&digest)?,
        is_new,
    })
}

fn tell_given(
    args: &args::Give,
    receipt: &Digest,
    signed: &SignedStatement,
    answer: Option<&FeedbackAnswer>,
    context: &Context,
) -> Result<()> {
    let output = context.output;
    let Some(answer) = answer else {
        let digest = signed.digest();
        output.json(&json!({
            "rating": digest.to_string(),
            "receipt": receipt.to_string(),
            "score": args.score,
            "file": args.out,
        }))?;
        output.line(&format!("rating   {digest}"))?;
        output.line(&format!("  of receipt {receipt}: {}", args.score))?;
        output
            .note("signed, and kept by no node yet: `curl --json @FILE NODE/v1/feedback` sends it");
        return Ok(());
    };
    output.json(&serde_json::to_value(answer)?)?;
    output.line(&format!("rating   {}", quoted(&answer.rating)))?;
    output.line(&format!("  of receipt {receipt}: {}", answer.score))?;
    output.line(&format!("  rater      {}", quoted(&answer.rater)))?;
    output.line(&format!("  entry {} of the node's log", answer.log_index))?;
    if !answer.is_new {
        output.note("you have said the same before: that rating stands");
    }
    Ok(())
}

fn gold(args: &args::GoldAnswer, context: &Context) -> Result<()> {
    let desk = Desk::open(context)?;
    let receipt = receipt_of(&args.receipt, context)?;
    desk.require_receipt(&receipt)?;
    ensure!(args.from <= args.to, "no score is at least {} and at most {}", args.from, args.to);
    let all = feedback::read_all(&desk.store, &desk.node)?;
    let early = all.ratings.iter().filter(|it| it.of.receipt == receipt).count();
    let key = desk.home.load_or_create_keys()?.receipt;
    let mut salt = [0; 32];
    random(&mut salt)?;
    let gold = Gold {
        signer: *key.public_key().as_bytes(),
        receipt,
        from: args.from,
        to: args.to,
        time_ms: now_ms()?,
        salt: Salt::from_bytes(salt),
    };
    let signed = gold.signed(|message| *key.sign(message).as_bytes());
    let log_index = desk.put(&signed, &Feedback::Gold(gold))?;
    let digest = signed.digest();
    context.output.json(&json!({
        "gold": digest.to_string(),
        "receipt": receipt.to_string(),
        "from": args.from,
        "to": args.to,
        "log_index": log_index,
        "rated_before": early,
    }))?;
    context.output.line(&format!("gold     {digest}"))?;
    context
        .output
        .line(&format!("  of receipt {receipt}: {} to {} are right", args.from, args.to))?;
    context.output.line(&format!("  entry {log_index} of this node's log"))?;
    if early > 0 {
        context.output.note(&format!(
            "note: {early} ratings of this receipt are in the log already and do not answer it"
        ));
    }
    Ok(())
}

/// A receipt by a whole digest, its file, or the beginning of a kept one's digest or id.
fn receipt_of(name: &Path, context: &Context) -> Result<Digest> {
    if let Some(whole) =
        name.to_str().and_then(|name| Digest::parse_hex(&name.to_ascii_lowercase()))
    {
        return Ok(whole);
    }
    let bytes = receipts::read(&receipts::find(name, context)?)?;
    Ok(open(&bytes)?.receipt().digest)
}

fn say_used(args: &args::UseRatings, context: &Context) -> Result<()> {
    let desk = Desk::open(context)?;
    let all = feedback::read_all(&desk.store, &desk.node)?;
    let batch = batch_of(args)?;
    let ratings: Vec<Digest> = named(args, &all)?.into_iter().collect();
    let key = desk.home.load_or_create_keys()?.receipt;
    let mut told = vec![];
    for part in ratings.chunks(usize::try_from(USED_RATINGS_MAX)?) {
        let used = Use {
            signer: *key.public_key().as_bytes(),
            batch,
            ratings: part.to_vec(),
            time_ms: now_ms()?,
        };
        let signed = used.signed(|message| *key.sign(message).as_bytes());
        let log_index = desk.put(&signed, &Feedback::Use(used))?;
        told.push((signed.digest(), log_index, part.len()));
    }
    let views = told.iter().map(|(digest, log_index, count)| {
        json!({ "use": digest.to_string(), "log_index": log_index, "ratings": count })
    });
    context.output.json(&json!({
        "batch": batch.to_string(),
        "ratings": ratings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "uses": views.collect::<Vec<_>>(),
    }))?;
    context.output.line(&format!("{} ratings were used in {batch}", ratings.len()))?;
    for (digest, log_index, count) in told {
        context
            .output
            .line(&format!("  {digest}  {count} of them, entry {log_index} of the log"))?;
    }
    Ok(())
}

/// What they were used in.
fn batch_of(args: &args::UseRatings) -> Result<Digest> {
    let Some(path) = &args.batch else {
        return args.digest.context("either `--batch` or `--digest` is expected");
    };
    let failed = || format!("cannot read {}", path.display());
    let mut hasher = tally_core::Hasher::plain();
    let mut file = File::open(path).with_context(failed)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match io::Read::read(&mut file, &mut buffer).with_context(failed)? {
            0 => return Ok(hasher.finish()),
            len => hasher.update(buffer.get(..len).unwrap_or_default()),
        }
    }
}

/// The ratings that are named, none of which any use has named before.
fn named(args: &args::UseRatings, all: &All) -> Result<BTreeSet<Digest>> {
    let before: BTreeSet<Digest> =
        all.uses.iter().flat_map(|it| it.of.ratings.iter().copied()).collect();
    if args.all {
        let unused = all.ratings.iter().map(|it| it.digest).filter(|it| !before.contains(it));
        let unused: BTreeSet<Digest> = unused.collect();
        ensure!(!unused.is_empty(), "every rating that is kept here was used before");
        return Ok(unused);
    }
    let mut found = BTreeSet::new();
    for digits in &args.ratings {
        let digest = rating_of(digits, all)?;
        ensure!(!before.contains(&digest), "rating {digest} was used before: it earns once");
        ensure!(found.insert(digest), "rating {digest} is named twice");
    }
    Ok(found)
}

/// The one rating whose digest begins so.
fn rating_of(digits: &str, all: &All) -> Result<Digest> {
    let digits = digits.to_ascii_lowercase();
    ensure!(
        digits.len() >= DIGITS_MIN,
        "`{digits}` is not the beginning of a rating's digest: at least {DIGITS_MIN} hexadecimal digits"
    );
    let is_it = |digest: &Digest| digest.to_string().starts_with(&digits);
    let found: Vec<Digest> = all.ratings.iter().map(|it| it.digest).filter(is_it).collect();
    match found.as_slice() {
        [one] => Ok(*one),
        [] => bail!(
            "no rating begins with `{}`\n\nhint: `tally feedback list` shows those there are",
            quoted(&digits)
        ),
        several => bail!("{} ratings begin with `{digits}`", several.len()),
    }
}

fn list(context: &Context) -> Result<()> {
    let desk = Desk::open(context)?;
    let all = feedback::read_all(&desk.store, &desk.node)?;
    let used: BTreeSet<&Digest> = all.uses.iter().flat_map(|it| &it.of.ratings).collect();
    let rating = |it: &feedback::Placed<Rating>| -> Value {
        json!({
            "rating": it.digest.to_string(),
            "receipt": it.of.receipt.to_string(),
            "rater": to_did(&it.of.rater),
            "score": it.of.score,
            "comment": it.of.comment,
            "time_ms": it.of.time_ms,
            "log_index": it.log_index,
            "is_used": used.contains(&it.digest),
        })
    };
    let gold = |it: &feedback::Placed<Gold>| -> Value {
        let (from, to) = (it.of.from, it.of.to);
        json!({ "gold": it.digest.to_string(), "receipt": it.of.receipt.to_string(), "from": from, "to": to, "log_index": it.log_index })
    };
    let use_view = |it: &feedback::Placed<Use>| -> Value {
        json!({ "use": it.digest.to_string(), "batch": it.of.batch.to_string(), "ratings": it.of.ratings.len(), "log_index": it.log_index })
    };
    let output = context.output;
    output.json(&json!({
        "ratings": all.ratings.iter().map(rating).collect::<Vec<_>>(),
        "golds": all.golds.iter().map(gold).collect::<Vec<_>>(),
        "uses": all.uses.iter().map(use_view).collect::<Vec<_>>(),
    }))?;
    for it in &all.ratings {
        let state = if used.contains(&it.digest) { "used" } else { "unused" };
        let digest = it.digest.to_string();
        output.line(&format!(
            "{}  {:>3}  {state:<6}  receipt {}  {}",
            &digest[..16],
            it.of.score,
            &it.of.receipt.to_string()[..16],
            quoted(it.of.comment.as_deref().unwrap_or_default())
        ))?;
    }
    output.line(&format!(
        "{} ratings, {} gold answers, {} uses",
        all.ratings.len(),
        all.golds.len(),
        all.uses.len()
    ))
}
