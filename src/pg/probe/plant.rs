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
        self.enter_as(who, self.role)
    }

    /// The same, as another role.
    pub(super) fn enter_as(&self, who: &Who, role: &Ident) -> Vec<Sql> {
        let setting = self.tenancy.map(|tenancy| &tenancy.setting);
        who.enter(role, setting.map(|setting| (setting, self.tenant.key.as_str())))
    }
}

/// How a tenant comes to have a row.
#[derive(Clone, Debug)]
pub(super) enum Root {
    /// It adds it, after the rows of these tables; or the table's owner does, in its name.
    Planted { values: Known, insert: Sql, parents: Vec<Oid>, owner: Option<Ident> },
    /// It has one: with these keys.
    Existing(Known),
}

/// The plans of one tenant, by table.
pub(super) struct Plot {
    mark: Mark,
    /// The statements that make a session the tenant, as its own role and as owners of tables.
    enter: Vec<Sql>,
    owners: BTreeMap<Ident, Vec<Sql>>,
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
        owners: &BTreeMap<Oid, Ident>,
    ) -> Result<Self, Error> {
        let edges: Vec<(Oid, Oid)> = shapes
            .iter()
            .flat_map(|(child, shape)| shape.references.iter().map(|key| (*child, key.parent)))
            .collect();
        let tables: Vec<Oid> = shapes.keys().copied().collect();
        let mut plot = Self {
            mark: side.mark.clone(),
            enter: side.enter(&session.who),
            owners: owners
                .values()
                .map(|owner| (owner.clone(), side.enter_as(&session.who, owner)))
                .collect(),
            roots: BTreeMap::new(),
            order: canary::parents_first(&tables, &edges),
        };
        for table in plot.order.clone() {
            let Some(shape) = shapes.get(&table) else { continue };
            let root = if wanted.contains(&table) {
                plot.root(session, side, (table, shape), shapes, owners.get(&table)).await?
            } else {
                plot.existing(session, side, shape).await?
            };
            plot.roots.insert(table, root);
        }
        Ok(plot)
    }

    /// No plans at all.
    pub(super) fn none(side: &Side<'_>) -> Self {
        Self {
            mark: side.mark.clone(),
            enter: Vec::new(),
            owners: BTreeMap::new(),
            roots: BTreeMap::new(),
            order: Vec::new(),
        }
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

    /// The tables into which the tenant puts a row by its own hand.
    pub(super) fn own(&self) -> Vec<Oid> {
        let own = |table: &Oid| {
            matches!(self.roots.get(table), Some(Ok(Root::Planted { owner: None, .. })))
        };
        self.order.iter().copied().filter(own).collect()
    }

    /// Who puts the tenant's row into a table, when it is the table's owner.
    pub(super) fn owner(&self, table: Oid) -> Option<&Ident> {
        match self.roots.get(&table) {
            Some(Ok(Root::Planted { owner, .. })) => owner.as_ref(),
            _ => None,
        }
    }

    /// The statements that make a session the tenant and add its row to some tables, and before it
    /// those that it needs. None for none.
    pub(super) fn script(&self, tables: &[Oid]) -> Vec<Sql> {
        let mut script = Vec::new();
        let mut current: Option<Option<&Ident>> = None;
        for (insert, owner) in self.inserts(tables) {
            if current != Some(owner) {
                let enter = owner.and_then(|owner| self.owners.get(owner)).unwrap_or(&self.enter);
                script.extend(enter.iter().cloned());
                current = Some(owner);
            }
            script.push(insert.clone());
        }
        script
    }

    /// The same without becoming anybody: in whosever name the session is.
    pub(super) fn bare(&self, table: Oid) -> Vec<Sql> {
        self.inserts(&[table]).into_iter().map(|(insert, _)| insert.clone()).collect()
    }

    /// The statements that add what a table's row needs, without the row itself.
    pub(super) fn ground(&self, table: Oid) -> Vec<Sql> {
        match self.roots.get(&table) {
            Some(Ok(Root::Planted { parents, .. })) => self.script(parents),
            _ => Vec::new(),
        }
    }

    /// The statement that adds the row itself.
    pub(super) fn insert(&self, table: Oid) -> Option<Sql> {
        match self.roots.get(&table) {
            Some(Ok(Root::Planted { insert, .. })) => Some(insert.clone()),
            _ => None,
        }
    }

    /// The rows of some tables and those that they need, in order, each with the owner that adds it.
    fn inserts(&self, tables: &[Oid]) -> Vec<(&Sql, Option<&Ident>)> {
        let mut needed: BTreeSet<Oid> = BTreeSet::new();
        let mut todo = tables.to_vec();
        while let Some(table) = todo.pop() {
            if let Some(Ok(Root::Planted { parents, .. })) = self.roots.get(&table)
                && needed.insert(table)
            {
                todo.extend(parents);
            }
        }
        self.order
            .iter()
            .filter(|table| needed.contains(table))
            .filter_map(|table| match self.roots.get(table) {
                Some(Ok(Root::Planted { insert, owner, .. })) => Some((insert, owner.as_ref())),
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
        owner: Option<&Ident>,
    ) -> Result<Result<Root, String>, Error> {
        let (given, parents, missing) = self.given(side, (table, shape), shapes);
        let mut why = missing;
        if why.is_none() {
            let number = self.order.iter().position(|one| *one == table).unwrap_or(0);
            let mark = (&side.mark, number);
            // The application first, whose trouble says most.
            for hand in [None, owner] {
                if hand.is_none() && why.is_some() {
                    break;
                }
                let place = Place { shape, given: &given, mark, parents: &parents, hand };
                match self.by_hand(session, &place).await? {
                    Ok(root) => return Ok(Ok(root)),
                    Err(trouble) => {
                        why.get_or_insert(trouble);
                    }
                }
                if owner.is_none() {
                    break;
                }
            }
        }
        Ok(match self.existing(session, side, shape).await? {
            Ok(root) => Ok(root),
            Err(_) => Err(why.unwrap_or_else(|| "it has no row".to_owned())),
        })
    }

    /// Finds values with which somebody can add a row: as many marks as can be, then as few, then
    /// values that fit the constraints.
    async fn by_hand(
        &self,
        session: &Session,
        place: &Place<'_>,
    ) -> Result<Result<Root, String>, Error> {
        let enter = place.hand.and_then(|owner| self.owners.get(owner)).unwrap_or(&self.enter);
        let before = [self.script(place.parents), enter.clone()].concat();
        let mut why: Option<String> = None;
        let mut given = place.given.clone();
        for settled in [false, true] {
            if settled {
                let broken = why
                    .as_deref()
                    .is_some_and(|why| why.contains("(23514)") || why.contains("(22"));
                if !broken {
                    break;
                }
                given = place.shape.settle(session, place.given, enter).await?;
            }
            for extent in [Extent::Everywhere, Extent::Sparing] {
                let values = match canary::values(place.shape, &given, place.mark, extent) {
                    Ok(values) => values,
                    Err(unknown) => {
                        why.get_or_insert(unknown);
                        continue;
                    }
                };
                let insert = canary::insert(place.shape, &values);
                let script = [before.as_slice(), std::slice::from_ref(&insert)].concat();
                let answer = session.attempt(&script).await?;
                let Some(trouble) = answer.trouble() else {
                    let owner = place.hand.cloned();
                    let parents = place.parents.to_vec();
                    return Ok(Ok(Root::Planted { values, insert, parents, owner }));
                };
                why.get_or_insert(trouble);
                if matches!(answer, Answer::Refused { .. }) {
                    return Ok(Err(why.unwrap_or_default()));
                }
            }
        }
        Ok(Err(why.unwrap_or_else(|| "nobody may add a row".to_owned())))
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
            // It points at the tenant's own entry, which may have to be there first.
            if whole {
                if matches!(root, Some(Ok(Root::Planted { .. }))) {
                    parents.push(key.parent);
                }
                continue;
            }
            if let Some(Ok(root)) = root {
                let (Root::Planted { values, .. } | Root::Existing(values)) = root;
                let known = key.columns.iter().all(|(_, there)| values.contains_key(there));
                if known {
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
        let known = wanted
            .iter()
            .zip(row)
            .filter_map(|(name, value)| Some(((*name).clone(), value.clone()?)));
        Ok(Ok(Root::Existing(known.collect())))
    }
}

/// Where a row is to be put, and what is known about it.
struct Place<'p> {
    shape: &'p Shape,
    given: &'p Known,
    mark: (&'p Mark, usize),
    parents: &'p [Oid],
    /// Who adds it, when it is not the tenant's own role.
    hand: Option<&'p Ident>,
}
