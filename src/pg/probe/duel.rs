//! Two tenants set against each other: one acts, and the other's rows must stay out of its reach.
//!
//! Every attempt is one script: the target puts its rows there in its own name, the session becomes
//! the acting tenant, and tries. What is on record of an attempt is therefore all that is needed to
//! see it again.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::canary;
use super::enter::reproduction;
use super::inventory::Reached;
use super::plant::{Plot, Root, Side};
use super::session::{Answer, Done, Session};
use super::shape::Shape;
use crate::audit::Survey;
use crate::error::Error;
use crate::model::catalog::{Column, Oid, Relation};
use crate::model::ident::Ident;
use crate::model::layout::Tenancy;
use crate::model::probe::{Attempt, Context, Method, Outcome, Probe};
use crate::model::tenant::Isolation;
use crate::sql;
use crate::sql::{List, Literal, Sql};

/// Tables with more rows than this are not swept by statements that name no row: they would visit
/// them all, and leave as many dead ones behind.
pub(super) const SMALL: f64 = 10_000.0;

/// What a row is called where it is looked at as a whole: no column is called that.
pub(super) const ROW: &str = "tenantctl_row";

/// A key that no tenant has, of no type but text.
const NOBODY: &str = "no tenant has this key";

/// One role of the application, acting for one tenant against another.
pub(super) struct Duel<'a> {
    pub(super) survey: &'a Survey<'a>,
    pub(super) session: Session,
    pub(super) isolation: Isolation,
    pub(super) acting: Side<'a>,
    pub(super) target: Side<'a>,
    /// Who no tenant is.
    pub(super) nobody: Uuid,
    pub(super) shapes: BTreeMap<Oid, Shape>,
    /// How the acting tenant gets its rows.
    pub(super) mine: Plot,
    /// How the target gets its rows.
    pub(super) theirs: Plot,
    /// What the acting role may use.
    pub(super) reached: Vec<Reached>,
    /// Where the target sees the row that was put there for it.
    pub(super) controlled: BTreeSet<Oid>,
    pub(super) probes: Vec<Probe>,
}

