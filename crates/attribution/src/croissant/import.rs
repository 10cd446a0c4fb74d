//! Reading a Croissant document: its JSON-LD by the names that producers write.

use core::marker::PhantomData;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use tally_core::Digest;

use super::export::MANIFEST_IRI;
use super::{
    Creator, CroissantDataset, CroissantError, CroissantFile, CroissantVersion, DOCUMENT_BYTES_MAX,
    FILES_MAX, LIST_MAX, NotCovered, NotCoveredReason, known_licence,
};
use crate::json::{self, Bounded};

/// What the types and members may begin with that producers write for the vocabularies of Croissant.
const PREFIXES: [&str; 6] = [
    "cr:",
    "sc:",
    "schema:",
    "http://mlcommons.org/croissant/",
    "https://schema.org/",
    "http://schema.org/",
];

pub(super) fn parse(bytes: &[u8]) -> Result<CroissantDataset, CroissantError> {
    if bytes.len() > DOCUMENT_BYTES_MAX {
        return Err(CroissantError::DocumentBytes { found: bytes.len() });
    }
    let document: Document = json::parse(bytes)?;
    if !document.types.iter().any(|name| term(name) == "Dataset") {
        return Err(CroissantError::NotADataset { found: document.types.join(", ") });
    }
    let conforms_to = version(&document.conforms_to)?;
    let name = document.name.map(|words| words.text).filter(|name| !name.is_empty());
    let name = name.ok_or(CroissantError::NoName)?;
    let (files, not_covered) = distribution(document.distribution)?;
    let stated = document.license.into_iter().filter_map(Node::any_iri).collect();
    Ok(CroissantDataset {
        conforms_to,
        name,
        description: document.description.map(|words| words.text),
        licence: known_licence::of(stated),
        version: document.version.map(Scalar::into_text),
        // Where a contribution has no page, its manifest stands there.
        url: document.url.and_then(Node::any_iri).filter(|iri| !iri.starts_with(MANIFEST_IRI)),
        creators: document.creator.into_iter().map(creator).collect(),
        files,
        not_covered,
        manifest: document.manifest.as_deref().and_then(manifest),
        derived_from: document.derived_from.into_iter().filter_map(Node::any_iri).collect(),
    })
}

fn version(conforms_to: &[Node]) -> Result<CroissantVersion, CroissantError> {
    let found: Vec<&str> = conforms_to.iter().filter_map(Node::iri).collect();
    CroissantVersion::ALL
        .into_iter()
        .find(|version| found.iter().any(|iri| iri.trim_end_matches('/') == version.iri()))
        .ok_or_else(|| CroissantError::Version { found: found.join(", ") })
}

/// The digest in `sha256:` and 64 digits; a manifest in another form is none of ours.
fn manifest(text: &str) -> Option<Digest> {
    Digest::parse_hex(text.strip_prefix("sha256:")?)
}

type Distribution = (Vec<CroissantFile>, Vec<NotCovered>);

fn distribution(items: Many<Item, FILES_MAX>) -> Result<Distribution, CroissantError> {
    let (mut files, mut not_covered) = (Vec::new(), Vec::new());
    let mut ids = BTreeSet::new();
    for (index, item) in items.into_iter().enumerate() {
        let name = item.name.as_ref().map(|words| words.text.clone());
        let id = item.id.clone().or(name).unwrap_or_else(|| format!("distribution[{index}]"));
        if !ids.insert(id.clone()) {
            return Err(CroissantError::TwiceTheId { id });
        }
        match digest(&item) {
            Ok(sha256) => files.push(CroissantFile {
                id,
                sha256,
                url: item.content_url,
                size_bytes: item.content_size.and_then(|size| size_bytes(&size.into_text())),
            }),
            Err(reason) => not_covered.push(NotCovered { id, reason }),
        }
    }
    Ok((files, not_covered))
}

fn digest(item: &Item) -> Result<Digest, NotCoveredReason> {
    let is = |wanted: &str| item.types.iter().any(|name| term(name) == wanted);
    if is("FileSet") {
        return Err(NotCoveredReason::FileSet);
    }
    if !is("FileObject") {
        return Err(NotCoveredReason::OtherType { found: item.types.join(", ") });
    }
    let found = item.sha256.as_deref().ok_or(NotCoveredReason::NoDigest)?;
    Digest::parse_hex(&found.to_ascii_lowercase())
        .ok_or_else(|| NotCoveredReason::NotADigest { found: found.into() })
}

/// A size in whole bytes; other units are not exact, since 1 KB is 1,000 for some and 1,024 for others.
fn size_bytes(text: &str) -> Option<u64> {
    let digits = text.trim().trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.trim().get(digits.len()..)?;
    let is_bytes = matches!(unit, "" | "B" | "byte" | "bytes" | "Bytes");
    digits.trim_end().parse().ok().filter(|_| is_bytes)
}

fn creator(node: Node) -> Creator {
    match node {
        Node::Text(name) => Creator { name: Some(name), iri: None },
        Node::Object(members) => Creator {
            name: members.name.map(|words| words.text),
            iri: members.id.or(members.identifier).or(members.url),
        },
    }
}

fn term(name: &str) -> &str {
    PREFIXES.into_iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name)
}

