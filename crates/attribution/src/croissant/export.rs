//! Writing a dataset's contribution as Croissant 1.1.
//!
//! Beside Croissant's own members a document has ours, under the prefix `tally`: the digest of the signed
//! manifest, and of each parent how it was used and its share.

use std::collections::BTreeSet;

use tally_core::Digest;
use tally_core::contribution::{Contribution, ContributionKind, Parent};

use super::{CroissantError, CroissantVersion, FILES_MAX};
use crate::did::to_did;
use crate::json::Json;
use crate::licence::Licence;

/// The IRI that the prefix `tally` stands for.
const NAMESPACE: &str = "https://github.com/tally-receipts/tally/ns#";
/// What the IRI of a manifest begins with; its digest follows in hexadecimal digits.
pub(super) const MANIFEST_IRI: &str = "urn:tally:manifest:";
/// Days from 0000-03-01 to 1970-01-01, and in 400 years, of the Gregorian calendar.
const DAYS_TO_1970: u64 = 719_468;
const DAYS_IN_400_YEARS: u64 = 146_097;
const MS_IN_A_DAY: u64 = 86_400_000;
/// Media types by the ending of a file's name; others are plain bytes.
const MEDIA_TYPES: [(&str, &str); 12] = [
    ("csv", "text/csv"),
    ("gz", "application/gzip"),
    ("html", "text/html"),
    ("json", "application/json"),
    ("jsonl", "application/jsonlines"),
    ("md", "text/markdown"),
    ("parquet", "application/x-parquet"),
    ("pdf", "application/pdf"),
    ("tar", "application/x-tar"),
    ("txt", "text/plain"),
    ("xml", "application/xml"),
    ("zip", "application/zip"),
];

/// A dataset's contribution with what its manifest does not tell.
#[derive(Clone, Copy, Debug)]
pub struct Description<'a> {
    /// The contribution, of kind dataset.
    pub contribution: &'a Contribution,
    /// Digest of its signed manifest.
    pub manifest: Digest,
    /// What it is, in prose; without one the document says whose dataset it is.
    pub text: Option<&'a str>,
    /// Its files.
    pub files: &'a [DescribedFile],
}

/// A file of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedFile {
    /// Path below the dataset's folder, parts divided by `/`.
    pub name: String,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
    /// How many bytes it has.
    pub size_bytes: u64,
    /// Where it can be had, if not at its path beside the document.
    pub url: Option<String>,
}

impl Description<'_> {
    /// The document: Croissant 1.1 in canonical JSON.
    ///
    /// # Errors
    /// If the contribution is no dataset, there are more than [`FILES_MAX`] files, a file's name is no
    /// relative path or stands twice, or the contribution's time is after the year 9999.
    pub fn encode(&self) -> Result<String, CroissantError> {
        let contribution = self.contribution;
        if contribution.kind != ContributionKind::Dataset {
            return Err(CroissantError::Kind { found: contribution.kind });
        }
        let did = to_did(&contribution.contributor);
        let by_whom = || format!("Dataset {}, contributed by {did}", contribution.name);
        let text = self.text.map_or_else(by_whom, ToOwned::to_owned);
        let here = manifest_iri(&self.manifest);
        let mut document = vec![
            ("@context", context()),
            ("@type", Json::text("sc:Dataset")),
            ("conformsTo", Json::text(CroissantVersion::V1_1.iri())),
            ("creator", creator(&did)),
            ("datePublished", Json::text(date(contribution.time_ms)?)),
            ("description", Json::text(text)),
            ("distribution", Json::List(self.distribution()?)),
            ("license", Json::text(licence(&contribution.licence))),
            ("name", Json::text(contribution.name.as_str())),
            ("tally:manifest", Json::text(format!("sha256:{}", self.manifest))),
            ("url", Json::text(contribution.source.clone().unwrap_or(here))),
        ];
        if let Some(version) = &contribution.version {
            document.push(("version", Json::text(version.as_str())));
        }
        if !contribution.parents.is_empty() {
            let parents = contribution.parents.iter();
            let based_on = parents.clone().map(|parent| iri(&parent.manifest)).collect();
            document.push(("isBasedOn", Json::List(based_on)));
            document.push(("prov:wasDerivedFrom", Json::List(parents.map(derivation).collect())));
        }
        Ok(Json::Map(document.into_iter().collect()).encode())
    }

    fn distribution(&self) -> Result<Vec<Json>, CroissantError> {
        if self.files.len() > FILES_MAX {
            return Err(CroissantError::Files { found: self.files.len() });
        }
        let mut names = BTreeSet::new();
        self.files
            .iter()
            .map(|file| {
                let name = file.name.as_str();
                if !names.insert(name) {
                    return Err(CroissantError::TwiceTheId { id: name.into() });
                }
                let is_part = |part: &str| !matches!(part, "" | "." | "..");
                match name.split('/').all(is_part) && !name.contains(['\0', '\\']) {
                    true => Ok(file_object(file)),
                    false => Err(CroissantError::FileName { name: name.into() }),
                }
            })
            .collect()
    }
}

fn file_object(file: &DescribedFile) -> Json {
    let url = file.url.clone().unwrap_or_else(|| percent_encoded(&file.name));
    Json::map([
        ("@id", Json::text(percent_encoded(&file.name))),
        ("@type", Json::text("cr:FileObject")),
        ("contentSize", Json::text(format!("{} B", file.size_bytes))),
        ("contentUrl", Json::text(url)),
        ("encodingFormat", Json::text(media_type(&file.name))),
        ("name", Json::text(file.name.as_str())),
        ("sha256", Json::text(file.sha256.to_string())),
    ])
}

