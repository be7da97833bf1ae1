//! `verify-rls matrix`: who can do what, for people, as JSON, in Markdown and between commas.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::findings::unaudited;
use super::layout::{table, wrapped};
use super::markdown::cell;
use super::progress::duration;
use super::style::Style;
use crate::audit::{Access, Reached};
use crate::model::catalog::Privilege;
use crate::model::count;
use crate::model::tenant::TenantId;
use crate::report::Matrix;

pub(super) fn json(answer: &Matrix) -> Value {
    json!({
        "format": super::json::FORMAT,
        "interrupted": answer.interrupted,
        "targets": super::json::targets(&answer.databases),
        "matrix": answer.reached,
    })
}

/// The verbs that have a column of their own.
const ROWS: [Privilege; 5] = [
    Privilege::Select,
    Privilege::Insert,
    Privilege::Update,
    Privilege::Delete,
    Privilege::Truncate,
];

/// What a role can do with an object, or what each of several does with its own.
struct Line<'a> {
    first: &'a Reached,
    place: String,
    object: String,
    role: String,
    /// How many more are like it.
    more: usize,
}

/// Each role on each object; tenants that have the same on their own ground are one line.
fn lines<'a>(reached: &'a [Reached], style: &Style) -> Vec<Line<'a>> {
    let mut lines: Vec<Line<'_>> = Vec::new();
    let mut alike: BTreeMap<_, usize> = BTreeMap::new();
    for one in reached {
        let object = &one.object;
        let database = object.database.as_deref().unwrap_or_default();
        let place = format!("{}/{database}", object.cluster);
        let own = one.access.values().all(|access| *access == Access::Own);
        let line = |name: Option<&str>| {
            let general = |text: &str| match name {
                Some(name) => nameless(text, name),
                None => text.to_owned(),
            };
            let named = general(&object.name);
            // A schema of its own is in a database that may be called like it.
            let in_schema = object.kind != "database" && named != object.name;
            Line {
                first: one,
                place: if in_schema { place.clone() } else { general(&place) },
                object: format!("{} {named}", object.kind),
                role: general(&one.role),
                more: 0,
            }
        };
        let tenant = match one.tenants.as_slice() {
            [only] if own && !style.whole => Some(only.in_names()),
            _ => None,
        };
        let line = line(tenant.as_deref());
        if tenant.is_none() {
            lines.push(line);
            continue;
        }
        let key = (line.place.clone(), line.object.clone(), line.role.clone(), &one.access);
        match alike.get(&key) {
            Some(at) => lines[*at].more += 1,
            None => {
                alike.insert(key, lines.len());
                lines.push(line);
            }
        }
    }
    // Who is alone in it keeps its name.
    for line in lines.iter_mut().filter(|line| line.more == 0) {
        let object = &line.first.object;
        line.place =
            format!("{}/{}", object.cluster, object.database.as_deref().unwrap_or_default());
        line.object = format!("{} {}", object.kind, object.name);
        line.role.clone_from(&line.first.role);
    }
    lines
}

/// A name with `{tenant}` where a tenant's stands in it as a word; `_` parts words.
fn nameless(text: &str, tenant: &str) -> String {
    let mut general = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(tenant) {
        let (before, after) = (&rest[..at], &rest[at + tenant.len()..]);
        let whole =
            !before.ends_with(char::is_alphanumeric) && !after.starts_with(char::is_alphanumeric);
        general.push_str(before);
        general.push_str(if whole { "{tenant}" } else { tenant });
        rest = after;
    }
    general + rest
}

/// From so many columns on there is room for a column per verb.
const WIDE: usize = 110;

pub(super) fn human(answer: &Matrix, style: &Style) -> String {
    let lines = lines(&answer.reached, style);
    let mut text = String::new();
    for those in lines.chunk_by(|a, b| a.place == b.place) {
        let place = those.first().map_or("", |line| line.place.as_str());
        text.push_str(&format!("{}\n", style.strong(place)));
        text.push_str(&if style.width >= WIDE { wide(those, style) } else { narrow(those, style) });
        text.push('\n');
    }
    let open = answer.reached.iter().filter(|one| one.is_open()).count();
    let sum = format!("{} on {}", count(answer.reached.len(), "grant"), objects(answer));
    text.push_str(&format!(
        "{sum}, of {} in {}\n",
        count(answer.tenants, "tenant"),
        duration(answer.took)
    ));
    let said =
        if open == 0 { style.good("nothing is open") } else { style.bad(&format!("{open} open")) };
    text.push_str(&format!("{said}\n"));
    let legend = "own: its tenant's own ground. bound: rows of the current tenant, by policy. common: \
                  belongs to no tenant. closed: granted, and no policy admits a row. open: reaches \
                  other tenants.";
    text.push_str(&style.faint(&wrapped(legend, 0, style)));
    text.push_str(&unaudited(answer.failures(), answer.untouched, style));
    text
}

fn objects(answer: &Matrix) -> String {
    let objects: BTreeSet<_> = answer
        .reached
        .iter()
        .map(|one| (&one.object.cluster, &one.object.database, &one.object.name))
        .collect();
    count(objects.len(), "object")
}

