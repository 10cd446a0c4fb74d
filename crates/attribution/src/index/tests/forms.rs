//! Files that are no index, and documents that no index takes.

use super::*;

fn opened(bytes: &[u8]) -> Result<Index, IndexError> {
    let folder = Folder::new();
    std::fs::write(folder.path(), bytes).unwrap();
    Index::open(&folder.path())
}

fn file() -> Vec<u8> {
    let folder = Folder::new();
    folder.build(&[b"some text".to_vec(), b"and more of it".to_vec()]);
    std::fs::read(folder.path()).unwrap()
}

#[test]
fn a_file_of_another_kind_version_or_size_is_refused() {
    let file = file();
    assert!(opened(&file).is_ok());
    assert!(matches!(opened(b"").unwrap_err(), IndexError::File(_) | IndexError::NotIndex { .. }));
    assert!(matches!(opened(b"tallyid").unwrap_err(), IndexError::NotIndex { .. }));
    assert!(matches!(opened(b"tallyidx").unwrap_err(), IndexError::Version { found: 0, .. }));
    let mut version = file.clone();
    version[8] = 2;
    assert!(matches!(opened(&version).unwrap_err(), IndexError::Version { found: 2, .. }));
    for len in 12..file.len() {
        assert!(opened(&file[..len]).is_err(), "{len} bytes");
    }
    let longer = [&file[..], &[0]].concat();
    let error = opened(&longer).unwrap_err();
    assert!(matches!(error, IndexError::SectionPlace { section: 9, .. }), "{error}");
}

#[test]
fn every_field_of_the_head_and_every_byte_between_sections_matters() {
    let folder = Folder::new();
    let index = folder.build(&[b"some text".to_vec(), b"and more of it".to_vec()]);
    let file = std::fs::read(folder.path()).unwrap();
    let used = file::SECTIONS.map(|section| index.range(section));
    for at in (8..file.len()).filter(|at| !used.iter().any(|range| range.contains(at))) {
        for change in [1, 0x80] {
            let mut changed = file.clone();
            changed[at] ^= change;
            assert!(opened(&changed).is_err(), "byte {at}");
        }
    }
}

#[test]
fn sizes_whose_sum_leaves_64_bits_are_refused() {
    let folder = Folder::new();
    let index = folder.build(&[b"some text".to_vec(), b"and more of it".to_vec()]);
    let file = std::fs::read(folder.path()).unwrap();
    let names = index.range(file::Section::Names).start as u64;
    // The third pair of the table, of start and size: names that end where counting begins anew.
    let place = 16 + 2 * 16 + 8;
    for size in [0_u64.wrapping_sub(names), u64::MAX, u64::MAX - 63, file.len() as u64 + 1] {
        let mut changed = file.clone();
        changed[place..place + 8].copy_from_slice(&size.to_le_bytes());
        let error = opened(&changed).unwrap_err();
        assert!(matches!(error, IndexError::SectionBeyond { section: 2, .. }), "{error}");
    }
}

#[test]
fn documents_that_do_not_divide_the_text_are_refused() {
    let folder = Folder::new();
    let index = folder.build(&[b"some text".to_vec(), b"and more of it".to_vec()]);
    let records = index.range(file::Section::Documents).start;
    let names = index.range(file::Section::Names).start;
    let file = std::fs::read(folder.path()).unwrap();
    let changed = |at: usize, change: u8| {
        let mut changed = file.clone();
        changed[at] ^= change;
        opened(&changed).unwrap_err()
    };
    assert!(matches!(changed(records, 1), IndexError::DocumentPlace { document: 0, .. }));
    assert!(matches!(changed(records + 4, 1), IndexError::DocumentPlace { document: 1, .. }));
    assert!(matches!(changed(records + 52, 1), IndexError::DocumentPlace { document: 2, .. }));
    assert!(matches!(changed(records + 8, 1), IndexError::Contribution { document: 0, .. }));
    assert!(matches!(changed(records + 12, 0x40), IndexError::Name { document: 0 }));
    assert!(matches!(changed(names, 0x80), IndexError::Name { document: 0 }));
}

#[test]
fn a_builder_refuses_what_an_index_cannot_hold() {
    let mut builder = Builder::new();
    let error = builder.document("a", b"text").unwrap_err();
    assert!(matches!(error, IndexError::Missing { what: "a contribution" }), "{error}");
    let manifest = Digest::of_content(b"");
    builder.contribution(manifest).unwrap();
    for text in [&b"ab\xff"[..], b"ab\xc3", b"ab\x80cd"] {
        let error = builder.document("a", text).unwrap_err();
        assert!(matches!(error, IndexError::NotUtf8 { document: 0, at: 2 }), "{error}");
    }
    assert_eq!(builder.text_bytes(), 0);
    builder.document(&"n".repeat(NAME_BYTES_MAX), b"").unwrap();
    let error = builder.document(&"n".repeat(NAME_BYTES_MAX + 1), b"").unwrap_err();
    assert!(matches!(error, IndexError::Limit { what: "bytes of a name", .. }), "{error}");
    for _ in 1..tally_core::trace::CONTRIBUTION_COUNT_MAX {
        builder.contribution(manifest).unwrap();
    }
    let error = builder.contribution(manifest).unwrap_err();
    assert!(matches!(error, IndexError::Limit { what: "contributions", .. }), "{error}");
    let error = Builder::new().build(&Folder::new().path(), &mut |_| ()).unwrap_err();
    assert!(matches!(error, IndexError::Missing { what: "a document" }), "{error}");
}

#[test]
fn a_build_that_fails_leaves_the_old_index_and_nothing_else() {
    let folder = Folder::new();
    let root = folder.build(&[b"old".to_vec()]).root();
    Builder::new().build(&folder.path(), &mut |_| ()).unwrap_err();
    assert_eq!(Index::open(&folder.path()).unwrap().root(), root);
    let newer = folder.build(&[b"new".to_vec()]).root();
    assert_eq!(Index::open(&folder.path()).unwrap().root(), newer);
    assert_eq!(std::fs::read_dir(folder.0.path()).unwrap().count(), 1);
}
