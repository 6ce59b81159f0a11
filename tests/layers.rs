//! Keeps the import rule: modules import only what stands below them, and a crate is named only in the
//! modules that own it. Every path that is written anywhere counts: in `use`, code, attributes, macros.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use syn::{
    Attribute, Item, ItemExternCrate, ItemFn, ItemImpl, ItemMod, ItemUse, Macro, Meta, UseTree, Visibility,
    visit::{self, Visit},
};

/// From the ground up. A module may import itself and modules of the lines above it here, no other.
const LAYERS: &[&[&str]] = &[
    // Values.
    &["oci"],
    &["mirror"],
    &["metalink"],
    // Decisions over values.
    &["mirrorlist"],
    // Adapters, one kind of IO each.
    &["bus", "connector", "database", "geoip", "notice", "store", "tree"],
    // Composes two of them: mails and webhook.
    &["teller"],
    // Services.
    &["crawler", "exporter", "importer", "puller", "scanner", "server"],
    // The top.
    &["config"],
    &["cli"],
    &["main"],
];

/// Modules without IO, clock, randomness and asynchronous code.
const PURE: &[&str] = &["oci", "mirror", "metalink", "mirrorlist"];

/// What makes a module impure, wherever it stands in a path.
const IMPURE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::process",
    "std::thread",
    "tokio",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "Zoned::now",
];

/// Crates with owners. Tests may name any.
const CRATES: &[(&str, &[&str])] = &[
    ("actix_web", &["puller", "server"]),
    ("anyhow", &["cli", "main"]),
    ("argon2", &["database"]),
    ("askama", &["server"]),
    ("clap", &["cli", "main"]),
    ("comfy_table", &["cli"]),
    ("diesel", &["database"]),
    ("diesel_migrations", &["database"]),
    ("getrandom", &["database"]),
    ("governor", &["server"]),
    ("indicatif", &["cli"]),
    ("jiff_diesel", &["database"]),
    ("lapin", &["bus"]),
    ("lettre", &["notice"]),
    ("listenfd", &["puller"]),
    ("libsqlite3_sys", &["database"]),
    ("maxminddb", &["geoip"]),
    ("metrics", &["server"]),
    ("metrics_exporter_prometheus", &["server"]),
    ("p256", &["oci"]),
    ("pq_sys", &["database"]),
    ("prefix_trie", &["mirrorlist"]),
    ("quick_xml", &["metalink"]),
    ("rcgen", &["puller"]),
    ("reqwest", &["connector"]),
    ("ring", &["connector"]),
    ("rkyv", &["mirror", "mirrorlist", "store"]),
    ("roaring", &["mirrorlist", "database", "crawler"]),
    ("rustix", &["tree"]),
    ("rustls", &["connector", "puller", "server"]),
    ("subtle", &["server"]),
    ("tar", &["cli"]),
    ("x509_parser", &["connector"]),
    ("zstd", &["store"]),
];

/// A path as it is written somewhere.
struct Named {
    segments: Vec<String>,
    /// The module it is written in, from the crate's root.
    module: Vec<String>,
    in_test: bool,
    place: String,
}

impl Named {
    /// What is wrong with it.
    fn fault(&self) -> Option<String> {
        let own = self.module.first()?;
        let fault = match self.resolve() {
            None => self.outside_fault(own)?,
            Some(target) => match target.first() {
                None => format!("{own} names the crate's root"),
                Some(other) => import_fault(own, other)?,
            },
        };
        Some(format!("{}: {fault} (`{}`)", self.place, self.segments.join("::")))
    }

    /// Its place in our crate; `None` for other crates and local names.
    fn resolve(&self) -> Option<Vec<String>> {
        let mut segments = self.segments.iter().map(String::as_str).peekable();
        // The binary is a crate of its own, in which the library has a name.
        let in_main = self.module.first().is_some_and(|it| it == "main");
        let mut target = match segments.next()? {
            "crate" if in_main => vec!["main".to_owned()],
            "crate" | "portolan" => Vec::new(),
            "self" => self.module.clone(),
            "super" => parent(&self.module),
            _ => return None,
        };
        while segments.next_if_eq(&"super").is_some() {
            target = parent(&target);
        }
        target.extend(segments.map(str::to_owned));
        Some(target)
    }

    fn outside_fault(&self, own: &str) -> Option<String> {
        if self.in_test {
            return None;
        }
        let first = self.segments.first()?;
        if let Some((_, owners)) = CRATES.iter().find(|(name, _)| name == first)
            && !owners.contains(&own)
        {
            return Some(format!("{own} names {first}, which belongs to {}", owners.join(", ")));
        }
        let path = format!("::{}::", self.segments.join("::"));
        let impure = IMPURE.iter().find(|it| path.contains(&format!("::{it}::")))?;
        PURE.contains(&own).then(|| format!("{own} is pure, but names {impure}"))
    }
}

