//! How each statement of a file that runs outside of a transaction is carried out, and from where
//! a file that was left half-done goes on.
//!
//! What PostgreSQL allows in a transaction runs in one, together with the note that it is done.
//! What it forbids is looked at before and after: whether an index is there, and valid, the server
//! can say, whoever was killed meanwhile. What remains is done again, so it must bear that.

mod inside;
mod reading;

use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

pub(in crate::plan) use self::inside::blank;
pub use self::inside::{Outstanding, inside};
use self::reading::way;
use crate::sql::scan::{Shape, Statement, statements};

/// The word that makes the difference, and that may be blanked without moving what follows it.
const CONCURRENTLY: &str = "CONCURRENTLY";

/// One statement of a file, and how it is carried out.
#[derive(Clone, Debug)]
pub struct Task<'a> {
    /// Its number in the file, from 1.
    pub number: i32,
    /// The statement.
    pub statement: Statement<'a>,
    /// How it is carried out.
    pub way: Way,
    /// Changes with every token of the statement, and not with white space or comments.
    pub checksum: String,
}

/// How a statement is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// It changes the session alone, so whoever goes on behind it does it again.
    Session,
    /// In one transaction with the note that it is done.
    Together,
    /// Alone, because it may not run in a transaction or may commit on its own.
    Alone {
        /// Whether doing it twice is as good as doing it once.
        repeatable: bool,
    },
    /// `CREATE INDEX CONCURRENTLY`.
    BuildIndex(BuildIndex),
    /// `DROP INDEX CONCURRENTLY`, with the index as the file spells it.
    DropIndex(String),
    /// `REINDEX … CONCURRENTLY`.
    RebuildIndexes,
    /// `ALTER TABLE … DETACH PARTITION … CONCURRENTLY`.
    Detach(Detach),
}

/// An index that is to be built without keeping anybody from writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildIndex {
    /// Its name as the server stores it; without one the server chooses.
    pub name: Option<String>,
    /// Its table, as the file spells it.
    pub table: String,
    /// The same statement without CONCURRENTLY, every character in its place.
    pub plain: String,
    /// What stands before and behind the name of the table, without the name of the index.
    around_table: (String, String),
}

impl BuildIndex {
    /// The statement that builds the same index, under a name that the server chooses, on another
    /// table.
    pub fn on(&self, table: &str) -> String {
        let (before, behind) = &self.around_table;
        format!("{before}{table}{behind}")
    }
}

/// A partition that is to be detached without keeping anybody from using its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detach {
    /// The table, as the file spells it.
    pub parent: String,
    /// The partition, as the file spells it.
    pub partition: String,
    /// The statement that ends a detaching that was interrupted, every character in its place.
    pub finish: String,
}

/// The statements of a file, in order.
pub fn tasks(file: &str) -> Vec<Task<'_>> {
    (1..)
        .zip(statements(file).filter(|statement| statement.shape != Shape::Blank))
        .map(|(number, statement)| Task {
            number,
            way: way(&statement),
            checksum: checksum(&statement),
            statement,
        })
        .collect()
}

/// Whether it must be written down how far the file has come: the server cannot say it of each of
/// its statements.
pub fn wants_notes(tasks: &[Task<'_>]) -> bool {
    tasks.iter().any(|task| match &task.way {
        Way::Session | Way::RebuildIndexes | Way::Alone { repeatable: true } => false,
        Way::BuildIndex(index) => index.name.is_none(),
        Way::Together | Way::Alone { repeatable: false } | Way::DropIndex(_) | Way::Detach(_) => {
            true
        }
    })
}

/// Whether the file chooses for itself how long its statements wait for locks.
pub fn sets_lock_timeout(tasks: &[Task<'_>]) -> bool {
    tasks.iter().any(|task| {
        task.way == Way::Session
            && task.statement.keywords.iter().any(|word| word == "LOCK_TIMEOUT" || word == "ALL")
    })
}

/// What is written down about a statement of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The number of the statement.
    pub number: i32,
    /// Its checksum when it was sent.
    pub checksum: String,
    /// Whether it was done; otherwise it was sent, and nobody heard what came of it.
    pub done: bool,
}

/// What is known of a statement before it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It was never sent.
    New,
    /// It was sent, and nobody heard what came of it.
    Begun,
    /// It was done.
    Done,
}

