//! `cargo xtask soak kill`: a process that issues receipts is killed, again and again.
//!
//! A child (this program, `issue-load`) issues receipts on many threads and writes each one to its
//! stdout only when it is issued. The parent kills it with SIGKILL at a moment that a seed chooses.
//! Every receipt that came through whole was handed out: the log must hold it, at the index that
//! its proof states, the verifier must accept it, and fsck must find nothing.

use std::io::{BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tally_core::Digest;
use tally_core::cbor::Cbor as _;
use tally_core::commitment::{Field, ReceiptSecret};
use tally_core::computation::{Controls, FinishReason, Micro, SamplingParameters, SignedMicro};
use tally_core::ed25519::SigningKey;
use tally_core::receipt::{Bundle, Kind, Preparation, SeedSource};
use tally_issuer::{Admission, Draft, Node, NodeKeys, Prepared};
use tally_log::dangerous::{Seed, Unsynced};
use tally_log::{Posix, Storage, fsck};
use tally_verifier::policy::HomePolicy;
use tally_verifier::{Expected, Policy, UnixTime, verify};

const TIME_MS: u64 = 1_790_000_000_000;
const THREADS: u64 = 8;
const KILL_AFTER_MS_MAX: u64 = 150;
const RECEIPT_BYTES_MAX: u32 = 1 << 20;

/// Kills `rounds` processes over the file system, or over a storage that forgets what is unsynced.
pub(crate) fn run(rounds: u64, is_unsynced: bool, seed: u64) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let mut seed = Seed::new(seed);
    let mut handed_out: Vec<(Digest, u64)> = Vec::new();
    for round in 0..rounds {
        let received = kill_one(folder.path(), round, is_unsynced, &mut seed)?;
        ensure!(
            !received.is_empty(),
            "round {round}: the child issued nothing before it was killed"
        );
        for bytes in received {
            handed_out.push(verify_received(&bytes).with_context(|| format!("round {round}"))?);
        }
        expect_in_log(folder.path(), &handed_out).with_context(|| format!("round {round}"))?;
        eprint!("\rkill: round {} of {rounds}, {} receipts", round + 1, handed_out.len());
    }
    eprintln!();
    Ok(format!("{} receipts handed out, none missing, fsck sound each time", handed_out.len()))
}

/// Starts a child, kills it, and returns the receipts that came through whole.
fn kill_one(folder: &Path, round: u64, is_unsynced: bool, seed: &mut Seed) -> Result<Vec<Vec<u8>>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("issue-load").arg(folder).arg(round.to_string());
    if is_unsynced {
        command.arg("--unsynced");
    }
    let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn()?;
    let mut pipe = BufReader::new(child.stdout.take().context("the child has no stdout")?);
    let mut received = vec![read_frame(&mut pipe)?.context("the child ended before it issued")?];
    // The clock starts at the first receipt, so that the kill meets a log under load.
    let deadline = Instant::now() + Duration::from_millis(seed.below(KILL_AFTER_MS_MAX));
    while Instant::now() < deadline {
        match read_frame(&mut pipe)? {
            Some(frame) => received.push(frame),
            None => anyhow::bail!("the child ended by itself"),
        }
    }
    child.kill()?;
    child.wait()?;
    while let Some(frame) = read_frame(&mut pipe)? {
        received.push(frame);
    }
    Ok(received)
}

/// One frame: u32 length, big-endian, and as many bytes; `None` at the end, even within a frame.
fn read_frame(pipe: &mut impl std::io::Read) -> Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    if pipe.read_exact(&mut length).is_err() {
        return Ok(None);
    }
    let length = u32::from_be_bytes(length);
    ensure!(length <= RECEIPT_BYTES_MAX, "a frame of {length} bytes");
    let mut frame = Vec::new();
    pipe.take(u64::from(length)).read_to_end(&mut frame)?;
    Ok((frame.len() as u64 == u64::from(length)).then_some(frame))
}

fn verify_received(bytes: &[u8]) -> Result<(Digest, u64)> {
    let keys = keys();
    let (log, cosigner) = keys.verifiers()?;
    let policy = HomePolicy {
        issuer_name: "load",
        issuer_key: &keys.receipt.public_key(),
        log: &log,
        cosigner: &cosigner,
        models: &[model_root()],
        arithmetics: &["ra-1-draft.1"],
    };
    let policy = Policy::parse(&policy.encode())?;
    let verified = verify(bytes, &policy, &Expected::NOTHING, UnixTime::from_ms(TIME_MS + 60_000))?;
    let index = verified.assurances().find_map(|assurance| match assurance {
        tally_verifier::Assurance::SelfCosigned { inclusion, .. } => Some(inclusion.index.0),
        _ => None,
    });
    Ok((Bundle::parse(bytes)?.statement.digest(), index.context("not self-cosigned")?))
}