fn parent(module: &[String]) -> Vec<String> {
    module.split_last().map(|(_, rest)| rest.to_vec()).unwrap_or_default()
}

fn import_fault(own: &str, other: &str) -> Option<String> {
    let layer = |module: &str| LAYERS.iter().position(|layer| layer.contains(&module));
    match (layer(own), layer(other)) {
        (None, _) => Some(format!("{own} has no layer; add it to tests/layers.rs")),
        (_, None) => Some(format!("{own} imports {other}, which has no layer")),
        (Some(own_layer), Some(layer)) => {
            (own != other && layer >= own_layer).then(|| format!("{own} may not import {other}"))
        }
    }
}

/// Collects the paths of a file and of the files of its modules.
#[derive(Default)]
struct Reader {
    file: PathBuf,
    module: Vec<String>,
    in_test: bool,
    named: Vec<Named>,
    files: BTreeSet<PathBuf>,
    /// What cannot be judged.
    faults: Vec<String>,
}

impl Reader {
    fn read(&mut self, file: &Path) {
        let source = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let former = std::mem::replace(&mut self.file, file.to_owned());
        self.files.insert(file.to_owned());
        self.read_source(&source);
        self.file = former;
    }

    fn read_source(&mut self, source: &str) {
        let parsed = syn::parse_file(source).unwrap_or_else(|e| panic!("{}: {e}", self.file.display()));
        self.visit_file(&parsed);
    }

    fn place(&self, ident: &Ident) -> String {
        format!("{}:{}", self.file.display(), ident.span().start().line)
    }

    fn name<'a>(&mut self, path: impl IntoIterator<Item = &'a Ident>) {
        let path: Vec<&Ident> = path.into_iter().collect();
        let Some(first) = path.first() else { return };
        self.named.push(Named {
            place: self.place(first),
            segments: path.iter().map(|it| it.to_string()).collect(),
            module: self.module.clone(),
            in_test: self.in_test,
        });
    }

    /// Names each path of a `use`.
    fn name_tree<'a>(&mut self, prefix: &mut Vec<&'a Ident>, tree: &'a UseTree) {
        match tree {
            UseTree::Path(path) => {
                prefix.push(&path.ident);
                self.name_tree(prefix, &path.tree);
                prefix.pop();
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.name_tree(prefix, tree)),
            UseTree::Glob(_) => self.name(prefix.iter().copied()),
            UseTree::Name(syn::UseName { ident }) | UseTree::Rename(syn::UseRename { ident, .. }) => {
                let itself = ident == "self" && !prefix.is_empty();
                self.name(prefix.iter().copied().chain((!itself).then_some(ident)));
            }
        }
    }

    /// Names what looks like a path in the tokens of a macro or an attribute.
    fn scan(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut rest = tokens.as_slice();
        while let [first, after @ ..] = rest {
            rest = after;
            match first {
                TokenTree::Group(group) => self.scan(group.stream()),
                TokenTree::Ident(first) => rest = self.scan_path(first, after),
                _ => {}
            }
        }
    }

    /// Names the path that begins with `first`; returns the tokens after it.
    fn scan_path<'a>(&mut self, first: &'a Ident, mut rest: &'a [TokenTree]) -> &'a [TokenTree] {
        let mut path = vec![first];
        while let [TokenTree::Punct(one), TokenTree::Punct(two), after @ ..] = rest
            && (one.as_char(), two.as_char()) == (':', ':')
        {
            rest = after;
            match after {
                [TokenTree::Ident(next), after @ ..] => {
                    path.push(next);
                    rest = after;
                }
                [TokenTree::Group(group), ..] if group.delimiter() == Delimiter::Brace => {
                    let tree = TokenStream::from(TokenTree::Group(group.clone()));
                    match syn::parse2::<UseTree>(tree) {
                        Ok(tree) => self.name_tree(&mut path.clone(), &tree),
                        Err(_) => self.faults.push(format!("{}: cannot be read", self.place(first))),
                    }
                    return after;
                }
                _ => {
                    self.name(path);
                    return rest;
                }
            }
        }
        if path.len() > 1 {
            self.name(path);
        }
        rest
    }

    /// Visits something that may be for tests only.
    fn within(&mut self, attributes: &[Attribute], visit: impl FnOnce(&mut Self)) {
        let former = self.in_test;
        self.in_test |= attributes.iter().any(is_cfg_test);
        visit(self);
        self.in_test = former;
    }

    /// The file of `mod NAME;`.
    fn module_file(&self, item: &ItemMod) -> PathBuf {
        let folder = self.file.parent().expect("a file has a folder");
        if let Some(path) = item.attrs.iter().find_map(path_attribute) {
            return folder.join(path);
        }
        let stem = self.file.file_stem().and_then(|it| it.to_str()).expect("Rust files have names");
        let folder = match stem {
            "lib" | "main" | "mod" => folder.to_owned(),
            stem => folder.join(stem),
        };
        let flat = folder.join(format!("{}.rs", item.ident));
        if flat.exists() { flat } else { folder.join(item.ident.to_string()).join("mod.rs") }
    }
}

