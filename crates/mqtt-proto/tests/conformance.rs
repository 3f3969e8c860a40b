//! Which requirements of the two standards a test covers.
//!
//! `conformance/v5.tsv` and `conformance/v3.tsv` list the requirements. A line `// covers: v5 ID, v3 ID`
//! directly above a test names those that would make it fail if they were broken; a case of a
//! table-driven test says the same in its comment or name. `cargo test --test conformance -- --nocapture`
//! prints what is missing.

// Clippy spares the functions that are marked as tests, but not the ones that they share.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Requirements that are kept in a way of our own, or not at all: lines `- v5 ID: reason`.
const EXCUSES: &str = "src/manual/conformance.md";

const VERSIONS: [(&str, &str); 2] =
    [("v5", include_str!("../conformance/v5.tsv")), ("v3", include_str!("../conformance/v3.tsv"))];

/// A version and an id in it: the same number means different things in the two versions.
type Id = (String, String);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Codec,
    Session,
    /// Above this crate: the transport, or an application such as a broker.
    Above,
}

fn requirements() -> BTreeMap<Id, Place> {
    let mut all = BTreeMap::new();
    for (version, text) in VERSIONS {
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let [id, _, places, _] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("{version}: not four columns: {line}")
            };
            let place = if places.contains("session") {
                Place::Session
            } else if places.contains("codec") {
                Place::Codec
            } else {
                Place::Above
            };
            let old = all.insert((version.to_string(), id.to_string()), place);
            assert!(old.is_none(), "{version} {id} stands twice");
        }
    }
    all
}

/// Takes one `v5 ID` from the beginning of a text.
fn take_id(text: &str) -> Option<(Id, &str)> {
    let (version, rest) = text.trim_start().split_once(' ')?;
    let id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let end = rest.find(|c| !id(c)).unwrap_or(rest.len());
    let (id, rest) = rest.split_at(end);
    let known = VERSIONS.iter().any(|(known, _)| *known == version);
    (known && !id.is_empty()).then(|| ((version.to_string(), id.to_string()), rest))
}

/// Returns the ids that a line of a test names, or what is wrong with it.
fn covered(line: &str) -> Result<Vec<Id>, String> {
    let line = line.trim();
    if line.starts_with("//!") || line.starts_with("///") {
        return Ok(Vec::new());
    }
    let Some((before, mut rest)) = line.split_once("covers:") else { return Ok(Vec::new()) };
    let comment = before == "// ";
    let mut ids = Vec::new();
    while let Some((id, behind)) = take_id(rest) {
        ids.push(id);
        rest = behind;
        match behind.strip_prefix(',') {
            Some(more) if take_id(more).is_some() => rest = more,
            _ => break,
        }
    }
    // The name of a case goes on as it likes; a comment has nothing but ids.
    let whole = rest.is_empty() && !ids.is_empty();
    if comment && !whole { Err(format!("not a list of `v5 ID, v3 ID`: {line}")) } else { Ok(ids) }
}

/// Returns the id that a line excuses.
fn excused(line: &str) -> Option<Result<Id, String>> {
    let item = ["- v5 ", "- v3 "].iter().any(|start| line.starts_with(start));
    item.then(|| match take_id(line.trim_start_matches("- ")) {
        Some((id, reason)) if reason.starts_with(": ") && reason.len() > 10 => Ok(id),
        _ => Err(format!("not `- v5 ID: reason`: {line}")),
    })
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
}

