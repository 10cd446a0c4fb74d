//! From the text of a policy to a consistent [`Policy`].

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::{String, ToString as _},
    vec::Vec,
};

use tally_core::{
    Digest,
    ed25519::PublicKey,
    note::{NoteError, SignatureType, VerifierKey},
    receipt::key_id,
};
use toml::de::{DeTable, DeValue};

use super::{
    ACCEPTED_MAX, Accepted, CLOCK_TOLERANCE_DEFAULT_S, CLOCK_TOLERANCE_MAX_S, COSIGNERS_MAX,
    Cosigner, DURATION_MAX_S, GROUPS_MAX, ISSUERS_MAX, Issuer, KeyFault, LOGS_MAX, Log, Member,
    NAME_BYTES_MAX, POLICY_BYTES_MAX, Policy, PolicyError, Quorum, Requirement,
    fields::{Fields, Located, line_of, wrong_type},
    origin_of,
    quorum::liars_max,
};
use crate::time::{Civil, UnixTime};

const VERSION: u64 = 1;
const FIELDS: &[&str] = &[
    "version",
    "required",
    "models",
    "arithmetics",
    "age_max_s",
    "logging_delay_max_s",
    "clock_tolerance_s",
    "quorum",
    "issuer",
    "log",
    "cosigner",
    "group",
];
/// Sections of later releases: whoever writes one relies on it, so it is not merely unknown.
const LATER_FIELDS: &[&str] = &["attestation", "auditor", "auditors", "proof", "tcb_statuses"];
/// Assurances of later releases.
const LATER_ASSURANCES: &[&str] = &["attested", "audited", "replayed", "proved"];

pub(super) fn policy(text: &str) -> Result<Policy, PolicyError> {
    if text.len() > POLICY_BYTES_MAX {
        return Err(PolicyError::Size { found: text.len() });
    }
    let document = DeTable::parse(text).map_err(|error| PolicyError::Syntax {
        line: line_of(text, error.span().map_or(0, |span| span.start)),
        message: error.message().to_string(),
    })?;
    let fields = Fields::of_document(text, document.get_ref());
    version(&fields)?;
    fields.only(FIELDS, LATER_FIELDS)?;
    let mut keys = Keys::default();
    let issuers = issuers(&fields, &mut keys)?;
    let logs = logs(&fields, &mut keys)?;
    let cosigners = cosigners(&fields, &mut keys, &issuers, &logs)?;
    let policy = Policy {
        quorum: quorum(&fields, &cosigners)?,
        models: accepted(&fields, "models", |found| {
            let hexadecimal =
                || PolicyError::Hexadecimal { line: found.line, field: found.field.clone() };
            Digest::parse_hex(found.value).ok_or_else(hexadecimal)
        })?,
        arithmetics: accepted(&fields, "arithmetics", name)?,
        age_max_ms: duration_ms(&fields, "age_max_s", DURATION_MAX_S)?,
        logging_delay_max_ms: duration_ms(&fields, "logging_delay_max_s", DURATION_MAX_S)?,
        clock_tolerance_ms: duration_ms(&fields, "clock_tolerance_s", CLOCK_TOLERANCE_MAX_S)?
            .unwrap_or(CLOCK_TOLERANCE_DEFAULT_S.saturating_mul(1_000)),
        required: Vec::new(),
        issuers,
        logs,
        cosigners,
    };
    Ok(Policy { required: required(&fields, &policy)?, ..policy })
}

fn version(fields: &Fields<'_>) -> Result<(), PolicyError> {
    match fields.uint("version")? {
        None => Err(fields.missing("version")),
        Some(Located { value: VERSION, .. }) => Ok(()),
        Some(Located { value: found, line, .. }) => Err(PolicyError::Version { line, found }),
    }
}

/// The public keys that have been read: one key serves one purpose.
#[derive(Default)]
struct Keys(BTreeSet<[u8; 32]>);

impl Keys {
    fn insert(&mut self, key: &PublicKey, place: &Located<&str>) -> Result<(), PolicyError> {
        if self.0.insert(*key.as_bytes()) { Ok(()) } else { Err(duplicate(place)) }
    }
}

fn duplicate(place: &Located<&str>) -> PolicyError {
    PolicyError::Duplicate { line: place.line, field: place.field.clone() }
}

