//! `cargo xtask default-model`: convert the committed checkpoint to the committed model file.
//!
//! Conversion is deterministic, so whoever doubts `default.tally` converts the checkpoint again and
//! compares; `--compare` is that gate.

use anyhow::{Result, ensure};
use tally_engine::Model;
use tally_engine::import::{Options, convert, write_model};
use tally_engine::model::WeightKind;

use crate::identical::MODEL;
use crate::repo::Repo;

const CHECKPOINT: &str = "models/default/checkpoint";
const CALIBRATION: &str = "models/default/calibration.txt";
/// The model travels with the repository and inside the program.
const SIZE_BYTES_MAX: usize = 16 << 20;

/// Converts, and writes the file or compares it with the one that is there.
pub(crate) fn run(repo: &Repo, is_comparison: bool) -> Result<()> {
    let calibration_text = &repo.text(CALIBRATION)?;
    let options = Options { weights: Some(WeightKind::Int8), calibration_text, context: None };
    let bytes = convert(&repo.root().join(CHECKPOINT), &options, &mut |_| ())?;
    let root = Model::parse(&bytes)?.root();
    ensure!(bytes.len() <= SIZE_BYTES_MAX, "{} bytes, the limit is {SIZE_BYTES_MAX}", bytes.len());
    let path = repo.root().join(MODEL);
    if is_comparison {
        let committed = Model::open(&path)?.root();
        ensure!(
            std::fs::read(&path)? == bytes,
            "{MODEL} has root {committed}, converting again yields {root}"
        );
        println!(
            "{MODEL}: {} bytes, root {root}, equal to the checkpoint converted again",
            bytes.len()
        );
    } else {
        write_model(&path, &bytes)?;
        println!("{MODEL}: {} bytes, root {root}", bytes.len());
    }
    Ok(())
}
