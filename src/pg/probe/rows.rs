//! Rows to look for: a tenant's own where it has some, and otherwise made up.

use std::collections::{BTreeMap, BTreeSet};

use super::canary::{self, Known};
use super::session::{Answer, Session, enter};
use super::shape::Shape;
use super::trust;
use crate::audit::Survey;
use crate::error::Error;
use crate::model::catalog::{ForeignKey, Oid, Relation};
use crate::model::ident::Ident;
use crate::model::layout::Tenancy;
use crate::model::tenant::Tenant;
use crate::sql;
use crate::sql::{List, Sql};

/// What is known about the rows of two tenants, by table.
pub(super) struct Rows<'a, 'c> {
    session: &'a Session<'c>,
    survey: &'a Survey<'a>,
    tenancy: &'a Tenancy,
    found: BTreeMap<(Oid, String), Result<Known, String>>,
    shapes: BTreeMap<Oid, Shape>,
}

impl<'a, 'c> Rows<'a, 'c> {
    pub(super) fn new(
        session: &'a Session<'c>,
        survey: &'a Survey<'a>,
        tenancy: &'a Tenancy,
    ) -> Self {
        Self { session, survey, tenancy, found: BTreeMap::new(), shapes: BTreeMap::new() }
    }

    /// The tenant's row in a table; says why there is none.
    pub(super) fn of(&self, table: Oid, tenant: &Tenant) -> Result<&Known, String> {
        match self.found.get(&(table, tenant.key.clone())) {
            Some(Ok(known)) => Ok(known),
            Some(Err(why)) => Err(why.clone()),
            None => Err("it has no row".to_owned()),
        }
    }

    /// Sees to it that a tenant has a row in a table, if that can be done.
    pub(super) async fn provide(&mut self, table: Oid, tenant: &Tenant) -> Result<(), Error> {
        let place = (table, tenant.key.clone());
        if matches!(self.found.get(&place), Some(Ok(_))) {
            return Ok(());
        }
        let Some(relation) = self.survey.catalog.relations.get(&table) else { return Ok(()) };
        let found = self.find_or_make((table, relation), tenant).await?;
        self.found.insert(place, found);
        Ok(())
    }

    /// The statement with which somebody adds a row in a tenant's name. It is as good as can be:
    /// policies judge a row before its constraints do.
    pub(super) async fn addition(
        &mut self,
        (oid, table): (Oid, &Relation),
        tenant: &Tenant,
    ) -> Result<Sql, Error> {
        let given = self.given((oid, table), tenant).unwrap_or_else(|(known, _)| known);
        let session = self.session;
        let enter = self.makers(tenant, table).into_iter().next().unwrap_or_default();
        let shape = self.shape(oid).await?;
        let values = shape.settle(session, table, &given, &enter).await?;
        Ok(canary::insert(table, shape, &values))
    }

    async fn find_or_make(
        &mut self,
        (oid, table): (Oid, &Relation),
        tenant: &Tenant,
    ) -> Result<Result<Known, String>, Error> {
        let wanted: BTreeSet<&Ident> = self
            .survey
            .catalog
            .foreign_keys
            .iter()
            .filter(|key| key.parent == oid)
            .flat_map(|key| key.columns.iter().map(|(_, parent)| parent))
            .collect();
        let wanted: Vec<&Ident> = wanted.into_iter().collect();
        let texts: Vec<Sql> = wanted.iter().map(|name| sql!("{}::text", name)).collect();
        let one = vec![sql!("true")];
        let shown = if texts.is_empty() { &one } else { &texts };
        let known = |first: Vec<Option<String>>| -> Known {
            let pairs = wanted.iter().zip(first);
            pairs.filter_map(|(name, value)| Some(((*name).clone(), value?))).collect()
        };
        let makers = self.makers(tenant, table);
        // The first to try is the application, whose trouble says most.
        let mut why: Option<String> = None;
        let own = table.column(&self.tenancy.column).map_or_else(
            || sql!("true"),
            |column| sql!("{} = {}", column.name, canary::typed(column, &tenant.key)),
        );
        for maker in &makers {
            let mut script = maker.clone();
            script.push(sql!("SELECT {} FROM {} WHERE {} LIMIT 1", List(shown), table.name, own));
            match self.session.attempt(&script).await? {
                Answer::Done { first, .. } if !first.is_empty() => return Ok(Ok(known(first))),
                Answer::Done { .. } => break,
                other => why = why.or(other.trouble()),
            }
        }
        if table.column(&self.tenancy.column).is_none() {
            // A row of everybody's is not made: nobody asked for it.
            return Ok(Err("it has no row".to_owned()));
        }
        let given = match self.given((oid, table), tenant) {
            Ok(given) => given,
            Err((_, why)) => return Ok(Err(why)),
        };
        let session = self.session;
        let shape = self.shape(oid).await?;
        if let Some(column) = canary::unknown(table, shape, &given) {
            return Ok(Err(format!(
                "no value of {} is known for column {}",
                column.type_name, column.name
            )));
        }
        let mut values = given.clone();
        for maker in &makers {
            // Once as it is, and once more with values that fit the constraints.
            for guided in [false, true] {
                if guided {
                    values = shape.settle(session, table, &given, maker).await?;
                }
                let mut script = maker.clone();
                let statement = canary::insert(table, shape, &values);
                script.push(if texts.is_empty() {
                    statement
                } else {
                    sql!("{} RETURNING {}", statement, List(&texts))
                });
                match session.keep(&script).await? {
                    Answer::Done { first, .. } => return Ok(Ok(known(first))),
                    Answer::Failed { ref sqlstate, .. } if sqlstate == "23514" && !guided => {}
                    other => {
                        why = why.or(other.trouble());
                        break;
                    }
                }
            }
        }
        Ok(Err(why.unwrap_or_else(|| "nobody may add a row".to_owned())))
    }