/// A statement that was done, and that the file has no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed(pub i32);

/// From where a file goes on: the standing of each statement, in order.
///
/// # Errors
///
/// The first statement that was done with another text than it has now.
pub fn resume(tasks: &[Task<'_>], notes: &[Note]) -> Result<Vec<Standing>, Changed> {
    let of = |number| tasks.iter().find(|task| task.number == number);
    let changed = notes
        .iter()
        .filter(|note| note.done)
        .filter(|note| of(note.number).is_none_or(|task| task.checksum != note.checksum))
        .map(|note| note.number)
        .min();
    if let Some(number) = changed {
        return Err(Changed(number));
    }
    Ok(tasks
        .iter()
        .map(|task| {
            let same = |note: &&Note| note.number == task.number && note.checksum == task.checksum;
            match notes.iter().find(same) {
                Some(note) if note.done => Standing::Done,
                Some(_) => Standing::Begun,
                None => Standing::New,
            }
        })
        .collect())
}

/// An index of the table on which another is to be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundIndex {
    /// Its name.
    pub name: String,
    /// Whether queries use it. One that was left half-built is not.
    pub valid: bool,
    /// How it was made, without its own name and that of its table.
    pub definition: String,
}

/// What to do next about an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexStep {
    /// It is there, as it should be.
    Done,
    /// This one was left half-built, and is in the way.
    Drop(String),
    /// Nothing is in the way that is ours to remove.
    Build,
}

/// Whether [`index_step`] needs to know how the index would look.
pub fn wants_definition(wanted: &BuildIndex, found: &[FoundIndex], standing: Standing) -> bool {
    match &wanted.name {
        Some(name) => found.iter().any(|index| index.valid && index.name == *name),
        None => standing == Standing::Begun && !found.is_empty(),
    }
}

/// Decides about an index: `definition` is how it would look, as far as the server could say it.
///
/// An index that is there and differs is the server's to refuse, or to pass over when the file says
/// IF NOT EXISTS.
pub fn index_step(
    wanted: &BuildIndex,
    found: &[FoundIndex],
    definition: Option<&str>,
    standing: Standing,
) -> IndexStep {
    let begun = standing == Standing::Begun;
    let same = |index: &FoundIndex| definition.is_some_and(|wanted| wanted == index.definition);
    let candidate = match &wanted.name {
        Some(name) => found.iter().find(|index| index.name == *name),
        // Without a name ours is known by its looks, and only if we made one.
        None => found
            .iter()
            .filter(|index| begun && same(index))
            .min_by_key(|index| (index.valid, index.name.clone())),
    };
    match candidate {
        Some(index) if !index.valid => IndexStep::Drop(index.name.clone()),
        Some(index) if same(index) || (begun && definition.is_none()) => IndexStep::Done,
        _ => IndexStep::Build,
    }
}