fn name(found: &Located<&str>) -> Result<String, PolicyError> {
    let is_name = !found.value.is_empty()
        && found.value.len() <= NAME_BYTES_MAX
        && !found.value.chars().any(char::is_control);
    if is_name {
        Ok(found.value.into())
    } else {
        Err(PolicyError::Name { line: found.line, field: found.field.clone() })
    }
}

fn operator(fields: &Fields<'_>) -> Result<Option<String>, PolicyError> {
    fields.text("operator")?.as_ref().map(name).transpose()
}

fn issuers(fields: &Fields<'_>, keys: &mut Keys) -> Result<Vec<Issuer>, PolicyError> {
    let tables = fields.tables("issuer", ISSUERS_MAX)?;
    if tables.is_empty() {
        return Err(fields.missing("issuer"));
    }
    let mut names = BTreeSet::new();
    let mut issuers = Vec::new();
    for table in tables {
        let known = ["name", "operator", "public_key", "valid_from", "valid_until", "revoked_from"];
        table.only(&known, &[])?;
        let found_name = table.required_text("name")?;
        let name = name(&found_name)?;
        if !names.insert(name.clone()) {
            return Err(duplicate(&found_name));
        }
        let found_key = table.required_text("public_key")?;
        let key = public_key(&found_key)?;
        keys.insert(&key, &found_key)?;
        let issuer = Issuer {
            name,
            operator: operator(&table)?,
            key_id: key_id(key.as_bytes()),
            key,
            valid_from: time(&table, "valid_from")?,
            valid_until: time(&table, "valid_until")?,
            revoked_from: time(&table, "revoked_from")?,
        };
        if let (Some(from), Some(until)) = (issuer.valid_from, issuer.valid_until)
            && from >= until
        {
            let (line, field) = (table.line(), table.path("valid_until"));
            return Err(PolicyError::Interval { line, field });
        }
        issuers.push(issuer);
    }
    Ok(issuers)
}

fn public_key(found: &Located<&str>) -> Result<PublicKey, PolicyError> {
    let bytes = Digest::parse_hex(found.value).ok_or(KeyFault::Hexadecimal);
    let key = bytes.and_then(|bytes| Ok(PublicKey::from_bytes(bytes.as_bytes())?));
    key.map_err(|cause| key_fault(found, cause))
}

fn key_fault(found: &Located<&str>, cause: KeyFault) -> PolicyError {
    PolicyError::Key { line: found.line, field: found.field.clone(), cause }
}

/// A verifier key of the given type.
fn verifier_key(
    found: &Located<&str>,
    expected: SignatureType,
) -> Result<VerifierKey, PolicyError> {
    let key = VerifierKey::parse(found.value).map_err(|cause| key_fault(found, cause.into()))?;
    if key.kind() != expected {
        let cause = NoteError::KeyType { expected, found: key.kind() };
        return Err(key_fault(found, cause.into()));
    }
    Ok(key)
}

fn logs(fields: &Fields<'_>, keys: &mut Keys) -> Result<Vec<Log>, PolicyError> {
    let mut origins = BTreeSet::new();
    let mut logs = Vec::new();
    for table in fields.tables("log", LOGS_MAX)? {
        table.only(&["origin", "vkey", "operator"], &[])?;
        let found_origin = table.required_text("origin")?;
        let found_key = table.required_text("vkey")?;
        let key = verifier_key(&found_key, SignatureType::Ed25519)?;
        if key.name().as_str() != found_origin.value {
            return Err(PolicyError::Origin {
                line: found_origin.line,
                origin: found_origin.value.into(),
                name: key.name().as_str().into(),
            });
        }
        keys.insert(key.key(), &found_key)?;
        if !origins.insert(found_origin.value) {
            return Err(duplicate(&found_origin));
        }
        logs.push(Log { origin: origin_of(key.name()), key, operator: operator(&table)? });
    }
    Ok(logs)
}

