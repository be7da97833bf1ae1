//! What of a schema its migration files decide, and how a schema differs from what they make.
//!
//! Owners, grants to roles and default privileges are what `create` and `set` make of a layout, the
//! versions of extensions are the server's, and of shared tables tenantctl itself guards some: these
//! are compared with the fleet. Everything else, and what the public may do with a table, is the
//! files'.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Change, Difference, differences};
use crate::error::{Code, Error, Location};
use crate::model::layout::CLOSED_TABLE;
use crate::model::migration::{History, MigrationSet};
use crate::model::structure::Fact;
use crate::model::tenant::Isolation;
use crate::plan::POLICY;
use crate::plan::life::OPEN_POLICY;
use crate::plan::outside::{blank, inside};
use crate::sql::position::Position;
use crate::sql::scan::{Statement, statements};

/// A file in the form in which one transaction applies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script<'a> {
    /// The file as a person names it.
    pub path: &'a str,
    /// Its statements, each in its place.
    pub sql: Cow<'a, str>,
}

impl Script<'_> {
    /// The file in two, when it makes extensions: what makes them, and the rest. The owner of a
    /// database may make them, and the owner of a schema may not.
    pub fn apart(&self) -> Option<(String, String)> {
        let makes = |statement: &Statement<'_>| statement.begins(&["CREATE", "EXTENSION"]);
        if !statements(&self.sql).any(|statement| makes(&statement)) {
            return None;
        }
        let only = |wanted: bool| -> String {
            statements(&self.sql)
                .map(|statement| {
                    let kept = makes(&statement) == wanted;
                    if kept { statement.text.to_owned() } else { blank(statement.text) }
                })
                .collect()
        };
        Some((only(true), only(false)))
    }
}

/// The files that made a schema with this history, in the order in which a new tenant gets them;
/// `recorded` says which repeatable files it has, by their names and checksums.
///
/// # Errors
///
/// * [`Code::HistoryDiverged`] for a version that has no file.
/// * [`Code::Refused`] for a repeatable file that has changed since: what it was is not known.
/// * [`Code::Migrations`] for a statement that no transaction can do the work of.
pub fn applied<'a>(
    set: &'a MigrationSet,
    history: &History,
    recorded: &BTreeMap<String, String>,
) -> Result<Vec<Script<'a>>, Error> {
    let missing = history.0.iter().find(|applied| set.get(applied.version).is_none());
    if let Some(applied) = missing {
        let what = format!("V{}__{} has no file in {}", applied.version, applied.name, set.name());
        return Err(Error::new(Code::HistoryDiverged, what).hint(
            "bring the file back, or see: tenantctl migrate repair --dry-run --reason TEXT",
        ));
    }
    let mut scripts = Vec::new();
    let has = |version| history.0.iter().any(|applied| applied.version == version);
    for migration in set.migrations().iter().filter(|migration| has(migration.version)) {
        let path = migration.path.as_str();
        let sql = if migration.runs_outside_a_transaction() {
            Cow::Owned(inside(&migration.sql).map_err(|outstanding| {
                let what = format!("apply {path} in a transaction: {}", outstanding.why);
                let Position { line, column } = outstanding.position;
                Error::new(Code::Migrations, what).at(Location {
                    file: path.to_owned(),
                    line,
                    column,
                })
            })?)
        } else {
            Cow::Borrowed(migration.sql.as_str())
        };
        scripts.push(Script { path, sql });
    }
    for file in set.repeatables() {
        match recorded.get(&file.name) {
            // It was never applied: nobody has what it makes.
            None => {}
            Some(checksum) if *checksum == file.checksum.to_string() => {
                scripts.push(Script { path: &file.path, sql: Cow::Borrowed(&file.sql) });
            }
            Some(_) => {
                let what = format!("{} has changed since it was applied", file.path);
                return Err(Error::new(Code::Refused, what)
                    .hint("apply it, and compare then: tenantctl migrate up"));
            }
        }
    }
    Ok(scripts)
}

/// Every way in which a schema differs from what it should be: in what the files decide from what
/// they `made`, in the rest from the `norm`, which is what most of the fleet look like.
pub fn from_files(
    isolation: Isolation,
    made: &[Fact],
    norm: &[Fact],
    found: &[Fact],
) -> Vec<Difference> {
    let mut all: Vec<Difference> = differences(&of_the_files(made), &of_the_files(found))
        .into_iter()
        .filter(|one| !(isolation == Isolation::Shared && is_our_guard(one)))
        .filter(|one| !is_new_partition(one, made))
        .collect();
    let rest = differences(norm, found);
    all.extend(rest.into_iter().filter(|one| !is_of_the_files(&one.kind, &one.object)));
    all
}

