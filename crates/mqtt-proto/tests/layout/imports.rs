//! Finds the paths through which a source file names other modules: just enough of Rust for that.

use std::collections::BTreeSet;

pub(crate) struct Scan {
    pub(crate) imports: Vec<Import>,
    /// The modules in files of their own that are compiled for tests only.
    pub(crate) tests: Vec<String>,
}

pub(crate) struct Import {
    pub(crate) line: usize,
    /// From the root of the crate.
    path: Vec<String>,
    /// Whether it began with a plain name, so that it may be another crate's.
    plain: bool,
}

impl Import {
    /// Returns the module that is named: the longest beginning of the path that is one.
    pub(crate) fn target(&self, importer: &str, modules: &BTreeSet<&str>) -> Option<String> {
        let known = (1..=self.path.len()).rev().find_map(|len| {
            let module = self.path[..len].join("/");
            modules.contains(module.as_str()).then_some(module)
        });
        match known {
            Some(module) if self.plain && !is_child(&module, importer) => None,
            None if self.plain => None,
            None => Some("lib".to_string()),
            known => known,
        }
    }
}

fn is_child(module: &str, parent: &str) -> bool {
    let parent = if parent == "lib" { "" } else { parent };
    module.strip_prefix(parent).is_some_and(|rest| parent.is_empty() || rest.starts_with('/'))
}

pub(crate) fn scan(module: &str, text: &str) -> Scan {
    let here = match module {
        "lib" | "main" => Vec::new(),
        _ => module.split('/').map(String::from).collect(),
    };
    let tokens = tokens(text);
    let mut scanner = Scanner { tokens: &tokens, here, found: Vec::new(), tests: Vec::new() };
    scanner.run();
    Scan { imports: scanner.found, tests: scanner.tests }
}

struct Scanner<'t> {
    tokens: &'t [Token<'t>],
    /// The module at this point: that of the file, then those that stand in it.
    here: Vec<String>,
    found: Vec<Import>,
    tests: Vec<String>,
}

impl Scanner<'_> {
    fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| token.text)
    }

    fn is(&self, at: usize, texts: &[&str]) -> bool {
        texts.iter().enumerate().all(|(offset, text)| self.text(at + offset) == *text)
    }

    fn run(&mut self) {
        // How many braces are open, and at which depths a module in the file began.
        let (mut depth, mut modules) = (0, Vec::new());
        let mut at = 0;
        while at < self.tokens.len() {
            if self.is(at, &["#", "[", "cfg", "(", "test"])
                || self.is(at, &["#", "[", "cfg", "(", "all", "(", "test"])
            {
                at = self.skip_item(at);
                continue;
            }
            match self.text(at) {
                "{" => depth += 1,
                "}" => {
                    depth -= 1;
                    if modules.last() == Some(&depth) {
                        modules.pop();
                        self.here.pop();
                    }
                }
                "mod" if self.text(at + 2) == "{" => {
                    self.here.push(self.text(at + 1).to_string());
                    modules.push(depth);
                }
                "use" => {
                    at = self.tree(at + 1, self.here.clone(), true);
                    continue;
                }
                // A visibility is no import: `pub(in crate::x)`.
                "in" if self.is(at.wrapping_sub(1), &["(", "in", "crate"]) => at += 1,
                "crate" | "super" | "self" if self.text(at + 1) == "::" => {
                    at = self.tree(at, self.here.clone(), false);
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
    }

    /// Reads a path, or a tree of them, and returns what comes behind it.
    fn tree(&mut self, mut at: usize, mut path: Vec<String>, mut plain: bool) -> usize {
        let line = self.tokens.get(at).map_or(0, |token| token.line);
        loop {
            match self.text(at) {
                "crate" => (path, plain) = (Vec::new(), false),
                "self" => plain = false,
                "super" => {
                    path.pop();
                    plain = false;
                }
                "{" => {
                    at += 1;
                    while !matches!(self.text(at), "}" | "") {
                        // Behind the first name, a list goes on from where the path has come to.
                        at = self.tree(at, path.clone(), plain);
                        if self.text(at) == "," {
                            at += 1;
                        }
                    }
                    return at + 1;
                }
                "*" => {}
                // `use ::name`: another crate.
                "::" => return at + 1,
                name => path.push(name.to_string()),
            }
            at += 1;
            if self.text(at) != "::" {
                break;
            }
            at += 1;
            if self.text(at) == "<" {
                break;
            }
        }
        if self.text(at) == "as" {
            at += 2;
        }
        self.found.push(Import { line, path, plain });
        at
    }

    /// Passes over an item that is compiled for tests only, with its attributes.
    fn skip_item(&mut self, mut at: usize) -> usize {
        while self.text(at) == "#" {
            at = self.skip_block(at + 1);
        }
        let mut last = at;
        while !matches!(self.text(at), ";" | "{" | "") {
            if self.text(at) == "mod" {
                last = at + 1;
            }
            at = if matches!(self.text(at), "(" | "[") { self.skip_block(at) } else { at + 1 };
        }
        if self.text(at) == "{" {
            return self.skip_block(at);
        }
        if self.text(last.wrapping_sub(1)) == "mod" {
            let path = [&self.here[..], &[self.text(last).to_string()]].concat();
            self.tests.push(path.join("/"));
        }
        at + 1
    }

    /// Passes over what stands between brackets.
    fn skip_block(&self, mut at: usize) -> usize {
        let mut depth = 0;
        loop {
            match self.text(at) {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth -= 1,
                "" => return at,
                _ => {}
            }
            at += 1;
            if depth == 0 {
                return at;
            }
        }
    }
}

struct Token<'a> {
    text: &'a str,
    line: usize,
}

/// Splits a source into names, `::` and single characters, without comments and literals.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let name = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (len, keep) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), false)
        } else if rest.starts_with("/*") {
            (block_comment(rest), false)
        } else if let Some(len) = literal(rest) {
            (len, false)
        } else if name > 0 {
            (name, true)
        } else if rest.starts_with("::") {
            (2, true)
        } else {
            (first.len_utf8(), !first.is_whitespace())
        };
        if keep {
            tokens.push(Token { text: &rest[..len], line });
        }
        line += rest[..len].matches('\n').count();
        rest = &rest[len..];
    }
    tokens
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    loop {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += 1;
        }
        if depth == 0 || at >= text.len() {
            return at.min(text.len());
        }
    }
}

/// Returns the length of a string or character that the text begins with.
fn literal(text: &str) -> Option<usize> {
    let quoted = text.trim_start_matches(['b', 'c', 'r']);
    let prefix = text.len() - quoted.len();
    if prefix <= 2 && text[..prefix].contains('r') {
        let open = quoted.trim_start_matches('#');
        let hashes = quoted.len() - open.len();
        let end = format!("\"{}", "#".repeat(hashes));
        let len = open.strip_prefix('"')?.find(&end)?;
        return Some(prefix + hashes + 1 + len + end.len());
    }
    let quote = quoted.chars().next()?;
    match quote {
        '"' if prefix <= 1 => {}
        // Not a lifetime: it ends behind one character.
        '\'' if quoted[1..].starts_with('\\') || quoted.chars().nth(2) == Some('\'') => {}
        _ => return None,
    }
    let mut escaped = false;
    let end = quoted[1..].find(|c: char| {
        let end = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        end
    })?;
    Some(prefix + 1 + end + 1)
}
