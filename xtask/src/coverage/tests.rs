//! Each kind of gap is found, and a whole set has none.

use super::*;
use crate::clauses::Cited;

fn clause(id: &str, is_demand: bool) -> Clause {
    Clause { id: id.to_owned(), spec: "receipt".to_owned(), line: 7, is_demand }
}

fn vector(verdict: Verdict, name: &str, clause: &str, code: Option<&str>) -> Vector {
    let word = if verdict == Verdict::Accept { "accept" } else { "reject" };
    Vector {
        folder: format!("vectors/receipt/{word}/{name}"),
        spec: "receipt".to_owned(),
        verdict,
        name: name.to_owned(),
        case: Some(Case {
            clause: Cited::One(clause.to_owned()),
            code: code.map(str::to_owned),
            differs_from: (verdict == Verdict::Reject).then(|| "accept/001-plain".to_owned()),
            what: "what it shows".to_owned(),
        }),
    }
}

fn sample() -> (Vec<Clause>, Vec<Vector>, Uncovered) {
    (
        vec![clause("R-1", true), clause("R-2", false), clause("R-3", true)],
        vec![
            vector(Verdict::Accept, "001-plain", "R-2", None),
            vector(Verdict::Reject, "001-flipped", "R-1", Some("receipt/signature")),
        ],
        Uncovered {
            clauses: [("R-3".to_owned(), "cannot be seen in bytes".to_owned())].into(),
            specs: BTreeMap::new(),
            answers: BTreeMap::new(),
        },
    )
}

fn findings(clauses: &[Clause], vectors: &[Vector], uncovered: &Uncovered) -> Vec<String> {
    let mut findings = Findings::default();
    compare_clauses(clauses, vectors, uncovered, &mut findings);
    compare_cases(clauses, vectors, &["receipt/signature"], &mut findings);
    findings.lines().to_vec()
}

#[test]
fn a_whole_set_has_no_finding() {
    let (clauses, vectors, uncovered) = sample();
    assert_eq!(findings(&clauses, &vectors, &uncovered), [""; 0]);
}

#[test]
fn a_demand_without_vector_or_reason_is_found() {
    let (clauses, vectors, _) = sample();
    assert_eq!(
        findings(&clauses, &vectors, &Uncovered::default()),
        ["spec/receipt.md:7: R-3 has neither a reject vector nor a written reason"]
    );
}

#[test]
fn an_accept_vector_covers_no_demand_and_yields_no_code() {
    let (clauses, mut vectors, uncovered) = sample();
    vectors.pop();
    vectors.push(vector(Verdict::Accept, "002-other", "R-1", None));
    assert_eq!(
        findings(&clauses, &vectors, &uncovered),
        [
            "spec/receipt.md:7: R-1 has neither a reject vector nor a written reason",
            "no reject vector yields the code receipt/signature",
        ]
    );
}

#[test]
fn stale_empty_and_foreign_excuses_are_found() {
    let (clauses, vectors, mut uncovered) = sample();
    for (id, reason) in [("R-1", "has a vector"), ("R-9", "no such clause"), ("R-3", " ")] {
        uncovered.clauses.insert(id.to_owned(), reason.to_owned());
    }
    uncovered.specs.insert("receipt".to_owned(), "too much".to_owned());
    assert_eq!(findings(&clauses, &vectors, &uncovered).len(), 4);
}

#[test]
fn a_case_that_cites_nothing_known_is_found() {
    let (clauses, mut vectors, uncovered) = sample();
    vectors.push(vector(Verdict::Reject, "002-a", "R-8", Some("receipt/signature")));
    vectors.push(vector(Verdict::Reject, "003-b", "R-1", Some("receipt/unknown")));
    vectors.push(vector(Verdict::Reject, "004-c", "R-1", None));
    let mut last = vector(Verdict::Reject, "005-d", "R-1", Some("receipt/signature"));
    if let Some(case) = &mut last.case {
        case.differs_from = Some("accept/009-none".to_owned());
    }
    vectors.push(last);
    assert_eq!(
        findings(&clauses, &vectors, &uncovered),
        [
            "vectors/receipt/reject/002-a: there is no clause R-8",
            "vectors/receipt/reject/003-b: the verifier has no code receipt/unknown",
            "vectors/receipt/reject/004-c: case.json has no code",
            "vectors/receipt/reject/005-d: differs from accept/009-none, which does not exist",
        ]
    );
}

#[test]
fn a_clause_of_the_arithmetic_without_an_answer_is_found() {
    let clause = |id: &str| Clause {
        id: id.to_owned(),
        spec: ANSWERED_SPEC.to_owned(),
        line: 3,
        is_demand: false,
    };
    let clauses = [clause("A-1"), clause("A-2"), clause("A-3")];
    let answers = |id: &str| Answers { clauses: vec![id.to_owned()], cases: vec![7.into()] };
    let excused = |ids: &[&str]| Uncovered {
        answers: ids.iter().map(|id| ((*id).to_owned(), "a reason".to_owned())).collect(),
        ..Uncovered::default()
    };
    let found = |cited: &[&str], uncovered: &Uncovered| {
        let mut findings = Findings::default();
        let answers: Vec<_> = cited.iter().map(|id| ("x.json", answers(id))).collect();
        compare_answers(&clauses, &answers, uncovered, &mut findings);
        findings.lines().to_vec()
    };
    assert_eq!(found(&["A-1", "A-2"], &excused(&["A-3"])), [""; 0]);
    assert_eq!(
        found(&["A-1"], &excused(&["A-3"])),
        ["spec/arithmetic.md:3: A-2 has neither a known answer nor a written reason"]
    );
    assert_eq!(
        found(&["A-1", "A-2", "A-3"], &excused(&["A-3"])),
        ["spec/uncovered.toml: the excuse for A-3 is stale"]
    );
    assert_eq!(
        found(&["A-1", "A-2", "A-9"], &excused(&["A-3"])),
        ["x.json: there is no clause A-9"]
    );
}
