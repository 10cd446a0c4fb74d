//! Arguments of `tally ledger`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tally_core::{account::Account, ed25519::PublicKey, note::VerifierKey};

use super::{contribute::account, milliseconds};

#[derive(Debug, Subcommand)]
pub(crate) enum Ledger {
    /// Show what was earned, is pending and was paid
    #[command(
        after_help = "Example:\n  tally ledger balance\n  tally ledger balance --of commons\n  tally ledger balance --of did:key:z6Mk… --json\n\nAmounts are in billionths of the asset; in JSON they are strings."
    )]
    Balance(Balance),
    /// Take in what receipts owe, and post what can no longer be disputed
    #[command(
        after_help = "Example:\n  tally ledger settle\n\nReceipts are posted in the log's order, up to the first whose challenge window is still open.\nA running `tally serve` holds the log: stop it first."
    )]
    Settle(Settle),
    /// Close epochs, and show those that are closed
    #[command(
        subcommand,
        after_help = "Example:\n  tally ledger epoch close\n  tally ledger epoch list"
    )]
    Epoch(EpochCommand),
    /// Write the signed statement of what one account has earned, for its owner
    #[command(
        after_help = "Example:\n  tally ledger statement --of did:key:z6Mk… --out august.earnings\n\nIts owner verifies it with `tally ledger verify`, offline, with your receipt key (`tally key`)."
    )]
    Statement(Statement),
    /// Verify a statement of earnings or an epoch's record, offline and without a home
    #[command(
        after_help = "Example:\n  tally ledger verify august.earnings --key 3b6a…\n  tally ledger verify august.earnings --key 3b6a… --record epoch-3.epoch --proof epoch-3.tlog-proof --log 'tally.local/log+…'\n\nExit status: 0 it holds, 1 it does not, 2 it cannot be read."
    )]
    Verify(Box<VerifyLedger>),
    /// Pay the pool of feedback out to raters whose ratings were used
    #[command(
        after_help = "Example:\n  tally ledger feedback\n  tally ledger feedback --end 12000\n\nDivides what the pool holds by used ratings of distinct receipts times right gold answers, caps what one account gets, and leaves\nthe rest in the pool. It covers the log from where the last payout ended; the next epoch states what raters have earned by it."
    )]
    Feedback(PayFeedback),
    /// Book that an account was paid what an epoch says, less what it was paid before
    #[command(
        after_help = "Example:\n  tally ledger claim --of did:key:z6Mk… --epoch 3\n\nNo money moves here: this books that it did. A second claim of the same epoch changes nothing."
    )]
    Claim(Claim),
    /// Take a disproved receipt back
    #[command(
        after_help = "Example:\n  tally ledger void 3fa19c --reason 'replay differs: ticket 12'\n\nWhile it is pending its transfers are voided; once it is posted, opposite ones correct it. The receipt stays in the book,\nwhich keeps the SHA-256 of the reason; the words are kept beside it, to be opened to an auditor."
    )]
    Void(Void),
    /// Compute an epoch again from opened receipts, and compare
    #[command(
        after_help = "Example:\n  tally ledger audit --epoch 3 --receipts ./opened\n\nReads the log from its first entry on: earnings count from the first receipt.\n\nExit status: 0 all was opened and is the same, 1 something was not opened, is missing or differs, 2 it could not be looked at."
    )]
    Audit(Audit),
}

#[derive(Debug, Args)]
pub(crate) struct Balance {
    /// Of one account alone: a `did:key`, `commons` or `feedback`
    #[arg(long, value_name = "WHO", value_parser = account)]
    pub(crate) of: Option<Account>,
}

#[derive(Debug, Args)]
pub(crate) struct Settle {
    /// Let this be now, in milliseconds since 1970 [default: the clock]
    #[arg(long, value_name = "MS", value_parser = milliseconds)]
    pub(crate) now: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct PayFeedback {
    /// The log index after the last that the payout covers [default: the log's present end]
    #[arg(long, value_name = "INDEX")]
    pub(crate) end: Option<u64>,
    /// Let this be now, in milliseconds since 1970 [default: the clock]
    #[arg(long, value_name = "MS", value_parser = milliseconds)]
    pub(crate) now: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EpochCommand {
    /// Settle, close the next epoch, sign its record and enter that into the log
    #[command(
        after_help = "Example:\n  tally ledger epoch close\n  tally ledger epoch close --end 12000\n\nWithout --end it closes before the first receipt that is still pending, at most at the log's present end."
    )]
    Close(CloseEpoch),
    /// List the closed epochs
    #[command(after_help = "Example:\n  tally ledger epoch list --json")]
    List,
    /// Show an epoch's public record
    #[command(
        after_help = "Example:\n  tally ledger epoch show\n  tally ledger epoch show 3 --out epoch-3.epoch\n  tally log proof DIGEST > epoch-3.tlog-proof    with the digest that `show` prints"
    )]
    Show(ShowEpoch),
}

#[derive(Debug, Args)]
pub(crate) struct CloseEpoch {
    /// The log index after the last that the epoch covers
    #[arg(long, value_name = "INDEX")]
    pub(crate) end: Option<u64>,
    /// Let this be now, in milliseconds since 1970 [default: the clock]
    #[arg(long, value_name = "MS", value_parser = milliseconds)]
    pub(crate) now: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct ShowEpoch {
    /// Its number [default: the last one's]
    pub(crate) number: Option<u64>,
    /// Also write the signed record to this file; it must not be there
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Statement {
    /// Whose earnings: a `did:key`, `commons` or `feedback`
    #[arg(long, value_name = "WHO", value_parser = account)]
    pub(crate) of: Account,
    /// Number of the epoch [default: the last one's]
    #[arg(long, value_name = "N")]
    pub(crate) epoch: Option<u64>,
    /// File to write; it must not be there
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyLedger {
    /// The statement of earnings, or the record of an epoch
    pub(crate) file: PathBuf,
    /// The node's receipt key, 64 hexadecimal digits (`tally key` shows it)
    #[arg(long, value_name = "HEX", value_parser = public_key)]
    pub(crate) key: PublicKey,
    /// The epoch's signed record, as others have it: the statement must be of the same
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// The inclusion proof of the record's log entry (`tally log proof` writes it)
    #[arg(long, value_name = "FILE", requires = "log")]
    pub(crate) proof: Option<PathBuf>,
    /// The verifier key of the log that the record must be in
    #[arg(long, value_name = "VKEY", requires = "proof", value_parser = verifier_key)]
    pub(crate) log: Option<VerifierKey>,
}

#[derive(Debug, Args)]
pub(crate) struct Claim {
    /// Who was paid: a `did:key` or `commons`
    #[arg(long, value_name = "WHO", value_parser = account)]
    pub(crate) of: Account,
    /// Number of the epoch
    #[arg(long, value_name = "N")]
    pub(crate) epoch: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Void {
    /// The beginning of the receipt's digest, at least 4 digits
    pub(crate) receipt: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// Number of the epoch
    #[arg(long, value_name = "N")]
    pub(crate) epoch: u64,
    /// Folder of the receipts with their opened attribution sections
    #[arg(long, value_name = "DIR")]
    pub(crate) receipts: PathBuf,
}

fn public_key(text: &str) -> Result<PublicKey, String> {
    let bytes = hex::decode(text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let bytes =
        bytes.ok_or("expected 64 hexadecimal digits: `tally key` of the node shows them")?;
    PublicKey::from_bytes(&bytes).map_err(|error| error.to_string())
}

fn verifier_key(text: &str) -> Result<VerifierKey, String> {
    VerifierKey::parse(text).map_err(|error| error.to_string())
}
