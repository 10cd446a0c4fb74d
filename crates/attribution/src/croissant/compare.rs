//! What a Croissant document tells beside what is contributed: its files, and its words.
//!
//! A file is looked for by its path, and else by its digest, since producers name files by where they
//! can be downloaded. Each file is one document, and no document is two files.

use std::collections::BTreeMap;

use tally_core::Digest;
use tally_core::account::Account;
use tally_core::contribution::Contribution;

use super::export::MANIFEST_IRI;
use super::{CroissantDataset, CroissantError, CroissantFile};
use crate::dataset::Dataset;
use crate::did::{parse_did, to_did};

/// What a dataset's documents have, by name.
type Open<'a> = BTreeMap<&'a str, (Digest, u64)>;

impl CroissantDataset {
    /// Compares every file whose digest is told with a dataset, and returns the names of the documents
    /// that no digest covers: there are some only where sets of files, or files without digest, are told.
    ///
    /// # Errors
    /// If a file has another digest or size, is missing, or a document is not told of at all.
    pub fn compare_files(&self, dataset: &Dataset) -> Result<Vec<String>, CroissantError> {
        let documents = dataset.documents.iter();
        let mut open: Open<'_> = documents
            .map(|(name, text)| {
                let measured = (Digest::of_content(text.as_bytes()), text.len() as u64);
                (name.as_str(), measured)
            })
            .collect();
        let mut elsewhere = vec![];
        for file in &self.files {
            match paths(file).find(|path| open.contains_key(path.as_str())) {
                Some(path) => take(&mut open, &path, file)?,
                None => elsewhere.push(file),
            }
        }
        let mut by_digest: BTreeMap<Digest, Vec<&str>> = BTreeMap::new();
        for (name, (digest, _)) in &open {
            by_digest.entry(*digest).or_default().push(name);
        }
        for file in elsewhere {
            let named = by_digest.get_mut(&file.sha256).and_then(Vec::pop);
            let named = named.ok_or_else(|| CroissantError::Missing {
                id: file.id.clone(),
                described: file.sha256,
            })?;
            take(&mut open, named, file)?;
        }
        match open.first_key_value() {
            Some((name, (found, _))) if self.not_covered.is_empty() => {
                Err(CroissantError::NotDescribed { name: (*name).into(), found: *found })
            }
            _ => Ok(open.into_keys().map(ToOwned::to_owned).collect()),
        }
    }
}

impl CroissantDataset {
    /// Compares what the document says with a contribution that is about to be signed: name, licence,
    /// version, page, the `did:key` of a creator, and manifests of ours that it was derived from.
    ///
    /// What the document does not say, and a licence that no SPDX expression is known for, agrees with anything.
    ///
    /// # Errors
    /// The first in which they differ, with both.
    pub fn compare_words(&self, contribution: &Contribution) -> Result<(), CroissantError> {
        let licence = Some(&self.licence.licence).filter(|licence| !licence.is_unknown());
        for (what, described, found) in [
            ("name", Some(self.name.as_str()), Some(contribution.name.as_str())),
            ("licence", licence.map(|it| it.as_str()), Some(contribution.licence.as_str())),
            ("version", self.version.as_deref(), contribution.version.as_deref()),
            ("url", self.url.as_deref(), contribution.source.as_deref()),
        ] {
            if let Some(described) = described.filter(|described| found != Some(described)) {
                let found = found.unwrap_or("nothing").into();
                return Err(CroissantError::Differs { what, described: described.into(), found });
            }
        }
        let creators = self.creators.iter().filter_map(|creator| creator.iri.as_deref());
        let creators: Vec<&str> = creators.filter(|iri| parse_did(iri).is_ok()).collect();
        let is_own = |iri: &&str| {
            parse_did(iri).is_ok_and(|key| {
                key == contribution.contributor
                    || contribution.payee == Some(Account::Contributor(key))
            })
        };
        if let Some(described) = creators.first().filter(|_| !creators.iter().any(is_own)) {
            let found = to_did(&contribution.contributor);
            let described = (*described).into();
            return Err(CroissantError::Differs { what: "creator", described, found });
        }
        let is_parent =
            |manifest: &Digest| contribution.parents.iter().any(|it| it.manifest == *manifest);
        match self.parents().find(|manifest| !is_parent(manifest)) {
            Some(manifest) => Err(CroissantError::Parent { manifest }),
            None => Ok(()),
        }
    }

    /// The manifests of ours that it says it was derived from.
    pub fn parents(&self) -> impl Iterator<Item = Digest> {
        let ours = self.derived_from.iter().filter_map(|iri| iri.strip_prefix(MANIFEST_IRI));
        ours.filter_map(Digest::parse_hex)
    }
}