#[derive(Deserialize)]
struct Document {
    #[serde(default, rename = "@type")]
    types: Many<String>,
    #[serde(default, rename = "conformsTo", alias = "dct:conformsTo")]
    conforms_to: Many<Node>,
    #[serde(alias = "sc:name", alias = "schema:name")]
    name: Option<Words>,
    #[serde(alias = "sc:description", alias = "schema:description")]
    description: Option<Words>,
    #[serde(default, alias = "sc:license", alias = "schema:license")]
    license: Many<Node>,
    #[serde(alias = "sc:version", alias = "schema:version")]
    version: Option<Scalar>,
    #[serde(alias = "sc:url", alias = "schema:url")]
    url: Option<Node>,
    #[serde(default, alias = "sc:creator", alias = "schema:creator")]
    creator: Many<Node>,
    #[serde(default, alias = "sc:distribution", alias = "schema:distribution")]
    distribution: Many<Item, FILES_MAX>,
    #[serde(rename = "tally:manifest")]
    manifest: Option<String>,
    #[serde(default, rename = "prov:wasDerivedFrom")]
    derived_from: Many<Node>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default, rename = "@type")]
    types: Many<String>,
    #[serde(rename = "@id")]
    id: Option<String>,
    name: Option<Words>,
    #[serde(rename = "contentUrl", alias = "sc:contentUrl")]
    content_url: Option<String>,
    #[serde(rename = "contentSize", alias = "sc:contentSize")]
    content_size: Option<Scalar>,
    #[serde(alias = "sc:sha256", alias = "cr:sha256")]
    sha256: Option<String>,
}

/// A text, or a number by its digits.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text or a number")]
enum Scalar {
    Text(String),
    Number(serde_json::Number),
}

impl Scalar {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
        }
    }
}

/// A text, or a thing with an IRI, a name, or both.
enum Node {
    Text(String),
    Object(Box<Members>),
}

#[derive(Deserialize)]
struct Members {
    #[serde(rename = "@id")]
    id: Option<String>,
    #[serde(rename = "@value")]
    value: Option<String>,
    #[serde(alias = "sc:name")]
    name: Option<Words>,
    #[serde(alias = "sc:url")]
    url: Option<String>,
    #[serde(alias = "sc:identifier")]
    identifier: Option<String>,
}

impl Node {
    fn iri(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Object(members) => {
                let iri = members.id.as_deref().or(members.value.as_deref());
                iri.or(members.url.as_deref())
            }
        }
    }

    /// The IRI or, where there is none, the name.
    fn any_iri(self) -> Option<String> {
        let iri = self.iri().map(ToOwned::to_owned);
        iri.or(match self {
            Self::Object(members) => members.name.map(|words| words.text),
            Self::Text(_) => None,
        })
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or an object")
            }

            fn visit_str<E>(self, text: &str) -> Result<Node, E> {
                Ok(Node::Text(text.into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Node, A::Error> {
                Box::deserialize(MapAccessDeserializer::new(map)).map(Node::Object)
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// A text in the language that is preferred of those it has.
struct Words {
    /// English is 0, English of a country 1, another language 2.
    rank: u8,
    language: String,
    text: String,
}

impl Words {
    fn new(language: &str, text: String) -> Self {
        let rank = match language {
            "en" | "" => 0,
            tag if tag.starts_with("en-") => 1,
            _ => 2,
        };
        Self { rank, language: language.into(), text }
    }

    fn preferred(self, other: Option<Self>) -> Self {
        match other {
            Some(other) if (other.rank, &other.language) <= (self.rank, &self.language) => other,
            _ => self,
        }
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Words;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or texts by language")
            }

            fn visit_str<E>(self, text: &str) -> Result<Words, E> {
                Ok(Words::new("", text.into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Words, A::Error> {
                words_by_language(map)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Words, A::Error> {
                let all = json::elements::<Words, A, LIST_MAX>(list)?;
                let best = all.into_iter().fold(None, |best, words| Some(words.preferred(best)));
                best.ok_or_else(|| A::Error::custom("list of texts is empty"))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// `{"@value": text, "@language": tag}`, or texts by their tags.
fn words_by_language<'de, A: MapAccess<'de>>(mut map: A) -> Result<Words, A::Error> {
    let (mut best, mut value, mut language) = (None, None, String::new());
    while let Some(key) = map.next_key::<String>()? {
        match key.as_str() {
            "@value" => value = Some(map.next_value::<String>()?),
            "@language" => language = map.next_value()?,
            key if key.starts_with('@') => drop(map.next_value::<IgnoredAny>()?),
            tag => best = Some(Words::new(tag, map.next_value()?).preferred(best)),
        }
    }
    let value = value.map(|text| Words::new(&language, text));
    value.or(best).ok_or_else(|| A::Error::custom("object has no text"))
}

/// One value, or a list of at most `MAX`; null is none.
struct Many<T, const MAX: usize = LIST_MAX>(Bounded<T, MAX>);

impl<T, const MAX: usize> Default for Many<T, MAX> {
    fn default() -> Self {
        Self(Bounded::default())
    }
}

impl<T, const MAX: usize> std::ops::Deref for Many<T, MAX> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T, const MAX: usize> IntoIterator for Many<T, MAX> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Many<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T, const MAX: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Reader<T, MAX> {
            type Value = Many<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a text, an object, or a list of at most {MAX}")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Many::default())
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                T::deserialize(StrDeserializer::new(text)).map(|one| Many(vec![one].into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|one| Many(vec![one].into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                json::elements(list).map(Many)
            }
        }
        deserializer.deserialize_any(Reader(PhantomData))
    }
}