#[test]
fn tests_cover_what_the_standards_require() {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let all = requirements();
    let (mut tested, mut excuses) = (BTreeSet::new(), BTreeSet::new());
    let mut faults = Vec::new();
    for file in rust_files(&crate_root.join("..")) {
        for (at, line) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            let fault = |fault| format!("{}, line {}: {fault}", file.display(), at + 1);
            match covered(line) {
                Ok(ids) => {
                    for id in ids {
                        if !all.contains_key(&id) {
                            faults.push(fault(format!("{} has no {}", id.0, id.1)));
                        }
                        tested.insert(id);
                    }
                }
                Err(error) => faults.push(fault(error)),
            }
        }
    }
    let manual = fs::read_to_string(crate_root.join(EXCUSES)).unwrap_or_default();
    for excuse in manual.lines().filter_map(excused) {
        match excuse {
            Ok(id) if all.contains_key(&id) => _ = excuses.insert(id),
            Ok((version, id)) => faults.push(format!("{EXCUSES}: {version} has no {id}")),
            Err(error) => faults.push(format!("{EXCUSES}: {error}")),
        }
    }

    let mut counts = Vec::new();
    for (version, _) in VERSIONS {
        let ours: Vec<_> = all
            .iter()
            .filter(|((other, _), place)| other == version && **place != Place::Above)
            .collect();
        let done = ours.iter().filter(|(id, _)| tested.contains(*id)).count();
        counts.push(format!("{version} {done}/{}", ours.len()));
        for place in [Place::Codec, Place::Session] {
            let missing: Vec<&str> = ours
                .iter()
                .filter(|(id, other)| {
                    **other == place && !tested.contains(*id) && !excuses.contains(*id)
                })
                .map(|((_, id), _)| id.as_str())
                .collect();
            println!("{version}, {place:?}: {} not covered: {}", missing.len(), missing.join(" "));
            if !missing.is_empty() {
                faults.push(format!("no test covers {version} {}", missing.join(", ")));
            }
        }
    }
    println!("excused: {}", excuses.len());
    println!("conformance {}", counts.join(", "));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

// ---- the checker itself; its examples are put together so that it does not take them for real ----

fn id(version: &str, id: &str) -> Id {
    (version.to_string(), id.to_string())
}

#[test]
fn reads_comments_and_names_of_cases() {
    let line = |before: &str, ids: &str| covered(&format!("{before}covers{}{ids}", ": "));
    let both = Ok(vec![id("v5", "MQTT-3.1.2-24"), id("v3", "X3-2.2.3-a")]);
    assert_eq!(line("    // ", "v5 MQTT-3.1.2-24, v3 X3-2.2.3-a"), both);
    assert_eq!(line("(\"QoS 3; ", "v5 MQTT-3.1.2-24, v3 X3-2.2.3-a\", 7, v),"), both);
    assert_eq!(line("f(); // a case, ", "v5 MQTT-3.1.2-24, v3 X3-2.2.3-a: why"), both);
    assert_eq!(line("//! // ", "v5 MQTT-3.1.2-24"), Ok(Vec::new()));
    assert_eq!(line("// it ", "most of it"), Ok(Vec::new()));
    for bad in ["MQTT-3.1.2-24", "v4 MQTT-3.1.2-24", "v5 A-1, B-2", "v5 A-1,", "v5 A-1 v3 B-1", ""]
    {
        assert!(line("// ", bad).is_err(), "{bad}");
    }
}

#[test]
fn reads_excuses() {
    let excuse = excused("- v5 MQTT-1.5.4-2: it is the better choice");
    assert_eq!(excuse, Some(Ok(id("v5", "MQTT-1.5.4-2"))));
    assert_eq!(excused("Some text about v5 MQTT-1.5.4-2: and more"), None);
    assert!(excused("- v5 MQTT-1.5.4-2").is_some_and(|excuse| excuse.is_err()), "no reason");
}

#[test]
fn knows_where_a_requirement_is_checked() {
    let all = requirements();
    assert_eq!(all.get(&id("v5", "MQTT-4.7.1-1")), Some(&Place::Codec));
    assert_eq!(all.get(&id("v5", "MQTT-4.7.2-1")), Some(&Place::Above));
    assert_eq!(all.get(&id("v3", "MQTT-4.4.0-1")), Some(&Place::Session));
    for version in ["v5", "v3"] {
        assert!(all.keys().filter(|(other, _)| other == version).count() > 140, "{version}");
    }
}
