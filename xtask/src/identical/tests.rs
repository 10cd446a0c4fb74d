//! The comparison with the twin fails when the twin computes one thing otherwise.

use super::*;

#[test]
fn the_twin_agrees_until_one_of_its_operations_is_changed() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = tempfile::tempdir().unwrap();
    let (name, config) = shapes::first_odd();
    let jobs = [shapes::odd(name, config, &root, folder.path()).unwrap()];
    let twin = root.join(TWIN);
    let answers = twin::ask(&twin, &jobs).unwrap();
    assert!(twin::compare(&jobs[0], &answers[0]).unwrap() >= 6);

    for (file, from, to) in [
        ("law.py", "(2 * numerator + denominator) //", "(2 * numerator) //"),
        (
            "law.py",
            "x[i + half] * cosines[i] + x[i] * sines[i]",
            "x[i + half] * cosines[i] - x[i] * sines[i]",
        ),
        ("forward.py", "return out, least + 8", "return out, least + 9"),
        (
            "forward.py",
            "seen = slice(max(0, end - layer.window) if layer.window else 0, end)",
            "seen = slice(min(1, end - 1), end)",
        ),
        ("sampler.py", "noise = gumbel(word)", "noise = gumbel(word ^ 1 << 31)"),
        ("model.py", "tally/model-part/v1", "tally/model-part/v2"),
    ] {
        let copy = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(&twin).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
            }
        }
        let text = std::fs::read_to_string(copy.path().join(file)).unwrap();
        assert!(text.contains(from), "{file} has no {from}");
        std::fs::write(copy.path().join(file), text.replacen(from, to, 1)).unwrap();
        let answers = twin::ask(copy.path(), &jobs).unwrap();
        assert!(twin::compare(&jobs[0], &answers[0]).is_err(), "{file}: {to}");
    }
}

#[test]
fn one_bit_of_an_answer_is_noticed() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = tempfile::tempdir().unwrap();
    let (name, config) = shapes::first_odd();
    let job = shapes::odd(name, config, &root, folder.path()).unwrap();
    let mut answers = twin::ask(&root.join(TWIN), std::slice::from_ref(&job)).unwrap().remove(0);
    let last = &mut answers[1]["logits"][43][130];
    *last = (last.as_i64().unwrap() ^ 1).into();
    let error = twin::compare(&job, &answers).unwrap_err().to_string();
    assert!(error.contains("logits[43][130]"), "{error}");
}
