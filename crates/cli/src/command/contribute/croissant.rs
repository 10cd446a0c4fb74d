//! The Croissant document beside a dataset that is contributed.

use std::{
    ops::Deref,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tally_attribution::{
    croissant::{CroissantDataset, DOCUMENT_BYTES_MAX},
    dataset::{CROISSANT_NAME, Dataset},
};
use tally_core::contribution::Contribution;

use crate::{
    command::read_limited,
    output::{Output, quoted},
};

/// A Croissant document whose files are those of a dataset.
pub(super) struct Described {
    path: PathBuf,
    document: CroissantDataset,
    /// Documents that no digest covers.
    not_covered: Vec<String>,
}

impl Deref for Described {
    type Target = CroissantDataset;

    fn deref(&self) -> &CroissantDataset {
        &self.document
    }
}

impl Described {
    /// Reads the document that is named, or the one in the dataset's folder, and compares the files.
    pub(super) fn read(
        texts: &Path,
        named: Option<&Path>,
        dataset: &Dataset,
    ) -> Result<Option<Self>> {
        let beside = texts.join(CROISSANT_NAME);
        let path = match named {
            Some(path) => path.to_owned(),
            None if beside.is_file() => beside,
            None => return Ok(None),
        };
        let bytes = read_limited(&path, DOCUMENT_BYTES_MAX as u64)?;
        let is_it = |(_, text): &&(String, String)| text.as_bytes() == bytes;
        if let Some((name, _)) = dataset.documents.iter().find(is_it) {
            ensure!(
                texts.is_file(),
                "{} would be a text of the dataset that it describes, `{name}`\n\nhint: name it {CROISSANT_NAME} at the folder's top, or put it elsewhere",
                path.display()
            );
        }
        let named = || path.display().to_string();
        let document = CroissantDataset::parse(&bytes).with_context(named)?;
        let not_covered = document.compare_files(dataset).with_context(named)?;
        Ok(Some(Self { path, document, not_covered }))
    }

    pub(super) fn view(&self) -> Value {
        let not_covered = self.document.not_covered.iter();
        let told = not_covered.map(|it| json!({ "id": it.id, "reason": it.reason.to_string() }));
        json!({
            "file": self.path,
            "conforms_to": self.document.conforms_to.iri(),
            "files": self.document.files.len(),
            "licence_stated": self.document.licence.stated,
            "manifest": self.document.manifest.map(|digest| digest.to_string()),
            "without_digest": told.collect::<Vec<_>>(),
            "texts_not_covered": self.not_covered,
        })
    }

    /// Says what agrees, and what nobody can compare.
    pub(super) fn tell(&self, contribution: &Contribution, output: Output) -> Result<()> {
        output.line(&format!("  name       {}", quoted(&contribution.name)))?;
        output.line(&format!(
            "  croissant  {} texts have the SHA-256 that {} tells",
            self.document.files.len(),
            quoted(&self.path.display().to_string())
        ))?;
        let stated = &self.document.licence.stated;
        if self.document.licence.licence.is_unknown() && !stated.is_empty() {
            output.note(&format!(
                "note: the croissant document states the licence `{}`, which is not certain to be one of SPDX",
                quoted(&stated.join("`, `"))
            ));
        }
        if !self.not_covered.is_empty() {
            output.note(&format!(
                "note: of {} texts the croissant document tells no SHA-256, such as `{}`",
                self.not_covered.len(),
                quoted(&self.not_covered[0])
            ));
        }
        Ok(())
    }
}
