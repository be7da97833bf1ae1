//! Prying: what an export holds, what a condition sees before a filter removes it, and what a
//! constraint tells of rows that are not shown.

use std::collections::BTreeSet;

use super::canary::{self, Known};
use super::duel::{Duel, aliased, row};
use super::guess;
use super::inventory::Reached;
use super::session::Answer;
use crate::error::Error;
use crate::model::catalog::{Fill, Oid, RelationKind};
use crate::model::probe::{Attempt, Outcome};
use crate::sql;
use crate::sql::Literal;

/// So many columns of a view are looked at from inside a condition.
const COLUMNS: usize = 4;

/// The error by which a condition says what it saw. No server has one of this code.
const SEEN: &str = "TCSEE";

impl Duel<'_> {
    /// Tries all three.
    ///
    /// # Errors
    ///
    /// When the session breaks.
    pub(super) async fn pry(&mut self) -> Result<(), Error> {
        self.export().await?;
        self.peek().await?;
        self.collide().await
    }

    fn crossed(&self) -> BTreeSet<String> {
        self.probes.iter().filter(|one| one.crossed()).map(|one| one.object.clone()).collect()
    }

    /// Exports tables whole, as `COPY` does, and searches what comes for the target's mark.
    async fn export(&mut self) -> Result<(), Error> {
        let context = self.own();
        let Some(speak) = self.speak(&context, None) else { return Ok(()) };
        let crossed = self.crossed();
        let tables: Vec<Reached> = self
            .reached
            .iter()
            .filter(|one| one.kind == RelationKind::Table && one.reads && one.readable.is_none())
            .filter(|one| self.controlled.contains(&one.oid) && self.theirs.is_marked(one.oid))
            .filter(|one| self.too_big(one).is_none() && !crossed.contains(&one.name.to_string()))
            .cloned()
            .collect();
        let mark = self.target.mark.clone();
        for table in tables {
            let script = [self.staged(&[table.oid]), speak.clone()].concat();
            let copy = sql!("COPY {} TO STDOUT", table.name);
            let outcome =
                match self.session.export(&script, &copy, |line| mark.stands_in(line)).await? {
                    Ok(lines) => Outcome::Rows(lines),
                    Err(Answer::Refused { .. }) => Outcome::Refused,
                    Err(Answer::Failed { sqlstate, message, .. }) => {
                        Outcome::Failed { sqlstate, message }
                    }
                    Err(Answer::Done(_)) => continue,
                };
            let script = [script, vec![copy]].concat();
            self.note(&table, Attempt::Copy, &context, outcome, &script);
        }
        Ok(())
    }

    /// Asks views that read as somebody else with a condition that is cheaper than their own filter,
    /// and says what it is given: a function in the session's temporary schema.
    async fn peek(&mut self) -> Result<(), Error> {
        let context = self.own();
        let Some(speak) = self.speak(&context, None) else { return Ok(()) };
        let crossed = self.crossed();
        let views: Vec<Reached> = self
            .reached
            .iter()
            .filter(|one| one.kind == RelationKind::View && one.reads)
            .filter(|one| {
                let facts = self.relation(one.oid).and_then(|facts| facts.view.as_ref());
                facts.is_some_and(|view| !view.security_invoker && !view.security_barrier)
            })
            .filter(|one| !crossed.contains(&one.name.to_string()))
            .cloned()
            .collect();
        let planted = self.theirs.planted();
        if views.is_empty() || planted.is_empty() {
            return Ok(());
        }
        let [one, two] = self.target.mark.patterns();
        let body = sql!(
            "BEGIN IF pg_catalog.lower($1) LIKE ANY (ARRAY[{}, {}]) THEN \
             RAISE EXCEPTION USING ERRCODE = {}, MESSAGE = $1; END IF; RETURN true; END",
            Literal(&one),
            Literal(&two),
            Literal(SEEN)
        );
        let mut before = self.staged(&planted);
        before.extend(speak);
        before.push(sql!(
            "CREATE FUNCTION pg_temp.tenantctl_sees(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS {}",
            Literal(body.as_str())
        ));
        // An index would look for the tenant first.
        before.push(sql!("SET LOCAL enable_indexscan = off"));
        before.push(sql!("SET LOCAL enable_bitmapscan = off"));
        for view in views {
            let columns = self.relation(view.oid).map(|facts| facts.columns.clone());
            let texts = columns.into_iter().flatten().filter(|column| {
                view.shows(&column.name)
                    && matches!(guess::base(&column.type_name), "text" | "character varying")
            });
            let mut outcome = None;
            for column in texts.take(COLUMNS) {
                let look = sql!(
                    "SELECT count(*) FROM {} WHERE pg_temp.tenantctl_sees({}.{})",
                    aliased(&view),
                    row(),
                    column.name
                );
                let script = [before.as_slice(), &[look]].concat();
                let said = match self.session.attempt(&script).await? {
                    Answer::Failed { sqlstate, .. } if sqlstate == SEEN => Outcome::Rows(1),
                    Answer::Done(_) => Outcome::Rows(0),
                    // It may make no temporary function, and so cannot pry.
                    Answer::Refused { .. } => Outcome::Refused,
                    Answer::Failed { .. } => continue,
                };
                let seen = matches!(said, Outcome::Rows(1));
                outcome = Some((said, script));
                if seen {
                    break;
                }
            }
            if let Some((outcome, script)) = outcome {
                self.note(&view, Attempt::Peek, &context, outcome, &script);
            }
        }
        Ok(())
    }

    /// Adds rows of one's own that would collide with the target's, or point at them.
    async fn collide(&mut self) -> Result<(), Error> {
        let Some(tenancy) = self.tenancy() else { return Ok(()) };
        let (mine, theirs) = (self.mine.own(), self.theirs.planted());
        let tables: Vec<Reached> = self
            .reached
            .iter()
            .filter(|one| one.inserts && mine.contains(&one.oid) && theirs.contains(&one.oid))
            .cloned()
            .collect();
        for table in tables {
            let taken = self.theirs.values(table.oid);
            let keys: Vec<Known> = self
                .survey
                .catalog
                .around
                .indexes
                .iter()
                .filter(|index| index.relation == table.oid && index.unique && !index.expressions)
                .filter(|index| !index.uuids && !index.columns.contains(&tenancy.column))
                .filter_map(|index| self.natural(table.oid, &index.columns, &taken))
                .collect();
            for key in keys {
                self.tell_by_key(&table, &key).await?;
            }
            let Some(shape) = self.shapes.get(&table.oid) else { continue };
            let links: Vec<(Oid, Known)> = shape
                .references
                .iter()
                .filter(|key| key.parent != table.oid && theirs.contains(&key.parent))
                .filter(|key| key.columns.iter().all(|(here, _)| *here != tenancy.column))
                .filter_map(|key| {
                    let there = self.theirs.values(key.parent);
                    let pairs = key.columns.iter();
                    let values: Option<Known> = pairs
                        .map(|(here, at)| Some((here.clone(), there.get(at)?.clone())))
                        .collect();
                    Some((key.parent, values?))
                })
                .collect();
            for (parent, link) in links {
                self.tell_by_link(&table, parent, &link).await?;
            }
        }
        Ok(())
    }

    /// The values of a key that people choose: what a server numbers, nobody guesses for a purpose.
    fn natural(
        &self,
        table: Oid,
        columns: &[crate::model::ident::Ident],
        taken: &Known,
    ) -> Option<Known> {
        let shape = self.shapes.get(&table)?;
        let chosen = |name| shape.named(name).is_some_and(|column| column.fill == Fill::Null);
        let value =
            |name: &crate::model::ident::Ident| Some((name.clone(), taken.get(name)?.clone()));
        if columns.is_empty() || !columns.iter().all(chosen) {
            return None;
        }
        columns.iter().map(value).collect()
    }

    /// A row with a key of the target's: refused, when nothing else refuses it.
    async fn tell_by_key(&mut self, table: &Reached, key: &Known) -> Result<(), Error> {
        let context = self.own();
        let (Some(shape), Some(speak)) = (self.shapes.get(&table.oid), self.speak(&context, None))
        else {
            return Ok(());
        };
        let mut values = self.mine.values(table.oid);
        values.extend(key.clone());
        let own =
            [self.mine.ground(table.oid), speak, vec![canary::insert(shape, &values)]].concat();
        let with = [self.staged(&[table.oid]), own.clone()].concat();
        let refused = match self.session.attempt(&with).await? {
            Answer::Failed { sqlstate, inside: false, constraint: Some(_), .. } => {
                sqlstate == "23505" || sqlstate == "23P01"
            }
            Answer::Done(_) => false,
            _ => return Ok(()),
        };
        if refused && !matches!(self.session.attempt(&own).await?, Answer::Done(_)) {
            return Ok(());
        }
        let outcome = Outcome::Rows(u64::from(refused));
        self.note(table, Attempt::Collide, &context, outcome, &with);
        Ok(())
    }

    /// A row that points at one of the target's: let in, where one that points at nothing is not.
    async fn tell_by_link(
        &mut self,
        table: &Reached,
        parent: Oid,
        link: &Known,
    ) -> Result<(), Error> {
        let context = self.own();
        let (Some(shape), Some(speak)) = (self.shapes.get(&table.oid), self.speak(&context, None))
        else {
            return Ok(());
        };
        let script = |link: &Known| {
            let mut values = self.mine.values(table.oid);
            values.extend(link.clone());
            let mut script = self.staged(&[parent]);
            script.extend(self.mine.ground(table.oid));
            script.extend(speak.iter().cloned());
            script.push(canary::insert(shape, &values));
            script.push(sql!("SET CONSTRAINTS ALL IMMEDIATE"));
            script
        };
        let nothing: Option<Known> = link
            .keys()
            .map(|name| {
                let column = shape.named(name)?;
                Some((name.clone(), self.stranger(&column.type_name)?))
            })
            .collect();
        let Some(nothing) = nothing else { return Ok(()) };
        let (there, nowhere) = (script(link), script(&nothing));
        let allowed = matches!(self.session.attempt(&there).await?, Answer::Done(_));
        let told = allowed
            && matches!(self.session.attempt(&nowhere).await?,
                Answer::Failed { sqlstate, inside: false, .. } if sqlstate == "23503");
        self.note(table, Attempt::Collide, &context, Outcome::Rows(u64::from(told)), &there);
        Ok(())
    }
}