fn is_cfg_test(attribute: &Attribute) -> bool {
    matches!(&attribute.meta, Meta::List(list)
        if list.path.is_ident("cfg") && list.tokens.to_string() == "test")
}

fn path_attribute(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(value) = &attribute.meta else { return None };
    match &value.value {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) if value.path.is_ident("path") => {
            Some(text.value())
        }
        _ => None,
    }
}

impl Visit<'_> for Reader {
    fn visit_item_mod(&mut self, item: &ItemMod) {
        self.module.push(item.ident.to_string());
        self.within(&item.attrs, |reader| match &item.content {
            None => reader.read(&reader.module_file(item)),
            Some((_, items)) => {
                let is_file = |it: &Item| matches!(it, Item::Mod(inner) if inner.content.is_none());
                if items.iter().any(is_file) {
                    let place = reader.place(&item.ident);
                    reader.faults.push(format!("{place}: a module in braces must not have files"));
                    return;
                }
                visit::visit_item_mod(reader, item);
            }
        });
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &ItemUse) {
        self.within(&item.attrs, |reader| reader.name_tree(&mut Vec::new(), &item.tree));
    }

    fn visit_item_extern_crate(&mut self, item: &ItemExternCrate) {
        self.within(&item.attrs, |reader| reader.name([&item.ident]));
    }

    fn visit_item_fn(&mut self, item: &ItemFn) {
        self.within(&item.attrs, |reader| visit::visit_item_fn(reader, item));
    }

    fn visit_item_impl(&mut self, item: &ItemImpl) {
        self.within(&item.attrs, |reader| visit::visit_item_impl(reader, item));
    }

    fn visit_path(&mut self, path: &syn::Path) {
        if path.segments.len() > 1 || path.leading_colon.is_some() {
            self.name(path.segments.iter().map(|it| &it.ident));
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &Macro) {
        self.visit_path(&item.path);
        self.scan(item.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &Attribute) {
        visit::visit_attribute(self, attribute);
        if let Meta::List(list) = &attribute.meta {
            self.scan(list.tokens.clone());
        }
    }

    /// `pub(in crate::x)` imports nothing.
    fn visit_visibility(&mut self, _: &Visibility) {}
}

fn list_files(folder: &Path, files: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            list_files(&path, files);
        } else if path.extension().is_some_and(|it| it == "rs") {
            files.insert(path);
        }
    }
}

