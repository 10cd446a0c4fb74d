//! Scores that take no gradient, (texts, families) each: what an estimate must be compared with.
#![expect(clippy::cast_precision_loss, reason = "counts are small")]

use anyhow::Result;
use tally_attribution::index::{Builder, Shards};
use tally_attribution::ownership::Ownership;
use tally_core::Digest;
use tally_engine::Language;
use tempfile::TempDir;

use super::word;
use crate::influence::sample::Sample;

/// The stream of random scores; resamplings have those below.
const STREAM: u32 = 1 << 20;
/// Bytes of a window.
const WINDOW: usize = 32;

/// Scores that know nothing.
pub(super) fn random(sample: &Sample) -> Vec<Vec<f64>> {
    let families = sample.families.len();
    let one = |text: usize| {
        (0..families).map(|family| f64::from(word(STREAM, text * families + family))).collect()
    };
    (0..sample.held_out.len()).map(one).collect()
}

/// The cosine of counted tokens, rare ones weighing more.
pub(super) fn words(sample: &Sample) -> Vec<Vec<f64>> {
    let families: Vec<Vec<u32>> = sample.families.iter().map(|it| it.windows.concat()).collect();
    let all = families.iter().chain(&sample.held_out).flatten();
    let vocabulary = all.max().map_or(0, |highest| *highest as usize + 1);
    let counts = |tokens: &[u32]| {
        let mut counts = vec![0.0_f64; vocabulary];
        tokens.iter().for_each(|token| counts[*token as usize] += 1.0);
        counts
    };
    let family_counts: Vec<Vec<f64>> = families.iter().map(|it| counts(it)).collect();
    let rarity: Vec<f64> = (0..vocabulary)
        .map(|token| {
            let having = family_counts.iter().filter(|counts| counts[token] > 0.0).count();
            (families.len() as f64 / (1 + having) as f64).ln().max(0.0)
        })
        .collect();
    let weighed = |counts: Vec<f64>| {
        let weighed: Vec<f64> = counts.iter().zip(&rarity).map(|(a, b)| a * b).collect();
        let length = weighed.iter().map(|it| it * it).sum::<f64>().sqrt().max(1e-9);
        weighed.into_iter().map(|it| it / length).collect::<Vec<f64>>()
    };
    let family_counts: Vec<Vec<f64>> = family_counts.into_iter().map(weighed).collect();
    let one = |text: &Vec<u32>| {
        let text = weighed(counts(text));
        let dot = |other: &Vec<f64>| text.iter().zip(other).map(|(a, b)| a * b).sum();
        family_counts.iter().map(dot).collect()
    };
    sample.held_out.iter().map(one).collect()
}

/// How many bytes of a text each family owns by the rule of the earliest window owner.
pub(super) fn owned(sample: &Sample, language: &Language) -> Result<Vec<Vec<f64>>> {
    let folder = TempDir::new()?;
    let mut builder = Builder::new();
    builder.contribution(Digest::of_content(b"all families"))?;
    // A window of tokens may begin inside a character: that of the text is what is left of it.
    let mut owners = vec![];
    for (place, family) in sample.families.iter().enumerate() {
        for window in &family.windows {
            let text = String::from_utf8_lossy(&language.spell(window)).into_owned();
            builder.document(&format!("window {}", owners.len()), text.as_bytes())?;
            owners.push(place);
        }
    }
    let index = builder.build(&folder.path().join("index"), &mut |_| ())?;
    let indices = [index];
    let one = |text: &Vec<u32>| {
        let ownership = Ownership::of(&language.spell(text), WINDOW, &Shards(&indices));
        let mut scores = vec![0.0; sample.families.len()];
        for span in &ownership.spans {
            if let Some(owner) = span.owner {
                scores[owners[owner.document as usize]] += f64::from(span.end - span.start);
            }
        }
        scores
    };
    Ok(sample.held_out.iter().map(one).collect())
}