fn of_the_files(facts: &[Fact]) -> Vec<Fact> {
    facts.iter().filter(|fact| is_of_the_files(&fact.kind, &fact.object)).cloned().collect()
}

fn is_of_the_files(kind: &str, object: &str) -> bool {
    match kind {
        "owner" | "default privileges" | "extension" | "history" => false,
        "grant" => {
            let (what, name) = object.split_once(' ').unwrap_or_default();
            ["relation", "column"].contains(&what)
                && name.ends_with(" to public")
                && !closes_tenants(name)
        }
        _ => !closes_tenants(object),
    }
}

/// Whether it came with the first tenant of shared tables that was closed.
fn closes_tenants(object: &str) -> bool {
    let (table, rest) = object.split_once(['.', ' ']).unwrap_or((object, ""));
    table == CLOSED_TABLE || rest.split(' ').next() == Some(OPEN_POLICY)
}

/// Whether it is our policy, of which a table has one or none depending on when a file brought it
/// policies of its own.
fn is_our_guard(one: &Difference) -> bool {
    let policy = one.object.split_once('.').and_then(|(_, rest)| rest.split(' ').next());
    ["policy", "policy role"].contains(&one.kind.as_str())
        && policy == Some(POLICY)
        && !matches!(one.change, Change::Changed { .. })
}

