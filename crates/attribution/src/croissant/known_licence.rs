//! Which SPDX licence the words or the link mean that a dataset states.
//!
//! Only what is certain: identifiers and expressions of SPDX, and pages whose address names one licence
//! with its version. Anything else is `unknown`; nothing is guessed from prose.

use super::StatedLicence;
use crate::licence::Licence;

/// Pages whose address ends in an SPDX identifier.
const NAMED_PAGES: [&str; 4] = [
    "spdx.org/licenses/",
    "choosealicense.com/licenses/",
    "opensource.org/licenses/",
    "opensource.org/license/",
];
/// Endings of addresses that belong to the page and not to the licence.
const ENDINGS: [&str; 6] = [".html", ".json", ".txt", ".php", "/legalcode", "/deed.en"];
/// Other pages, and the licence that each is.
const PAGES: [(&str, &str); 13] = [
    ("apache.org/licenses/LICENSE-2.0", "Apache-2.0"),
    ("creativecommons.org/publicdomain/mark/1.0", "CC-PDM-1.0"),
    ("creativecommons.org/publicdomain/zero/1.0", "CC0-1.0"),
    ("gnu.org/licenses/agpl-3.0", "AGPL-3.0-only"),
    ("gnu.org/licenses/fdl-1.3", "GFDL-1.3-only"),
    ("gnu.org/licenses/gpl-3.0", "GPL-3.0-only"),
    ("gnu.org/licenses/lgpl-3.0", "LGPL-3.0-only"),
    ("gnu.org/licenses/old-licenses/gpl-2.0", "GPL-2.0-only"),
    ("mozilla.org/MPL/2.0", "MPL-2.0"),
    ("opendatacommons.org/licenses/by/1-0", "ODC-By-1.0"),
    ("opendatacommons.org/licenses/odbl/1-0", "ODbL-1.0"),
    ("opendatacommons.org/licenses/pddl/1-0", "PDDL-1.0"),
    ("unlicense.org", "Unlicense"),
];
const CREATIVE_COMMONS: &str = "creativecommons.org/licenses/";

/// The licence that is stated, or `unknown` where none is, or several are, or it is not a known one.
pub(super) fn of(stated: Vec<String>) -> StatedLicence {
    let licence = match stated.as_slice() {
        [only] => of_words(only).unwrap_or_else(Licence::unknown),
        _ => Licence::unknown(),
    };
    StatedLicence { licence, stated }
}

fn of_words(words: &str) -> Option<Licence> {
    let words = words.trim();
    let address = words.strip_prefix("https://").or_else(|| words.strip_prefix("http://"));
    address.map_or_else(|| Licence::parse(words).ok(), of_address)
}

/// The licence of an address without its scheme.
fn of_address(address: &str) -> Option<Licence> {
    let address = address.strip_prefix("www.").unwrap_or(address).trim_end_matches('/');
    let ending = ENDINGS.into_iter().find_map(|ending| address.strip_suffix(ending));
    let address = ending.unwrap_or(address).trim_end_matches('/');
    let page = PAGES.into_iter().find(|(page, _)| page.eq_ignore_ascii_case(address));
    if let Some((_, identifier)) = page {
        return Licence::of_identifier(identifier);
    }
    if let Some(rest) = address.strip_prefix(CREATIVE_COMMONS) {
        // Such as `by-sa/4.0`; ported versions such as `by/3.0/de` name their country behind it.
        return Licence::of_identifier(&format!("CC-{}", rest.replace('/', "-")));
    }
    let name = NAMED_PAGES.into_iter().find_map(|page| address.strip_prefix(page))?;
    Licence::of_identifier(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_words_and_pages_are_their_licence() {
        for (stated, expected) in [
            ("mit", "MIT"),
            ("cc-by-sa-4.0", "CC-BY-SA-4.0"),
            ("MIT OR Apache-2.0", "MIT OR Apache-2.0"),
            ("https://spdx.org/licenses/CC0-1.0", "CC0-1.0"),
            ("https://spdx.org/licenses/MIT.html", "MIT"),
            ("https://choosealicense.com/licenses/apache-2.0/", "Apache-2.0"),
            ("https://opensource.org/licenses/MIT", "MIT"),
            ("https://creativecommons.org/licenses/by/4.0/", "CC-BY-4.0"),
            ("http://creativecommons.org/licenses/by-nc-sa/3.0/legalcode", "CC-BY-NC-SA-3.0"),
            ("https://creativecommons.org/licenses/by/3.0/de/", "CC-BY-3.0-DE"),
            ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
            ("https://www.apache.org/licenses/LICENSE-2.0.txt", "Apache-2.0"),
            ("https://www.gnu.org/licenses/gpl-3.0.en.html", "unknown"),
            ("https://www.gnu.org/licenses/gpl-3.0.html", "GPL-3.0-only"),
            ("https://opendatacommons.org/licenses/odbl/1-0/", "ODbL-1.0"),
        ] {
            assert_eq!(of(vec![stated.into()]).licence.as_str(), expected, "{stated}");
        }
    }

    #[test]
    fn every_page_of_the_table_is_a_licence_of_the_list() {
        for (page, identifier) in PAGES {
            assert_eq!(of_address(page), Licence::of_identifier(identifier), "{page}");
            assert!(of_address(page).is_some(), "{page}");
        }
    }

    #[test]
    fn what_is_not_certain_is_unknown_and_told() {
        for stated in [
            vec![],
            vec!["mit", "apache-2.0"],
            vec!["other"],
            vec!["Creative Commons"],
            vec!["https://example.org/licence"],
            vec!["https://creativecommons.org/licenses/by/"],
            vec!["https://evil.example/spdx.org/licenses/MIT"],
        ] {
            let stated: Vec<String> = stated.into_iter().map(Into::into).collect();
            let found = of(stated.clone());
            assert!(found.licence.is_unknown(), "{stated:?}");
            assert_eq!(found.stated, stated);
        }
    }
}