fn painted(access: Access, style: &Style) -> String {
    let word = access.word();
    match access {
        Access::Open => style.bad(word),
        Access::Bound | Access::Own => style.good(word),
        Access::Closed | Access::Common => style.faint(word),
    }
}

/// The role's name, with how many more are like it.
fn role(line: &Line<'_>) -> String {
    match line.more {
        0 => line.role.clone(),
        more => format!("{} ×{}", line.role, more + 1),
    }
}

fn wide(lines: &[Line<'_>], style: &Style) -> String {
    let mut header: Vec<&str> = vec!["object", "role"];
    header.extend(ROWS.iter().map(|verb| verb.word()));
    header.push("other");
    let mut last = "";
    let rows = lines
        .iter()
        .map(|line| {
            let object = if line.object == last { String::new() } else { line.object.clone() };
            last = &line.object;
            let mut row = vec![object, role(line)];
            let access = &line.first.access;
            row.extend(ROWS.iter().map(|verb| {
                access.get(verb).map_or_else(|| "-".to_owned(), |access| painted(*access, style))
            }));
            let others = access.iter().filter(|(verb, _)| !ROWS.contains(verb));
            let others: Vec<String> = others
                .map(|(verb, access)| format!("{} {}", verb.word(), painted(*access, style)))
                .collect();
            row.push(others.join(", "));
            row
        })
        .collect();
    table(&header, rows, style)
}

/// An object, and below it who can do what: verbs that reach equally far stand together.
fn narrow(lines: &[Line<'_>], style: &Style) -> String {
    let mut text = String::new();
    for those in lines.chunk_by(|a, b| a.object == b.object) {
        let object = those.first().map_or("", |line| line.object.as_str());
        text.push_str(&format!("  {object}\n"));
        for line in those {
            let parts: Vec<String> = grouped(&line.first.access)
                .into_iter()
                .map(|(access, verbs)| format!("{} {}", painted(access, style), verbs.join(", ")))
                .collect();
            text.push_str(&wrapped(&format!("{}: {}", role(line), parts.join("; ")), 4, style));
        }
    }
    text
}

/// The verbs by how far they reach, the furthest first.
fn grouped(access: &BTreeMap<Privilege, Access>) -> Vec<(Access, Vec<&'static str>)> {
    let mut groups = Vec::new();
    for level in Access::ALL.into_iter().rev() {
        let verbs: Vec<&str> =
            access.iter().filter(|(_, one)| **one == level).map(|(verb, _)| verb.word()).collect();
        if !verbs.is_empty() {
            groups.push((level, verbs));
        }
    }
    groups
}

pub(super) fn markdown(answer: &Matrix) -> String {
    let open = answer.reached.iter().filter(|one| one.is_open()).count();
    let mark = if open == 0 { "✅" } else { "❌" };
    let mut text = format!("### {mark} tenantctl verify-rls matrix: {open} open\n\n");
    text.push_str("| database | object | role | access |\n|---|---|---|---|\n");
    for line in lines(&answer.reached, &Style::new(false, 200)) {
        let parts: Vec<String> = grouped(&line.first.access)
            .into_iter()
            .map(|(access, verbs)| {
                let word = access.word();
                let word =
                    if access == Access::Open { format!("**{word}**") } else { word.to_owned() };
                format!("{word} {}", verbs.join(", "))
            })
            .collect();
        text.push_str(&format!(
            "| {} | {} | {} | {} |\n",
            cell(&line.place),
            cell(&line.object),
            cell(&role(&line)),
            parts.join("; ")
        ));
    }
    for (database, failure) in answer.failures() {
        let name = format!("{}/{}", database.cluster, database.database.as_str());
        text.push_str(&format!("\n- **not read**: {name}: {}\n", cell(&failure.message)));
    }
    text
}

pub(super) fn csv(answer: &Matrix) -> String {
    let mut text = String::from("cluster,database,kind,object,role,tenants,verb,access\n");
    for one in &answer.reached {
        let object = &one.object;
        let tenants: Vec<&str> = one.tenants.iter().map(TenantId::as_str).collect();
        for (verb, access) in &one.access {
            let fields = [
                object.cluster.as_str(),
                object.database.as_deref().unwrap_or_default(),
                object.kind,
                object.name.as_str(),
                one.role.as_str(),
                &tenants.join(" "),
                verb.word(),
                access.word(),
            ];
            text.push_str(&fields.map(field).join(","));
            text.push('\n');
        }
    }
    text
}

/// A value between commas, in quotes where it needs them. What a spreadsheet would take for a formula
/// stays text.
fn field(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_name_is_a_word_of_its_own() {
        assert_eq!(nameless("app_tenant_s1", "s1"), "app_tenant_{tenant}");
        assert_eq!(nameless("s1000", "s1"), "s1000");
        assert_eq!(nameless("s1.notes_s1", "s1"), "{tenant}.notes_{tenant}");
    }

    #[test]
    fn a_field_keeps_its_commas_and_is_no_formula() {
        assert_eq!(field("app.notes"), "app.notes");
        assert_eq!(field("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(field("=1+1"), "'=1+1");
    }
}