/// Whether it is a partition that a table of the files has got since: they come with the time, or
/// with the tenants.
fn is_new_partition(one: &Difference, made: &[Fact]) -> bool {
    let Change::Extra { found } = &one.change else { return false };
    let parent = found.split_once("child of {schema}.").and_then(|(_, rest)| rest.split_once(' '));
    one.kind == "table"
        && parent.is_some_and(|(parent, bound)| {
            ["FOR VALUES", "DEFAULT"].iter().any(|word| bound.starts_with(word))
                && made.iter().any(|fact| fact.kind == "table" && fact.object == parent)
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::model::migration::{Applied, Directive, Migration, Prefix, Repeatable, Version};
    use proptest::prelude::*;

    fn fact(kind: &str, parent: &str, object: &str, definition: &str) -> Fact {
        let [kind, parent, object, definition] =
            [kind, parent, object, definition].map(str::to_owned);
        Fact { kind, parent, object, definition }
    }

    fn said(isolation: Isolation, made: &[Fact], norm: &[Fact], found: &[Fact]) -> Vec<String> {
        from_files(isolation, made, norm, found)
            .iter()
            .map(|one| format!("{} {} {}", one.change.word(), one.kind, one.object))
            .collect()
    }

    fn table(name: &str, owner: &str) -> Vec<Fact> {
        vec![
            fact("table", "", name, ""),
            fact("owner", name, &format!("relation {name}"), owner),
            fact("grant", name, &format!("relation {name} to {{role}}"), "SELECT"),
        ]
    }

    #[test]
    fn what_all_have_and_no_file_made_is_found() {
        let made = table("notes", "somebody");
        let norm = [table("notes", "{owner}"), table("left_over", "{owner}")].concat();
        assert_eq!(said(Isolation::Schema, &made, &norm, &norm), ["extra table left_over"]);
        // One that is as the files are is not blamed for what the others have.
        let right = table("notes", "{owner}");
        assert!(said(Isolation::Schema, &made, &norm, &right).is_empty());
        // Its owner is compared with the others'.
        let odd = table("notes", "postgres");
        assert_eq!(said(Isolation::Schema, &made, &norm, &odd), ["changed owner relation notes"]);
    }

    #[test]
    fn what_layout_and_server_decide_is_no_difference() {
        let others = [
            fact("grant", "notes", "relation notes to {role}", "SELECT"),
            fact("grant", "{schema}", "schema {schema} to public", "USAGE"),
            fact("grant", "f()", "function f() to public", "EXECUTE"),
            fact("default privileges", "", "for the schema's owner on tables to public", "SELECT"),
            fact("extension", "", "citext", "version 1.6"),
            fact("history", "", "V1__notes", "checksum 1"),
            fact("table", "", "tenantctl_closed", ""),
            fact("column", "tenantctl_closed", "tenantctl_closed.tenant_id", "uuid"),
            fact("policy", "notes", "notes.tenantctl_open", "restrictive"),
            fact("policy role", "notes", "notes.tenantctl_open to public", ""),
        ];
        assert!(said(Isolation::Shared, &[], &others, &others).is_empty());
        let opened = [fact("grant", "notes", "relation notes to public", "SELECT")];
        assert_eq!(
            said(Isolation::Schema, &[], &opened, &opened),
            ["extra grant relation notes to public"]
        );
    }

    #[test]
    fn our_policy_of_shared_tables_may_be_there_or_not_and_must_be_as_it_was() {
        let ours = |text| [fact("policy", "t", &format!("t.{POLICY}"), text)];
        assert!(said(Isolation::Shared, &[], &ours("a"), &ours("a")).is_empty());
        assert_eq!(
            said(Isolation::Shared, &ours("a"), &ours("b"), &ours("b")),
            [format!("changed policy t.{POLICY}")]
        );
        assert_eq!(said(Isolation::Schema, &[], &ours("a"), &ours("a")).len(), 1);
    }

    #[test]
    fn partitions_come_with_the_time() {
        let made = [fact("table", "", "events", "partitioned by RANGE (at) with ()")];
        let month = |parent, bound: &str| {
            let found = format!("child of {{schema}}.{parent} {bound} with ()");
            [made.to_vec(), vec![fact("table", "", "events_1", &found)]].concat()
        };
        let differs = |found: &[Fact]| !said(Isolation::Schema, &made, found, found).is_empty();
        assert!(!differs(&month("events", "FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')")));
        assert!(!differs(&month("events", "DEFAULT")));
        assert!(differs(&month("others", "DEFAULT")));
        assert!(differs(&month("events", "")));
    }

    #[test]
    fn a_file_that_makes_extensions_comes_apart_and_nothing_moves() {
        let apart = |sql| Script { path: "x", sql: Cow::Borrowed(sql) }.apart();
        let sql = "SELECT 'ü';\ncreate extension if not exists citext; SELECT 2";
        let (made, rest) = apart(sql).unwrap();
        assert_eq!(made.trim(), "create extension if not exists citext;");
        assert_eq!(rest.split_whitespace().collect::<Vec<_>>(), ["SELECT", "'ü';", "SELECT", "2"]);
        for part in [made, rest] {
            assert_eq!(part.chars().count(), sql.chars().count());
        }
        assert!(apart("-- CREATE EXTENSION citext\nSELECT 'CREATE EXTENSION citext'").is_none());
    }

    fn set() -> MigrationSet {
        let file = |version, sql: &str, directives| {
            let path = format!("m/V{version}__x.sql");
            Migration::new(Prefix::Versioned, Version(version), "x", sql, path, directives)
        };
        let outside = vec![Directive::NoTransaction];
        let files = vec![
            file(1, "CREATE TABLE t ()", vec![]),
            file(2, "CREATE INDEX CONCURRENTLY i ON t (a)", outside.clone()),
            file(3, "SELECT 1;\nALTER TABLE t DETACH PARTITION p CONCURRENTLY", outside),
        ];
        let views = Repeatable::new("views", "CREATE VIEW v AS SELECT 1", "m/R__views.sql");
        MigrationSet::new("m", files).unwrap().with_repeatables(vec![views]).unwrap()
    }

    fn history(versions: &[i64]) -> History {
        let row = |version: &i64| Applied {
            version: Version(*version),
            name: "x".to_owned(),
            applied_on: String::new(),
            checksum: 0,
        };
        History(versions.iter().map(row).collect())
    }

    #[test]
    fn the_files_that_were_applied_come_in_their_order() {
        let set = set();
        let recorded = |checksum: String| BTreeMap::from([("views".to_owned(), checksum)]);
        let paths = |versions: &[i64], recorded: &BTreeMap<String, String>| -> Vec<String> {
            let scripts = applied(&set, &history(versions), recorded).unwrap();
            scripts.iter().map(|script| script.path.to_owned()).collect()
        };
        assert_eq!(paths(&[2, 1], &BTreeMap::new()), ["m/V1__x.sql", "m/V2__x.sql"]);
        let current = set.repeatables()[0].checksum.to_string();
        assert_eq!(paths(&[1], &recorded(current)), ["m/V1__x.sql", "m/R__views.sql"]);
        let older = applied(&set, &history(&[1]), &recorded("1".to_owned())).unwrap_err();
        assert_eq!(older.code, Code::Refused);
        let without = applied(&set, &history(&[1, 9]), &BTreeMap::new()).unwrap_err();
        assert_eq!(without.code, Code::HistoryDiverged);
        let detached = applied(&set, &history(&[3]), &BTreeMap::new()).unwrap_err();
        assert_eq!((detached.code, detached.location.unwrap().line), (Code::Migrations, 2));
    }

    proptest! {
        #[test]
        fn a_schema_as_the_files_make_it_never_deviates(
            names in prop::collection::btree_set("[a-e]", 0..5), shared in any::<bool>()
        ) {
            let made: Vec<Fact> = names.iter().flat_map(|name| table(name, "o")).collect();
            let isolation = if shared { Isolation::Shared } else { Isolation::Schema };
            prop_assert!(from_files(isolation, &made, &made, &made).is_empty());
        }
    }
}
