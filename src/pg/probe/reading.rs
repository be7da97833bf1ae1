//! Reading: whatever the acting role may read is searched for the target's mark.
//!
//! Nothing is assumed about where a row goes: a copy in an audit table, a view under other names, a
//! partition and a child table are found alike.

use std::collections::{BTreeMap, BTreeSet};

use super::duel::{Duel, aliased, closes, row};
use super::enter::reproduction;
use super::inventory::Reached;
use super::plant::Side;
use super::session::Answer;
use crate::error::Error;
use crate::model::catalog::{Oid, RelationKind};
use crate::model::probe::{Attempt, Context, Outcome};
use crate::sql;
use crate::sql::Sql;

/// So many relations are searched by one statement.
const AT_ONCE: usize = 100;

/// So many tables are tried one by one to find where a mark that was found came from.
const TRACED: usize = 60;

impl Duel<'_> {
    /// Finds out where the target sees its own rows, and the acting tenant its own.
    ///
    /// # Errors
    ///
    /// When the session breaks.
    pub(super) async fn control(&mut self) -> Result<(), Error> {
        let staged = self.staged(&self.theirs.planted());
        let enter = self.target.enter(&self.session.who);
        let script = [staged, enter].concat();
        let readable = self.readable();
        let seen = self.search(&script, &readable, &self.target).await?;
        self.controlled =
            seen.iter().filter(|(_, answer)| **answer == Ok(1)).map(|(oid, _)| *oid).collect();
        let tables: Vec<Reached> =
            self.reached.iter().filter(|one| self.is_ground(one.oid)).cloned().collect();
        for table in tables {
            let rows = u64::from(self.controlled.contains(&table.oid));
            let planted = self.theirs.of(table.oid).is_ok();
            if rows == 0 && (!planted || !table.reads || self.asks_more(table.oid)) {
                continue;
            }
            // One that failed is not one that saw nothing.
            if rows == 0 && !matches!(seen.get(&table.oid), Some(Ok(_))) {
                continue;
            }
            self.note(&table, Attempt::Control, &self.own(), Outcome::Rows(rows), &[]);
        }
        self.control_acting().await
    }

    /// One who sees nothing at all, not even what is its own, proves nothing either.
    async fn control_acting(&mut self) -> Result<(), Error> {
        let planted = self.mine.planted();
        let tables: Vec<Reached> = self
            .readable()
            .into_iter()
            .filter(|one| planted.contains(&one.oid) && self.controlled.contains(&one.oid))
            .collect();
        let enter = self.acting.enter(&self.session.who);
        let script = [self.mine.script(&planted), enter].concat();
        let seen = self.search(&script, &tables, &self.acting).await?;
        for table in tables.iter().filter(|one| seen.get(&one.oid) == Some(&Ok(0))) {
            self.note(table, Attempt::Control, &self.own(), Outcome::Rows(0), &[]);
            if let Some(last) = self.probes.last_mut() {
                last.target = self.acting.tenant.id.clone();
            }
        }
        Ok(())
    }

    /// Looks for the target's rows in everything, in one context.
    ///
    /// # Errors
    ///
    /// When the session breaks.
    pub(super) async fn read(&mut self, context: &Context) -> Result<(), Error> {
        let Some(speak) = self.speak(context, None) else { return Ok(()) };
        let readable: Vec<Reached> = self.readable();
        let before = [self.staged(&self.theirs.planted()), speak.clone()].concat();
        let seen = if *context == Context::Prepared {
            self.search_prepared(&speak, &readable).await?
        } else {
            self.search(&before, &readable, &self.target).await?
        };
        for relation in readable {
            let Some(answer) = seen.get(&relation.oid) else { continue };
            let outcome = match answer {
                Ok(0) if !self.controlled.contains(&relation.oid) => {
                    // It is said once, in the contexts in which policies are judged as well.
                    let view = relation.kind.is_view();
                    let said = matches!(context, Context::Own | Context::Role)
                        || *context == Context::Empty && !view;
                    match self.doubt(&relation).filter(|_| said) {
                        Some(why) => Outcome::NotProbed(why),
                        None => continue,
                    }
                }
                Ok(rows) => Outcome::Rows(*rows),
                Err((sqlstate, _)) if sqlstate == "42501" => Outcome::Refused,
                Err((sqlstate, _)) if context.nobodys() && closes(sqlstate) => Outcome::Refused,
                Err((sqlstate, message)) => {
                    Outcome::Failed { sqlstate: sqlstate.clone(), message: message.clone() }
                }
            };
            let script = match outcome {
                Outcome::Rows(1..) => self.traced(&relation, context, &speak).await?,
                _ => Vec::new(),
            };
            self.note(&relation, Attempt::Read, context, outcome, &script);
        }
        Ok(())
    }

    /// What the acting role may read. Foreign tables are asked one by one: another server answers.
    fn readable(&self) -> Vec<Reached> {
        self.reached.iter().filter(|one| one.reads).cloned().collect()
    }

    /// Whether a relation is one in which the target must have a row, or nothing is shown.
    pub(super) fn is_ground(&self, oid: Oid) -> bool {
        self.survey.tenant_tables.contains(&oid) && self.tenancy().is_some()
            || self.theirs.planted().contains(&oid)
    }

    /// Why seeing nothing in a relation shows nothing; none when nothing was to be shown.
    fn doubt(&self, relation: &Reached) -> Option<String> {
        if self.is_ground(relation.oid) {
            let why = match self.theirs.of(relation.oid) {
                Err(why) => why,
                Ok(_) if self.asks_more(relation.oid) => {
                    "its policies ask for more than the tenant".to_owned()
                }
                Ok(_) => "the tenant does not see its own row".to_owned(),
            };
            return Some(why);
        }
        let definer = self
            .relation(relation.oid)
            .and_then(|facts| facts.view.as_ref())
            .is_some_and(|view| !view.security_invoker);
        let shows = self.column(relation.oid).is_some();
        (relation.kind == RelationKind::View && definer && shows)
            .then(|| "no row that was made up shows in it".to_owned())
    }

    /// Asks for the first of the target's rows in each relation: 0, 1, or what went wrong.
    async fn search(
        &self,
        before: &[Sql],
        relations: &[Reached],
        whose: &Side<'_>,
    ) -> Result<BTreeMap<Oid, Result<u64, (String, String)>>, Error> {
        let mut seen = BTreeMap::new();
        let (far, near): (Vec<&Reached>, Vec<&Reached>) =
            relations.iter().partition(|one| one.kind == RelationKind::Foreign);
        for chunk in near.chunks(AT_ONCE) {
            let script = [before, &[self.batch(chunk, whose)]].concat();
            match self.session.attempt(&script).await?.last() {
                Some(done) => seen.extend(counted(&done.rows)),
                None => {
                    for one in chunk {
                        seen.insert(one.oid, self.search_one(before, one, whose).await?);
                    }
                }
            }
        }
        for one in far {
            seen.insert(one.oid, self.search_one(before, one, whose).await?);
        }
        Ok(seen)
    }

    async fn search_one(
        &self,
        before: &[Sql],
        relation: &Reached,
        whose: &Side<'_>,
    ) -> Result<Result<u64, (String, String)>, Error> {
        let script = [before, &[self.look(relation, whose)]].concat();
        Ok(match self.session.attempt(&script).await? {
            Answer::Refused { message } => Err(("42501".to_owned(), message)),
            Answer::Failed { sqlstate, message, .. } => Err((sqlstate, message)),
            done @ Answer::Done(_) => Ok(done.number().unwrap_or(0)),
        })
    }

    fn batch(&self, relations: &[&Reached], whose: &Side<'_>) -> Sql {
        let parts: Vec<Sql> = relations
            .iter()
            .map(|one| sql!("SELECT {}, ({})", i64::from(one.oid), self.look(one, whose)))
            .collect();
        Sql::joined(&parts, " UNION ALL ")
    }

    /// The same by a statement that is prepared, and run, while the session is the target's.
    async fn search_prepared(
        &self,
        speak: &[Sql],
        relations: &[Reached],
    ) -> Result<BTreeMap<Oid, Result<u64, (String, String)>>, Error> {
        let near: Vec<&Reached> =
            relations.iter().filter(|one| one.kind != RelationKind::Foreign).collect();
        let mut seen = BTreeMap::new();
        for chunk in near.chunks(AT_ONCE) {
            let script =
                self.prepared(&self.theirs.planted(), speak, &self.batch(chunk, &self.target));
            // What cannot be prepared together was answered in the tenant's own context.
            if let Answer::Done(all) = self.session.attempt(&script).await? {
                let answer = all.iter().rev().nth(1);
                seen.extend(answer.map(|done| counted(&done.rows)).into_iter().flatten());
            } else {
                let deallocate = [sql!("DEALLOCATE ALL")];
                self.session.attempt(&deallocate).await?;
            }
        }
        Ok(seen)
    }

    fn prepared(&self, tables: &[Oid], speak: &[Sql], query: &Sql) -> Vec<Sql> {
        let mut script = self.staged(tables);
        script.extend(self.target.enter(&self.session.who));
        script.push(sql!("PREPARE tenantctl_look AS {}", query));
        script.push(sql!("EXECUTE tenantctl_look"));
        script.extend_from_slice(speak);
        script.push(sql!("EXECUTE tenantctl_look"));
        script.push(sql!("DEALLOCATE tenantctl_look"));
        script
    }

    /// The shortest script that shows what was found.
    async fn traced(
        &self,
        relation: &Reached,
        context: &Context,
        speak: &[Sql],
    ) -> Result<Vec<Sql>, Error> {
        let look = self.look(relation, &self.target);
        let script = |tables: &[Oid]| -> Vec<Sql> {
            if *context == Context::Prepared {
                return self.prepared(tables, speak, &look);
            }
            [self.staged(tables).as_slice(), speak, std::slice::from_ref(&look)].concat()
        };
        let planted = self.theirs.planted();
        let own = planted.contains(&relation.oid).then_some(relation.oid);
        let others = planted.iter().copied().filter(|oid| *oid != relation.oid);
        for table in own.into_iter().chain(others).take(TRACED) {
            let script = script(&[table]);
            let answer = self.session.attempt(&script).await?;
            let shown = match (context, &answer) {
                (Context::Prepared, Answer::Done(all)) => {
                    all.iter().rev().nth(1).is_some_and(|done| counts(&done.rows))
                }
                _ => answer.number().is_some_and(|rows| rows > 0),
            };
            if shown {
                return Ok(script);
            }
        }
        // It shows what was there before, or only all rows together show it.
        let bare = script(&[]);
        let shown = self.session.attempt(&bare).await?.number().is_some_and(|rows| rows > 0);
        Ok(if shown { bare } else { script(&planted) })
    }

    /// Compares what views show with and without the target's rows.
    ///
    /// # Errors
    ///
    /// When the session breaks.
    pub(super) async fn influence(&mut self) -> Result<(), Error> {
        let crossed: BTreeSet<String> =
            self.probes.iter().filter(|one| one.crossed()).map(|one| one.object.clone()).collect();
        let views: Vec<Reached> = self
            .readable()
            .into_iter()
            .filter(|one| {
                one.kind == RelationKind::View && !crossed.contains(&one.name.to_string())
            })
            .collect();
        let context = self.own();
        let Some(speak) = self.speak(&context, None) else { return Ok(()) };
        let planted = self.theirs.planted();
        if planted.is_empty() {
            return Ok(());
        }
        let staged = self.staged(&planted);
        for view in views {
            let text = view.text(&row());
            let hash = sql!(
                "SELECT pg_catalog.md5(coalesce(pg_catalog.string_agg(seen.text, '|' ORDER BY seen.text), '')) \
                 FROM (SELECT {} AS text FROM {} LIMIT 1000) AS seen",
                text,
                aliased(&view)
            );
            let without = [speak.as_slice(), std::slice::from_ref(&hash)].concat();
            let with = [staged.as_slice(), speak.as_slice(), std::slice::from_ref(&hash)].concat();
            let outcome = match self.differs(&without, &with).await? {
                Some(differs) => Outcome::Rows(u64::from(differs)),
                None => continue,
            };
            self.note(&view, Attempt::Influence, &context, outcome, &with);
            if let Some(last) = self.probes.last_mut().filter(|one| one.crossed()) {
                last.reproduce = format!("{}\n{}", reproduction(&without), reproduction(&with));
            }
        }
        Ok(())
    }

    /// Whether two scripts that differ in the target's rows end in two answers, each time again;
    /// none when it cannot be told.
    pub(super) async fn differs(
        &self,
        without: &[Sql],
        with: &[Sql],
    ) -> Result<Option<bool>, Error> {
        let mut answers = Vec::new();
        for script in [without, with, without, with] {
            let answer = self.session.attempt(script).await?;
            let Some(done) = answer.last() else { return Ok(None) };
            answers.push(done.rows.clone());
            if answers.len() == 2 && answers[0] == answers[1] {
                return Ok(Some(false));
            }
        }
        if answers[0] != answers[2] || answers[1] != answers[3] {
            return Ok(None);
        }
        Ok(Some(true))
    }

    /// Locks and exports the target's rows, as far as they are seen.
    ///
    /// # Errors
    ///
    /// When the session breaks.
    pub(super) async fn hold(&mut self) -> Result<(), Error> {
        let context = self.own();
        let Some(speak) = self.speak(&context, None) else { return Ok(()) };
        let tables: Vec<Reached> = self
            .reached
            .iter()
            .filter(|one| one.kind.is_table() && self.controlled.contains(&one.oid))
            .filter(|one| one.reads && !one.updatable.is_empty())
            .cloned()
            .collect();
        for table in tables {
            let lock = sql!(
                "SELECT count(*) FROM (SELECT FROM {} WHERE {} FOR UPDATE SKIP LOCKED) AS held",
                aliased(&table),
                Self::marked(&table, &self.target)
            );
            let script = [self.staged(&[table.oid]), speak.clone(), vec![lock]].concat();
            let outcome = self.count(&script, false).await?;
            self.note(&table, Attempt::Lock, &context, outcome, &script);
        }
        Ok(())
    }
}

fn counted(
    rows: &[super::session::Row],
) -> impl Iterator<Item = (Oid, Result<u64, (String, String)>)> {
    rows.iter().filter_map(|row| {
        let oid = row.first()?.as_deref()?.parse().ok()?;
        Some((oid, Ok(row.get(1)?.as_deref()?.parse().ok()?)))
    })
}

fn counts(rows: &[super::session::Row]) -> bool {
    rows.first().and_then(|row| row.first()?.as_deref()).is_some_and(|count| count != "0")
}
