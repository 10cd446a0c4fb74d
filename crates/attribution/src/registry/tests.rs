//! Tests of the registry and its folder.

use tally_core::{
    Digest,
    cbor::Cbor as _,
    contribution::{Contribution, ContributionKind, Extent, Parent, Relation},
    ed25519::SigningKey,
    receipt::SignedStatement,
};

use super::{ANCESTORS_MAX, FolderError, Registry, RegistryError, RegistryFolder};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn contribution(seed: u8, subject: &str, parents: &[(Digest, u16)]) -> Contribution {
    let parent = |(manifest, share_bps): &(Digest, u16)| Parent {
        relation: Relation::DerivedFrom,
        manifest: *manifest,
        share_bps: *share_bps,
    };
    Contribution {
        contributor: *key(seed).public_key().as_bytes(),
        kind: ContributionKind::Dataset,
        name: subject.into(),
        licence: "MIT".into(),
        subject: Digest::of_content(subject.as_bytes()),
        extent: Extent { count: 1, size_bytes: 10 },
        time_ms: 1,
        parents: parents.iter().map(parent).collect(),
        version: None,
        source: None,
        payee: None,
    }
}

fn signed(seed: u8, subject: &str, parents: &[(Digest, u16)]) -> SignedStatement {
    let contribution = contribution(seed, subject, parents);
    contribution.signed(|message| *key(seed).sign(message).as_bytes())
}

#[test]
fn the_first_of_two_that_register_the_same_counts() {
    let mut registry = Registry::default();
    let (ours, theirs) = (signed(1, "text", &[]), signed(2, "text", &[]));
    registry.register(3, ours.clone()).unwrap();
    registry.register(9, theirs).unwrap();
    let subject = Digest::of_content(b"text");
    let first = registry.first(ContributionKind::Dataset, &subject).unwrap();
    assert_eq!(first.manifest, ours.digest());
    assert_eq!(registry.of_subject(ContributionKind::Dataset, subject).count(), 2);
    assert!(registry.first(ContributionKind::Weights, &subject).is_none());
    let again = registry.register(10, ours.clone()).unwrap_err();
    assert!(matches!(again, RegistryError::Registered { log_index: 3, .. }), "{again}");
    let early = registry.register(9, signed(3, "other", &[])).unwrap_err();
    assert!(matches!(early, RegistryError::Order { last: 9, found: 9 }), "{early}");
}

#[test]
fn lineage_is_refused_where_it_has_a_gap_a_double_or_more_than_the_whole() {
    let mut registry = Registry::default();
    let book = registry.register(0, signed(1, "book", &[])).unwrap().manifest;
    let pages = registry.register(1, signed(2, "pages", &[])).unwrap().manifest;
    let nowhere = Digest::of_content(b"nowhere");
    let refused =
        |parents: &[(Digest, u16)]| registry.require(&signed(3, "child", parents)).unwrap_err();
    assert!(
        matches!(refused(&[(nowhere, 1)]), RegistryError::Parent { parent } if parent == nowhere)
    );
    assert!(matches!(refused(&[(book, 1), (book, 2)]), RegistryError::ParentTwice { .. }));
    let above = refused(&[(book, 5_000), (pages, 5_001)]);
    assert!(matches!(above, RegistryError::Shares { found: 10_001 }), "{above}");
    registry.require(&signed(3, "child", &[(book, 5_000), (pages, 5_000)])).unwrap();
}

#[test]
fn ancestors_come_after_their_children_and_are_limited() {
    let mut registry = Registry::default();
    let mut last = registry.register(0, signed(1, "0", &[])).unwrap().manifest;
    for generation in 1..=ANCESTORS_MAX as u64 {
        let child = signed(1, &generation.to_string(), &[(last, 1)]);
        last = registry.register(generation, child).unwrap().manifest;
    }
    let all = registry.with_ancestors([last]);
    assert_eq!(all.len(), ANCESTORS_MAX + 1);
    assert!(all.windows(2).all(|pair| pair[0].log_index > pair[1].log_index));
    let further = registry.require(&signed(1, "more", &[(last, 1)])).unwrap_err();
    let found = ANCESTORS_MAX + 1;
    assert!(matches!(further, RegistryError::Ancestors { found: f } if f == found), "{further}");
}

