//! Calling: every routine that the acting role may call, with the target's keys, ids and names.

use std::collections::BTreeSet;

use super::duel::Duel;
use super::enter::reproduction;
use super::guess::{self, Kind};
use super::inventory::{self, Routine};
use super::session::Answer;
use crate::audit::calls;
use crate::error::Error;
use crate::model::probe::{Attempt, Outcome};
use crate::sql;
use crate::sql::{List, Literal, Sql};

/// So many routines are called,
const ROUTINES: usize = 200;

/// each with so many lists of arguments.
const CALLS: usize = 8;

/// What a rollback does not take back, or what speaks to the outside: a routine that says one of
/// these is not called.
const OUTSIDE: [&str; 22] = [
    "dblink",
    "postgres_fdw",
    "http_",
    "curl",
    "pg_background",
    "to program",
    "from program",
    "pg_read_file",
    "pg_read_binary_file",
    "pg_ls_dir",
    "pg_file_write",
    "lo_import",
    "lo_export",
    "pg_terminate_backend",
    "pg_cancel_backend",
    "pg_reload_conf",
    "pg_rotate_logfile",
    "pg_logical_emit_message",
    "replication_slot",
    "pg_sleep",
    "pg_advisory",
    "setval",
];

/// Texts that make a condition true, whether they are put into a statement in quotes or without,
/// in parentheses or not. Quoted as they should be, they are words like others.
const ENDING: [&str; 4] = ["true OR true", "x' OR true --", "x') OR true --", "true) OR (true"];

/// Words of a routine that changes rows: those texts would change them all.
const WRITES: [&str; 5] = ["insert", "update", "delete", "merge", "truncate"];

