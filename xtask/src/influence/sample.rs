//! The sample: some windows of each family's text, and beginnings of held-out texts, as tokens.

use anyhow::{Context as _, Result, ensure};
use tally_core::cbor::{Decoder, Encoder};
use tally_core::{Digest, tag};

const VERSION: u64 = 1;
const FAMILIES_MAX: u64 = 1_024;
const WINDOWS_MAX: u64 = 1_024;
const WINDOW_BYTES_MAX: u64 = 1 << 16;
const TEXTS_MAX: u64 = 1_024;

/// What stands for a corpus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) families: Vec<SampledFamily>,
    /// Tokens of the beginning of each held-out text.
    pub(crate) held_out: Vec<Vec<u32>>,
}

/// Documents of one contribution that stand beside each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SampledFamily {
    pub(crate) contribution: Digest,
    pub(crate) name: String,
    pub(crate) documents: Digest,
    pub(crate) document_count: u32,
    pub(crate) size_bytes: u64,
    /// Windows of tokens, as long as each other.
    pub(crate) windows: Vec<Vec<u32>>,
}

impl SampledFamily {
    /// How many tokens its gradient is of: each window's first is context alone.
    pub(crate) fn token_count(&self) -> Result<u32> {
        let count: usize = self.windows.iter().map(|window| window.len() - 1).sum();
        Ok(u32::try_from(count)?)
    }
}

impl Sample {
    /// How often each token stands in the windows, their first tokens aside.
    pub(crate) fn counts(&self, vocabulary: usize) -> Vec<u64> {
        let mut counts = vec![0; vocabulary];
        let windows = self.families.iter().flat_map(|family| &family.windows);
        for token in windows.flat_map(|window| &window[1..]) {
            counts[*token as usize] += 1;
        }
        counts
    }

    /// Its digest.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of_tagged(tag::INFLUENCE_SAMPLE, &[&self.encode()])
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new();
        encoder.map(3).key(1).uint(VERSION);
        encoder.key(2).array(self.families.len());
        for it in &self.families {
            encoder.array(6).bytes(it.contribution.as_bytes()).text(&it.name);
            encoder.bytes(it.documents.as_bytes()).uint(it.document_count.into());
            encoder.uint(it.size_bytes).array(it.windows.len());
            for window in &it.windows {
                encoder.bytes(&bytes_of(window));
            }
        }
        encoder.key(3).array(self.held_out.len());
        for text in &self.held_out {
            encoder.bytes(&bytes_of(text));
        }
        encoder.finish()
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let mut decoder = Decoder::new(bytes);
        let mut map = decoder.map("sample")?;
        map.require(&mut decoder, 1)?;
        let version = decoder.uint()?;
        ensure!(version == VERSION, "the sample is of version {version}, expected {VERSION}");
        map.require(&mut decoder, 2)?;
        let mut families = vec![];
        for _ in 0..decoder.array_nonempty("families", FAMILIES_MAX)? {
            decoder.array_exact("family", 6)?;
            families.push(SampledFamily {
                contribution: decoder.digest("manifest")?,
                name: decoder.text("name", 256)?.to_owned(),
                documents: decoder.digest("documents root")?,
                document_count: decoder.u32("document count")?,
                size_bytes: decoder.uint()?,
                windows: texts(&mut decoder, "windows", WINDOWS_MAX)?,
            });
        }
        map.require(&mut decoder, 3)?;
        let held_out = texts(&mut decoder, "held-out texts", TEXTS_MAX)?;
        map.end(&mut decoder)?;
        decoder.finish()?;
        Ok(Self { families, held_out })
    }
}

fn texts(decoder: &mut Decoder<'_>, what: &'static str, limit: u64) -> Result<Vec<Vec<u32>>> {
    let count = decoder.array_nonempty(what, limit)?;
    let one = |_| {
        let bytes = decoder.bytes("tokens", WINDOW_BYTES_MAX)?;
        let (pairs, []) = bytes.as_chunks::<2>() else {
            anyhow::bail!("half a token among the {what}")
        };
        ensure!(pairs.len() > 1, "one of the {what} has no token after its first");
        Ok(pairs.iter().map(|pair| u16::from_be_bytes(*pair).into()).collect())
    };
    (0..count).map(one).collect::<Result<_>>().context(what)
}

/// Each token as two bytes, big-endian; the default model has 4,096 tokens.
fn bytes_of(tokens: &[u32]) -> Vec<u8> {
    let short = |token: &u32| u16::try_from(*token).unwrap_or(u16::MAX).to_be_bytes();
    tokens.iter().flat_map(short).collect()
}