/// Who holds the key is not known, so the document names nobody but the key.
fn creator(did: &str) -> Json {
    Json::map([
        ("@id", Json::text(did)),
        ("@type", Json::text("sc:Organization")),
        ("name", Json::text(did)),
        ("url", Json::text(did)),
    ])
}

fn derivation(parent: &Parent) -> Json {
    Json::map([
        ("@id", Json::text(manifest_iri(&parent.manifest))),
        ("tally:relation", Json::text(parent.relation.to_string())),
        ("tally:shareBps", Json::Number(parent.share_bps.into())),
    ])
}

fn iri(manifest: &Digest) -> Json {
    Json::map([("@id", Json::text(manifest_iri(manifest)))])
}

fn manifest_iri(manifest: &Digest) -> String {
    format!("{MANIFEST_IRI}{manifest}")
}

/// The page of the SPDX list where there is one, else the words of the manifest.
fn licence(words: &str) -> String {
    let page = Licence::parse(words).ok().and_then(|licence| licence.url());
    page.unwrap_or_else(|| words.to_owned())
}

fn media_type(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    let known = MEDIA_TYPES.into_iter().find(|(known, _)| ending.as_deref() == Some(known));
    known.map_or("application/octet-stream", |(_, media_type)| media_type)
}

/// A path as a relative reference of RFC 3986.
fn percent_encoded(path: &str) -> String {
    let mut encoded = String::new();
    for byte in path.bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// The UTC day of a time, as YYYY-MM-DD; years are counted from March, so that leap days come last.
fn date(time_ms: u64) -> Result<String, CroissantError> {
    let days = time_ms / MS_IN_A_DAY + DAYS_TO_1970;
    let (era, day) = (days / DAYS_IN_400_YEARS, days % DAYS_IN_400_YEARS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, is_next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    match era * 400 + year + is_next_year {
        year if year <= 9999 => Ok(format!("{year:04}-{month:02}-{day_of_month:02}")),
        _ => Err(CroissantError::Time { time_ms }),
    }
}

/// The context that Croissant 1.1 states, with the prefixes `prov` and `tally`.
fn context() -> Json {
    const OF_CROISSANT: [&str; 26] = [
        "arrayShape",
        "citeAs",
        "column",
        "containedIn",
        "equivalentProperty",
        "extract",
        "field",
        "fileObject",
        "fileProperty",
        "fileSet",
        "format",
        "includes",
        "isArray",
        "isLiveDataset",
        "jsonPath",
        "key",
        "md5",
        "parentField",
        "path",
        "recordSet",
        "references",
        "regex",
        "repeated",
        "replace",
        "samplingRate",
        "separator",
    ];
    const MORE_OF_CROISSANT: [&str; 3] = ["source", "subField", "transform"];
    const PREFIXES: [(&str, &str); 8] = [
        ("@language", "en"),
        ("@vocab", "https://schema.org/"),
        ("cr", "http://mlcommons.org/croissant/"),
        ("dct", "http://purl.org/dc/terms/"),
        ("prov", "http://www.w3.org/ns/prov#"),
        ("rai", "http://mlcommons.org/croissant/RAI/"),
        ("sc", "https://schema.org/"),
        ("tally", NAMESPACE),
    ];
    let typed =
        |id: &str, kind: &str| Json::map([("@id", Json::text(id)), ("@type", Json::text(kind))]);
    let by_language = || Json::map([("@container", Json::text("@language"))]);
    let terms = OF_CROISSANT.into_iter().chain(MORE_OF_CROISSANT);
    let terms = terms.map(|term| (term, Json::text(format!("cr:{term}"))));
    let prefixes = PREFIXES.into_iter().map(|(prefix, iri)| (prefix, Json::text(iri)));
    let others = [
        ("conformsTo", Json::text("dct:conformsTo")),
        ("data", typed("cr:data", "@json")),
        ("dataType", typed("cr:dataType", "@vocab")),
        ("description", by_language()),
        ("examples", typed("cr:examples", "@json")),
        ("name", by_language()),
    ];
    Json::Map(terms.chain(prefixes).chain(others).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_the_dates_of_the_calendar() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (58, "1970-02-28"),
            (59, "1970-03-01"),
            (364, "1970-12-31"),
            (789, "1972-02-29"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (20_778, "2026-11-21"),
            (47_540, "2100-02-28"),
            (47_541, "2100-03-01"),
            (2_932_896, "9999-12-31"),
        ] {
            assert_eq!(date(days * MS_IN_A_DAY).unwrap(), expected);
            assert_eq!(date(days * MS_IN_A_DAY + MS_IN_A_DAY - 1).unwrap(), expected);
        }
        for time_ms in [2_932_897 * MS_IN_A_DAY, u64::MAX] {
            assert!(matches!(date(time_ms), Err(CroissantError::Time { .. })));
        }
    }

    #[test]
    fn consecutive_days_have_consecutive_dates() {
        let is_leap = |year: u64| {
            year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
        };
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..150_000_u64 {
            let expected = format!("{year:04}-{month:02}-{day:02}");
            assert_eq!(date(days * MS_IN_A_DAY).unwrap(), expected);
            let length = match month {
                2 => 28 + u64::from(is_leap(year)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            (year, month, day) = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                (_, last) if last == length => (year, month + 1, 1),
                _ => (year, month, day + 1),
            };
        }
    }

    #[test]
    fn paths_become_references() {
        assert_eq!(percent_encoded("a/b-1_~.txt"), "a/b-1_~.txt");
        assert_eq!(percent_encoded("a b%#?ü"), "a%20b%25%23%3F%C3%BC");
    }
}