#[test]
fn modules_import_what_stands_below_them() {
    let mut reader = Reader::default();
    reader.read(Path::new("src/lib.rs"));
    reader.module = vec!["main".to_owned()];
    reader.read(Path::new("src/main.rs"));

    let mut faults = reader.faults;
    faults.extend(reader.named.iter().filter_map(Named::fault));
    let mut files = BTreeSet::new();
    list_files(Path::new("src"), &mut files);
    faults.extend(files.difference(&reader.files).map(|it| format!("{}: in no module", it.display())));
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_top_module_has_a_layer() {
    let source = fs::read_to_string("src/lib.rs").expect("the library");
    for item in syn::parse_file(&source).expect("Rust").items {
        let Item::Mod(item) = item else { panic!("src/lib.rs has something beside modules") };
        let name = item.ident.to_string();
        assert!(LAYERS.iter().any(|layer| layer.contains(&name.as_str())), "{name} has no layer");
    }
}

/// The faults of a snippet that stands in the file of a module, as in `crawler::plan`.
fn faults(module: &str, source: &str) -> Vec<String> {
    let module = module.split("::").map(str::to_owned).collect();
    let mut reader = Reader { file: "x.rs".into(), module, ..Reader::default() };
    reader.read_source(source);
    let named = reader.named.iter().filter_map(Named::fault);
    reader.faults.into_iter().chain(named).collect()
}

#[track_caller]
fn check(module: &str, source: &str, expected: &[&str]) {
    assert_eq!(faults(module, source), expected, "{module}: {source}");
}

#[test]
fn imports_are_seen_however_they_are_written() {
    let fault = |path: &str| format!("x.rs:1: crawler may not import exporter (`{path}`)");
    for (path, source) in [
        ("crate::exporter", "use crate::{tree, exporter};"),
        ("crate::exporter", "pub use crate::exporter::{self as other};"),
        ("crate::exporter", "use crate::exporter::*;"),
        ("crate::exporter::Run", "use {std::fmt, crate::{oci, exporter::Run}};"),
        ("crate::exporter::Run", "fn f() -> Vec<crate::exporter::Run> { Vec::new() }"),
        ("crate::exporter::run", "fn f() { crate::exporter::run() }"),
        ("crate::exporter::run", "fn f() { println!(\"{}\", [crate::exporter::run()]) }"),
        ("crate::exporter::run", "macro_rules! m { () => { $crate::exporter::run() } }"),
        ("crate::exporter::Run", "m! { use crate::{oci, exporter::Run}; }"),
        ("crate::exporter::Run", "impl From<crate::exporter::Run> for X {}"),
        ("crate::exporter::Run", "#[derive(crate::exporter::Run)] struct X;"),
        ("crate::exporter::run", "#[crate::exporter::run] struct X;"),
        ("super::super::exporter::run", "use super::super::exporter::run;"),
        ("super::super::exporter", "use super::super::{exporter, oci};"),
        ("self::super::super::exporter", "use self::super::super::exporter;"),
        ("super::super::super::exporter", "mod inner { use super::super::super::exporter; }"),
        ("portolan::exporter", "use portolan::exporter;"),
        ("crate::exporter::run", "#[cfg(test)] mod tests { use crate::exporter::run; }"),
    ] {
        check("crawler::plan", source, &[&fault(path)]);
    }
}

#[test]
fn layers_are_kept() {
    let good = |module, source| check(module, source, &[]);
    good("crawler::plan", "use crate::{tree::Tree, database, oci}; use super::{Host, super::oci::Digest};");
    good("crawler::plan", "use crate::crawler::Host; pub(in crate::crawler) struct X; pub(crate) fn f() {}");
    good("metalink", "use crate::{mirror, oci};");
    good("cli::demo", "use crate::{config, server, crawler};");
    good("main", "use portolan::cli; fn main() { crate::f(); self::f() }");
    check("oci", "use crate::mirror;", &["x.rs:1: oci may not import mirror (`crate::mirror`)"]);
    check("mirror", "use crate::metalink;", &["x.rs:1: mirror may not import metalink (`crate::metalink`)"]);
    check("tree", "\nuse crate::store;", &["x.rs:2: tree may not import store (`crate::store`)"]);
    check("config", "use crate::cli;", &["x.rs:1: config may not import cli (`crate::cli`)"]);
    check("cli", "use crate::new;", &["x.rs:1: cli imports new, which has no layer (`crate::new`)"]);
    check("new", "use crate::oci;", &["x.rs:1: new has no layer; add it to tests/layers.rs (`crate::oci`)"]);
    check("cli", "use crate::*;", &["x.rs:1: cli names the crate's root (`crate`)"]);
    check("cli", "use super::*;", &["x.rs:1: cli names the crate's root (`super`)"]);
    check("cli", "use crate as portal;", &["x.rs:1: cli names the crate's root (`crate`)"]);
}

#[test]
fn crates_stay_with_their_owners() {
    let fault = |path: &str| format!("x.rs:1: crawler names reqwest, which belongs to connector (`{path}`)");
    for (path, source) in [
        ("reqwest", "use reqwest;"),
        ("reqwest", "use reqwest as client;"),
        ("reqwest", "extern crate reqwest;"),
        ("reqwest::Client", "use reqwest::{Client as Connection};"),
        ("reqwest::Client", "fn f(client: &::reqwest::Client) {}"),
        ("reqwest::get", "fn f() { tokio::join!(reqwest::get(url)); }"),
        ("reqwest::get", "#[cfg(not(test))] fn f() { reqwest::get(url); }"),
        ("reqwest::Client", "#[derive(Debug, reqwest::Client)] struct X;"),
    ] {
        check("crawler", source, &[&fault(path)]);
        check("connector", source, &[]);
    }
    check("crawler", "#[cfg(test)] mod tests { use reqwest::Client; mod inner { use diesel::x; } }", &[]);
    check("crawler", "#[cfg(test)] fn f() { reqwest::get() }", &[]);
    check("crawler", "fn f(reqwest: u8) -> u8 { self.tar + reqwest }", &[]);
}

#[test]
fn values_and_decisions_are_pure() {
    let fault = "x.rs:1: mirrorlist is pure, but names Instant::now (`std::time::Instant::now`)";
    check("mirrorlist::repeat", "fn f() { std::time::Instant::now(); }", &[fault]);
    check("oci", "use std::{fmt, fs};", &["x.rs:1: oci is pure, but names std::fs (`std::fs`)"]);
    check("tree", "use std::fs::File;", &[]);
    check("oci", "#[cfg(test)] mod tests { use std::fs; }", &[]);
}