impl<'a> Duel<'a> {
    pub(super) fn tenancy(&self) -> Option<&'a Tenancy> {
        self.acting.tenancy
    }

    /// The context in which a tenant acts in its own name.
    pub(super) fn own(&self) -> Context {
        if self.tenancy().is_some() { Context::Own } else { Context::Role }
    }

    /// The tenant column of a relation.
    pub(super) fn column(&self, oid: Oid) -> Option<&Column> {
        let tenancy = self.tenancy()?;
        let shaped = self.shapes.get(&oid).and_then(|shape| shape.named(&tenancy.column));
        shaped.or_else(|| self.relation(oid)?.column(&tenancy.column))
    }

    pub(super) fn relation(&self, oid: Oid) -> Option<&'a Relation> {
        self.survey.catalog.relations.get(&oid)
    }

    /// The statements that make the session the acting role in some context; none when there is no
    /// such context for it.
    pub(super) fn speak(&self, context: &Context, table: Option<Oid>) -> Option<Vec<Sql>> {
        let who = &self.session.who;
        let role = self.acting.role;
        let own = self.acting.tenant.key.as_str();
        let setting = self.tenancy().map(|tenancy| &tenancy.setting);
        let with = |key: &str| Some(who.enter(role, Some((setting?, key))));
        match context {
            Context::Own | Context::Prepared => with(own),
            Context::Stranger => {
                let kind = table.and_then(|table| self.column(table)).map(|c| c.type_name.as_str());
                with(&self.stranger(kind?)?)
            }
            Context::Empty => with(""),
            Context::Malformed => with(NOBODY),
            Context::Alike => with(&self.alike()?),
            Context::Unset | Context::Role => Some(who.enter(role, None)),
            Context::Switched(switch, value) => {
                let mut script = self.acting.enter(who);
                script.push(sql!("SET LOCAL {} = {}", switch, Literal(value)));
                Some(script)
            }
            Context::Became(face) => {
                let mut script = self.acting.enter(who);
                script.push(sql!("SET LOCAL ROLE {}", face));
                Some(script)
            }
        }
    }

    /// A key that no tenant has.
    pub(super) fn stranger(&self, type_name: &str) -> Option<String> {
        canary::stranger(type_name, self.nobody)
    }

    /// A key that is no tenant's, and the beginning of the target's.
    fn alike(&self) -> Option<String> {
        let key = &self.target.tenant.key;
        let cut = key.char_indices().nth(key.chars().count() / 2)?.0;
        (cut > 0).then(|| key[..cut].to_owned())
    }

    /// The statements by which the target puts rows into some tables, in its own name.
    pub(super) fn staged(&self, tables: &[Oid]) -> Vec<Sql> {
        self.theirs.script(tables)
    }

    /// The statements that tell what became of the target's rows, each as whoever sees them: the
    /// target, and where it may not look, the owner in its name.
    pub(super) fn witness(&self) -> Vec<Sql> {
        let who = &self.session.who;
        let seen: Vec<Sql> = self
            .reached
            .iter()
            .filter(|one| self.controlled.contains(&one.oid) && self.is_made_up(one.oid))
            .map(|one| sql!("({})", self.state(one)))
            .collect();
        let mut script = Vec::new();
        if !seen.is_empty() {
            script.extend(self.target.enter(who));
            script.push(sql!("SELECT {}", List(&seen)));
        }
        for table in self.theirs.planted() {
            let known = self.reached.iter().any(|one| one.oid == table);
            let (Some(owner), Some(shape)) = (self.theirs.owner(table), self.shapes.get(&table))
            else {
                continue;
            };
            if !known && self.is_made_up(table) {
                script.extend(self.target.enter_as(who, owner));
                script.push(self.state(&Reached::whole(table, &shape.name)));
            }
        }
        script
    }

    /// The statements that tell what became of the target's row in one table; none when nobody sees it.
    pub(super) fn witness_of(&self, table: &Reached) -> Vec<Sql> {
        let who = &self.session.who;
        let enter = if self.controlled.contains(&table.oid) && table.reads {
            self.target.enter(who)
        } else if let Some(owner) = self.theirs.owner(table.oid) {
            self.target.enter_as(who, owner)
        } else {
            return Vec::new();
        };
        [enter, vec![self.state(table)]].concat()
    }

    /// Whether a script changed what a witness tells before and after it.
    pub(super) fn changed(done: &[Done], witness: usize) -> bool {
        let rows = |part: &[Done]| part.iter().map(|one| one.rows.clone()).collect::<Vec<_>>();
        let (before, after) = (done.get(..witness), done.get(done.len().saturating_sub(witness)..));
        before.map(rows) != after.map(rows)
    }

    /// The first row of a relation that is a tenant's, counted: 0 or 1.
    pub(super) fn look(&self, reached: &Reached, side: &Side<'_>) -> Sql {
        let found = self.belongs(reached, side);
        sql!(
            "SELECT count(*) FROM (SELECT FROM {} WHERE {} LIMIT 1) AS seen",
            aliased(reached),
            found
        )
    }

    /// The condition on a row that is a tenant's: it holds its mark, or its key where the key stands.
    fn belongs(&self, reached: &Reached, side: &Side<'_>) -> Sql {
        let key =
            self.column(reached.oid).filter(|column| reached.shows(&column.name)).map(|column| {
                sql!("{}.{} = {}", row(), column.name, canary::typed(column, &side.tenant.key))
            });
        let marked = Self::marked(reached, side);
        match key {
            Some(key) if reached.rows > SMALL => key,
            Some(key) => sql!("({} OR {})", key, marked),
            None => marked,
        }
    }

    /// The condition on a row that holds a tenant's mark: that was made up, and is nobody's loss.
    pub(super) fn marked(reached: &Reached, side: &Side<'_>) -> Sql {
        let [text, uuid] = side.mark.patterns();
        let patterns = [sql!("{}", Literal(&text)), sql!("{}", Literal(&uuid))];
        sql!("{} LIKE ANY (ARRAY[{}])", reached.text(&row()), List(&patterns))
    }

    /// The condition on the row that was made up for a tenant: by its mark, or where no column can
    /// hold one, by its key; where it has none, on all of the tenant's rows.
    pub(super) fn made_up(&self, reached: &Reached, side: &Side<'_>, plot: &Plot) -> Sql {
        if plot.is_marked(reached.oid) {
            return Self::marked(reached, side);
        }
        if matches!(plot.of(reached.oid), Ok(Root::Existing(_))) {
            return self.belongs(reached, side);
        }
        // A partition holds what was put into the whole.
        if !plot.planted().contains(&reached.oid) {
            return Self::marked(reached, side);
        }
        let values = plot.values(reached.oid);
        let equal = self.shapes.get(&reached.oid).into_iter().flat_map(|shape| {
            let named = |column: &&Column| {
                shape.key.contains(&column.name) || shape.pointed_at.contains(&column.name)
            };
            let value = |column: &Column| {
                let value = values.get(&column.name).filter(|_| reached.shows(&column.name))?;
                Some(sql!("{}.{} = {}", row(), column.name, canary::typed(column, value)))
            };
            shape.columns.iter().filter(named).filter_map(value).collect::<Vec<_>>()
        });
        let equal: Vec<Sql> = equal.collect();
        if equal.is_empty() { self.belongs(reached, side) } else { Sql::joined(&equal, " AND ") }
    }

    /// The row that was made up for the target in a relation, as one value that is another when the
    /// row is.
    pub(super) fn state(&self, reached: &Reached) -> Sql {
        let text = reached.text(&row());
        sql!(
            "SELECT pg_catalog.md5(pg_catalog.string_agg({}, '|' ORDER BY {})) FROM {} WHERE {}",
            text,
            text,
            aliased(reached),
            self.made_up(reached, &self.target, &self.theirs)
        )
    }

    /// Whether a relation holds too many rows for statements that name none.
    pub(super) fn too_big(&self, reached: &Reached) -> Option<String> {
        let children =
            self.survey.catalog.relations.values().filter(|one| one.parent == Some(reached.oid));
        let below: f64 = children.map(|child| f64::from(child.rows.max(0.0))).sum();
        let rows = reached.rows.max(below);
        (rows > SMALL).then(|| format!("it has about {rows:.0} rows"))
    }

    /// Whether no policy has a say in what the acting role does with a table.
    pub(super) fn exempt(&self, oid: Oid) -> bool {
        match (self.survey.number(self.acting.role), self.relation(oid)) {
            (Some(role), Some(table)) => self.survey.exempt(role, table),
            _ => false,
        }
    }

    pub(super) fn note(
        &mut self,
        reached: &Reached,
        attempt: Attempt,
        context: &Context,
        outcome: Outcome,
        script: &[Sql],
    ) {
        let probe = self.probe(
            (reached.kind.word(), reached.name.to_string()),
            attempt,
            context,
            outcome,
            script,
        );
        self.probes.push(probe);
    }

    pub(super) fn probe(
        &self,
        (kind, object): (&'static str, String),
        attempt: Attempt,
        context: &Context,
        outcome: Outcome,
        script: &[Sql],
    ) -> Probe {
        let mut probe = Probe {
            isolation: self.isolation,
            acting: self.acting.tenant.id.clone(),
            target: self.target.tenant.id.clone(),
            role: self.acting.role.clone(),
            kind,
            object,
            attempt,
            context: context.clone(),
            method: Method::Statement,
            outcome,
            reproduce: String::new(),
        };
        if probe.crossed() {
            probe.reproduce = reproduction(script);
        }
        probe
    }

    /// Runs a script whose last statement counts rows that must not be seen.
    pub(super) async fn count(&self, script: &[Sql], open: bool) -> Result<Outcome, Error> {
        Ok(match self.session.attempt(script).await? {
            Answer::Refused { .. } => Outcome::Refused,
            Answer::Failed { sqlstate, message, .. } => {
                if open && closes(&sqlstate) {
                    Outcome::Refused
                } else {
                    Outcome::Failed { sqlstate, message }
                }
            }
            done @ Answer::Done(_) => Outcome::Rows(done.number().unwrap_or(0)),
        })
    }
}

/// Whether a failure in a context that is no tenant's is how a sound policy closes: it stumbles over
/// the setting (`''::uuid`), or a function says no.
pub(super) fn closes(sqlstate: &str) -> bool {
    matches!(sqlstate, "22P02" | "22023" | "42704" | "P0001" | "22003")
}

/// What a whole row is called.
pub(super) fn row() -> Ident {
    // A constant of this file.
    Ident::new(ROW).unwrap_or_else(|_| unreachable!())
}

/// A relation under that name.
pub(super) fn aliased(reached: &Reached) -> Sql {
    sql!("{} AS {}", reached.name, row())
}
