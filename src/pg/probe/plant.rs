//! Canaries: how each of two tenants gets a row of its own into each table, by its own hand.
//!
//! Nothing is kept: a plan says which statements put the rows there, and every attempt that needs
//! them runs them first. Where the application cannot add a row, what a tenant has already is used.

use std::collections::{BTreeMap, BTreeSet};

use super::canary::{self, Extent, Known};
use super::enter::Who;
use super::mark::Mark;
use super::session::{Answer, Session};
use super::shape::Shape;
use crate::error::Error;
use crate::model::catalog::Oid;
use crate::model::ident::Ident;
use crate::model::layout::Tenancy;
use crate::model::tenant::Tenant;
use crate::sql;
use crate::sql::{List, Sql};

/// One of the two tenants that probes set against each other.
pub(super) struct Side<'a> {
    pub(super) tenant: &'a Tenant,
    pub(super) role: &'a Ident,
    /// The tenant column and setting, where tables are shared.
    pub(super) tenancy: Option<&'a Tenancy>,
    pub(super) mark: Mark,
}

impl Side<'_> {
    /// The statements that make a session this tenant.
    pub(super) fn enter(&self, who: &Who) -> Vec<Sql> {
        who.enter(self.role, self.tenancy.map(|tenancy| (&tenancy.setting, self.tenant.key.as_str())))
    }
}

/// How a tenant comes to have a row.
#[derive(Clone, Debug)]
pub(super) enum Root {
    /// It adds it: after the rows of these tables.
    Planted { values: Known, insert: Sql, parents: Vec<Oid> },
    /// It has one: with these keys.
    Existing(Known),
}

/// The plans of one tenant, by table.
pub(super) struct Plot {
    mark: Mark,
    roots: BTreeMap<Oid, Result<Root, String>>,
    /// Tables in the order in which rows can be added.
    order: Vec<Oid>,
}

impl Plot {
    /// Finds out how a tenant gets a row into each of some tables.
    ///
    /// # Errors
    ///
    /// When the session breaks.
    pub(super) async fn plan(
        session: &Session,
        side: &Side<'_>,
        shapes: &BTreeMap<Oid, Shape>,
        wanted: &BTreeSet<Oid>,
    ) -> Result<Self, Error> {
        let edges: Vec<(Oid, Oid)> = shapes
            .iter()
            .flat_map(|(child, shape)| shape.references.iter().map(|key| (*child, key.parent)))
            .collect();
        let tables: Vec<Oid> = shapes.keys().copied().collect();
        let mut plot = Self {
            mark: side.mark.clone(),
            roots: BTreeMap::new(),
            order: canary::parents_first(&tables, &edges),
        };
        for table in plot.order.clone() {
            let Some(shape) = shapes.get(&table) else { continue };
            let root = if wanted.contains(&table) {
                plot.root(session, side, (table, shape), shapes).await?
            } else {
                plot.existing(session, side, shape).await?
            };
            plot.roots.insert(table, root);
        }
        Ok(plot)
    }

    /// No plans at all.
    pub(super) fn none(side: &Side<'_>) -> Self {
        Self { mark: side.mark.clone(), roots: BTreeMap::new(), order: Vec::new() }
    }

    /// How the tenant gets a row into a table; why it does not.
    pub(super) fn of(&self, table: Oid) -> Result<&Root, String> {
        match self.roots.get(&table) {
            Some(Ok(root)) => Ok(root),
            Some(Err(why)) => Err(why.clone()),
            None => Err("it has no row".to_owned()),
        }
    }

    /// The values of the tenant's row in a table, as far as they are known.
    pub(super) fn values(&self, table: Oid) -> Known {
        match self.roots.get(&table) {
            Some(Ok(Root::Planted { values, .. } | Root::Existing(values))) => values.clone(),
            _ => Known::new(),
        }
    }

    /// The tables into which the tenant puts a row.
    pub(super) fn planted(&self) -> Vec<Oid> {
        let planted = |table: &Oid| matches!(self.roots.get(table), Some(Ok(Root::Planted { .. })));
        self.order.iter().copied().filter(planted).collect()
    }

    /// Whether the row that the tenant puts into a table holds a mark.
    pub(super) fn is_marked(&self, table: Oid) -> bool {
        match self.roots.get(&table) {
            Some(Ok(Root::Planted { insert, .. })) => self.mark.stands_in(insert.as_str()),
            _ => false,
        }
    }

    /// The statements that add the tenant's row to some tables, and before it those that it needs.
    pub(super) fn script(&self, tables: &[Oid]) -> Vec<Sql> {
        let mut needed: BTreeSet<Oid> = BTreeSet::new();
        let mut todo = tables.to_vec();
        while let Some(table) = todo.pop() {
            if let Some(Ok(Root::Planted { parents, .. })) = self.roots.get(&table)
                && needed.insert(table)
            {
                todo.extend(parents);
            }
        }
        self.inserts(&needed)
    }

    /// The statements that add what a table's row needs, without the row itself.
    pub(super) fn ground(&self, table: Oid) -> Vec<Sql> {
        match self.roots.get(&table) {
            Some(Ok(Root::Planted { parents, .. })) => self.script(parents),
            _ => Vec::new(),
        }
    }

    fn inserts(&self, needed: &BTreeSet<Oid>) -> Vec<Sql> {
        self.order
            .iter()
            .filter(|table| needed.contains(table))
            .filter_map(|table| match self.roots.get(table) {
                Some(Ok(Root::Planted { insert, .. })) => Some(insert.clone()),
                _ => None,
            })
            .collect()
    }

