//! What the gates want to know about one Rust file, read from its syntax tree.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, Meta};

/// What a name names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Function,
    Type,
    Module,
}

/// A name that this file gives to something.
#[derive(Debug)]
pub(crate) struct Name {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// Facts about one Rust file.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Names of functions, types and modules; methods of foreign traits are not ours to name.
    pub(crate) names: Vec<Name>,
    /// Crate attributes such as `no_std`, and `forbid(unsafe_code)` for each lint of a list.
    pub(crate) attributes: BTreeSet<String>,
    /// Lines with an `unsafe` block, function or implementation.
    pub(crate) unsafe_lines: Vec<usize>,
    /// Lines with an `#[ignore]` attribute.
    pub(crate) ignored_lines: Vec<usize>,
    /// Lines with a float type or literal, in items that are not only for tests.
    pub(crate) float_lines: Vec<usize>,
    /// Modules in files of their own that are compiled only for tests.
    pub(crate) test_modules: Vec<String>,
    /// Lines inside items compiled only for tests.
    pub(crate) test_lines: usize,
}

/// Reads the facts from a file's text.
pub(crate) fn parse(path: &str, text: &str) -> Result<Facts> {
    let file = syn::parse_file(text).with_context(|| format!("{path} is not Rust"))?;
    let mut facts = Facts::default();
    for attribute in &file.attrs {
        facts.attributes.extend(flatten(attribute));
    }
    facts.visit_file(&file);
    Ok(facts)
}

/// `deny(a, b)` as `deny(a)` and `deny(b)`; `no_std` as itself.
fn flatten(attribute: &Attribute) -> Vec<String> {
    match &attribute.meta {
        Meta::List(list) => {
            let name = spaceless(
                &attribute.path().segments.last().map_or_else(String::new, |s| s.ident.to_string()),
            );
            let inner = spaceless(&list.tokens.to_string());
            inner.split(',').map(|lint| format!("{name}({lint})")).collect()
        }
        Meta::Path(path) => path.get_ident().map(ToString::to_string).into_iter().collect(),
        Meta::NameValue(_) => Vec::new(),
    }
}

fn spaceless(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// Whether the attributes hold `cfg(test)` or any other condition that demands a test build.
fn is_test_only(attributes: &[Attribute]) -> bool {
    attributes
        .iter()
        .flat_map(flatten)
        .any(|text| text == "cfg(test)" || text.starts_with("cfg(all(test"))
}

impl Facts {
    fn name(&mut self, kind: Kind, ident: &syn::Ident) {
        let line = ident.span().start().line;
        self.names.push(Name { kind, text: ident.to_string(), line });
    }

    fn unsafety(&mut self, keyword: Option<&syn::token::Unsafe>) {
        self.unsafe_lines.extend(keyword.map(|token| token.span.start().line));
    }
}

impl Facts {
    fn word(&mut self, word: &syn::Ident) {
        if word == "f32" || word == "f64" {
            self.float_lines.push(word.span().start().line);
        }
    }

    fn walk(&mut self, tokens: TokenStream) {
        let mut is_attribute = false;
        for token in tokens {
            match &token {
                TokenTree::Ident(word) if word == "unsafe" => {
                    self.unsafe_lines.push(word.span().start().line);
                }
                TokenTree::Ident(word) => self.word(word),
                TokenTree::Group(group) => {
                    if is_attribute && group.stream().to_string().starts_with("ignore") {
                        self.ignored_lines.push(group.span_open().start().line);
                    }
                    self.walk(group.stream());
                }
                _ => {}
            }
            is_attribute = matches!(&token, TokenTree::Punct(mark) if mark.as_char() == '#');
        }
    }
}

impl<'ast> Visit<'ast> for Facts {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Macro(item) => &item.attrs,
            _ => &Vec::new(),
        };
        let (before, floats) = (self.test_lines, self.float_lines.len());
        match item {
            Item::Struct(item) => self.name(Kind::Type, &item.ident),
            Item::Enum(item) => self.name(Kind::Type, &item.ident),
            Item::Union(item) => self.name(Kind::Type, &item.ident),
            Item::Type(item) => self.name(Kind::Type, &item.ident),
            Item::Trait(item) => self.name(Kind::Type, &item.ident),
            Item::Mod(item) => self.name(Kind::Module, &item.ident),
            Item::Fn(item) => self.name(Kind::Function, &item.sig.ident),
            _ => {}
        }
        visit::visit_item(self, item);
        if is_test_only(attributes) {
            if let Item::Mod(module) = item
                && module.content.is_none()
            {
                self.test_modules.push(module.ident.to_string());
            }
            let span = item.span();
            self.float_lines.truncate(floats);
            self.test_lines = before + span.end().line - span.start().line + 1;
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        self.unsafety(item.unsafety.as_ref());
        if item.trait_.is_none() {
            for member in &item.items {
                if let syn::ImplItem::Fn(method) = member {
                    self.name(Kind::Function, &method.sig.ident);
                }
            }
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.name(Kind::Function, &item.sig.ident);
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.unsafety(signature.unsafety.as_ref());
        visit::visit_signature(self, signature);
    }

    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        self.unsafety(Some(&block.unsafe_token));
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        // A macro's tokens are no syntax tree, so only their words can be looked at.
        self.walk(call.tokens.clone());
    }

    fn visit_ident(&mut self, word: &'ast syn::Ident) {
        self.word(word);
    }

    fn visit_lit_float(&mut self, number: &'ast syn::LitFloat) {
        self.float_lines.push(number.span().start().line);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if attribute.path().is_ident("ignore") {
            self.ignored_lines.push(attribute.span().start().line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"//! Sample.
#![no_std]
#![deny(clippy::panic, clippy::expect_used)]
struct FileManager;
impl FileManager {
    fn check_it(&self) {
        let x = unsafe { zeroed() };
    }
}
impl Visit for FileManager {
    fn handle_it(&self) {}
}
macro_call! { "unsafe", unsafe { 1 }, #[ignore] fn f() {} }
#[cfg(test)]
mod tests {
    #[test]
    #[ignore]
    fn sentence(x: f64) {}
}
const HALF: f32 =
    0.5;
#[cfg(test)]
mod oracle;
"#;

    #[test]
    fn names_attributes_unsafe_code_and_test_lines_are_found() {
        let facts = parse("sample.rs", SAMPLE).unwrap();
        let names: Vec<_> = facts.names.iter().map(|n| (n.text.as_str(), n.line)).collect();
        assert_eq!(
            names,
            [("FileManager", 4), ("check_it", 6), ("tests", 15), ("sentence", 18), ("oracle", 23)]
        );
        assert!(facts.attributes.contains("no_std"));
        assert!(facts.attributes.contains("deny(clippy::expect_used)"));
        assert_eq!(facts.unsafe_lines, [7, 13]);
        assert_eq!(facts.ignored_lines, [13, 17]);
        assert_eq!(facts.float_lines, [20, 21]);
        assert_eq!(facts.test_modules, ["oracle"]);
        assert_eq!(facts.test_lines, 8);
    }
}
