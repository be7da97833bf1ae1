//! Reads files into a set, or lists everything that would go wrong with them in a run.
//!
//! A migration runs inside a transaction that also records it, on a server that knows no psql
//! commands, from a text whose every byte is in the checksum. Whatever breaks one of these is
//! refused here, before the first tenant is touched.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::error::Error;
use crate::migrations::file_name::{self, Role};
use crate::migrations::problem::{Problem, refuse};
use crate::model::migration::{Directive, Migration, MigrationSet, Repeatable, Undo, Version};
use crate::sql::position::{Position, line_column};
use crate::sql::scan::{Shape, Statement, statements};
use crate::sql::token::{Kind, tokens};

/// A file as it was found, before anything is known about it.
#[derive(Clone, Debug)]
pub struct File {
    /// Its path as a person names it, with `/` between the parts.
    pub path: String,
    /// What it holds.
    pub bytes: Cow<'static, [u8]>,
}

/// Reads the files of the set that a person calls `set`, which is its directory when it has one.
///
/// Files that are plainly not migrations are left out. All problems of all files are reported in
/// one failure, whose source is [`crate::migrations::problem::Problems`].
pub fn check(set: &str, files: &[File]) -> Result<MigrationSet, Error> {
    let mut found = Found::default();
    let mut problems = Vec::new();
    for file in files {
        match file_name::role(below(set, &file.path)) {
            Ok(Some(role)) => found.take(file, role, &mut problems),
            Ok(None) => {}
            Err(bad) => {
                let fix = format!("rename {} to {}", file.path, bad.better);
                problems.push(problem(file, None, bad.what, fix));
            }
        }
    }
    found.strays(&mut problems);
    if problems.is_empty() {
        MigrationSet::new(set, found.migrations)?
            .with_repeatables(found.repeatables)?
            .with_undos(found.undos)
    } else {
        Err(refuse(set, problems))
    }
}

/// The path from the set's directory on: only the folders below it say what a file is.
fn below<'a>(set: &str, path: &'a str) -> &'a str {
    path.strip_prefix(set.trim_end_matches('/'))
        .and_then(|rest| rest.strip_prefix('/'))
        .unwrap_or(path)
}

/// What was read, and which file has which place.
#[derive(Default)]
struct Found<'a> {
    migrations: Vec<Migration>,
    repeatables: Vec<Repeatable>,
    undos: Vec<Undo>,
    versions: BTreeMap<Version, &'a File>,
    names: BTreeMap<String, &'a File>,
    ways_back: BTreeMap<Version, &'a File>,
}

impl<'a> Found<'a> {
    fn take(&mut self, file: &'a File, role: Role, problems: &mut Vec<Problem>) {
        let taken = match &role {
            Role::Migration(name) => self
                .versions
                .insert(name.version, file)
                .map(|other| (format!("version {} is", name.version), other, "version")),
            Role::Repeatable(name) => self
                .names
                .insert(name.clone(), file)
                .map(|other| (format!("the name {name} is"), other, "name")),
            Role::Undo(version) => self
                .ways_back
                .insert(*version, file)
                .map(|other| (format!("the way back from version {version} is"), other, "version")),
        };
        if let Some((what, other, own)) = taken {
            problems.push(problem(
                file,
                None,
                format!("{what} already that of {}", other.path),
                format!("give {} a {own} of its own", file.path),
            ));
        }
        match read(file, &role) {
            Ok((sql, directives)) => match role {
                Role::Migration(name) => self.migrations.push(Migration::new(
                    name.prefix,
                    name.version,
                    name.name,
                    sql,
                    &file.path,
                    directives,
                )),
                Role::Repeatable(name) => {
                    self.repeatables.push(Repeatable::new(name, sql, &file.path));
                }
                Role::Undo(version) => {
                    let (path, sql) = (file.path.clone(), sql.to_owned());
                    self.undos.push(Undo { version, path, sql });
                }
            },
            Err(bad) => problems.extend(bad),
        }
    }