impl Duel<'_> {
    /// Calls what may be called, and says what was not.
    ///
    /// # Errors
    ///
    /// When the session breaks.
    pub(super) async fn call(&mut self) -> Result<(), Error> {
        let context = self.own();
        let Some(speak) = self.speak(&context, None) else { return Ok(()) };
        let routines = inventory::routines(&self.session, &speak).await?;
        if routines.is_empty() {
            return Ok(());
        }
        let outside = outside(&routines);
        for (at, routine) in routines.iter().enumerate() {
            let object = (if routine.procedure { "procedure" } else { "function" }, routine.said());
            let why = if at >= ROUTINES {
                Some(format!("only {ROUTINES} routines are called"))
            } else if !routine.trusted {
                Some("its language is not trusted".to_owned())
            } else {
                outside.iter().find(|(oid, _)| *oid == routine.oid).map(|(_, word)| {
                    format!(
                        "it was not called: it says {word}, which a rollback does not take back"
                    )
                })
            };
            if let Some(why) = why {
                // An invoker routine does nothing that its caller could not do.
                if routine.definer {
                    let probe =
                        self.probe(object, Attempt::Call, &context, Outcome::NotProbed(why), &[]);
                    self.probes.push(probe);
                }
                continue;
            }
            self.call_one(routine, object, &speak).await?;
        }
        Ok(())
    }

    async fn call_one(
        &mut self,
        routine: &Routine,
        object: (&'static str, String),
        speak: &[Sql],
    ) -> Result<(), Error> {
        let context = self.own();
        let staged = self.staged(&self.theirs.planted());
        let witness = self.witness();
        let mut silent = None;
        let mut said = false;
        // What runs as somebody else and looks names up where its caller says is sent to the target's.
        let schema = &self.target.tenant.placement.schema;
        let sent = [speak, &[sql!("SET LOCAL search_path = {}, public", schema)]].concat();
        let follows = routine.definer && !routine.pinned && self.tenancy().is_none();
        let ways = if follows { vec![speak, sent.as_slice()] } else { vec![speak] };
        let arguments = self.arguments(routine);
        for (speak, arguments) in
            ways.iter().flat_map(|way| arguments.iter().map(move |one| (*way, one)))
        {
            let call = self.statement(routine, arguments);
            let mut script = staged.clone();
            let told = script.len();
            script.extend(witness.iter().cloned());
            script.extend_from_slice(speak);
            script.push(call.clone());
            let at = script.len() - 1;
            script.extend(witness.iter().cloned());
            let answer = self.session.attempt(&script).await?;
            let Answer::Done(all) = answer else {
                silent = silent.or_else(|| answer.hurried().then(|| answer.trouble()).flatten());
                continue;
            };
            said = true;
            let hits =
                all.get(at).and_then(|done| done.rows.first()?.first()?.as_deref()?.parse().ok());
            let hits: u64 = if routine.procedure { 0 } else { hits.unwrap_or(0) };
            if hits > 0 {
                // A routine may give back what it was given.
                let bare = [speak, std::slice::from_ref(&call)].concat();
                let echo = self.session.attempt(&bare).await?.number().is_some_and(|rows| rows > 0);
                if !echo {
                    let script = [staged.as_slice(), speak, &[call]].concat();
                    let probe =
                        self.probe(object, Attempt::Call, &context, Outcome::Rows(hits), &script);
                    self.probes.push(probe);
                    return Ok(());
                }
            }
            if Self::changed(&all[told..], witness.len()) {
                let probe = self.probe(object, Attempt::Call, &context, Outcome::Rows(1), &script);
                self.probes.push(probe);
                return Ok(());
            }
            if !routine.procedure && !staged.is_empty() {
                let without = [speak, std::slice::from_ref(&call)].concat();
                let with = [staged.as_slice(), speak, std::slice::from_ref(&call)].concat();
                if self.differs(&without, &with).await? == Some(true) {
                    let mut probe =
                        self.probe(object, Attempt::Influence, &context, Outcome::Rows(1), &with);
                    probe.reproduce =
                        format!("{}\n{}", reproduction(&without), reproduction(&with));
                    self.probes.push(probe);
                    return Ok(());
                }
            }
        }
        let outcome = match silent {
            _ if said => Outcome::Rows(0),
            Some(why) => Outcome::NotProbed(why),
            // No arguments that it takes were found; only what runs as somebody else is missed.
            None if routine.definer => {
                Outcome::NotProbed("no arguments that it takes were found".to_owned())
            }
            None => return Ok(()),
        };
        let probe = self.probe(object, Attempt::Call, &context, outcome, &[]);
        self.probes.push(probe);
        Ok(())
    }

    /// The call, so that it says how many rows of its answer hold the target's mark, and sums it up.
    fn statement(&self, routine: &Routine, arguments: &[Sql]) -> Sql {
        if routine.procedure {
            return sql!("CALL {}({})", routine.name, List(arguments));
        }
        let [one, two] = self.target.mark.patterns();
        sql!(
            "SELECT count(*) FILTER (WHERE pg_catalog.lower(said.text) LIKE ANY (ARRAY[{}, {}])), \
                    pg_catalog.md5(pg_catalog.string_agg(said.text, '|' ORDER BY said.text)) \
             FROM (SELECT answer::text AS text FROM {}({}) AS answer LIMIT 500) AS said",
            Literal(&one),
            Literal(&two),
            routine.name,
            List(arguments)
        )
    }

    /// Lists of arguments: the target's values first. Defaults are left alone, and overridden; and
    /// where statements are put together, a text is tried that ends the one it is meant for.
    fn arguments(&self, routine: &Routine) -> Vec<Vec<Sql>> {
        let needed = routine.needed.min(routine.arguments.len());
        let mut calls = self.lists(&routine.arguments[..needed]);
        if needed < routine.arguments.len() {
            calls.extend(self.lists(&routine.arguments));
        }
        let body = routine.body.to_ascii_lowercase();
        let reads = !WRITES.iter().any(|word| body.contains(word));
        if routine.definer && !routine.procedure && reads && body.contains("execute") {
            let first: Vec<Sql> =
                self.lists(&routine.arguments).into_iter().next().unwrap_or_default();
            for (place, (_, kind)) in routine.arguments.iter().enumerate() {
                if !is_text(kind) || place >= first.len() {
                    continue;
                }
                for text in ENDING {
                    let mut call = first.clone();
                    call[place] = sql!("{}::{}", Literal(text), Sql::from_catalog(kind));
                    calls.push(call);
                }
            }
        }
        calls
    }

    fn lists(&self, arguments: &[(String, String)]) -> Vec<Vec<Sql>> {
        let lists: Vec<Vec<Sql>> = arguments
            .iter()
            .map(|(name, kind)| {
                let kind_sql = Sql::from_catalog(kind);
                let values = self.values_for(name, kind);
                let mut list: Vec<Sql> =
                    values.iter().map(|value| sql!("{}::{}", Literal(value), kind_sql)).collect();
                if list.is_empty() {
                    list.push(sql!("NULL::{}", kind_sql));
                }
                list
            })
            .collect();
        // Every list in step, and then each value beside the first of the others.
        let mut calls: Vec<Vec<Sql>> = Vec::new();
        let most = lists.iter().map(Vec::len).max().unwrap_or(1);
        for at in 0..most {
            calls.push(lists.iter().map(|list| list[at.min(list.len() - 1)].clone()).collect());
        }
        for (place, list) in lists.iter().enumerate().filter(|_| lists.len() > 1) {
            for value in list.iter().skip(1) {
                let mut call: Vec<Sql> = lists.iter().map(|list| list[0].clone()).collect();
                call[place] = value.clone();
                calls.push(call);
            }
        }
        let mut seen = BTreeSet::new();
        calls.retain(|call| seen.insert(call.clone()));
        calls.truncate(CALLS);
        calls
    }

    /// Values of the target that an argument may want, by its type, the likeliest for its name first.
    fn values_for(&self, name: &str, kind: &str) -> Vec<String> {
        let tenant = self.target.tenant;
        let name = name.to_ascii_lowercase();
        let mut values: Vec<(bool, String)> = Vec::new();
        let key = name.contains("tenant")
            || name.contains("org")
            || name.contains("account")
            || name.contains("customer");
        let mut add = |fits: bool, value: &str| values.push((fits, value.to_owned()));
        let textual = is_text(kind);
        if kind == "uuid" {
            if tenant.key.parse::<uuid::Uuid>().is_ok() {
                add(key, &tenant.key);
            }
            add(key, &tenant.uuid.to_string());
        } else if textual {
            add(key, &tenant.key);
            add(name.contains("schema"), tenant.placement.schema.as_str());
            add(name.contains("slug") || name.contains("name"), tenant.id.as_str());
            add(name.contains("role"), self.target.role.as_str());
        } else if matches!(kind, "integer" | "bigint" | "smallint" | "numeric")
            && tenant.key.parse::<i64>().is_ok()
        {
            add(key, &tenant.key);
        }
        for table in self.theirs.planted() {
            let Some(shape) = self.shapes.get(&table) else { continue };
            if kind == "regclass" || (textual && name.contains("table")) {
                let said = if textual {
                    shape.name.name.as_str().to_owned()
                } else {
                    shape.name.to_string()
                };
                add(true, &said);
            }
            let known = self.theirs.values(table);
            for column in shape.columns.iter().filter(|column| column.type_name == kind || textual)
            {
                let Some(value) = known.get(&column.name) else { continue };
                // A mark that comes back is no news; ids are tried without one as well.
                if textual && self.target.mark.stands_in(value) {
                    continue;
                }
                let fits =
                    name.trim_start_matches("p_").trim_start_matches('_') == column.name.as_str();
                add(fits || shape.key.contains(&column.name) && name.ends_with("id"), value);
            }
        }
        if values.is_empty() {
            let kind = Kind { type_name: kind.to_owned(), letter: 'b', labels: Vec::new() };
            values.extend(guess::first(&kind).map(|value| (false, value)));
        }
        values.sort_by_key(|(fits, _)| !fits);
        let mut seen = BTreeSet::new();
        values
            .into_iter()
            .map(|(_, value)| value)
            .filter(|value| seen.insert(value.clone()))
            .take(6)
            .collect()
    }
}

fn is_text(kind: &str) -> bool {
    matches!(guess::base(kind), "text" | "character varying" | "name" | "character" | "citext")
}

impl Routine {
    /// Its name with the types of its arguments.
    fn said(&self) -> String {
        format!("{}({})", self.name, self.signature)
    }
}

/// The routines that speak to the outside, by themselves or through another, and by which word.
fn outside(routines: &[Routine]) -> Vec<(u32, &'static str)> {
    let mut found: Vec<(u32, &'static str)> = routines
        .iter()
        .filter_map(|one| {
            let body = one.body.to_ascii_lowercase();
            OUTSIDE.iter().find(|word| body.contains(**word)).map(|word| (one.oid, *word))
        })
        .collect();
    loop {
        let more: Vec<(u32, &'static str)> = routines
            .iter()
            .filter(|one| found.iter().all(|(oid, _)| *oid != one.oid))
            .filter_map(|one| {
                let through = |(oid, word): &(u32, &'static str)| {
                    let other = routines.iter().find(|other| other.oid == *oid)?;
                    calls(&one.body, other.name.name.as_str()).then_some((one.oid, *word))
                };
                found.iter().find_map(through)
            })
            .collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}