fn cosigners(
    fields: &Fields<'_>,
    keys: &mut Keys,
    issuers: &[Issuer],
    logs: &[Log],
) -> Result<Vec<Cosigner>, PolicyError> {
    let issuer_operators = issuers.iter().filter_map(|issuer| issuer.operator.as_deref());
    let log_operators = logs.iter().filter_map(|log| log.operator.as_deref());
    let operators: BTreeSet<&str> = issuer_operators.chain(log_operators).collect();
    let mut names = BTreeSet::new();
    let mut cosigners = Vec::new();
    for table in fields.tables("cosigner", COSIGNERS_MAX)? {
        table.only(&["name", "vkey", "operator", "own"], &[])?;
        let found_name = table.required_text("name")?;
        let name = name(&found_name)?;
        if !names.insert(found_name.value) {
            return Err(duplicate(&found_name));
        }
        let found_key = table.required_text("vkey")?;
        let key = verifier_key(&found_key, SignatureType::CosignatureV1)?;
        keys.insert(key.key(), &found_key)?;
        let operator = operator(&table)?;
        let is_run_by_one = operator.as_deref().is_some_and(|name| operators.contains(name));
        let is_own = table.truth("own")?.unwrap_or(false) || is_run_by_one;
        cosigners.push(Cosigner { name, key, operator, is_own });
    }
    Ok(cosigners)
}

fn quorum(fields: &Fields<'_>, cosigners: &[Cosigner]) -> Result<Option<Quorum>, PolicyError> {
    let mut free: BTreeMap<&str, Member> = BTreeMap::new();
    for (index, cosigner) in cosigners.iter().enumerate() {
        let member = Member::Cosigner { index, name: cosigner.name.clone() };
        free.insert(&cosigner.name, member);
    }
    let mut taken: BTreeSet<&str> = BTreeSet::new();
    for table in fields.tables("group", GROUPS_MAX)? {
        table.only(&["name", "threshold", "members"], &[])?;
        let found_name = table.required_text("name")?;
        let name = name(&found_name)?;
        if free.contains_key(found_name.value) || taken.contains(found_name.value) {
            return Err(duplicate(&found_name));
        }
        let found_members = table.texts("members", COSIGNERS_MAX)?;
        let mut members = Vec::new();
        for found in &found_members {
            members.push(take(&mut free, &mut taken, cosigners, found)?);
        }
        let threshold = threshold(&table, &name, members.len())?;
        free.insert(found_name.value, Member::Group { name, threshold, members });
    }
    let Some(found) = fields.text("quorum")? else { return Ok(None) };
    take(&mut free, &mut taken, cosigners, &found).map(|root| Some(Quorum::new(root)))
}

/// Moves what is named out of what is still free: each may be a member in one place.
fn take<'t>(
    free: &mut BTreeMap<&'t str, Member>,
    taken: &mut BTreeSet<&'t str>,
    cosigners: &[Cosigner],
    found: &Located<&'t str>,
) -> Result<Member, PolicyError> {
    let (line, name) = (found.line, String::from(found.value));
    if taken.contains(found.value) {
        return Err(PolicyError::MemberTwice { line, name });
    }
    let Some(member) = free.remove(found.value) else {
        return Err(PolicyError::Undefined { line, field: found.field.clone(), name });
    };
    if let Member::Cosigner { index, .. } = member
        && cosigners.get(index).is_none_or(|cosigner| cosigner.is_own)
    {
        return Err(PolicyError::OwnMember { line, name });
    }
    taken.insert(found.value);
    Ok(member)
}

fn threshold(table: &Fields<'_>, group: &str, count: usize) -> Result<usize, PolicyError> {
    if count == 0 {
        return Err(PolicyError::Empty { line: table.line(), field: table.path("members") });
    }
    let Some(place) = table.value("threshold") else { return Err(table.missing("threshold")) };
    let highest = u64::try_from(count).unwrap_or(u64::MAX);
    let lowest = u64::try_from(liars_max(count)).unwrap_or(u64::MAX).saturating_add(1);
    let found = match place.value.as_str() {
        Some("any") => 1,
        Some("all") => highest,
        Some(_) => return Err(wrong_type(&place, "an integer, \"any\" or \"all\"")),
        None => table.uint("threshold")?.map_or(0, |found| found.value),
    };
    let threshold = usize::try_from(found).unwrap_or(usize::MAX);
    if found < lowest || found > highest {
        let (line, group) = (place.line, group.into());
        return Err(PolicyError::Threshold { line, group, lowest, highest, found });
    }
    Ok(threshold)
}