    /// Ways back from nothing: more often a slip in the version than a leftover.
    fn strays(&self, problems: &mut Vec<Problem>) {
        for (version, file) in &self.ways_back {
            if !self.versions.contains_key(version) {
                problems.push(problem(
                    file,
                    None,
                    format!("there is no migration of version {version} to take back"),
                    format!("name {} after its migration, or remove it", file.path),
                ));
            }
        }
    }
}

fn problem(
    file: &File,
    position: Option<Position>,
    what: impl Into<String>,
    fix: impl Into<String>,
) -> Problem {
    Problem { path: file.path.clone(), position, what: what.into(), fix: fix.into() }
}

fn read<'a>(file: &'a File, role: &Role) -> Result<(&'a str, Vec<Directive>), Vec<Problem>> {
    let sql = match std::str::from_utf8(&file.bytes) {
        Ok(sql) => sql,
        Err(error) => return Err(vec![not_utf8(file, error.valid_up_to())]),
    };
    let mut problems = Vec::new();
    encoding(file, sql, &mut problems);
    if sql.trim_start_matches('\u{feff}').trim().is_empty() {
        problems.push(problem(
            file,
            None,
            "the file is empty",
            format!("write the migration, or remove {}", file.path),
        ));
    }
    let directives = directives(file, sql, &mut problems);
    if !matches!(role, Role::Migration(_)) && directives.contains(&Directive::NoTransaction) {
        problems.push(problem(
            file,
            Some(Position::START),
            "only a migration may run outside of a transaction",
            format!("remove the directive from {}, or move its SQL to a migration", file.path),
        ));
    }
    for statement in statements(sql) {
        let before = problems.len();
        judge(file, sql, &statement, &mut problems);
        // What follows COPY FROM STDIN is data and would only be mistaken for SQL.
        if problems.len() > before && copies_from_stdin(&statement) {
            break;
        }
    }
    if problems.is_empty() { Ok((sql, directives)) } else { Err(problems) }
}

fn not_utf8(file: &File, offset: usize) -> Problem {
    let valid = String::from_utf8_lossy(file.bytes.get(..offset).unwrap_or_default());
    problem(
        file,
        Some(Position::START.after(&valid)),
        "the file is not UTF-8",
        format!("convert {} to UTF-8", file.path),
    )
}

/// Bytes that a server or a checksum would take differently from one machine to the next.
fn encoding(file: &File, sql: &str, problems: &mut Vec<Problem>) {
    if sql.starts_with('\u{feff}') {
        problems.push(problem(
            file,
            Some(Position::START),
            "the file begins with a byte order mark, which the server takes for SQL",
            format!("save {} as UTF-8 without a byte order mark", file.path),
        ));
    }
    if let Some(offset) = sql.find('\0') {
        problems.push(problem(
            file,
            Some(line_column(sql, offset)),
            "a NUL byte, where the server would stop reading",
            format!("remove the NUL byte from {}", file.path),
        ));
    }
    if let Some(offset) = sql.find("\r\n") {
        problems.push(problem(
            file,
            Some(line_column(sql, offset)),
            "CRLF line endings: the checksum would depend on the machine of the checkout",
            "keep SQL with LF everywhere: echo '*.sql text eol=lf' >> .gitattributes && \
             git add --renormalize .",
        ));
    }
}

fn directives(file: &File, sql: &str, problems: &mut Vec<Problem>) -> Vec<Directive> {
    let known = "use -- tenantctl:no-transaction or -- tenantctl:allow RULE reason";
    let found = Directive::read(sql).unwrap_or_else(|bad| {
        problems.extend(bad.into_iter().map(|bad| {
            problem(file, Some(Position { line: bad.line, column: 1 }), bad.complaint, known)
        }));
        Vec::new()
    });
    let below_head = tokens(sql)
        .skip_while(|token| {
            token.kind == Kind::Space
                || token.kind == Kind::Comment && sql[token.range.clone()].starts_with("--")
        })
        .filter(|token| token.kind == Kind::Comment)
        .filter_map(|token| {
            let directive = Directive::of_comment(sql[token.range.clone()].strip_prefix("--")?)?;
            Some((line_column(sql, token.range.start), directive))
        });
    for (position, directive) in below_head {
        match directive {
            // Above a statement it is the linter's, and covers that statement.
            Ok(Directive::Allow { .. }) => {}
            Ok(Directive::NoTransaction) => problems.push(problem(
                file,
                Some(position),
                "a directive below the head of the file would not be followed",
                format!("move the directive above the first statement of {}", file.path),
            )),
            Err(complaint) => problems.push(problem(file, Some(position), complaint, known)),
        }
    }
    found
}

