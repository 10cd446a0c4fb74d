//! What nobody can gain by, in random corpora: 10,000 cases for each way to try.

use tally_core::philox::block;

use super::*;

const CASES: u32 = 10_000;

/// Documents of which each is searched from its beginning.
#[derive(Clone, Default)]
struct Plain(Vec<Vec<u8>>);

/// The document at a place of the one shard.
fn id(place: usize) -> DocumentId {
    DocumentId { shard: 0, document: u32::try_from(place).unwrap() }
}

impl Corpus for Plain {
    fn earliest(&self, window: &[u8]) -> Option<DocumentId> {
        let holds = |text: &Vec<u8>| text.windows(window.len()).any(|found| found == window);
        self.0.iter().position(holds).map(id)
    }
}

/// Numbers that look random and are the same everywhere.
struct Draw(u32, u32);

impl Draw {
    fn below(&mut self, limit: usize) -> usize {
        self.1 += 1;
        block([self.0, self.1, 0, 0], [5, 3])[0] as usize % limit
    }

    fn text(&mut self, longest: usize) -> Vec<u8> {
        // Few letters, so that texts have much in common.
        (0..self.below(longest + 1)).map(|_| b'a' + u8::try_from(self.below(3)).unwrap()).collect()
    }
}

/// A corpus, an output that repeats parts of it, the window's length, and one of its documents.
struct Case {
    draw: Draw,
    corpus: Plain,
    output: Vec<u8>,
    window: usize,
    own: usize,
}

/// Cases that are counted as they are drawn; `cargo xtask laws` reads the count.
struct Cases(u32);

impl Drop for Cases {
    fn drop(&mut self) {
        println!("{} cases", self.0);
    }
}

impl Iterator for Cases {
    type Item = Case;

    fn next(&mut self) -> Option<Case> {
        let number = self.0;
        (number < CASES).then(|| {
            self.0 += 1;
            case(number)
        })
    }
}

fn cases() -> Cases {
    Cases(0)
}

fn case(number: u32) -> Case {
    let mut draw = Draw(number, 0);
    let corpus: Vec<Vec<u8>> = (0..=draw.below(5)).map(|_| draw.text(30)).collect();
    let mut output = draw.text(5);
    for _ in 0..draw.below(4) {
        let text = &corpus[draw.below(corpus.len())];
        let start = draw.below(text.len() + 1);
        output.extend(&text[start..start + draw.below(text.len() - start + 1)]);
        output.extend(draw.text(3));
    }
    let (window, own) = (1 + draw.below(6), draw.below(corpus.len()));
    Case { draw, corpus: Plain(corpus), output, window, own }
}

impl Case {
    fn ownership(&self, corpus: &Plain) -> Ownership {
        Ownership::of(&self.output, self.window, corpus)
    }

    /// Bytes of documents at the places of which `is_own` says so.
    fn weight(&self, corpus: &Plain, is_own: impl Fn(usize) -> bool) -> u32 {
        self.ownership(corpus).weight(|id| is_own(id.document as usize))
    }
}

#[test]
fn every_byte_has_one_place_and_the_rule_is_the_plain_one() {
    for case in cases() {
        let found = case.ownership(&case.corpus);
        let covered: u32 = found.spans.iter().map(Span::len).sum();
        assert_eq!(covered as usize, case.output.len());
        assert_eq!(found.weight(|_| true) + found.residual(), covered);
        assert!(
            found
                .spans
                .windows(2)
                .all(|pair| pair[0].end == pair[1].start && pair[0].owner != pair[1].owner)
        );
        for span in &found.spans {
            for at in span.start as usize..span.end as usize {
                let starts = at.saturating_sub(case.window - 1)..=at;
                let windows =
                    starts.filter_map(|start| case.output.get(start..start + case.window));
                let earliest = windows.filter_map(|text| case.corpus.earliest(text)).min();
                assert_eq!(span.owner, earliest, "byte {at}");
            }
        }
    }
}

#[test]
fn registering_again_copying_and_registering_late_gain_nothing_and_lower_nobody() {
    for mut case in cases() {
        let before = case.ownership(&case.corpus);
        let count = case.corpus.0.len();
        // One's own document again, everybody's documents, and something new.
        let own = case.corpus.0[case.own].clone();
        let everybody = case.corpus.0.clone();
        let new = case.draw.text(20);
        for (further, is_copy) in [(vec![own], true), (everybody, true), (vec![new], false)] {
            let later = Plain([case.corpus.0.clone(), further].concat());
            let after = case.ownership(&later);
            for id in 0..count {
                let is_it = |found: DocumentId| found.document as usize == id;
                assert_eq!(after.weight(is_it), before.weight(is_it), "nobody loses or gains");
            }
            let gained = after.weight(|id| id.document as usize >= count);
            assert_eq!(gained, before.residual() - after.residual(), "only what nobody had");
            assert!(!is_copy || gained == 0, "a copy gains nothing");
        }
    }
}

#[test]
fn a_contributor_that_spreads_documents_over_names_owns_the_same() {
    for mut case in cases() {
        // Which documents are one contributor's does not enter the rule; their order does not change.
        let names: Vec<bool> = case.corpus.0.iter().map(|_| case.draw.below(2) == 0).collect();
        let whole = case.weight(&case.corpus, |at| names[at]);
        let each: u32 = (0..names.len())
            .filter(|at| names[*at])
            .map(|own| case.weight(&case.corpus, |at| at == own))
            .sum();
        assert_eq!(whole, each);
    }
}

#[test]
fn cutting_a_document_into_pieces_never_gains() {
    for mut case in cases() {
        let text = case.corpus.0[case.own].clone();
        let at = case.draw.below(text.len() + 1);
        let mut cut = case.corpus.clone();
        cut.0.splice(case.own..=case.own, [text[..at].to_vec(), text[at..].to_vec()]);
        let before = case.weight(&case.corpus, |at| at == case.own);
        let after = case.weight(&cut, |at| at == case.own || at == case.own + 1);
        assert!(after <= before, "{after} of what was {before}");
    }
}

#[test]
fn joining_others_texts_takes_from_the_residual_alone_and_little_at_a_seam() {
    let mut most = 0;
    for mut case in cases() {
        let mut pick = || case.corpus.0[case.draw.below(case.corpus.0.len())].clone();
        let (left, right) = (pick(), pick());
        // An output that goes over the seam, with whatever of both ends.
        let [before, behind] = [left.len(), right.len()].map(|len| case.draw.below(len + 1));
        case.output = [&left[left.len() - before..], &right[..behind]].concat();
        let joined = Plain([case.corpus.0.clone(), vec![[left, right].concat()]].concat());
        let found = case.ownership(&case.corpus);
        let after = case.ownership(&joined);
        let gained = after.weight(|id| id.document as usize == case.corpus.0.len());
        assert_eq!(gained, found.residual() - after.residual(), "only what nobody had");
        let short = u32::try_from(case.window).unwrap() - 1;
        assert!(gained <= 2 * short, "{gained} bytes with windows of {}", case.window);
        let [before, behind] = [before, behind].map(|len| u32::try_from(len).unwrap());
        if before > short || behind > short {
            assert!(gained <= short, "{gained} bytes beside a whole window");
        }
        if before > short && behind > short {
            assert_eq!(gained, 0, "between two whole windows");
        }
        most = most.max(gained);
    }
    assert!(most > 0, "some seam must have been worth something");
}
