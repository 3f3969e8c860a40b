//! The shape of the tree: no file too long to read, and imports run one way.
//!
//! What a module may import stands in the tables below. A new module needs a place in its crate's table;
//! where one goes says more about it than its name does.

// Clippy spares the functions that are marked as tests, but not the ones that they share.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "layout/imports.rs"]
mod imports;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, iter};

use imports::{Scan, scan};

const MOST_LINES: usize = 600;

/// One row of a table. A module may import from the rows above its own.
enum Row {
    /// Modules that may import each other as well.
    Together(&'static [&'static str]),
    /// Modules that may not.
    Apart(&'static [&'static str]),
}

use Row::{Apart, Together};

/// The rows of each crate. `codec/parse` belongs to `codec`, unless it is named itself.
const TABLES: &[(&str, &[Row])] = &[
    (
        "mqtt-proto",
        &[
            Together(&["types", "time", "reason", "error", "text", "txbuf"]),
            Together(&["topic", "packet"]),
            Together(&["codec"]),
            Together(&[
                "session/error",
                "session/config",
                "session/event",
                "session/timers",
                "session/ids",
                "session/list",
                "session/limits",
                "session/alias",
                "session/store",
            ]),
            Together(&["session/link"]),
            // What is sent and what is received meet in the core only.
            Apart(&["session/outbound", "session/inbound"]),
            Together(&["session/core"]),
            Together(&["session/role"]),
            Apart(&["session/client", "session/server"]),
            Together(&["session"]),
            Together(&["manual"]),
            Together(&["lib"]),
        ],
    ),
    (
        "mqtt-async",
        &[
            Together(&[
                "answer", "error", "config", "stage", "time", "status", "random", "redirect",
                "trace",
            ]),
            Together(&["connect", "auth", "hooks", "queue", "store", "link", "router", "tokio"]),
            Together(&["shared"]),
            Together(&["tokens", "message", "events", "shutdown", "durable"]),
            Together(&["driver"]),
            Together(&["client"]),
            Together(&["request", "blocking"]),
            Together(&["lib"]),
        ],
    ),
    (
        "mqtt-broker",
        &[
            Together(&["config", "error", "hooks", "layers", "time"]),
            Together(&["retained", "subscriptions", "sessions"]),
            Together(&["hub"]),
            Together(&["connection"]),
            Together(&["broker"]),
            Together(&["lib"]),
        ],
    ),
    (
        "mqtt-cli",
        &[
            Together(&["failure", "signal", "output", "format", "args", "look", "transport"]),
            Together(&["connection"]),
            Apart(&["publish", "subscribe", "request", "respond", "bench", "broker"]),
            Together(&["main"]),
        ],
    ),
];

struct Source {
    /// `topic/tree` for `src/topic/tree.rs`.
    module: String,
    text: String,
}

/// Returns the row that a module stands in, and the name it has there.
fn place<'t>(rows: &'t [Row], module: &str) -> Option<(usize, &'t str)> {
    let names = |row: &'t Row| match row {
        Together(names) | Apart(names) => names.iter().copied(),
    };
    iter::successors(Some(module), |module| Some(module.rsplit_once('/')?.0)).find_map(|module| {
        let mut rows = rows.iter().enumerate();
        rows.find_map(|(at, row)| Some((at, names(row).find(|name| *name == module)?)))
    })
}

