//! The policy that a node writes for its own home: it trusts the node's own keys and says so.

use alloc::{format, string::String, vec::Vec};

use tally_core::{Digest, ed25519::PublicKey, note::VerifierKey};

/// What a node's own policy names.
#[derive(Clone, Debug)]
pub struct HomePolicy<'a> {
    /// What to call the node.
    pub issuer_name: &'a str,
    /// The key that signs its receipts.
    pub issuer_key: &'a PublicKey,
    /// The key of its log; the key's name is the log's origin.
    pub log: &'a VerifierKey,
    /// The key of its own cosigner.
    pub cosigner: &'a VerifierKey,
    /// Roots of the models that it may answer with.
    pub models: &'a [Digest],
    /// Ids of the arithmetic that it may compute in.
    pub arithmetics: &'a [&'a str],
}

impl HomePolicy<'_> {
    /// The policy file's text, which [`Policy::parse`](super::Policy::parse) reads.
    #[must_use]
    pub fn encode(&self) -> String {
        let key: String =
            self.issuer_key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let models: Vec<_> = self.models.iter().map(|root| format!("\n  \"{root}\",")).collect();
        let arithmetics: Vec<_> = self.arithmetics.iter().map(|id| quote(id)).collect();
        format!(
            "# What this home accepts as a receipt: one made by this home itself.\n\
             # Its log and its cosigner are its own, so \"self-cosigned\" is the most that is\n\
             # demanded; name independent cosigners and a quorum to demand \"logged\".\n\
             version = 1\n\
             required = [\"signed\", \"self-cosigned\"]\n\
             arithmetics = [{arithmetics}]\n\
             models = [{models}\n]\n\
             \n\
             [[issuer]]\n\
             name = {name}\n\
             public_key = \"{key}\"\n\
             \n\
             [[log]]\n\
             origin = {origin}\n\
             vkey = {log}\n\
             \n\
             [[cosigner]]\n\
             name = \"cosigner\"\n\
             vkey = {cosigner}\n\
             own = true\n",
            arithmetics = arithmetics.join(", "),
            models = models.concat(),
            name = quote(self.issuer_name),
            origin = quote(self.log.name().as_str()),
            log = quote(&self.log.encode()),
            cosigner = quote(&self.cosigner.encode()),
        )
    }
}

/// A basic string of TOML.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
