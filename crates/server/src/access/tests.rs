//! The keys of a node: who is let in, and how often.

use super::*;

fn access() -> (Access, String, String) {
    let (first, first_hash) = new_key(&[1; 32]);
    let (second, second_hash) = new_key(&[2; 32]);
    let key = |name: &str, hash, requests_per_minute, concurrent| AccessKey {
        name: name.into(),
        hash,
        requests_per_minute,
        concurrent,
    };
    let keys = vec![key("first", first_hash, 3, 2), key("second", second_hash, 100, 1)];
    (Access::Keys(Keys::new(keys)), first, second)
}

fn status(result: Result<Entrance, ApiError>) -> Option<(u16, &'static str)> {
    result.err().map(|error| (error.status, error.code))
}

#[test]
fn only_a_whole_known_key_is_let_in() {
    let (access, first, second) = access();
    for key in [&first, &second] {
        assert_eq!(status(access.enter(Some(&format!("Bearer {key}")), 0)), None);
    }
    let wrong = Some((401, "invalid_api_key"));
    let missing = Some((401, "missing_api_key"));
    assert_eq!(
        status(access.enter(Some(&format!("Bearer {}", &first[..first.len() - 1])), 0)),
        wrong
    );
    assert_eq!(status(access.enter(Some(&format!("Bearer {first}0")), 0)), wrong);
    assert_eq!(status(access.enter(Some("Bearer "), 0)), wrong);
    assert_eq!(status(access.enter(Some(&first), 0)), missing);
    assert_eq!(status(access.enter(None, 0)), missing);
    assert_eq!(status(Access::Anyone.enter(None, 0)), None);
}

#[test]
fn the_limits_of_one_key_are_its_own() {
    let (access, first, second) = access();
    let (first, second) = (format!("Bearer {first}"), format!("Bearer {second}"));
    let held = [access.enter(Some(&first), 0).unwrap(), access.enter(Some(&first), 0).unwrap()];
    let limited = Some((429, "rate_limit_exceeded"));
    assert_eq!(status(access.enter(Some(&first), 0)), limited, "two at a time");
    assert_eq!(status(access.enter(Some(&second), 0)), None);
    drop(held);
    assert_eq!(status(access.enter(Some(&first), 59_999)), None);
    assert_eq!(status(access.enter(Some(&first), 59_999)), limited, "three in a minute");
    assert_eq!(status(access.enter(Some(&first), 60_000)), None, "the next minute");
}

#[test]
fn a_key_is_not_kept() {
    let (access, first, _) = access();
    assert!(!format!("{access:?}").contains(&first[KEY_PREFIX.len()..]));
}

#[test]
fn the_scheme_is_known_in_any_case_and_a_full_minute_tells_how_long_it_lasts() {
    let (access, first, _) = access();
    for scheme in ["bearer", "BEARER", "Bearer", "bearer "] {
        assert_eq!(status_of_key(&access, &format!("{scheme} {first}")), None, "{scheme}");
    }
    assert_eq!(status_of_key(&access, &format!("Basic {first}")), Some(401));
    for _ in 0..3 {
        drop(access.enter(Some(&format!("Bearer {first}")), 59_000).unwrap());
    }
    let refused = access.enter(Some(&format!("Bearer {first}")), 119_500 - 60_000).unwrap_err();
    assert_eq!((refused.status, refused.retry_seconds), (429, Some(1)));
    let early = access.enter(Some(&format!("Bearer {first}")), 1).unwrap_err();
    assert_eq!((early.status, early.retry_seconds), (429, Some(60)));
}

fn status_of_key(access: &Access, authorization: &str) -> Option<u16> {
    access.require_key(Some(authorization)).err().map(|error| error.status)
}
