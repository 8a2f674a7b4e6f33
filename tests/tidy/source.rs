//! The files of the tree as text, and Rust text split into code and comments.
//!
//! Reads what lies in the directory, tracked or not; build output, fuzz corpora and vectors are left out.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Directories whose content is data or output, from the top of the tree.
const LEFT_OUT: [&str; 6] = [
    ".git",
    "target",
    "tests/fuzz/target",
    "tests/fuzz/corpus",
    "tests/fuzz/artifacts",
    "engine/wire/tests/data",
];

/// One text file.
pub struct File {
    /// Path from the top of the tree, with slashes.
    pub path: String,
    /// Content.
    pub text: String,
}

impl File {
    /// Whether it is Rust.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The file name without its extension.
    pub fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        name.split('.').next().unwrap_or(name)
    }

    /// Lines with their numbers, from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        numbered(&self.text)
    }
}

/// Lines with their numbers, from 1.
pub fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line))
}

/// The top of the tree.
pub fn top() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("tests lies in the tree").to_owned()
}

/// All text files, sorted by path.
pub fn tree() -> &'static [File] {
    static TREE: OnceLock<Vec<File>> = OnceLock::new();
    TREE.get_or_init(read_tree)
}

fn read_tree() -> Vec<File> {
    let mut files = Vec::new();
    let top = top();
    let mut directories = vec![top.clone()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).expect("a readable tree") {
            let path = entry.expect("a readable tree").path();
            let name = path.strip_prefix(&top).expect("below the top");
            let name = name.to_string_lossy().replace('\\', "/");
            if LEFT_OUT.contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                directories.push(path);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                files.push(File { path: name, text });
            }
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(files.len() > 50, "the tree was not found");
    files
}

/// Rust text as two texts of the same lines: code without strings and comments, and comments alone.
pub fn split(text: &str) -> (String, String) {
    let mut code = String::new();
    let mut comments = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (length, kind) = piece(rest);
        let (taken, left) = rest.split_at(length);
        for character in taken.chars() {
            let blank = if character == '\n' { '\n' } else { ' ' };
            code.push(if kind == Kind::Code { character } else { blank });
            comments.push(if kind == Kind::Comment {
                character
            } else {
                blank
            });
        }
        rest = left;
    }
    (code, comments)
}

#[derive(PartialEq)]
enum Kind {
    Code,
    Comment,
    Literal,
}

/// The length and kind of the piece that `rest` begins with.
fn piece(rest: &str) -> (usize, Kind) {
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), Kind::Comment);
    }
    if let Some(body) = rest.strip_prefix("/*") {
        let length = body.find("*/").map_or(rest.len(), |end| end + 4);
        return (length, Kind::Comment);
    }
    let raw = rest.trim_start_matches(['b', 'c']);
    if let Some(raw) = raw.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let opening = rest.len() - raw.len() + hashes + 1;
            let length = rest[opening..]
                .find(&end)
                .map_or(rest.len(), |at| opening + at + end.len());
            return (length, Kind::Literal);
        }
    }
    if let Some(body) = rest.strip_prefix('"') {
        return (1 + closing(body, '"'), Kind::Literal);
    }
    if let Some(body) = rest.strip_prefix('\'') {
        let mut characters = body.chars();
        let is_character = match characters.next() {
            Some('\\') => true,
            _ => characters.next() == Some('\''),
        };
        if is_character {
            return (1 + closing(body, '\''), Kind::Literal);
        }
    }
    // A word is one piece, so that the r or b that ends one begins no literal.
    let word = |character: &char| character.is_alphanumeric() || *character == '_';
    let length: usize = rest.chars().take_while(word).map(char::len_utf8).sum();
    let first = rest.chars().next().map_or(1, char::len_utf8);
    (length.max(first), Kind::Code)
}

/// Octets up to and with the quote that ends a literal whose inside begins `body`.
fn closing(body: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in body.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return at + 1,
            _ => {}
        }
    }
    body.len()
}

#[test]
fn rust_is_split_into_code_and_comments() {
    let text = "let a = \"// no // \\\" comment\"; // yes\nlet b = r#\"x \" y\"#; let c = '\"';\n\
        fn f<'a>(x: &'a u8) { /* two\nlines */ unsafe {} } let d = b\"q\"; for x in y {}\n";
    let (code, comments) = split(text);
    assert_eq!(code.lines().count(), text.lines().count());
    assert!(!code.contains("comment") && !code.contains('q') && !code.contains("x \""));
    assert!(code.contains("let c") && code.contains("<'a>") && code.contains("unsafe {}"));
    assert!(comments.contains("// yes") && comments.contains("/* two") && !comments.contains("no"));
    assert!(code.contains("for x in y {}"));
}