/// Returns what breaks the table.
fn faults(rows: &[Row], sources: &[Source]) -> Vec<String> {
    let modules: BTreeSet<&str> = sources.iter().map(|source| source.module.as_str()).collect();
    let scans: Vec<(&str, Scan)> = sources
        .iter()
        .map(|source| (source.module.as_str(), scan(&source.module, &source.text)))
        .collect();
    let tests: BTreeSet<&str> =
        scans.iter().flat_map(|(_, scan)| scan.tests.iter().map(String::as_str)).collect();
    let is_test = |module: &str| {
        tests.iter().any(|test| {
            module.strip_prefix(test).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    let mut faults = Vec::new();
    for (module, scan) in scans.iter().filter(|(module, _)| !is_test(module)) {
        let Some((row, name)) = place(rows, module) else {
            faults.push(format!("{module}: stands in no row of the table"));
            continue;
        };
        for import in &scan.imports {
            let Some(target) = import.target(module, &modules) else { continue };
            let Some((other_row, other_name)) = place(rows, &target) else { continue };
            let allowed = other_name == name
                || other_row < row
                || other_row == row && matches!(rows[row], Together(_));
            if !allowed {
                let line = import.line;
                faults.push(format!("{module}, line {line}: {name} may not import {other_name}"));
            }
        }
    }
    // A list in braces names the same module more than once.
    faults.dedup();
    faults
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the Rust files below a folder that may not exist.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if path.file_name().unwrap() != "target" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn sources(src: &Path) -> Vec<Source> {
    let source = |file: PathBuf| {
        let module = file.strip_prefix(src).unwrap().with_extension("");
        let module = module.to_str().unwrap().replace('\\', "/");
        let module = module.strip_suffix("/mod").unwrap_or(&module).to_string();
        Source { module, text: fs::read_to_string(file).unwrap() }
    };
    rust_files(src).into_iter().map(source).collect()
}

#[test]
fn no_file_is_too_long() {
    let files: Vec<PathBuf> = ["crates", "examples", "fuzz", "benches"]
        .iter()
        .flat_map(|folder| rust_files(&root().join(folder)))
        .collect();
    assert!(files.len() > 10, "the files of the repository are not where they were");
    let mut long = Vec::new();
    for file in files {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        if lines > MOST_LINES {
            long.push(format!("{}: {lines} lines", file.display()));
        }
    }
    assert!(long.is_empty(), "over {MOST_LINES} lines; split by subject:\n{}", long.join("\n"));
}

#[test]
fn imports_run_one_way() {
    let mut all = Vec::new();
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        if !path.join("Cargo.toml").exists() {
            continue;
        }
        match TABLES.iter().find(|(table, _)| *table == name) {
            Some((_, rows)) => {
                let sources = sources(&path.join("src"));
                assert!(!sources.is_empty(), "{name} has no sources");
                all.extend(faults(rows, &sources).iter().map(|fault| format!("{name}: {fault}")));
            }
            None => all.push(format!("{name}: the crate has no table")),
        }
    }
    assert!(all.is_empty(), "against the tables in tests/layout.rs:\n{}", all.join("\n"));
}

// ---- the checker itself ----

const SMALL: &[Row] = &[
    Together(&["low", "base"]),
    Together(&["mid/low"]),
    Apart(&["left", "right"]),
    Together(&["mid"]),
    Together(&["lib"]),
];

#[track_caller]
fn check(sources: &[(&str, &str)], expected: &[&str]) {
    let sources: Vec<Source> = sources
        .iter()
        .map(|(module, text)| Source { module: module.to_string(), text: text.to_string() })
        .collect();
    assert_eq!(faults(SMALL, &sources), expected);
}

#[test]
fn a_bad_import_is_seen_in_each_spelling() {
    let rest = [("mid", ""), ("mid/low", ""), ("base", ""), ("lib", "")];
    let fault = "low, line 2: low may not import mid";
    for bad in [
        "\nuse crate::mid;",
        "\nuse crate::mid::Thing;",
        "\npub(crate) use crate::mid::{self, Thing as Other};",
        "\nuse crate::{base::{A, B}, mid::*};",
        "\nuse super::mid::Thing;",
        "\nfn f() { crate::mid::thing() }",
        "\nfn f(x: &'static super::mid::Thing) {}",
        "\nmod inner { use super::super::mid::Thing; }",
        "\nmacro_rules! m { () => { $crate::mid::thing() } }",
        "\nconst C: char = '\"'; use crate::mid::Thing;",
    ] {
        check(&[&[("low", bad)], &rest[..]].concat(), &[fault]);
    }
    let fault = "low, line 1: low may not import lib";
    for bad in ["use crate::Thing;", "use super::Thing;", "use crate::{base, Thing};"] {
        check(&[&[("low", bad)], &rest[..]].concat(), &[fault]);
    }
}

#[test]
fn good_imports_are_let_be() {
    check(
        &[
            ("lib", "mod low; mod mid; pub use low::Thing; pub use mid::*;"),
            ("low", "use crate::base::A; use std::mid::X; pub(in crate::mid) struct S;"),
            ("base", "use crate::low::A; use super::low::B; use mid::External;"),
            (
                "mid",
                "mod low; use low::A; use crate::left::A; use crate::right::B; use self::low::B;",
            ),
            ("mid/low", "use crate::low::{A, B}; mod inner { use super::super::low::C; }"),
            ("mid/high", "use super::low::A; use super::Thing; use crate::mid::Thing;"),
            (
                "left",
                "// use crate::mid::A;\n/* /* */ use crate::mid::B; */ const S: &str = \"use crate::mid::C\";",
            ),
            (
                "right",
                "const S: &str = r#\"\" use crate::mid::C\"#; const B: &[u8] = b\"\\\" crate::mid::D\";",
            ),
        ],
        &[],
    );
}

#[test]
fn modules_below_others_have_their_own_place() {
    let modules = [("mid", ""), ("mid/low", "use super::Thing; use crate::mid::high::A;")];
    let fault = "mid/low, line 1: mid/low may not import mid";
    check(&[&modules[..], &[("mid/high", "")]].concat(), &[fault]);
    check(
        &[("left", "use crate::right::A;"), ("right", "")],
        &["left, line 1: left may not import right"],
    );
    check(
        &[("low", "mod under; use under::A;"), ("low/under", "use crate::mid::B;"), ("mid", "")],
        &["low/under, line 1: low may not import mid"],
    );
    check(&[("elsewhere", "")], &["elsewhere: stands in no row of the table"]);
}

#[test]
fn tests_may_import_what_they_like() {
    check(
        &[
            (
                "low",
                "#[cfg(test)]\n#[allow(x)]\nmod tests { use crate::mid::A; fn f() {} }\n#[cfg(test)] mod far;",
            ),
            ("low/far", "use crate::mid::A;"),
            ("low/far/away", "use crate::mid::A;"),
            ("mid", ""),
        ],
        &[],
    );
    check(
        &[("low", "#[cfg(test)] mod tests { fn f() { {} } }\nuse crate::mid::A;"), ("mid", "")],
        &["low, line 2: low may not import mid"],
    );
    check(
        &[("low", "#[cfg(not(test))] mod imp { use crate::mid::A; }"), ("mid", "")],
        &["low, line 1: low may not import mid"],
    );
}