fn judge(file: &File, sql: &str, statement: &Statement<'_>, problems: &mut Vec<Problem>) {
    let mut add = |position, what: String, fix: String| {
        problems.push(problem(file, Some(position), what, fix));
    };
    if statement.shape == Shape::Meta {
        let command = statement.text.split_whitespace().next().unwrap_or("\\");
        add(
            statement.position,
            format!("{command} is a command of psql, which no server understands"),
            format!("replace psql's commands in {} by SQL", file.path),
        );
    }
    if let Some(words) = statement.transaction_control() {
        add(
            statement.position,
            format!("{} would split the transaction that records the migration", words.join(" ")),
            "remove the statement: tenantctl makes the transaction that a file runs in; if its SQL cannot, \
             begin the file with -- tenantctl:no-transaction"
                .to_owned(),
        );
    }
    if copies_from_stdin(statement) {
        add(
            statement.position,
            "COPY FROM STDIN needs a client that sends the data".to_owned(),
            format!("write the rows in {} as INSERT", file.path),
        );
    }
    if let Some(unclosed) = statement.unclosed {
        let (construct, closing) = unclosed.construct.describe();
        add(
            line_column(sql, unclosed.offset),
            format!("the {construct} that begins here never ends"),
            format!("close it with {closing} in {}", file.path),
        );
    }
}

