//! Entries a second on the disk of the given folder: `cargo run --release -p tally-log --example
//! append_rate -- FOLDER`.

use std::{
    io::{self, Write as _},
    path::Path,
    sync::Arc,
};

use tally_core::{ed25519::SigningKey, note::KeyName};
use tally_log::{Cosigner, Log, LogError, NamedKey, Posix, Storage, bench, fsck};

fn key(name: &str, seed: u8) -> Result<NamedKey, LogError> {
    Ok(NamedKey::new(KeyName::parse(name)?, SigningKey::from_seed(&[seed; 32])))
}

fn storage(folder: &Path, name: &str) -> io::Result<Arc<dyn Storage>> {
    Ok(Arc::new(Posix::create(folder.join(name))?))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("give a folder that may be filled")?;
    let folder = Path::new(&folder);
    let mut out = io::stdout();
    let key_of_log = key("log.example/rate", 1)?;
    for (batch_count, batch_len) in [(200, 1), (100, 64), (50, 1_024), (50, 8_192), (20, 65_536)] {
        let storage = storage(folder, &format!("batches-{batch_len}"))?;
        let mut log = Log::create(Arc::clone(&storage), key_of_log.clone())?;
        let [appended, published] = bench::batches(&mut log, batch_count, batch_len)?;
        drop(log);
        let started = std::time::Instant::now();
        let expected = fsck::Expected {
            log: key_of_log.log_verifier(),
            cosigners: Vec::new(),
            seen: Vec::new(),
        };
        let report = fsck::fsck(&storage, &expected, &mut |_| ())?;
        let examined = started.elapsed();
        let started = std::time::Instant::now();
        drop(Log::open(storage, key_of_log.clone(), &[])?);
        writeln!(
            out,
            "{batch_count} batches of {batch_len}: {} entries/s appended, {} published; fsck {examined:?} ({} findings); open {:?}",
            appended.per_second(),
            published.per_second(),
            report.findings.len(),
            started.elapsed(),
        )?;
    }
    for (threads, with_cosigner) in [(1, false), (16, false), (256, false), (256, true)] {
        let name = format!("threads-{threads}-{with_cosigner}");
        let log = Log::create(storage(folder, &name)?, key_of_log.clone())?;
        let cosigner = if with_cosigner {
            let storage = storage(folder, "cosigner")?;
            let mut cosigner = Cosigner::create(storage, key("cosigner.example/rate", 2)?)?;
            cosigner.trust(key_of_log.log_verifier())?;
            Some(cosigner)
        } else {
            None
        };
        let count = 200 * threads as u64;
        let rate = bench::threads(log, cosigner, threads, count)?;
        writeln!(
            out,
            "{threads} threads, cosigner {with_cosigner}: {} entries/s",
            rate.per_second()
        )?;
    }
    Ok(())
}
