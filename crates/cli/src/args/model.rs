//! Arguments of `tally model`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Model {
    /// Convert a Hugging Face folder (config.json, safetensors, tokenizer.json), a
    /// sentence-transformers folder or a GGUF file to exact integers
    #[command(
        after_help = "Example:\n  tally model import ./SmolLM-135M --name smol --calibration sample.txt"
    )]
    Import(Import),
    /// Measure how near a model is to the floats of its source, and how much room its bounds have
    #[command(
        after_help = "Example:\n  tally model check smol --text sample.txt --source ./SmolLM-135M --plot smol.svg\n\nExit status: 0 near, 1 not near. For a sentence encoder every line of the text is one sentence."
    )]
    Check(Check),
    /// Convert the public source again and compare the model's root
    #[command(after_help = "Example:\n  tally model verify smol --source ./SmolLM-135M")]
    Verify(VerifyModel),
    /// Sign the files of a model or an adapter as OpenSSF Model Signing has it
    #[command(
        after_help = "Example:\n  tally model sign ./lora --key private.pem --out ./lora/model.sig\n\nThe bundle is what `model_signing sign key` makes, and `model_signing verify key` verifies. A key is made by\n  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out private.pem\n  openssl pkey -in private.pem -pubout -out public.pem"
    )]
    Sign(SignModel),
    /// List the models that this home knows
    #[command(after_help = "Example:\n  tally model list")]
    List,
    /// Show a model's manifest
    #[command(after_help = "Example:\n  tally model show default")]
    Show {
        /// Name or root
        model: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The folder, or the GGUF file
    pub(crate) source: PathBuf,
    /// Local name [default: that of the folder or file]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Text from which the headroom of the residual stream is measured [default: a built-in text]
    #[arg(long, value_name = "FILE")]
    pub(crate) calibration: Option<PathBuf>,
    /// How the layers' matrices are stored [default: int8; int8-groups for a sentence encoder]
    #[arg(long, value_enum)]
    pub(crate) weights: Option<Weights>,
    /// Keep at most that many positions of the source's context
    #[arg(long, value_name = "POSITIONS")]
    pub(crate) context: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Name or root
    pub(crate) model: String,
    /// Text to measure with, of the kind that the model will read
    #[arg(long, value_name = "FILE")]
    pub(crate) text: PathBuf,
    /// The folder or GGUF file that the model was converted from: the float reference
    #[arg(long, value_name = "PATH")]
    pub(crate) source: Option<PathBuf>,
    /// Write a picture of the divergence after every layer at every position
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) plot: Option<PathBuf>,
    /// Most tokens of the text that are measured
    #[arg(long, default_value_t = 2048, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) tokens: u32,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyModel {
    /// Name or root
    pub(crate) model: String,
    /// The folder or GGUF file that the model is said to be converted from
    #[arg(long, value_name = "PATH")]
    pub(crate) source: PathBuf,
    /// The calibration text of the conversion [default: the built-in text]
    #[arg(long, value_name = "FILE")]
    pub(crate) calibration: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct SignModel {
    /// The folder, or the one file; what belongs to git is left out, and model.sig at its top
    pub(crate) files: PathBuf,
    /// Your private key: P-256, in PEM (PKCS #8) without a password
    #[arg(long, value_name = "PRIVATE.pem")]
    pub(crate) key: PathBuf,
    /// File for the bundle; it must not be there
    #[arg(long, value_name = "BUNDLE")]
    pub(crate) out: PathBuf,
}

/// How the layers' matrices are stored.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Weights {
    /// 8 bits and a scale for each row
    Int8,
    /// 8 bits and a scale for each 32 weights: the least error
    Int8Groups,
    /// 4 bits and a scale for each 32 weights: half the size and some of the quality
    Int4,
}