    /// The values that a row must have: the tenant, and what it points at. Where that is missing:
    /// what is known, and why there is no more.
    fn given(
        &self,
        (oid, table): (Oid, &Relation),
        tenant: &Tenant,
    ) -> Result<Known, (Known, String)> {
        let mut given = Known::new();
        let mut missing = None;
        for key in self.needed((oid, table)) {
            let Some(parent) = self.survey.catalog.relations.get(&key.parent) else { continue };
            match self.of(key.parent, tenant) {
                Ok(known) => {
                    for (child, parent) in &key.columns {
                        if let Some(value) = known.get(parent) {
                            given.insert(child.clone(), value.clone());
                        }
                    }
                }
                Err(_) if self.circular(oid, key.parent) => {
                    let why = format!("{} and {} need each other's rows", table.name, parent.name);
                    missing = Some(why);
                }
                Err(_) => missing = Some(format!("{} has no row to point at", parent.name)),
            }
        }
        given.insert(self.tenancy.column.clone(), tenant.key.clone());
        match missing {
            Some(why) => Err((given, why)),
            None => Ok(given),
        }
    }

    /// The references that must be there.
    fn needed(&self, (oid, table): (Oid, &Relation)) -> Vec<&'a ForeignKey> {
        let needed = |key: &&ForeignKey| {
            key.child == oid
                && key.parent != oid
                && key.columns.iter().any(|(child, _)| {
                    *child != self.tenancy.column
                        && table.column(child).is_some_and(|column| column.not_null)
                })
        };
        self.survey.catalog.foreign_keys.iter().filter(needed).collect()
    }

    /// Whether a table's rows need, through others, rows of the table that points at it.
    fn circular(&self, child: Oid, parent: Oid) -> bool {
        let mut seen = BTreeSet::from([parent]);
        let mut todo = vec![parent];
        while let Some(table) = todo.pop() {
            let Some(relation) = self.survey.catalog.relations.get(&table) else { continue };
            for key in self.needed((table, relation)) {
                if key.parent == child {
                    return true;
                }
                if seen.insert(key.parent) {
                    todo.push(key.parent);
                }
            }
        }
        false
    }

    /// Who may be able to add a row for a tenant, each in the tenant's context: its own roles, and
    /// then the table's owner, unless the application's code would run with the owner's rights.
    fn makers(&self, tenant: &Tenant, table: &Relation) -> Vec<Vec<Sql>> {
        let context = Some((&self.tenancy.setting, tenant.key.as_str()));
        let mut makers: Vec<Vec<Sql>> =
            tenant.roles.iter().map(|role| enter(role, context)).collect();
        let foreign_code =
            tenant.roles.iter().any(|role| trust::written_by(self.survey, role).is_some());
        let owner = self.survey.catalog.roles.get(&table.owner).filter(|role| !role.superuser);
        if let Some(owner) = owner.filter(|_| !foreign_code) {
            makers.push(enter(&owner.name, context));
        }
        makers
    }

    async fn shape(&mut self, table: Oid) -> Result<&Shape, Error> {
        if !self.shapes.contains_key(&table) {
            let shape = Shape::read(self.session, table).await?;
            self.shapes.insert(table, shape);
        }
        Ok(self.shapes.entry(table).or_default())
    }
}
