//! The split policy as a file that people write: TOML in, [`SplitPolicy`] out, and back.

use serde::Deserialize;
use tally_core::{
    attribution::{Pool, SplitPolicy, Tariff},
    cbor::{Cbor as _, CborError},
};
use thiserror::Error;

/// Most bytes of a split policy's file.
pub const POLICY_FILE_BYTES_MAX: usize = 16_384;

/// Why a file is no split policy.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PolicyFileError {
    /// The file is too large.
    #[error("the split policy has {found} bytes, the limit is {POLICY_FILE_BYTES_MAX}")]
    Size {
        /// Its bytes.
        found: usize,
    },
    /// It is no TOML, or has another field than a split policy.
    #[error("{0}")]
    Syntax(#[from] toml::de::Error),
    /// It is of another version.
    #[error("the split policy's version is {found}, expected 1")]
    Version {
        /// The version found.
        found: u64,
    },
    /// The pools are more or less than the whole.
    #[error("the split policy's pools are {found} basis points together, expected 10000")]
    Pools {
        /// Their sum.
        found: u32,
    },
    /// A value is outside what the format allows.
    #[error("the split policy cannot be used: {0}")]
    Value(#[from] CborError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u64,
    name: String,
    asset: String,
    window: u16,
    challenge_s: u32,
    feedback_cap_bps: u16,
    tariff: Prices,
    pools: Pools,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Prices {
    request: u64,
    input_token: u64,
    output_token: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pools {
    node: u16,
    weights: u16,
    code: u16,
    prompt: u16,
    context: u16,
    sources: u16,
    feedback: u16,
    commons: u16,
}

/// The policy that a file holds.
///
/// # Errors
/// If it is no TOML of the expected fields, or a value is outside its limits.
pub fn parse(text: &str) -> Result<SplitPolicy, PolicyFileError> {
    if text.len() > POLICY_FILE_BYTES_MAX {
        return Err(PolicyFileError::Size { found: text.len() });
    }
    let file: File = toml::from_str(text)?;
    if file.version != 1 {
        return Err(PolicyFileError::Version { found: file.version });
    }
    let Pools { node, weights, code, prompt, context, sources, feedback, commons } = file.pools;
    let pools_bps = [node, weights, code, prompt, context, sources, feedback, commons];
    let found: u32 = pools_bps.iter().copied().map(u32::from).sum();
    if found != 10_000 {
        return Err(PolicyFileError::Pools { found });
    }
    let Prices { request, input_token, output_token } = file.tariff;
    let policy = SplitPolicy {
        name: file.name,
        asset: file.asset,
        tariff: Tariff { request, input_token, output_token },
        pools_bps,
        window: file.window,
        challenge_s: file.challenge_s,
        feedback_cap_bps: file.feedback_cap_bps,
    };
    // The wire format knows all limits.
    Ok(SplitPolicy::parse(&policy.encode())?)
}

/// The file that [`parse`] reads this policy from.
#[must_use]
pub fn text_of(policy: &SplitPolicy) -> String {
    let part = |pool: Pool| policy.pools_bps[pool.place()];
    let pools: String =
        Pool::ALL.iter().map(|pool| format!("{pool} = {}\n", part(*pool))).collect();
    let Tariff { request, input_token, output_token } = policy.tariff;
    format!(
        "version = 1\nname = {name}\nasset = {asset}\n\
         window = {window}               # bytes of an output that must equal a document's\n\
         challenge_s = {challenge}      # how long a transfer can be disputed, in seconds\n\
         feedback_cap_bps = {cap}     # of an epoch's feedback pool, for one identity\n\n\
         [tariff]                  # in billionths of the asset\n\
         request = {request}\ninput_token = {input_token}\noutput_token = {output_token}\n\n\
         [pools]                   # in basis points; together 10000\n{pools}",
        name = quoted(&policy.name),
        asset = quoted(&policy.asset),
        window = policy.window,
        challenge = policy.challenge_s,
        cap = policy.feedback_cap_bps,
    )
}

/// A text as a TOML string.
fn quoted(text: &str) -> String {
    let shown = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    format!("\"{}\"", text.chars().map(shown).collect::<String>())
}

/// The policy of a node that has none: nothing is charged, and so nothing divided.
#[must_use]
pub fn free() -> SplitPolicy {
    SplitPolicy {
        name: "free of charge".into(),
        asset: "USD".into(),
        tariff: Tariff::default(),
        pools_bps: [4_000, 2_000, 300, 200, 500, 2_000, 200, 800],
        window: 32,
        challenge_s: 604_800,
        feedback_cap_bps: 100,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_every_field_is_needed() {
        let policy = SplitPolicy {
            name: "a \"quoted\" \\ name\u{7f}\n ü".into(),
            tariff: Tariff { request: 1, input_token: 2, output_token: 3 },
            ..free()
        };
        let text = text_of(&policy);
        assert_eq!(parse(&text).ok(), Some(policy));
        for line in text.lines().filter(|line| line.contains(" = ")) {
            let without = text.replacen(line, "", 1);
            let error = parse(&without).map_err(|error| error.to_string()).unwrap_err();
            let field = line.split(' ').next().unwrap_or_default();
            assert!(error.contains(&format!("missing field `{field}`")), "{error}");
        }
    }

    #[test]
    fn foreign_fields_floats_and_other_sums_are_refused() {
        let text = text_of(&free());
        let refused = |from: &str, to: &str| {
            assert!(text.contains(from), "{text}");
            parse(&text.replacen(from, to, 1)).unwrap_err().to_string()
        };
        assert!(refused("asset", "coin").contains("unknown field `coin`"));
        assert!(refused("request = 0", "request = 0.5").contains("invalid type: floating point"));
        assert!(refused("node = 4000", "node = 4001").contains("are 10001 basis"));
        assert!(refused("node = 4000", "node = 3999").contains("are 9999 basis"));
        assert!(refused("version = 1", "version = 2").contains("version is 2, expected 1"));
        assert!(refused("window = 32", "window = 7").contains("expected at least 8"));
        let large = parse(&" ".repeat(POLICY_FILE_BYTES_MAX + 1)).unwrap_err().to_string();
        assert!(large.contains("limit is 16384"), "{large}");
    }
}