#[test]
fn a_manifest_that_another_signed_or_that_was_changed_is_refused() {
    let registry = Registry::default();
    let foreign = contribution(1, "text", &[]);
    let foreign = foreign.signed(|message| *key(2).sign(message).as_bytes());
    assert!(matches!(registry.require(&foreign), Err(RegistryError::Signature)));
    let good = signed(1, "text", &[]);
    for place in 0..good.payload.len() {
        let mut changed = good.clone();
        changed.payload[place] ^= 1;
        assert!(registry.require(&changed).is_err(), "byte {place}");
    }
    let other = contribution(1, "other", &[]);
    let headed = SignedStatement { protected: other.header().encode(), ..good };
    assert!(matches!(registry.require(&headed), Err(RegistryError::Header { .. })));
}

#[test]
fn a_folder_keeps_what_is_registered_and_says_which_file_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registry");
    let mut kept = RegistryFolder::open(&path).unwrap();
    assert!(kept.registry().all().is_empty());
    let book = kept.register(4, signed(1, "book", &[])).unwrap().manifest;
    kept.register(7, signed(2, "pages", &[(book, 100)])).unwrap();
    assert!(matches!(
        kept.register(8, signed(2, "pages", &[(book, 100)])),
        Err(FolderError::Registry { cause: RegistryError::Registered { log_index: 7, .. }, .. })
    ));
    let again = RegistryFolder::open(&path).unwrap();
    assert_eq!(again.registry().all(), kept.registry().all());
    let file = path.join(format!("000000000004-{book}.contribution"));
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    assert!(matches!(RegistryFolder::open(&path), Err(FolderError::Name { .. })));
    bytes.truncate(last);
    std::fs::write(&file, &bytes).unwrap();
    assert!(matches!(RegistryFolder::open(&path), Err(FolderError::Form { .. })));
    std::fs::write(&file, vec![0; 9_000]).unwrap();
    let large = RegistryFolder::open(&path).unwrap_err();
    assert!(large.to_string().contains("9000 bytes, the limit is 8192"), "{large}");
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(
        RegistryFolder::open(&path),
        Err(FolderError::Registry { cause: RegistryError::Parent { .. }, .. })
    ));
}

#[test]
fn what_was_logged_and_cut_short_is_registered_later_where_the_log_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registry");
    let mut kept = RegistryFolder::open(&path).unwrap();
    let book = kept.register(4, signed(1, "book", &[])).unwrap().manifest;
    kept.register(9, signed(2, "pages", &[(book, 100)])).unwrap();
    // Entry 6 was logged, and the power went before its file was written.
    let late = kept.register(6, signed(3, "book", &[])).unwrap().manifest;
    let again = RegistryFolder::open(&path).unwrap();
    assert_eq!(again.registry().all(), kept.registry().all());
    assert_eq!(again.registry().all()[1].manifest, late);
    assert_eq!(again.registry().get(&late), Some(&kept.registry().all()[1]));
    let first = kept.registry().first(ContributionKind::Dataset, &Digest::of_content(b"book"));
    assert_eq!(first.unwrap().manifest, book);
}

#[test]
fn what_is_refused_at_its_place_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registry");
    let mut kept = RegistryFolder::open(&path).unwrap();
    let book = kept.register(4, signed(1, "book", &[])).unwrap().manifest;
    let taken = kept.register(4, signed(2, "other", &[])).unwrap_err();
    assert!(
        matches!(taken, FolderError::Registry { cause: RegistryError::Order { .. }, .. }),
        "{taken}"
    );
    let orphan = kept.register(3, signed(2, "pages", &[(book, 100)])).unwrap_err();
    assert!(
        matches!(orphan, FolderError::Registry { cause: RegistryError::Parent { .. }, .. }),
        "{orphan}"
    );
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 1);
    assert_eq!(RegistryFolder::open(&path).unwrap().registry().all(), kept.registry().all());
}
