//! Croissant documents: read, refused by cause, written and read again.

use tally_core::contribution::Relation;

use super::*;
use crate::did::to_did;

const SHA256: &str = "48a7c257f3c90b2a3e529ddd2cca8f4f1bd8e49ed244ef53927649504ac55354";

/// A small document with `members` in place of, or beside, the usual ones.
fn document(members: &[(&str, &str)]) -> String {
    let mut all = std::collections::BTreeMap::from([
        ("@type", r#""sc:Dataset""#),
        ("conformsTo", r#""http://mlcommons.org/croissant/1.1""#),
        ("name", r#""texts""#),
    ]);
    all.extend(members.iter().copied());
    let members: Vec<_> = all.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

fn parse(members: &[(&str, &str)]) -> Result<CroissantDataset, CroissantError> {
    CroissantDataset::parse(document(members).as_bytes())
}

fn fault_path(members: &[(&str, &str)]) -> String {
    match parse(members) {
        Err(CroissantError::Json(fault)) => fault.path,
        other => panic!("{other:?}"),
    }
}

fn contribution() -> Contribution {
    Contribution {
        contributor: [0x3b; 32],
        kind: ContributionKind::Dataset,
        name: "Manual \"pages\"".into(),
        licence: "MIT".into(),
        subject: Digest::from_bytes([1; 32]),
        extent: Extent { count: 2, size_bytes: 30 },
        time_ms: 1_795_219_200_000,
        parents: vec![
            Parent {
                relation: Relation::DerivedFrom,
                manifest: Digest::from_bytes([2; 32]),
                share_bps: 2500,
            },
            Parent {
                relation: Relation::TrainedOn,
                manifest: Digest::from_bytes([3; 32]),
                share_bps: 0,
            },
        ],
        version: Some("6.9".into()),
        source: Some("https://example.org/pages".into()),
        payee: Some(Account::Commons),
    }
}

fn files() -> Vec<DescribedFile> {
    let file = |name: &str, size_bytes| DescribedFile {
        name: name.into(),
        sha256: Digest::of_content(name.as_bytes()),
        size_bytes,
        url: None,
    };
    vec![file("man1/ls 1.txt", 10), file("man2/open.jsonl", 20)]
}

fn encode(contribution: &Contribution, files: &[DescribedFile]) -> Result<String, CroissantError> {
    let manifest = Digest::from_bytes([9; 32]);
    Description { contribution, manifest, text: None, files }.encode()
}

#[test]
fn the_least_document_is_read() {
    let dataset = parse(&[]).unwrap();
    assert_eq!(dataset.conforms_to, CroissantVersion::V1_1);
    assert_eq!(dataset.name, "texts");
    assert!(dataset.licence.licence.is_unknown() && dataset.licence.stated.is_empty());
    assert!(dataset.files.is_empty() && dataset.not_covered.is_empty());
    assert_eq!((dataset.description, dataset.version, dataset.url), (None, None, None));
}

#[test]
fn names_in_several_languages_are_read_in_english() {
    let name = |value: &str| parse(&[("name", value)]).unwrap().name;
    assert_eq!(name(r#"{"de":"Texte","en":"texts","fr":"textes"}"#), "texts");
    assert_eq!(name(r#"{"fr":"textes","de":"Texte"}"#), "Texte");
    assert_eq!(name(r#"{"de":"Texte","en-GB":"texts"}"#), "texts");
    assert_eq!(name(r#"{"@value":"texts","@language":"fr"}"#), "texts");
    let list = r#"[{"@value":"Texte","@language":"de"},{"@value":"texts","@language":"en"}]"#;
    assert_eq!(name(list), "texts");
}

#[test]
fn one_value_and_a_list_of_one_are_the_same() {
    let one = r#"{"@type":"sc:Person","name":"Ada","url":"https://ada.example"}"#;
    let creators = parse(&[("creator", one)]).unwrap().creators;
    let expected = Creator { name: Some("Ada".into()), iri: Some("https://ada.example".into()) };
    assert_eq!(creators, [expected]);
    assert_eq!(parse(&[("creator", &format!("[{one}]"))]).unwrap().creators, creators);
    assert!(parse(&[("creator", "null")]).unwrap().creators.is_empty());
    let iri = r#"[{"@id":"http://mlcommons.org/croissant/1.0"},"http://mlcommons.org/croissant/RAI/1.0"]"#;
    let dataset = parse(&[("conformsTo", iri)]).unwrap();
    assert_eq!(dataset.conforms_to, CroissantVersion::V1_0);
}

#[test]
fn files_without_digest_and_sets_are_told_as_not_covered() {
    let distribution = format!(
        r#"[{{"@type":"cr:FileObject","@id":"a","sha256":"{SHA256}","contentSize":"12 B","contentUrl":"a.csv"}},
            {{"@type":"sc:FileObject","name":"b","sha256":"{}","contentSize":12}},
            {{"@type":"cr:FileObject","@id":"c","sha256":"{SHA256}","contentSize":"1.5 KB"}},
            {{"@type":"cr:FileSet","@id":"d","includes":"*.parquet"}},
            {{"@type":"cr:FileObject","@id":"e","sha256":"https://example.org/issues/80"}},
            {{"@type":"cr:FileObject"}},
            {{"@type":["x:Thing","y"],"@id":"g"}}]"#,
        SHA256.to_ascii_uppercase(),
    );
    let dataset = parse(&[("distribution", &distribution)]).unwrap();
    let files: Vec<_> = dataset.files.iter().map(|file| (&*file.id, file.size_bytes)).collect();
    assert_eq!(files, [("a", Some(12)), ("b", Some(12)), ("c", None)]);
    assert!(dataset.files.iter().all(|file| file.sha256.to_string() == SHA256));
    assert_eq!(dataset.files[0].url.as_deref(), Some("a.csv"));
    let reasons: Vec<_> = dataset.not_covered.iter().map(|no| (&*no.id, &no.reason)).collect();
    let not_a_digest =
        NotCoveredReason::NotADigest { found: "https://example.org/issues/80".into() };
    let other = NotCoveredReason::OtherType { found: "x:Thing, y".into() };
    assert_eq!(
        reasons,
        [
            ("d", &NotCoveredReason::FileSet),
            ("e", &not_a_digest),
            ("distribution[5]", &NotCoveredReason::NoDigest),
            ("g", &other),
        ],
    );
}

#[test]
fn sizes_are_read_where_they_are_exact() {
    for (size, expected) in [
        (r#""0""#, Some(0)),
        (r#""18446744073709551615 bytes""#, Some(u64::MAX)),
        (r#""18446744073709551616""#, None),
        (r#""12B""#, Some(12)),
        (r#""12 KB""#, None),
        (r#""-1""#, None),
        ("1.5", None),
        (r#""""#, None),
        (r#""12 BB""#, None),
    ] {
        let item =
            format!(r#"{{"@type":"cr:FileObject","sha256":"{SHA256}","contentSize":{size}}}"#);
        let dataset = parse(&[("distribution", &item)]).unwrap();
        assert_eq!(dataset.files[0].size_bytes, expected, "{size}");
    }
}

#[test]
fn wrong_types_are_refused_with_their_path() {
    assert_eq!(fault_path(&[("name", "5")]), "name");
    assert_eq!(fault_path(&[("license", "[{\"@id\":1}]")]), "license[0].@id");
    assert_eq!(fault_path(&[("version", "[]")]), "version");
    assert_eq!(fault_path(&[("distribution", r#"[{},{"sha256":5}]"#)]), "distribution[1].sha256");
    assert_eq!(fault_path(&[("distribution", r#"{"contentUrl":[]}"#)]), "distribution.contentUrl");
    assert_eq!(fault_path(&[("@type", "true")]), "@type");
    assert_eq!(fault_path(&[("tally:manifest", "{}")]), "tally:manifest");
    let twice = document(&[]).replacen('{', r#"{"name":"other","#, 1);
    assert!(matches!(CroissantDataset::parse(twice.as_bytes()), Err(CroissantError::Json(_))));
}

#[test]
fn unknown_members_of_any_shape_are_passed_over() {
    let members =
        [("recordSet", r#"[{"field":[1,{"a":null}]}]"#), ("x:y", "1.5e300"), ("z", "[[[]]]")];
    assert_eq!(parse(&members).unwrap(), parse(&[]).unwrap());
    // Passing over takes no stack, so depth is no danger there.
    let deep = format!("{}{}", "[".repeat(1 << 20), "]".repeat(1 << 20));
    assert_eq!(parse(&[("z", &deep)]).unwrap(), parse(&[]).unwrap());
    assert!(fault_path(&[("name", &deep)]).starts_with("name[0][0]"));
}

#[test]
fn what_is_no_croissant_dataset_is_refused_by_cause() {
    let refused = |members: &[(&str, &str)]| parse(members).unwrap_err().to_string();
    assert!(refused(&[("@type", r#""sc:Person""#)]).contains("type `sc:Person`"));
    assert!(refused(&[("@type", "[]")]).contains("expected Dataset"));
    let version = refused(&[("conformsTo", r#""http://mlcommons.org/croissant/0.8""#)]);
    assert!(version.contains("conforms to `http://mlcommons.org/croissant/0.8`"), "{version}");
    assert!(matches!(parse(&[("conformsTo", "null")]), Err(CroissantError::Version { .. })));
    for name in ["null", r#""""#] {
        assert!(matches!(parse(&[("name", name)]), Err(CroissantError::NoName)));
    }
    let twice = r#"[{"@type":"cr:FileSet","@id":"a"},{"@type":"cr:FileObject","@id":"a"}]"#;
    let refused = parse(&[("distribution", twice)]);
    assert!(matches!(refused, Err(CroissantError::TwiceTheId { id }) if id == "a"));
    for bytes in [&b""[..], b"[]", b"{}x", b"{\"@type\":", b"\xff"] {
        assert!(CroissantDataset::parse(bytes).is_err());
    }
}

#[test]
fn limits_hold_at_and_beyond_their_edges() {
    let padded = |length: usize| {
        let mut bytes = document(&[]).into_bytes();
        bytes.resize(length, b' ');
        CroissantDataset::parse(&bytes)
    };
    assert!(padded(DOCUMENT_BYTES_MAX).is_ok());
    let found = DOCUMENT_BYTES_MAX + 1;
    assert!(matches!(padded(found), Err(CroissantError::DocumentBytes { found: f }) if f == found));
    let items = |count: usize| format!("[{}]", vec!["{}"; count].join(","));
    let dataset = parse(&[("distribution", &items(FILES_MAX))]).unwrap();
    assert_eq!(dataset.not_covered.len(), FILES_MAX);
    assert_eq!(fault_path(&[("distribution", &items(FILES_MAX + 1))]), "distribution");
    assert_eq!(parse(&[("creator", &items(LIST_MAX))]).unwrap().creators.len(), LIST_MAX);
    assert_eq!(fault_path(&[("creator", &items(LIST_MAX + 1))]), "creator");
}

#[test]
fn a_written_document_is_read_as_it_was_meant() {
    let contribution = contribution();
    let document = encode(&contribution, &files()).unwrap();
    let dataset = CroissantDataset::parse(document.as_bytes()).unwrap();
    assert_eq!(dataset.conforms_to, CroissantVersion::V1_1);
    assert_eq!(dataset.licence.licence.as_str(), "MIT");
    assert_eq!(dataset.manifest, Some(Digest::from_bytes([9; 32])));
    let did = to_did(&contribution.contributor);
    assert_eq!(dataset.creators, [Creator { name: Some(did.clone()), iri: Some(did) }]);
    let parents: Vec<_> =
        contribution.parents.iter().map(|p| format!("urn:tally:manifest:{}", p.manifest)).collect();
    assert_eq!(dataset.derived_from, parents);
    assert!(dataset.not_covered.is_empty());
    for (file, described) in dataset.files.iter().zip(files()) {
        assert_eq!(file.sha256, described.sha256);
        assert_eq!(file.size_bytes, Some(described.size_bytes));
    }
    let texts = Texts { root: contribution.subject, extent: contribution.extent };
    let by = By {
        contributor: contribution.contributor,
        time_ms: contribution.time_ms,
        parents: contribution.parents.clone(),
        payee: contribution.payee,
    };
    assert_eq!(dataset.contribution(&texts, by.clone()).unwrap(), contribution);
    dataset.compare_words(&contribution).unwrap();
    let homeless = Contribution { source: None, ..contribution };
    let document = encode(&homeless, &files()).unwrap();
    let dataset = CroissantDataset::parse(document.as_bytes()).unwrap();
    assert_eq!(dataset.contribution(&texts, by).unwrap(), homeless);
}

#[test]
fn a_written_document_is_canonical() {
    let document = encode(&contribution(), &files()).unwrap();
    let value: serde_json::Value = serde_json::from_str(&document).unwrap();
    let value = serde_json::to_string(&sorted(value)).unwrap();
    assert_eq!(document, value);
    assert!(document.contains(r#""datePublished":"2026-11-21""#), "{document}");
}

fn sorted(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(members) => {
            let members: std::collections::BTreeMap<_, _> = members.into_iter().collect();
            members.into_iter().map(|(name, value)| (name, sorted(value))).collect()
        }
        serde_json::Value::Array(list) => list.into_iter().map(sorted).collect(),
        other => other,
    }
}

#[test]
fn what_cannot_be_written_is_refused_by_cause() {
    let mut other = contribution();
    other.kind = ContributionKind::Weights;
    let kind = ContributionKind::Weights;
    assert!(matches!(encode(&other, &[]), Err(CroissantError::Kind { found }) if found == kind));
    for name in ["", "/a", "a//b", "./a", "a/..", "a\\b", "a\0"] {
        let file = DescribedFile { name: name.into(), ..files()[0].clone() };
        let refused = encode(&contribution(), &[file]);
        assert!(matches!(refused, Err(CroissantError::FileName { .. })), "{name}");
    }
    let twice = [files()[0].clone(), files()[0].clone()];
    let refused = encode(&contribution(), &twice);
    assert!(matches!(refused, Err(CroissantError::TwiceTheId { .. })));
    let many = vec![files()[0].clone(); FILES_MAX + 1];
    assert!(matches!(encode(&contribution(), &many), Err(CroissantError::Files { .. })));
}

#[test]
fn what_no_manifest_can_have_is_refused_by_name() {
    let texts = Texts { root: Digest::from_bytes([1; 32]), extent: Extent::default() };
    let by = || By { contributor: [1; 32], time_ms: 0, parents: vec![], payee: None };
    for (member, limit) in [("name", 128), ("version", 128), ("url", 512)] {
        let read = |length: usize| {
            let text = format!("\"{}\"", "a".repeat(length));
            parse(&[(member, &text)]).unwrap().contribution(&texts, by())
        };
        assert!(read(limit).is_ok());
        let refused = read(limit + 1);
        assert!(
            matches!(refused, Err(CroissantError::Length { what, .. }) if what == member),
            "{refused:?}"
        );
    }
}