/// The word `any` or a list that is not empty.
fn accepted<T>(
    fields: &Fields<'_>,
    field: &str,
    parse: impl Fn(&Located<&str>) -> Result<T, PolicyError>,
) -> Result<Accepted<T>, PolicyError> {
    let Some(place) = fields.value(field) else { return Err(fields.missing(field)) };
    let Located { line, field: path, .. } = place.clone();
    match place.value.as_str() {
        Some("any") => return Ok(Accepted::Any),
        Some(found) => {
            return Err(PolicyError::NotAny { line, field: path, found: found.into() });
        }
        None => {}
    }
    let items = fields.texts(field, ACCEPTED_MAX)?;
    if items.is_empty() {
        return Err(PolicyError::Empty { line, field: path });
    }
    items.iter().map(parse).collect::<Result<_, _>>().map(Accepted::Listed)
}

fn duration_ms(fields: &Fields<'_>, field: &str, limit: u64) -> Result<Option<u64>, PolicyError> {
    let Some(Located { value: found, line, field }) = fields.uint(field)? else { return Ok(None) };
    if found > limit {
        return Err(PolicyError::Duration { line, field, limit, found });
    }
    Ok(Some(found.saturating_mul(1_000)))
}

/// A date and time with an offset.
fn time(fields: &Fields<'_>, field: &str) -> Result<Option<UnixTime>, PolicyError> {
    let Some(place) = fields.value(field) else { return Ok(None) };
    let DeValue::Datetime(found) = place.value else {
        return Err(wrong_type(&place, "a date and time"));
    };
    let time = civil(found).and_then(|(civil, offset)| {
        let ms = UnixTime::from_civil(civil)?.as_ms();
        let offset = i64::from(offset).checked_mul(60_000)?;
        ms.checked_add_signed(offset.checked_neg()?).map(UnixTime::from_ms)
    });
    let fault = || PolicyError::Time { line: place.line, field: place.field.clone() };
    time.map(Some).ok_or_else(fault)
}

/// Calendar form and offset in minutes; `None` if one of its parts is missing.
fn civil(found: &toml::value::Datetime) -> Option<(Civil, i16)> {
    let (date, time) = (found.date?, found.time?);
    let offset = match found.offset? {
        toml::value::Offset::Z => 0,
        toml::value::Offset::Custom { minutes } => minutes,
    };
    let ms = time.nanosecond.unwrap_or(0).checked_div(1_000_000)?;
    let civil = Civil {
        year: date.year,
        month: date.month,
        day: date.day,
        hour: time.hour,
        minute: time.minute,
        second: time.second.unwrap_or(0),
        ms: u16::try_from(ms).ok()?,
    };
    Some((civil, offset))
}

fn required(fields: &Fields<'_>, policy: &Policy) -> Result<Vec<Requirement>, PolicyError> {
    let mut required = Vec::new();
    for found in fields.texts("required", COSIGNERS_MAX)? {
        let Located { value: word, line, field } = &found;
        if LATER_ASSURANCES.contains(word) {
            let field = alloc::format!("{field} = {word}");
            return Err(PolicyError::Unsupported { line: *line, field });
        }
        let Some(requirement) = Requirement::from_word(word) else {
            return Err(PolicyError::Assurance { line: *line, found: (*word).into() });
        };
        if !is_attainable(requirement, policy) {
            return Err(PolicyError::Unattainable { line: *line, required: requirement });
        }
        if required.contains(&requirement) {
            return Err(duplicate(&found));
        }
        required.push(requirement);
    }
    // What is demanded stands in the file, the signature included.
    if !required.contains(&Requirement::Signed) {
        return Err(fields.missing("required: \"signed\""));
    }
    Ok(required)
}

fn is_attainable(requirement: Requirement, policy: &Policy) -> bool {
    let has_log = !policy.logs.is_empty();
    let has_quorum = policy.quorum.is_some();
    match requirement {
        Requirement::Signed => true,
        Requirement::SelfCosigned => {
            has_log && (has_quorum || policy.cosigners.iter().any(|cosigner| cosigner.is_own))
        }
        Requirement::Logged => has_log && has_quorum,
    }
}