    async fn root(
        &self,
        session: &Session,
        side: &Side<'_>,
        (table, shape): (Oid, &Shape),
        shapes: &BTreeMap<Oid, Shape>,
    ) -> Result<Result<Root, String>, Error> {
        let (given, parents, missing) = self.given(side, (table, shape), shapes);
        let mut why = missing;
        if why.is_none() {
            let number = self.order.iter().position(|one| *one == table).unwrap_or(0);
            let mark = (&side.mark, number);
            let enter = side.enter(&session.who);
            let before = [enter.clone(), self.script(&parents)].concat();
            let rich = canary::values(shape, &given, mark, Extent::Everywhere);
            let lean = canary::values(shape, &given, mark, Extent::Sparing);
            for values in [rich, lean] {
                match values {
                    Ok(values) => match self.try_insert(session, &before, shape, values, &parents).await? {
                        Ok(root) => return Ok(Ok(root)),
                        Err((trouble, hopeless)) => {
                            why.get_or_insert(trouble);
                            if hopeless {
                                break;
                            }
                        }
                    },
                    Err(unknown) => {
                        why.get_or_insert(unknown);
                    }
                }
            }
            let broken = why.as_deref().is_some_and(|why| why.contains("(23514)") || why.contains("(22"));
            if broken {
                // Once more with values that fit the constraints.
                let settled = shape.settle(session, &given, &enter).await?;
                for extent in [Extent::Everywhere, Extent::Sparing] {
                    if let Ok(values) = canary::values(shape, &settled, mark, extent)
                        && let Ok(root) =
                            self.try_insert(session, &before, shape, values, &parents).await?
                    {
                        return Ok(Ok(root));
                    }
                }
            }
        }
        Ok(match self.existing(session, side, shape).await? {
            Ok(root) => Ok(root),
            Err(_) => Err(why.unwrap_or_else(|| "it has no row".to_owned())),
        })
    }

    async fn try_insert(
        &self,
        session: &Session,
        before: &[Sql],
        shape: &Shape,
        values: Known,
        parents: &[Oid],
    ) -> Result<Result<Root, (String, bool)>, Error> {
        let insert = canary::insert(shape, &values);
        let mut script = before.to_vec();
        script.push(insert.clone());
        let answer = session.attempt(&script).await?;
        Ok(match answer {
            Answer::Done(_) => Ok(Root::Planted { values, insert, parents: parents.to_vec() }),
            other => {
                let refused = matches!(other, Answer::Refused { .. });
                Err((other.trouble().unwrap_or_default(), refused))
            }
        })
    }

    /// The values that a row must have: the tenant, and what it points at; the tables in which that
    /// has to be put first; and why there is no more.
    fn given(
        &self,
        side: &Side<'_>,
        (table, shape): (Oid, &Shape),
        shapes: &BTreeMap<Oid, Shape>,
    ) -> (Known, Vec<Oid>, Option<String>) {
        let mut given = Known::new();
        let mut parents = Vec::new();
        let mut missing = None;
        let own = side.tenancy.map(|tenancy| &tenancy.column);
        if let Some(column) = own.filter(|column| shape.named(column).is_some()) {
            given.insert(column.clone(), side.tenant.key.clone());
        }
        for key in shape.references.iter().filter(|key| key.parent != table) {
            let needed = key.columns.iter().any(|(here, _)| {
                Some(here) != own && shape.named(here).is_some_and(|column| column.not_null)
            });
            let whole = key.columns.iter().all(|(here, _)| Some(here) == own);
            let root = self.roots.get(&key.parent);
            if let Some(Ok(root)) = root {
                let (Root::Planted { values, .. } | Root::Existing(values)) = root;
                let known = key.columns.iter().all(|(_, there)| values.contains_key(there));
                if known && !whole {
                    for (here, there) in &key.columns {
                        if let Some(value) = values.get(there) {
                            given.insert(here.clone(), value.clone());
                        }
                    }
                    if matches!(root, Root::Planted { .. }) {
                        parents.push(key.parent);
                    }
                    continue;
                }
            }
            if needed {
                let name = |oid: Oid| shapes.get(&oid).map(|shape| shape.name.to_string());
                let parent = name(key.parent).unwrap_or_else(|| "another table".to_owned());
                missing = Some(if root.is_none() {
                    format!("{} and {parent} need each other's rows", shape.name)
                } else {
                    format!("{parent} has no row to point at")
                });
            }
        }
        (given, parents, missing)
    }

    /// The keys of a row that the tenant has already, or of any where rows are nobody's.
    async fn existing(
        &self,
        session: &Session,
        side: &Side<'_>,
        shape: &Shape,
    ) -> Result<Result<Root, String>, Error> {
        let wanted: Vec<&Ident> = shape.pointed_at.iter().chain(&shape.key).collect();
        if wanted.is_empty() {
            return Ok(Err("it has no row".to_owned()));
        }
        let texts: Vec<Sql> = wanted.iter().map(|name| sql!("{}::text", name)).collect();
        let own = side.tenancy.and_then(|tenancy| shape.named(&tenancy.column)).map_or_else(
            || sql!("true"),
            |column| sql!("{} = {}", column.name, canary::typed(column, &side.tenant.key)),
        );
        let mut script = side.enter(&session.who);
        script.push(sql!("SELECT {} FROM {} WHERE {} LIMIT 1", List(&texts), shape.name, own));
        let answer = session.attempt(&script).await?;
        let Some(row) = answer.last().and_then(|done| done.rows.first()) else {
            return Ok(Err(answer.trouble().unwrap_or_else(|| "it has no row".to_owned())));
        };
        let known = wanted.iter().zip(row).filter_map(|(name, value)| {
            Some(((*name).clone(), value.clone()?))
        });
        Ok(Ok(Root::Existing(known.collect())))
    }
}
