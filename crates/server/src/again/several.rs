//! An answer with several choices, of which one receipt knows one.
//!
//! What the other choices say, and the totals of its tokens, are what the others' receipts speak of.
//! The answer's time is that of its first choice, which was let in just before this one. Everything
//! else must be exactly what a node writes.

use super::members::Members;

/// Members of the whole answer that one choice does not determine.
const OF_ALL: [&str; 2] = ["choices", "usage"];
/// The answer's time in seconds.
const TIME: &str = "created";

/// Whether `response` is an answer with `count` choices, of which `choice` is as in `made`.
pub(super) fn is_body(response: &[u8], made: &[u8], choice: u32, count: usize) -> Option<bool> {
    let (response, made) = (text(response)?, text(made)?);
    let (found, made) = (Members::parse(response)?, Members::parse(made)?);
    let choices = found.elements("choices")?;
    let index = usize::try_from(choice).ok()?;
    let are_all = choices.len() == count
        && (0..).zip(&choices).all(|(index, each)| index_of(each) == Some(index));
    let is_own = choices.get(index) == made.elements("choices")?.get(index);
    Some(are_all && is_own && is_same_frame(&found, &made, choice) && is_usage(&found, &made)?)
}

/// Whether `response` is the events of a stream with `count` choices, of which those of `choice` are
/// the ones in `made`.
pub(super) fn are_events(response: &[u8], made: &[u8], choice: u32, count: usize) -> Option<bool> {
    let (response, made) = (text(response)?.strip_suffix('\n')?, text(made)?.strip_suffix('\n')?);
    let mut own = made.split('\n').map(Members::parse);
    let frame = Members::parse(made.split('\n').next()?)?;
    let mut seen = vec![false; count];
    for line in response.split('\n') {
        let found = Members::parse(line)?;
        let choices = found.elements("choices")?;
        match choices.as_slice() {
            [one] => {
                let index = index_of(one)?;
                *seen.get_mut(usize::try_from(index).ok()?)? = true;
                if !is_same_frame(&found, &frame, choice) {
                    return Some(false);
                }
                if index == u64::from(choice) {
                    let made = own.next()??;
                    let is_own = made.elements("choices")? == choices
                        && found.get("usage") == made.get("usage");
                    if !is_own {
                        return Some(false);
                    }
                }
            }
            // The totals, which come last.
            [] => {
                let made = own.next()??;
                let is_total = made.elements("choices")?.is_empty() && own.next().is_none();
                let is_last = std::ptr::eq(line, response.rsplit('\n').next()?);
                let is_same = is_same_frame(&found, &made, choice) && is_usage(&found, &made)?;
                return Some(is_total && is_last && is_same && seen.iter().all(|seen| *seen));
            }
            _ => return Some(false),
        }
    }
    Some(own.next().is_none() && seen.iter().all(|seen| *seen))
}

fn is_same_frame(found: &Members<'_>, made: &Members<'_>, choice: u32) -> bool {
    if choice == 0 {
        return found.is_same_but(made, &OF_ALL);
    }
    let [all, usage] = OF_ALL;
    let seconds = |members: &Members<'_>| members.get(TIME)?.parse::<u64>().ok();
    let is_just_before = match (seconds(found), seconds(made)) {
        (Some(found), Some(own)) => own.checked_sub(found).is_some_and(|seconds| seconds <= 1),
        _ => false,
    };
    is_just_before && found.is_same_but(made, &[all, usage, TIME])
}

/// Whether the totals are totals: of the prompt as made, of the rest whatever adds up.
fn is_usage(found: &Members<'_>, made: &Members<'_>) -> Option<bool> {
    let (Some(found), Some(made)) = (found.get("usage"), made.get("usage")) else {
        return Some(found.get("usage").is_none() && made.get("usage").is_none());
    };
    let (found, made) = (Members::parse(found)?, Members::parse(made)?);
    let number = |members: &Members<'_>, name| members.get(name)?.parse::<u64>().ok();
    let [prompt, own, total] = ["prompt_tokens", "completion_tokens", "total_tokens"];
    let is_sum = number(&found, prompt)?.checked_add(number(&found, own)?) == number(&found, total);
    let is_enough = number(&found, own)? >= number(&made, own)?;
    Some(found.is_same_but(&made, &[own, total]) && is_sum && is_enough)
}

fn index_of(choice: &str) -> Option<u64> {
    Members::parse(choice)?.get("index")?.parse().ok()
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}
