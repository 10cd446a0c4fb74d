//! The committed vectors are what the law yields, and every kernel yields them.

use super::*;

fn folder() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(FOLDER)
}

#[test]
fn generating_again_yields_the_committed_bytes() {
    for (name, text) in files().unwrap() {
        let committed = fs::read_to_string(folder().join(&name)).unwrap_or_default();
        assert!(committed == text, "{name} differs: run `cargo xtask vectors arithmetic`");
    }
}

#[test]
fn every_kernel_reproduces_every_committed_vector() {
    let mut count = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let content: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let operation = content["operation"].as_str().unwrap();
        if operation == GENERATION {
            continue;
        }
        for case in content["cases"].as_array().unwrap() {
            for kernels in Kernels::available() {
                let found = compute::answer(kernels, operation, &case["in"]).unwrap();
                let place = format!("{}: {operation}: {}", kernels.name(), case["what"]);
                assert!(found == case["out"], "{place}");
            }
            count += 1;
        }
    }
    assert!(count > 300, "{count} vectors");
}

/// What the twin says of one file of vectors, changed, with one of its own files changed.
fn twin_says(
    vectors: &str,
    change_vectors: impl Fn(String) -> String,
    source: &str,
    change_source: impl Fn(String) -> String,
) -> (bool, String) {
    let root = tempfile::tempdir().unwrap();
    let (copy, twin) = (root.path().join("vectors"), root.path().join("twin"));
    fs::create_dir(&copy).unwrap();
    fs::create_dir(&twin).unwrap();
    for entry in fs::read_dir(folder().join("twin")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, twin.join(path.file_name().unwrap())).unwrap();
        }
    }
    let text = fs::read_to_string(folder().join(vectors)).unwrap();
    fs::write(copy.join(vectors), change_vectors(text)).unwrap();
    let text = fs::read_to_string(twin.join(source)).unwrap();
    fs::write(twin.join(source), change_source(text)).unwrap();
    let mut command = std::process::Command::new("python3");
    let output = command.arg(twin.join("run.py")).arg("vectors").arg(copy).output().unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn the_twin_notices_one_unit_in_one_output() {
    let same = |text: String| text;
    for (file, from, to) in [
        ("narrow.json", "\"out\":{\"exponent\":2", "\"out\":{\"exponent\":3"),
        ("divide.json", "{\"values\":[0,", "{\"values\":[1,"),
        ("scores.json", "\"bound\":1073741824", "\"bound\":1073741825"),
        ("gumbel.json", "-52512596", "-52512595"),
        ("logprobs.json", "-693147", "-693148"),
        ("stop.json", "\"count\":3", "\"count\":2"),
    ] {
        let (is_equal, said) = twin_says(file, same, "law.py", same);
        assert!(is_equal, "{file}: {said}");
        let changed = |text: String| {
            assert!(text.contains(from), "{file}");
            text.replacen(from, to, 1)
        };
        let (is_equal, said) = twin_says(file, changed, "law.py", same);
        assert!(!is_equal && said.contains(file), "{file}: {said}");
    }
}

#[test]
fn the_twin_with_one_operation_changed_is_noticed() {
    let same = |text: String| text;
    for (file, source, from, to) in [
        (
            "rescale.json",
            "law.py",
            "else (x + (1 << (s - 1))) >> s",
            "else (x + (1 << (s - 1)) - 1) >> s",
        ),
        ("narrow.json", "law.py", "while rs(m, e) > limit:", "while m >> e > limit:"),
        ("norm.json", "law.py", "max(1, sum(map(mul, u, u))", "max(2, sum(map(mul, u, u))"),
        (
            "divide.json",
            "law.py",
            "(2 * numerator + denominator) // (2 * denominator)",
            "numerator // denominator",
        ),
        ("softmax.json", "law.py", "b = min(value_bits)", "b = min(value_bits) - 1"),
        ("head-norm.json", "law.py", "f = min(big_f, 24)", "f = min(big_f, 23)"),
        ("layer-norm.json", "law.py", "BITS_30 = 2**30 - 1", "BITS_30 = 2**31 - 1"),
        ("residual.json", "law.py", "BOUND_31 = 2**31 - 1", "BOUND_31 = 2**31"),
        ("sample.json", "sampler.py", "kept = kept[:top_k]", "kept = kept[: top_k + 1]"),
        ("weight.json", "sampler.py", "return rs(value, 11)", "return value >> 11"),
        (
            "adjust.json",
            "sampler.py",
            "round_ratio(total << lambda_bits, MILLION)",
            "(total << lambda_bits) // MILLION",
        ),
        ("adjust.json", "sampler.py", "if count > 0:", "if count >= 0:"),
        ("adjust.json", "sampler.py", "min(max(moved, -(2**30)), 2**30)", "moved"),
        (
            "sample-allowed.json",
            "sampler.py",
            "kept = sorted((highest - logits[token], token) for token in allowed)",
            "kept = sorted((highest - logits[token], token) for token in range(len(logits)))",
        ),
        (
            "logprobs.json",
            "sampler.py",
            "rs((base - (delta << (40 - lambda_bits))) * MILLION, 40)",
            "(base - (delta << (40 - lambda_bits))) * MILLION >> 40",
        ),
        ("stop.json", "sampler.py", "text[: min(starts)]", "text[: max(starts)]"),
    ] {
        let changed = |text: String| {
            assert!(text.contains(from), "{source} has no {from}");
            text.replacen(from, to, 1)
        };
        let (is_equal, said) = twin_says(file, same, source, changed);
        assert!(!is_equal && said.contains(file), "{file}: {from}: {said}");
    }
}
