//! What a sentence-transformers folder adds to an encoder: modules, pooling and limits.

use serde::Deserialize;

use super::config::{POSITIONS_MAX, Pooling, PoolingKind, SourceConfig};
use super::error::{SourceError, shown};
use super::folder::{Folder, plain_name};
use super::json::{Fields, parse_utf8};
use super::{CONFIG_BYTES_MAX, TOKENIZER_CONFIG_BYTES_MAX};

const FILE: &str = "modules.json";
/// Most modules that are read before they are refused.
const MODULES_MAX: usize = 16;

/// The modules of a sentence encoder.
pub(super) struct Modules {
    /// Where the transformer's files lie: nothing, or a folder with a slash.
    pub(super) prefix: String,
    /// Where the pooling's file lies, with a slash.
    pooling: String,
    is_normalised: bool,
}

#[derive(Deserialize)]
struct Module {
    path: String,
    r#type: String,
}

impl Modules {
    /// Reads `modules.json`: a transformer, pooling and possibly normalisation, in this order.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, SourceError> {
        let text = parse_utf8(FILE, bytes)?;
        let modules: Vec<Module> = serde_json::from_str(text).map_err(|error| {
            SourceError::Json { file: FILE.to_owned(), line: error.line(), column: error.column() }
        })?;
        let expected = ["Transformer", "Pooling", "Normalize or nothing", "nothing"];
        let refused = |index: usize, found: &str| SourceError::Module {
            index,
            found: shown(found),
            expected: expected.get(index).or(expected.last()).copied().unwrap_or_default(),
        };
        for (index, module) in modules.iter().enumerate().take(MODULES_MAX) {
            let name = module.r#type.strip_prefix("sentence_transformers.");
            let name = name.and_then(|name| name.rsplit('.').next());
            let is_known = match index {
                0 => name == Some("Transformer"),
                1 => name == Some("Pooling"),
                2 => name == Some("Normalize"),
                _ => false,
            };
            if !is_known {
                return Err(refused(index, &module.r#type));
            }
        }
        let [transformer, pooling, rest @ ..] = modules.as_slice() else {
            return Err(refused(modules.len(), "nothing"));
        };
        let folder = |path: &str| match path {
            "" => Ok(String::new()),
            path => plain_name(FILE, path).map(|name| format!("{name}/")),
        };
        Ok(Self {
            prefix: folder(&transformer.path)?,
            pooling: folder(&pooling.path)?,
            is_normalised: !rest.is_empty(),
        })
    }

    /// Completes an encoder's configuration from the folder's other files.
    pub(super) fn complete(
        &self,
        folder: &mut Folder<'_>,
        config: &mut SourceConfig,
        tokenizer_config: Option<&[u8]>,
    ) -> Result<(), SourceError> {
        let name = format!("{}config.json", self.pooling);
        let kind = pooling_kind(&name, &folder.require(&name, CONFIG_BYTES_MAX)?, config)?;
        config.pooling = Some(Pooling { kind, is_normalised: self.is_normalised });
        let name = format!("{}sentence_bert_config.json", self.prefix);
        if let Some(bytes) = folder.read(&name, CONFIG_BYTES_MAX)? {
            limit_context(&name, &bytes, config)?;
        }
        if let Some(bytes) = tokenizer_config {
            limit_by_tokenizer(bytes, config)?;
        }
        let name = "config_sentence_transformers.json";
        if let Some(bytes) = folder.read(name, TOKENIZER_CONFIG_BYTES_MAX)? {
            let mut fields = Fields::parse(name, &bytes)?;
            fields.refuse_unless("default_prompt_name", &[], "null")?;
        }
        Ok(())
    }
}

fn pooling_kind(
    file: &str,
    bytes: &[u8],
    config: &SourceConfig,
) -> Result<PoolingKind, SourceError> {
    let mut fields = Fields::parse(file, bytes)?;
    for field in ["embedding_dimension", "word_embedding_dimension"] {
        fields.integer(field, config.hidden_size, config.hidden_size)?;
    }
    // Of prompts, which none is here.
    fields.ignore("include_prompt");
    let mode = fields.optional::<String>("pooling_mode", "a text")?;
    let is_cls = fields.switch("pooling_mode_cls_token")?;
    let is_mean = fields.switch("pooling_mode_mean_tokens")?;
    // Every other way to pool is refused, unless it is said not to be used.
    let others = [
        "pooling_mode_lasttoken",
        "pooling_mode_max_tokens",
        "pooling_mode_mean_sqrt_len_tokens",
        "pooling_mode_weightedmean_tokens",
    ];
    fields.refuse_rest(&[], &others)?;
    match (mode.as_deref(), is_cls, is_mean) {
        (Some("mean"), false, _) | (None, false, true) => Ok(PoolingKind::Mean),
        (Some("cls"), _, false) | (None, true, false) => Ok(PoolingKind::Cls),
        (found, ..) => Err(SourceError::Feature {
            file: file.to_owned(),
            field: "pooling_mode",
            found: shown(found.unwrap_or("both or none of mean and cls")),
            supported: "either mean or cls",
        }),
    }
}

fn limit_context(file: &str, bytes: &[u8], config: &mut SourceConfig) -> Result<(), SourceError> {
    let mut fields = Fields::parse(file, bytes)?;
    let limit = fields.integer("max_seq_length", 1, POSITIONS_MAX)?;
    config.context_len = config.context_len.min(limit.unwrap_or(u32::MAX));
    fields.refuse_unless("transformer_task", &["\"feature-extraction\""], "feature-extraction")?;
    fields.refuse_unless("module_output_name", &["\"token_embeddings\""], "token_embeddings")?;
    // Which output of the library is taken: the encoder's last hidden state, by the task above.
    fields.ignore("modality_config");
    fields.refuse_rest(&["unpad_inputs"], &["do_lower_case"])
}

/// `model_max_length`, which may be a number beyond all meaning.
fn limit_by_tokenizer(bytes: &[u8], config: &mut SourceConfig) -> Result<(), SourceError> {
    let mut fields = Fields::parse("tokenizer_config.json", bytes)?;
    let limit = fields.optional::<serde_json::Number>("model_max_length", "a number")?;
    let limit = limit.and_then(|limit| limit.as_u64()).and_then(|limit| u32::try_from(limit).ok());
    let limit = limit.filter(|limit| *limit > 0).unwrap_or(u32::MAX);
    config.context_len = config.context_len.min(limit);
    Ok(())
}