fn checksum(statement: &Statement<'_>) -> String {
    let mut hasher = SipHasher13::new();
    for token in statement.tokens().filter(|token| !token.is_symbol(statement.text, b';')) {
        hasher.write(statement.text[token.range].as_bytes());
        hasher.write_u8(0);
    }
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use proptest::prelude::*;

    fn only(text: &str) -> Way {
        tasks(text).remove(0).way
    }

    fn index(text: &str) -> BuildIndex {
        match only(text) {
            Way::BuildIndex(index) => index,
            other => panic!("{other:?}"),
        }
    }

    fn found(name: &str, valid: bool, definition: &str) -> FoundIndex {
        FoundIndex { name: name.to_owned(), valid, definition: definition.to_owned() }
    }

    #[test]
    fn an_index_is_read_in_every_spelling() {
        for (text, name, table) in [
            ("CREATE INDEX CONCURRENTLY i ON t (a)", Some("i"), "t"),
            ("create unique index concurrently \"I x\" on only s . t (a);", Some("I x"), "s.t"),
            (
                "CREATE INDEX CONCURRENTLY IF NOT EXISTS I ON \"S\".\"t.u\" (a)",
                Some("i"),
                "\"S\".\"t.u\"",
            ),
            ("CREATE INDEX CONCURRENTLY ON t USING gin (a)", None, "t"),
            ("CREATE INDEX /* x */ CONCURRENTLY -- y\n i ON t (a)", Some("i"), "t"),
            ("CREATE INDEX CONCURRENTLY \"a\"\"b\" ON t (a)", Some("a\"b"), "t"),
        ] {
            let index = index(text);
            assert_eq!((index.name.as_deref(), index.table.as_str()), (name, table), "{text}");
            assert_eq!(index.plain.len(), text.len());
            assert!(!index.plain.to_uppercase().contains(CONCURRENTLY), "{text}");
        }
    }

    #[test]
    fn the_same_index_can_be_built_elsewhere() {
        let index = index(
            "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON ONLY t USING btree (a) WHERE b > 1;",
        );
        let elsewhere = index.on("s.shape");
        assert_eq!(elsewhere, "CREATE UNIQUE INDEX  ON s.shape USING btree (a) WHERE b > 1;");
    }

    #[test]
    fn a_name_is_cut_where_the_server_cuts_it() {
        let long = "é".repeat(40);
        let index = index(&format!("CREATE INDEX CONCURRENTLY {long} ON t (a)"));
        assert_eq!(index.name.unwrap(), "é".repeat(31));
    }

    #[test]
    fn each_statement_has_its_way() {
        let alone = Way::Alone { repeatable: false };
        let again = Way::Alone { repeatable: true };
        for (text, way) in [
            ("SET lock_timeout = 0", Way::Session),
            ("CREATE TEMP TABLE t ()", Way::Session),
            ("UPDATE t SET a = 1", Way::Together),
            ("ALTER TYPE mood ADD VALUE 'x'", Way::Together),
            ("ALTER TABLE t ADD COLUMN a int", Way::Together),
            ("ALTER TABLE t VALIDATE CONSTRAINT c", again.clone()),
            ("ALTER TABLE t DETACH PARTITION p", Way::Together),
            ("VACUUM (ANALYZE) t", again.clone()),
            ("REINDEX TABLE t", again),
            ("REINDEX TABLE CONCURRENTLY t", Way::RebuildIndexes),
            ("REINDEX (CONCURRENTLY) TABLE t", Way::RebuildIndexes),
            ("CALL fill()", alone.clone()),
            ("DO $$ BEGIN UPDATE t SET a = 1; COMMIT; END $$", alone.clone()),
            ("DO $$ BEGIN UPDATE t SET a = 1; END $$", Way::Together),
            ("DROP INDEX t_a", Way::Together),
            ("DROP INDEX CONCURRENTLY IF EXISTS s.\"I\"", Way::DropIndex("s.\"I\"".to_owned())),
            ("CREATE INDEX i ON t (a)", Way::Together),
            ("CREATE INDEX CONCURRENTLY U&\"i\" ON t (a)", alone),
        ] {
            assert_eq!(only(text), way, "{text}");
        }
    }

    #[test]
    fn a_detaching_can_be_finished() {
        let text = "ALTER TABLE IF EXISTS ONLY s.t DETACH PARTITION p CONCURRENTLY;";
        let Way::Detach(detach) = only(text) else { panic!("{text}") };
        assert_eq!((detach.parent.as_str(), detach.partition.as_str()), ("s.t", "p"));
        assert_eq!(
            detach.finish,
            "ALTER TABLE IF EXISTS ONLY s.t DETACH PARTITION p FINALIZE    ;"
        );
    }

    #[test]
    fn what_the_server_can_say_needs_no_notes() {
        for (text, wants) in [
            ("CREATE INDEX CONCURRENTLY i ON t (a); VACUUM t; SET x.y = 1", false),
            ("REINDEX INDEX CONCURRENTLY i; ALTER TABLE t VALIDATE CONSTRAINT c", false),
            ("CREATE INDEX CONCURRENTLY ON t (a)", true),
            ("CREATE INDEX CONCURRENTLY i ON t (a); UPDATE t SET a = 1", true),
            ("DROP INDEX CONCURRENTLY i", true),
            ("CALL fill()", true),
        ] {
            assert_eq!(wants_notes(&tasks(text)), wants, "{text}");
        }
    }

    #[test]
    fn a_checksum_is_that_of_the_tokens() {
        let of = |text: &str| tasks(text).remove(0).checksum;
        assert_eq!(of("UPDATE t SET a = 'x';"), of("-- why\nUPDATE  t\n SET a='x'"));
        assert_ne!(of("UPDATE t SET a = 'x'"), of("UPDATE t SET a = 'X'"));
        assert_ne!(of("SELECT a b"), of("SELECT ab"));
    }

    #[test]
    fn a_statement_that_was_done_must_still_be_there() {
        let before = tasks("SELECT 1; SELECT 2; SELECT 3");
        let note = |at: usize, done| Note {
            number: before[at].number,
            checksum: before[at].checksum.clone(),
            done,
        };
        let notes = [note(0, true), note(1, false)];
        assert_eq!(
            resume(&before, &notes).unwrap(),
            [Standing::Done, Standing::Begun, Standing::New]
        );
        // What was not done may be repaired, and more may follow.
        let repaired = tasks("SELECT 1; SELECT 22; SELECT 3; SELECT 4");
        assert_eq!(
            resume(&repaired, &notes).unwrap(),
            [Standing::Done, Standing::New, Standing::New, Standing::New]
        );
        assert_eq!(resume(&tasks("SELECT 0; SELECT 2"), &notes), Err(Changed(1)));
        assert_eq!(resume(&[], &notes), Err(Changed(1)));
    }

    #[test]
    fn an_index_with_a_name_is_known_by_it() {
        let wanted = index("CREATE INDEX CONCURRENTLY i ON t (a)");
        let step = |found: &[FoundIndex], definition, standing| {
            index_step(&wanted, found, definition, standing)
        };
        let half = [found("i", false, "x")];
        let whole = [found("i", true, "x"), found("j", false, "x")];
        assert_eq!(step(&[], None, Standing::New), IndexStep::Build);
        assert_eq!(step(&half, None, Standing::New), IndexStep::Drop("i".to_owned()));
        assert_eq!(step(&whole, Some("x"), Standing::New), IndexStep::Done);
        assert_eq!(step(&whole, Some("y"), Standing::Begun), IndexStep::Build);
        assert_eq!(step(&whole, None, Standing::Begun), IndexStep::Done);
        assert_eq!(step(&whole, None, Standing::New), IndexStep::Build);
        assert!(wants_definition(&wanted, &whole, Standing::New));
        assert!(!wants_definition(&wanted, &half, Standing::Begun));
    }

    #[test]
    fn an_index_without_a_name_is_known_by_its_looks_once_it_was_begun() {
        let wanted = index("CREATE INDEX CONCURRENTLY ON t (a)");
        let there = [found("t_a_idx", true, "x"), found("t_a_idx1", false, "x")];
        let step = |standing| index_step(&wanted, &there, Some("x"), standing);
        assert_eq!(step(Standing::New), IndexStep::Build);
        assert_eq!(step(Standing::Begun), IndexStep::Drop("t_a_idx1".to_owned()));
        let done = index_step(&wanted, &there[..1], Some("x"), Standing::Begun);
        assert_eq!(done, IndexStep::Done);
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(
            text in prop_oneof![
                ".{0,80}",
                r#"(create |index |concurrently |on |only |if not exists |alter table |detach partition |[a"U&.(;é])0{0,1}{0,30}"#,
            ]
        ) {
            let tasks = tasks(&text);
            let standings = resume(&tasks, &[]).unwrap();
            prop_assert_eq!(standings.len(), tasks.len());
            for task in tasks {
                if let Way::BuildIndex(index) = task.way {
                    prop_assert_eq!(index.plain.chars().count(), task.statement.text.chars().count());
                }
            }
        }

        #[test]
        fn a_file_goes_on_where_it_stopped(done in 0_usize..5, begun: bool) {
            let tasks = tasks("SELECT 1; SELECT 2; CALL p(); SELECT 4; SELECT 5");
            let notes: Vec<Note> = tasks[..(done + usize::from(begun)).min(5)]
                .iter()
                .enumerate()
                .map(|(at, task)| Note {
                    number: task.number,
                    checksum: task.checksum.clone(),
                    done: at < done,
                })
                .collect();
            let standings = resume(&tasks, &notes).unwrap();
            let left = standings.iter().filter(|standing| **standing != Standing::Done).count();
            prop_assert_eq!(left, 5 - done);
            prop_assert_eq!(standings[done] == Standing::Begun, begun);
        }
    }
}
