//! The architecture, checked. Each rule says what to do instead.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Lower knows nothing of higher; equals know nothing of each other.
const RANKS: &[(u8, &[&str])] = &[
    (0, &["kernel"]),
    (1, &["crypto"]),
    (2, &["config", "db", "events", "runtime", "web"]),
    (3, &["audit", "databases", "engines", "jobs", "offsite"]),
    (4, &["identity"]),
    (5, &["access", "credentials", "stacks"]),
    (6, &["instances"]),
    (7, &["gateway", "mqtt", "routing", "snapshots"]),
    (8, &["backups", "installation"]),
    (9, &["app"]),
    (10, &["cli"]),
];

/// Slices: the folders in which a file's name says what may be in it.
const SLICE_RANKS: std::ops::RangeInclusive<u8> = 3..=8;

/// What a file of this name in a slice may not mention.
const BANNED: &[(&str, &[&str])] = &[
    (
        "model.rs",
        &[
            "sqlx::query",
            "PgConnection",
            "axum",
            "bollard",
            "reqwest",
            "tokio",
            ".await",
        ],
    ),
    ("error.rs", &["axum", "bollard"]),
    ("store.rs", &["axum", "bollard", "reqwest", "tracing::"]),
    ("service.rs", &["axum", "bollard", "reqwest", "sqlx::query"]),
    ("jobs.rs", &["axum", "bollard", "sqlx::query"]),
    (
        "http.rs",
        &[
            "sqlx",
            "bollard",
            "reqwest",
            "store::",
            "axum::Json",
            "extract::Path",
        ],
    ),
];

/// What only one folder may name: everybody else goes through its door.
const KEPT_TO: &[(&str, &str)] = &[
    ("bollard", "runtime/docker"),
    ("NodeRed", "engines"),
    ("N8n", "engines"),
    ("node_red::", "engines"),
    ("n8n::", "engines"),
    ("#[allow(", "nowhere: use #[expect(…, reason = …)]"),
];

const LINES_MAX: usize = 400;

#[test]
fn tidy() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = rust_files(&src);
    assert!(50 < files.len(), "the sources were found");
    let mut errors = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let rel = path.strip_prefix(&src).unwrap();
        let code = code_of(&text);
        check_length(rel, &text, &mut errors);
        check_words(rel, &code, &mut errors);
        check_ranks(rel, &code, &mut errors);
    }
    assert!(errors.is_empty(), "\n{}\n", errors.join("\n"));
}

#[test]
fn tidy_sees_what_a_file_uses() {
    for (code, expected) in [
        ("use crate::db::Db;", true),
        ("use crate::db;", true),
        ("use crate::{\n    db::{Db, Tx},\n    web,\n};", true),
        ("use crate::{kernel::Clock, db};", true),
        ("crate::db::kind(&error)", true),
        ("use crate::{\n    kernel::{db, Clock},\n};", false),
        ("use crate::dbx::Db;", false),
        ("use super::db;", false),
    ] {
        assert_eq!(mentions(code, "db"), expected, "{code}");
    }
}

fn check_length(rel: &Path, text: &str, errors: &mut Vec<String>) {
    let n = text.lines().count();
    if LINES_MAX < n {
        errors.push(format!(
            "{}: {n} lines, at most {LINES_MAX}: split it by concept",
            rel.display()
        ));
    }
}

fn check_words(rel: &Path, code: &str, errors: &mut Vec<String>) {
    for (word, home) in KEPT_TO {
        if code.contains(word) && !rel.starts_with(home) {
            errors.push(format!("{}: `{word}` belongs to {home}", rel.display()));
        }
    }
    let rank = module_of(rel).and_then(|it| rank_of(&it));
    if !rank.is_some_and(|it| SLICE_RANKS.contains(&it)) {
        return;
    }
    let name = rel.file_name().unwrap().to_str().unwrap();
    for (_, words) in BANNED.iter().filter(|(file, _)| *file == name) {
        for word in words.iter().filter(|word| code.contains(**word)) {
            errors.push(format!(
                "{}: `{word}` does not belong in a {name}",
                rel.display()
            ));
        }
    }
}

fn check_ranks(rel: &Path, code: &str, errors: &mut Vec<String>) {
    let Some(mine) = module_of(rel) else { return };
    let Some(rank) = rank_of(&mine) else {
        errors.push(format!(
            "{}: give module `{mine}` a rank in tests/tidy.rs",
            rel.display()
        ));
        return;
    };
    for (their_rank, names) in RANKS.iter().filter(|(other, _)| rank <= *other) {
        for other in names.iter().filter(|other| **other != mine) {
            if mentions(code, other) {
                errors.push(format!(
                    "{}: `{mine}` (rank {rank}) may not use `{other}` (rank {their_rank})",
                    rel.display()
                ));
            }
        }
    }
}

/// Whether `use crate::{..}` or a path `crate::..` names the module.
fn mentions(code: &str, module: &str) -> bool {
    let names_it = |rest: &str| {
        rest.strip_prefix(module)
            .is_some_and(|after| !after.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    };
    code.split("crate::")
        .skip(1)
        .any(|rest| match rest.strip_prefix('{') {
            Some(group) => heads_of(group).any(|head| names_it(head.trim())),
            None => names_it(rest),
        })
}

/// The items of a `use` group, without what stands in inner groups.
fn heads_of(group: &str) -> impl Iterator<Item = String> {
    let mut heads = vec![String::new()];
    let mut depth = 0;
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(String::new()),
            _ if depth == 0 => heads.last_mut().unwrap().push(c),
            _ => {}
        }
    }
    heads.into_iter()
}

fn rank_of(module: &str) -> Option<u8> {
    RANKS
        .iter()
        .find(|(_, names)| names.contains(&module))
        .map(|(rank, _)| *rank)
}

fn module_of(rel: &Path) -> Option<String> {
    let first = rel.components().next()?.as_os_str().to_str()?;
    let module = first.strip_suffix(".rs").unwrap_or(first);
    (!["lib", "main"].contains(&module)).then(|| module.to_owned())
}

/// Without comments and without the unit tests.
fn code_of(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or("");
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}
