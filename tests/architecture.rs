//! Keeps the layers of `src/lib.rs` honest: a module imports only what stands below it.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::{Path, PathBuf};

/// The layers from the bottom up; modules in one row do not know each other.
const LAYERS: [&[&str]; 9] = [
    &["error"],
    &["model"],
    &["sql"],
    &["plan", "audit", "lint"],
    &["report"],
    &["archive", "config", "migrations", "pg"],
    &["ops", "output"],
    &["cli"],
    &["main"],
];

/// Crates that only one layer may name.
const OWNED: [(&str, &str); 15] = [
    ("tokio_postgres", "pg"),
    ("deadpool_postgres", "pg"),
    ("native_tls", "pg"),
    ("flate2", "archive"),
    ("tar", "archive"),
    ("object_store", "archive"),
    ("reqwest", "archive"),
    ("hmac", "archive"),
    ("refinery", "pg"),
    ("refinery_core", "pg"),
    ("indicatif", "output"),
    ("comfy_table", "output"),
    ("annotate_snippets", "output"),
    ("squawk_linter", "lint"),
    ("squawk_syntax", "lint"),
];

/// Names that say nothing about the domain.
const BANNED_MODULES: [&str; 6] = ["util", "utils", "common", "helpers", "prelude", "misc"];

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn rank(module: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&module))
}

/// The part of a file that ships: everything before its test module.
fn production(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text)
}

fn complaints(module: &str, file: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for (number, line) in production(text).lines().enumerate() {
        let code = line.split("//").next().unwrap_or(line);
        for (_, rest) in
            code.match_indices("crate::").map(|(at, found)| (at, &code[at + found.len()..]))
        {
            let target: String =
                rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if let (Some(own), Some(other)) = (rank(module), rank(&target))
                && target != module
                && other >= own
            {
                complaints.push(format!("{file}:{}: {module} may not use {target}", number + 1));
            }
        }
        for (name, owner) in OWNED {
            if module != owner && code.contains(&format!("{name}::")) {
                complaints.push(format!("{file}:{}: only {owner} may name {name}", number + 1));
            }
        }
    }
    complaints
}

#[test]
fn a_module_imports_only_layers_below_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for path in sources(&root) {
        let relative = path.strip_prefix(&root).unwrap();
        let first =
            relative.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
        let module = first.trim_end_matches(".rs").to_owned();
        if module == "lib" {
            continue;
        }
        assert!(rank(&module).is_some(), "{module} has no layer in tests/architecture.rs");
        found.extend(complaints(
            &module,
            &relative.display().to_string(),
            &fs::read_to_string(&path).unwrap(),
        ));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_planted_trespass_is_caught() {
    assert_eq!(
        complaints("plan", "plan/mod.rs", "use crate::pg::Session;\n"),
        ["plan/mod.rs:1: plan may not use pg"]
    );
    assert_eq!(
        complaints("ops", "ops/create.rs", "fn f(e: tokio_postgres::Error) {}\n"),
        ["ops/create.rs:1: only pg may name tokio_postgres"]
    );
    assert!(complaints("pg", "pg/lock.rs", "use crate::error::Error;\n").is_empty());
}

#[test]
fn no_module_has_a_name_that_says_nothing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for path in sources(&root) {
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(!BANNED_MODULES.contains(&stem.as_str()), "{} says nothing", path.display());
    }
}

#[test]
fn every_source_file_is_reachable_from_the_crate_root() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for path in sources(&root) {
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        if matches!(stem.as_str(), "lib" | "main" | "mod") {
            continue;
        }
        let parent = path.parent().unwrap();
        let declared_in = if parent == root { root.join("lib.rs") } else { parent.join("mod.rs") };
        let text = fs::read_to_string(&declared_in).unwrap();
        assert!(
            text.lines().any(|line| {
                let line = line.trim_start_matches(' ');
                line.contains(&format!("mod {stem};"))
                    || line.trim_end_matches(',').trim() == stem
                    || line.trim_start().starts_with(&format!("{stem} =>"))
            }),
            "{} is not declared in {}",
            path.display(),
            declared_in.display()
        );
    }
}
