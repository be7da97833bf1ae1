//! What a statement does to the session or to rows when it runs, found by its words.
//!
//! The body of `DO` runs with the migration and is read like the rest of the file; bodies of
//! functions run later, for somebody else, and are not read.

use std::ops::Range;

use super::statement::ObjectName;
use crate::sql::scan::Statement;
use crate::sql::token::{Kind, Token, tokens};

/// Something that happens when the statement runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Deed {
    pub(super) kind: DeedKind,
    /// Where it stands in the file.
    pub(super) range: Range<usize>,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DeedKind {
    /// A setting is changed, for the transaction or for longer.
    Set { setting: String, local: bool },
    /// Rows are written.
    Write { verb: &'static str, table: ObjectName },
    /// A transaction begins, ends or is divided.
    Transaction { words: String },
    /// An advisory lock is taken that outlives the transaction.
    SessionLock { function: String },
    /// `LOCK TABLE`.
    TableLock,
}

/// What changes the transactions to come.
const CHARACTERISTICS: &[&str] = &["SET", "SESSION", "CHARACTERISTICS"];

/// Statements in which rows are written, if they are written anywhere.
const WRITING: [&str; 8] = ["INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "COPY", "EXPLAIN", "DO"];

/// Locks of the session, which the end of a transaction does not give back.
const SESSION_LOCKS: [&str; 4] = [
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared",
];

/// Words after which `UPDATE` is no statement: `FOR UPDATE`, `DO UPDATE`, `BEFORE UPDATE`.
const NO_UPDATE_AFTER: [&str; 7] = ["FOR", "KEY", "DO", "ON", "BEFORE", "AFTER", "OR"];

/// One word of a statement.
struct Word<'a> {
    kind: Kind,
    text: &'a str,
    at: usize,
}

impl Word<'_> {
    fn is(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }

    fn is_symbol(&self, symbol: &str) -> bool {
        self.kind == Kind::Symbol && self.text == symbol
    }

    fn is_name(&self) -> bool {
        matches!(self.kind, Kind::Word | Kind::QuotedName)
    }

    fn folded(&self) -> String {
        match self.text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(quoted) => quoted.replace("\"\"", "\""),
            None => self.text.to_lowercase(),
        }
    }

    fn end(&self) -> usize {
        self.at + self.text.len()
    }
}

/// What a statement of a file does when it runs.
pub(super) fn deeds(statement: &Statement<'_>) -> Vec<Deed> {
    let block = statement.begins(&["DO"]);
    let words = words(statement, block);
    let mut found = Vec::new();
    let last = words.iter().rfind(|word| !word.is_symbol(";"));
    let whole = statement.start..last.map_or(statement.range.end, Word::end);
    let control = statement
        .transaction_control()
        .or_else(|| statement.begins(CHARACTERISTICS).then_some(CHARACTERISTICS));
    if let Some(control) = control {
        found.push(Deed {
            kind: DeedKind::Transaction { words: control.join(" ") },
            range: whole.clone(),
        });
    } else if statement.begins(&["SET"]) {
        found.extend(set(&words, whole.clone()));
    } else if statement.begins(&["LOCK"]) {
        found.push(Deed { kind: DeedKind::TableLock, range: whole });
    }
    let writes = statement.keywords.first().is_some_and(|first| WRITING.contains(&first.as_str()));
    for at in 0..words.len() {
        found.extend(call(&words[at..]));
        if writes {
            found.extend(write(&words, at));
        }
        if block {
            found.extend(in_block(&words, at));
        }
    }
    found
}

fn words<'a>(statement: &Statement<'a>, block: bool) -> Vec<Word<'a>> {
    let mut found = Vec::new();
    for token in tokens(statement.text).filter(|token| !token.is_trivia()) {
        if block && token.kind == Kind::DollarText {
            let text = &statement.text[token.range.clone()];
            let tag = text.get(1..).and_then(|rest| rest.find('$')).map_or(0, |end| end + 2);
            let body = text.get(tag..text.len().saturating_sub(tag)).unwrap_or_default();
            let base = statement.range.start + token.range.start + tag;
            found.extend(
                tokens(body)
                    .filter(|token| !token.is_trivia())
                    .map(|token| word(body, &token, base)),
            );
        } else {
            found.push(word(statement.text, &token, statement.range.start));
        }
    }
    found
}