/// Opens the log as a restarted node would, finds every receipt, and examines all that is stored.
fn expect_in_log(folder: &Path, handed_out: &[(Digest, u64)]) -> Result<()> {
    let node = open(folder, false)?;
    for (digest, index) in handed_out {
        let entry =
            node.sequencer().with_log(|log| log.read(tally_core::tree::LeafIndex(*index)))?;
        ensure!(entry.digest == *digest, "entry {index} is {}, expected {digest}", entry.digest);
        let found = node.sequencer().with_log(|log| log.lookup(digest))?.map(|index| index.0);
        ensure!(found == Some(*index), "index says {found:?} for {digest}, expected {index}");
    }
    drop(node);
    let (log, cosigner) = keys().verifiers()?;
    let expected = fsck::Expected { log, cosigners: vec![cosigner], seen: vec![] };
    let storage: Arc<dyn Storage> = Arc::new(Posix::new(folder.join("log")));
    let report = fsck::fsck(&storage, &expected, &mut |_| ())?;
    ensure!(report.is_sound(), "fsck: {:?}", report.findings);
    Ok(())
}

/// The child: issues receipts until it is killed.
pub(crate) fn issue_load(folder: &Path, round: u64, is_unsynced: bool) -> Result<()> {
    let node = open(folder, is_unsynced)?;
    let stdout = Mutex::new(std::io::stdout());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (node, stdout) = (&node, &stdout);
                scope.spawn(move || issue_on_one_thread(node, stdout, round, thread))
            })
            .collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result,
            Err(_) => anyhow::bail!("a thread of the load panicked"),
        })
    })
}

fn issue_on_one_thread(
    node: &Node,
    stdout: &Mutex<std::io::Stdout>,
    round: u64,
    thread: u64,
) -> Result<()> {
    for count in 0_u64.. {
        let name = [round, thread, count].map(u64::to_be_bytes).concat();
        let random = Digest::of_content(&name);
        let (statement, openings) =
            draft(&random)?.finish(FinishReason::Length, b"an answer", None)?;
        let issued = node.issue(&statement, openings, TIME_MS / 1000)?;
        let bytes = issued.bundle.encode();
        let mut frame = u32::try_from(bytes.len())?.to_be_bytes().to_vec();
        frame.extend(&bytes);
        let mut stdout = stdout.lock().unwrap_or_else(PoisonError::into_inner);
        stdout.write_all(&frame)?;
        stdout.flush()?;
    }
    Ok(())
}

fn draft(random: &Digest) -> Result<Draft> {
    let mut id = [0; 16];
    id.copy_from_slice(&random.as_bytes()[..16]);
    let secret = ReceiptSecret::from_bytes(*random.as_bytes());
    let salt = secret.salt(Field::Request);
    let admission = Admission {
        id,
        secret,
        time_ms: TIME_MS,
        nonce: None,
        kind: Kind::Completion,
        body: salt.as_bytes().to_vec(),
        software: "tally/load".into(),
    };
    let parameters = SamplingParameters {
        max_tokens: 3,
        temperature: Micro::ONE,
        top_k: 0,
        top_p: Micro::ONE,
        stop_tokens: vec![],
        choice: 0,
        presence_penalty: SignedMicro::ZERO,
        frequency_penalty: SignedMicro::ZERO,
    };
    let prepared = Prepared {
        arithmetic: "ra-1-draft.1".into(),
        model_root: model_root(),
        input: vec![1, 2, 3],
        parameters,
        controls: Controls::default(),
        seed: *random.as_bytes(),
        seed_source: SeedSource::Issuer,
        preparation: Preparation { tokenizer: *random, template: None, adjustments: vec![] },
    };
    let mut draft = Draft::new(admission, prepared)?;
    for token in [7, 8, 9] {
        draft.append(token);
    }
    Ok(draft)
}

fn open(folder: &Path, is_unsynced: bool) -> Result<Node> {
    let storage = |name: &str| -> Result<Arc<dyn Storage>> {
        let root = folder.join(name);
        let posix = Posix::create(&root)?;
        Ok(if is_unsynced { Arc::new(Unsynced::new(&root)?) } else { Arc::new(posix) })
    };
    Ok(Node::open(storage("log")?, storage("cosigner")?, &keys())?)
}

fn keys() -> NodeKeys {
    let [receipt, log, cosigner] = [1, 2, 3].map(|byte| SigningKey::from_seed(&[byte; 32]));
    NodeKeys { receipt, log, cosigner }
}

fn model_root() -> Digest {
    Digest::from_bytes([5; 32])
}