fn copies_from_stdin(statement: &Statement<'_>) -> bool {
    if !statement.begins(&["COPY"]) {
        return false;
    }
    let tokens: Vec<_> = statement.tokens().collect();
    tokens.windows(2).any(|pair| {
        matches!(pair, [from, stdin]
            if from.is_word(statement.text, "FROM") && stdin.is_word(statement.text, "STDIN"))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::migrations::problem::Problems;
    use std::error::Error as _;

    fn file(path: &str, text: impl AsRef<[u8]>) -> File {
        File { path: path.to_owned(), bytes: Cow::Owned(text.as_ref().to_vec()) }
    }

    fn list(error: &Error) -> String {
        error.source().unwrap().downcast_ref::<Problems>().unwrap().to_string()
    }

    fn complaint(text: impl AsRef<[u8]>) -> String {
        list(&check("migrations", &[file("V1__x.sql", text)]).unwrap_err())
    }

    #[test]
    fn all_problems_of_all_files_are_reported_at_once() {
        let error = check(
            "migrations/tenant",
            &[
                file("migrations/tenant/V1__init.sql", "CREATE TABLE t (id int);\nCOMMIT;\n"),
                file("migrations/tenant/V01__again.sql", "SELECT 1;\r\nSELECT 2;\r\n"),
                file("migrations/tenant/V2__add-index.sql", "SELECT 1;\n"),
                file("migrations/tenant/V3__data.sql", "\\i x.sql\nSELECT 'open"),
                file("migrations/tenant/README.md", "notes"),
            ],
        )
        .unwrap_err();
        insta::assert_snapshot!(format!(
            "{error}\n{}\n\nhints:\n{}",
            list(&error),
            error.hints.join("\n")
        ));
    }

    #[test]
    fn what_stands_beside_migrations_passes_the_same_checks() {
        let complain = |files: &[(&str, &str)]| {
            let files: Vec<File> =
                files.iter().map(|(name, sql)| file(&format!("set/{name}"), sql)).collect();
            list(&check("set", &files).unwrap_err())
        };
        assert!(complain(&[("R__views.sql", "COMMIT;")]).contains("would split the transaction"));
        assert!(complain(&[("R__views.sql", "SELECT 1;\r\n")]).contains("CRLF"));
        let outside = "-- tenantctl:no-transaction\nSELECT 1;\n";
        assert!(
            complain(&[("R__x.sql", outside)]).starts_with("set/R__x.sql:1:1: only a migration")
        );
        let one = ("V1__x.sql", "SELECT 1;");
        assert!(complain(&[one, ("down/1.sql", outside)]).contains("only a migration"));
        assert_eq!(
            complain(&[one, ("down/2.sql", "SELECT 1;")]),
            "set/down/2.sql: there is no migration of version 2 to take back"
        );
        assert!(
            complain(&[one, ("down/1.sql", "SELECT 1;"), ("down/1__x.sql", "SELECT 1;")])
                .contains("already that of set/down/1.sql")
        );
        assert!(
            complain(&[("R__x.sql", "SELECT 1;"), ("sub/R__x.sql", "SELECT 1;")])
                .contains("the name x is already that of set/R__x.sql")
        );
        assert!(complain(&[one, ("down/V1__x.sql", "SELECT 1;")]).contains("as a migration"));
    }

    #[test]
    fn transaction_control_is_refused_in_every_spelling() {
        for text in [
            "BEGIN;",
            "begin work;",
            "Start Transaction;",
            "COMMIT",
            "END;",
            "ROLLBACK TO SAVEPOINT a;",
            "ABORT;",
            "SAVEPOINT a;",
            "RELEASE a;",
            "/* x */ PREPARE TRANSACTION 'x';",
            "ROLLBACK PREPARED 'x';",
            "SELECT 1; -- x\n COMMIT AND CHAIN;",
        ] {
            assert!(complaint(text).contains("would split the transaction"), "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_transaction_control_is_welcome() {
        for text in [
            "PREPARE q AS SELECT 1;",
            "DO $$ BEGIN PERFORM 1; END $$;",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; END;",
            "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';",
            "-- BEGIN;\nSELECT 'COMMIT;';",
            "COPY (SELECT 1 AS stdin) TO '/dev/null';",
        ] {
            assert!(check("set", &[file("V1__x.sql", text)]).is_ok(), "{text}");
        }
    }

    #[test]
    fn bytes_that_would_differ_between_machines_are_refused_with_their_place() {
        assert!(complaint("SELECT 1;\r\n").starts_with("V1__x.sql:1:10: CRLF"));
        assert!(complaint("\u{feff}SELECT 1;").starts_with("V1__x.sql:1:1: the file begins"));
        assert!(complaint(b"SELECT\n \xff").starts_with("V1__x.sql:2:2: the file is not UTF-8"));
        assert!(complaint("SELECT 1;\0").starts_with("V1__x.sql:1:10: a NUL byte"));
        assert!(complaint(" \n\n").contains("the file is empty"));
    }

    #[test]
    fn data_behind_copy_is_not_mistaken_for_sql() {
        let text = "COPY t (a, b) FROM stdin;\n1\tit's\n\\.\nSELECT 1;\n";
        assert_eq!(
            complaint(text),
            "V1__x.sql:1:1: COPY FROM STDIN needs a client that sends the data"
        );
    }

    #[test]
    fn a_directive_is_followed_at_the_head_and_refused_elsewhere() {
        let text = "-- tenantctl:no-transaction\nCREATE INDEX CONCURRENTLY i ON t (a);\n";
        let set = check("set", &[file("V1__x.sql", text)]).unwrap();
        assert!(set.migrations().iter().all(Migration::runs_outside_a_transaction));
        assert!(complaint("-- tenantctl:no-tx\nSELECT 1;").starts_with("V1__x.sql:1:1: \"no-tx\""));
        assert!(
            complaint("SELECT 1;\n  -- tenantctl:no-transaction\n")
                .starts_with("V1__x.sql:2:3: a directive below the head")
        );
    }
}