fn word<'a>(text: &'a str, token: &Token, base: usize) -> Word<'a> {
    Word { kind: token.kind, text: &text[token.range.clone()], at: base + token.range.start }
}

/// `SET`, unless it is about the transaction alone.
fn set(words: &[Word<'_>], range: Range<usize>) -> Option<Deed> {
    let second = words.get(1)?;
    if second.is("CONSTRAINTS") || second.is("TRANSACTION") {
        return None;
    }
    let local = second.is("LOCAL");
    let scoped = local || second.is("SESSION");
    let names = words.get(if scoped { 2 } else { 1 }..)?;
    let setting = match names.first()? {
        first if first.is("TIME") => "timezone".to_owned(),
        first if first.is("ROLE") => "role".to_owned(),
        first if first.is("AUTHORIZATION") || first.is("SESSION") => {
            "session_authorization".to_owned()
        }
        _ => names
            .iter()
            .take_while(|word| word.is_name() && !word.is("TO") || word.is_symbol("."))
            .map(Word::folded)
            .collect(),
    };
    Some(Deed { kind: DeedKind::Set { setting, local }, range })
}

/// A call that changes a setting or takes a lock.
fn call(words: &[Word<'_>]) -> Option<Deed> {
    let [function, open, rest @ ..] = words else { return None };
    if function.kind != Kind::Word || !open.is_symbol("(") {
        return None;
    }
    let name = function.folded();
    if SESSION_LOCKS.contains(&name.as_str()) {
        let range = function.at..function.end();
        return Some(Deed { kind: DeedKind::SessionLock { function: name }, range });
    }
    if name != "set_config" {
        return None;
    }
    let mut depth = 1_usize;
    let close = rest.iter().position(|word| {
        if word.is_symbol("(") {
            depth += 1;
        } else if word.is_symbol(")") {
            depth -= 1;
        }
        depth == 0
    })?;
    let (first, last) = (rest.first()?, rest.get(close.checked_sub(1)?)?);
    let setting = if first.kind == Kind::Text {
        first.text.trim_matches('\'').to_lowercase()
    } else {
        String::new()
    };
    Some(Deed {
        kind: DeedKind::Set { setting, local: !last.is("FALSE") },
        range: function.at..rest[close].end(),
    })
}

fn write(words: &[Word<'_>], at: usize) -> Option<Deed> {
    let first = words.get(at)?;
    let next = |offset: usize| words.get(at + offset);
    let follows = |offset: usize, word: &str| next(offset).is_some_and(|next| next.is(word));
    let before = at.checked_sub(1).and_then(|at| words.get(at));
    let (verb, skip) = if first.is("INSERT") && follows(1, "INTO") {
        ("INSERT", 2)
    } else if first.is("DELETE") && follows(1, "FROM") {
        ("DELETE", 2)
    } else if first.is("MERGE") && follows(1, "INTO") {
        ("MERGE", 2)
    } else if first.is("UPDATE")
        && !before.is_some_and(|before| NO_UPDATE_AFTER.iter().any(|word| before.is(word)))
    {
        ("UPDATE", 1)
    } else if first.is("COPY") && at == 0 && words.iter().any(|word| word.is("FROM")) {
        ("COPY", 1)
    } else {
        return None;
    };
    let skip = if follows(skip, "ONLY") { skip + 1 } else { skip };
    let table = name(words.get(at + skip..)?)?;
    let range = first.at..table.range.end;
    Some(Deed { kind: DeedKind::Write { verb, table }, range })
}

fn name(words: &[Word<'_>]) -> Option<ObjectName> {
    let first = words.first().filter(|word| word.is_name())?;
    let second = match words {
        [_, dot, second, ..] if dot.is_symbol(".") && second.is_name() => Some(second),
        _ => None,
    };
    Some(match second {
        Some(second) => ObjectName {
            schema: Some(first.folded()),
            name: second.folded(),
            range: first.at..second.end(),
        },
        None => ObjectName { schema: None, name: first.folded(), range: first.at..first.end() },
    })
}

/// Statements of PL/pgSQL inside `DO`.
fn in_block(words: &[Word<'_>], at: usize) -> Option<Deed> {
    let first = words.get(at)?;
    let opens = at.checked_sub(1).and_then(|at| words.get(at)).is_some_and(|before| {
        before.is_symbol(";") || ["BEGIN", "THEN", "ELSE", "LOOP"].iter().any(|w| before.is(w))
    });
    if !opens {
        return None;
    }
    let end =
        words[at..].iter().position(|word| word.is_symbol(";")).map_or(words.len(), |n| at + n);
    let range = first.at..words.get(end.saturating_sub(1)).map_or(first.end(), Word::end);
    if first.is("COMMIT") || first.is("ROLLBACK") {
        Some(Deed { kind: DeedKind::Transaction { words: first.text.to_uppercase() }, range })
    } else if first.is("LOCK") {
        Some(Deed { kind: DeedKind::TableLock, range })
    } else if first.is("SET") {
        set(&words[at..end], range)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::sql::scan::statements;

    fn found(sql: &str) -> Vec<DeedKind> {
        statements(sql).flat_map(|statement| deeds(&statement)).map(|deed| deed.kind).collect()
    }

    fn written(sql: &str) -> Vec<String> {
        found(sql)
            .into_iter()
            .filter_map(|kind| match kind {
                DeedKind::Write { verb, table } => Some(format!("{verb} {}", table.name)),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn settings_say_whether_they_outlive_the_transaction() {
        let set = |setting: &str, local| DeedKind::Set { setting: setting.to_owned(), local };
        for (sql, expected) in [
            ("SET app.tenant_id = 'x'", set("app.tenant_id", false)),
            ("SET LOCAL App.Tenant_Id TO 'x'", set("app.tenant_id", true)),
            ("SET SESSION work_mem = '1GB'", set("work_mem", false)),
            ("SET ROLE x", set("role", false)),
            ("SET SESSION AUTHORIZATION x", set("session_authorization", false)),
            ("SET TIME ZONE 'UTC'", set("timezone", false)),
            ("SELECT set_config('app.x', lower('Y'), false)", set("app.x", false)),
            ("SELECT pg_catalog.set_config('app.x', 'y', true)", set("app.x", true)),
            ("DO $$ BEGIN SET app.x = 1; END $$", set("app.x", false)),
        ] {
            assert_eq!(found(sql), [expected], "{sql}");
        }
        assert!(found("SET CONSTRAINTS ALL DEFERRED; SET TRANSACTION READ ONLY").is_empty());
    }

    #[test]
    fn writes_are_told_from_what_only_looks_like_them() {
        assert_eq!(written("UPDATE ONLY app.t SET a = 1"), ["UPDATE t"]);
        assert_eq!(
            written("WITH gone AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM gone"),
            ["DELETE a", "INSERT b"]
        );
        assert_eq!(
            written("INSERT INTO t VALUES (1) ON CONFLICT (id) DO UPDATE SET a = 1"),
            ["INSERT t"]
        );
        assert_eq!(written("DO $x$ BEGIN UPDATE t SET a = 1; END $x$"), ["UPDATE t"]);
        assert_eq!(written("MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE"), ["MERGE t"]);
        assert!(written("WITH a AS (SELECT 1 FROM t FOR UPDATE) SELECT * FROM a").is_empty());
        assert!(written("CREATE TRIGGER x BEFORE UPDATE ON t EXECUTE FUNCTION f()").is_empty());
        assert!(written("CREATE FUNCTION f() RETURNS void AS 'UPDATE t SET a = 1'").is_empty());
    }

    #[test]
    fn places_inside_a_block_are_places_in_the_file() {
        let sql = "SELECT 1;\nDO $do$\nBEGIN\n  PERFORM pg_advisory_lock(1);\nEND $do$;";
        let all: Vec<Deed> = statements(sql).flat_map(|statement| deeds(&statement)).collect();
        assert_eq!(&sql[all[0].range.clone()], "pg_advisory_lock");
    }

    #[test]
    fn a_block_that_commits_is_transaction_control() {
        let control = |words: &str| DeedKind::Transaction { words: words.to_owned() };
        assert_eq!(found("DO $$ BEGIN COMMIT; END $$"), [control("COMMIT")]);
        assert_eq!(found("COMMIT"), [control("COMMIT")]);
        assert!(found("DO $$ BEGIN PERFORM 1; END $$").is_empty());
    }
}
