//! Files and layouts for the tests of rules.

#![allow(clippy::unwrap_used)]

use super::{Ground, Source, check};
use crate::model::ident::Ident;
use crate::model::layout::{Setting, Template, Tenancy};
use crate::model::tenant::Isolation;

pub(super) fn shared() -> Ground {
    let tenancy = Tenancy {
        column: Ident::new("tenant_id").unwrap(),
        setting: Setting::new("app.tenant_id").unwrap(),
    };
    Ground {
        isolation: Isolation::Shared,
        tenancy: Some(tenancy),
        schema: Template::new("app").unwrap(),
    }
}

pub(super) fn schema() -> Ground {
    Ground {
        isolation: Isolation::Schema,
        tenancy: None,
        schema: Template::new("tenant_{tenant}").unwrap(),
    }
}

/// Where a rule finds something in files V1, V2, …, and how grave it is.
pub(super) fn found(rule: &str, ground: &Ground, files: &[&str]) -> Vec<String> {
    after(0, rule, ground, files)
}

/// The same when so many of the files were applied before.
pub(super) fn after(applied: usize, rule: &str, ground: &Ground, files: &[&str]) -> Vec<String> {
    let paths: Vec<String> = (1..=files.len()).map(|number| format!("V{number}.sql")).collect();
    let sources: Vec<Source<'_>> = files
        .iter()
        .zip(&paths)
        .enumerate()
        .map(|(at, (sql, path))| Source { path, sql, judged: at >= applied })
        .collect();
    check(&sources, ground)
        .into_iter()
        .filter(|finding| finding.rule == rule)
        .map(|f| format!("{}:{}:{} {}", f.file, f.line, f.column, f.severity))
        .collect()
}