/// Compares a file with the document of this name, which is no other file's then.
fn take(open: &mut Open<'_>, name: &str, file: &CroissantFile) -> Result<(), CroissantError> {
    let Some((found, size_bytes)) = open.remove(name) else {
        return Err(CroissantError::Missing { id: file.id.clone(), described: file.sha256 });
    };
    let name = name.to_owned();
    if found != file.sha256 {
        return Err(CroissantError::Changed { name, described: file.sha256, found });
    }
    match file.size_bytes {
        Some(described) if described != size_bytes => {
            Err(CroissantError::Size { name, described, found: size_bytes })
        }
        _ => Ok(()),
    }
}

/// The names that a document may have of which a file's address or id tells.
fn paths(file: &CroissantFile) -> impl Iterator<Item = String> {
    let address = file.url.as_deref().filter(|url| !url.contains("://"));
    let written = address.into_iter().chain([file.id.as_str()]);
    written.flat_map(|text| {
        let text = text.strip_prefix("./").unwrap_or(text);
        [Some(text.to_owned()), percent_decoded(text)].into_iter().flatten()
    })
}

/// A relative reference of RFC 3986 as a path; nothing where it is none in UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let (mut decoded, mut rest) = (vec![], text.as_bytes());
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        match (byte, behind) {
            (b'%', [high, low, behind @ ..]) => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                decoded.push(u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?);
                rest = behind;
            }
            (b'%', _) => return None,
            _ => decoded.push(*byte),
        }
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use tally_core::contribution::{ContributionKind, Extent, Parent, Relation};
    use tally_core::ed25519::SigningKey;

    use super::*;

    fn dataset(documents: &[(&str, &str)]) -> Dataset {
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        Dataset { documents: documents.iter().map(owned).collect() }
    }

    /// A document that tells of files by id, address and text; sizes are in it.
    fn described(files: &[(&str, &str, &str)], members: &str) -> CroissantDataset {
        let files: Vec<String> = files
            .iter()
            .map(|(id, url, text)| {
                let digest = Digest::of_content(text.as_bytes());
                format!(
                    r#"{{"@type":"cr:FileObject","@id":"{id}","contentUrl":"{url}","contentSize":"{} B","sha256":"{digest}"}}"#,
                    text.len()
                )
            })
            .collect();
        let document = format!(
            r#"{{"@type":"sc:Dataset","conformsTo":"http://mlcommons.org/croissant/1.1","name":"texts",{members}"distribution":[{}]}}"#,
            files.join(",")
        );
        CroissantDataset::parse(document.as_bytes()).unwrap()
    }

    #[test]
    fn files_are_found_by_address_by_id_and_by_digest() {
        let there = dataset(&[("a b.txt", "one"), ("sub/c.txt", "two"), ("d.txt", "three")]);
        let told = described(
            &[
                ("x", "a%20b.txt", "one"),
                ("sub/c.txt", "https://example.org/c", "two"),
                ("y", "https://example.org/elsewhere.txt", "three"),
            ],
            "",
        );
        assert!(told.compare_files(&there).unwrap().is_empty());
        let dotted = described(&[("x", "./d.txt", "three")], "");
        assert!(dotted.compare_files(&dataset(&[("d.txt", "three")])).unwrap().is_empty());
    }

    #[test]
    fn a_file_that_differs_is_named_with_both_digests() {
        let told = described(&[("a.txt", "a.txt", "one")], "");
        let refused = told.compare_files(&dataset(&[("a.txt", "two")])).unwrap_err();
        let [one, two] = ["one", "two"].map(|text| Digest::of_content(text.as_bytes()));
        let expected = format!("`a.txt` has SHA-256 {two}, croissant document says {one}");
        assert_eq!(refused.to_string(), expected);
        let mut told = told;
        told.files[0].size_bytes = Some(4);
        let refused = told.compare_files(&dataset(&[("a.txt", "one")])).unwrap_err();
        assert_eq!(refused.to_string(), "`a.txt` has 3 bytes, croissant document says 4");
        told.files[0].size_bytes = None;
        told.compare_files(&dataset(&[("a.txt", "one")])).unwrap();
    }

    #[test]
    fn a_file_is_one_document_and_a_document_one_file() {
        let twice = described(
            &[("a", "https://x.example/1", "one"), ("b", "https://x.example/2", "one")],
            "",
        );
        twice.compare_files(&dataset(&[("1", "one"), ("2", "one")])).unwrap();
        let refused = twice.compare_files(&dataset(&[("1", "one")]));
        assert!(matches!(refused, Err(CroissantError::Missing { id, .. }) if id == "b"));
        let once = described(&[("a", "1", "one")], "");
        let refused = once.compare_files(&dataset(&[("1", "one"), ("2", "one")]));
        assert!(matches!(refused, Err(CroissantError::NotDescribed { name, .. }) if name == "2"));
        // A document that is told of under its own name is not another file by its digest.
        let swapped = described(&[("1", "1", "two"), ("2", "2", "one")], "");
        let refused = swapped.compare_files(&dataset(&[("1", "one"), ("2", "two")]));
        assert!(matches!(refused, Err(CroissantError::Changed { name, .. }) if name == "1"));
    }

    #[test]
    fn what_sets_of_files_tell_of_is_covered_by_no_digest() {
        let mut told = described(&[("a", "a", "one")], "");
        told.not_covered.push(super::super::NotCovered {
            id: "all".into(),
            reason: super::super::NotCoveredReason::FileSet,
        });
        let there = dataset(&[("a", "one"), ("b", "two")]);
        assert_eq!(told.compare_files(&there).unwrap(), ["b"]);
        let refused = told.compare_files(&dataset(&[("b", "two")]));
        assert!(matches!(refused, Err(CroissantError::Missing { .. })));
    }

    #[test]
    fn percent_signs_stand_for_bytes_of_utf8_alone() {
        assert_eq!(percent_decoded("a%20%C3%BC").as_deref(), Some("a ü"));
        for text in ["%", "%2", "%zz", "%+1", "%ff"] {
            assert_eq!(percent_decoded(text), None, "{text}");
        }
    }

    fn key(seed: u8) -> [u8; 32] {
        *SigningKey::from_seed(&[seed; 32]).public_key().as_bytes()
    }

    fn contribution() -> Contribution {
        Contribution {
            contributor: key(1),
            kind: ContributionKind::Dataset,
            name: "texts".into(),
            licence: "MIT".into(),
            subject: Digest::of_content(b"subject"),
            extent: Extent::default(),
            time_ms: 0,
            parents: vec![],
            version: Some("1".into()),
            source: Some("https://example.org".into()),
            payee: None,
        }
    }

    #[test]
    fn words_that_differ_are_refused_with_both() {
        let refused = |members: &str| {
            let told = described(&[], members);
            told.compare_words(&contribution()).err().map(|error| error.to_string())
        };
        assert_eq!(refused(""), None);
        assert_eq!(refused(r#""license":"mit","version":"1","url":"https://example.org","#), None);
        for (members, expected) in [
            (
                r#""license":"apache-2.0","#,
                "licence is `MIT`, croissant document says `Apache-2.0`",
            ),
            (r#""version":2,"#, "version is `1`, croissant document says `2`"),
            (
                r#""url":"https://other.example","#,
                "url is `https://example.org`, croissant document says `https://other.example`",
            ),
        ] {
            assert_eq!(refused(members).as_deref(), Some(expected), "{members}");
        }
        // Nobody can say which SPDX licence these words mean, so they contradict none.
        assert_eq!(refused(r#""license":"like our website","#), None);
        let mut bare = contribution();
        bare.version = None;
        let told = described(&[], r#""version":"2","#);
        let refused = told.compare_words(&bare).unwrap_err().to_string();
        assert_eq!(refused, "version is `nothing`, croissant document says `2`");
    }

    #[test]
    fn another_creators_key_and_an_unnamed_parent_are_refused() {
        let [own, other] = [1, 2].map(|seed| to_did(&key(seed)));
        let of = |did: &str| described(&[], &format!(r#""creator":{{"@id":"{did}","name":"x"}},"#));
        of(&own).compare_words(&contribution()).unwrap();
        of("https://example.org/ada").compare_words(&contribution()).unwrap();
        let refused = of(&other).compare_words(&contribution()).unwrap_err().to_string();
        assert_eq!(refused, format!("creator is `{own}`, croissant document says `{other}`"));
        let mut paid = contribution();
        paid.payee = Some(Account::Contributor(key(2)));
        of(&other).compare_words(&paid).unwrap();

        let manifest = Digest::of_content(b"parent");
        let iri = format!(
            r#""prov:wasDerivedFrom":[{{"@id":"urn:tally:manifest:{manifest}"}},"https://a.example"],"#
        );
        let told = described(&[], &iri);
        assert_eq!(told.parents().collect::<Vec<_>>(), [manifest]);
        let refused = told.compare_words(&contribution());
        assert!(matches!(refused, Err(CroissantError::Parent { manifest: it }) if it == manifest));
        let mut derived = contribution();
        derived.parents = vec![Parent { relation: Relation::DerivedFrom, manifest, share_bps: 0 }];
        told.compare_words(&derived).unwrap();
    }
}
