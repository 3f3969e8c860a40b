//! What the sources have of public futures.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A function or a type that the sources have, and its documentation.
pub struct Found {
    pub name: String,
    pub docs: String,
}

/// Returns the documentation that stands right before a place.
fn docs_before(text: &str) -> String {
    let is_head = |line: &&str| {
        let line = line.trim_start();
        line.starts_with("///") || line.starts_with("#[")
    };
    let lines = text.lines().rev().skip_while(|line| line.trim().is_empty());
    let mut lines: Vec<_> = lines.take_while(is_head).collect();
    lines.reverse();
    lines.join("\n")
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// Finds what a source has of public futures.
fn futures_in(text: &str, exported: &BTreeSet<&str>) -> Vec<Found> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices(" Future for ") {
        let name = word(&text[at + " Future for ".len()..]);
        let place = text.find(&format!("\npub struct {name}"));
        if let Some(place) = place.filter(|_| !name.is_empty() && exported.contains(name)) {
            found.push(Found { name: name.into(), docs: docs_before(&text[..place]) });
        }
    }
    // Types that a macro makes: documentation, then the name.
    for call in ["\nrequest_token! {", "\nwatching_token! {"] {
        for (at, _) in text.match_indices(call) {
            let body = &text[at + call.len()..];
            let is_head =
                |it: &&str| !it.is_empty() && !it.starts_with("//") && !it.starts_with("#[");
            let line = body.lines().map(str::trim).find(is_head);
            let name = word(line.unwrap());
            let place = body.find(&format!("\n    {name}")).unwrap();
            found.push(Found { name: name.into(), docs: docs_before(&body[..place]) });
        }
    }
    for (at, _) in text.match_indices("\n    pub ") {
        let head = &text[at + "\n    pub ".len()..];
        let head = &head[..head.find(" {\n").unwrap_or(head.len())];
        let Some(name) = head.find("fn ").map(|at| word(&head[at + 3..])) else { continue };
        if !head.starts_with("async ") && !head.contains("-> impl Future") {
            continue;
        }
        let before = &text[..at];
        let owner = &before[before.rfind("\nimpl").unwrap() + "\nimpl ".len()..];
        let owner = word(owner);
        found.push(Found { name: format!("{owner}::{name}"), docs: docs_before(&text[..=at]) });
    }
    found
}

fn sources(folder: &Path, all: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else {
            all.push(fs::read_to_string(path).unwrap());
        }
    }
}

/// Returns all that the crate has.
pub fn futures() -> Vec<Found> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lib = fs::read_to_string(folder.join("lib.rs")).unwrap();
    let uses = lib.split("pub use ").skip(1).map(|it| &it[..it.find(';').unwrap()]);
    let exported: BTreeSet<&str> =
        uses.flat_map(|it| it.split(|c: char| !c.is_alphanumeric() && c != '_')).collect();
    let mut texts = Vec::new();
    sources(&folder, &mut texts);
    texts.iter().flat_map(|text| futures_in(text, &exported)).collect()
}
