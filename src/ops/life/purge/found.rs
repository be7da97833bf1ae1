//! What is a tenant's own, by the catalogues, and whether anything of others hangs on it.

use std::collections::BTreeMap;

use crate::error::{Code, Error};
use crate::model::count;
use crate::model::holdings::Holdings;
use crate::model::ident::{Ident, QualifiedName};
use crate::model::life::Household;
use crate::model::tenant::{Isolation, Tenant};
use crate::ops::Context;
use crate::ops::life::house::house;
use crate::ops::life::inside;
use crate::pg::copy::holdings_of;
use crate::pg::life::purge;
use crate::pg::{Session, life};
use crate::plan::life::empty_slice;
use crate::plan::transfer::unloading;
use crate::report::PlannedStep;
use crate::sql;
use crate::sql::Sql;

/// What is a tenant's own.
pub(super) struct Found {
    /// Whose.
    pub(super) house: Household,
    /// Its tables; none where nothing stands any more.
    pub(super) holdings: Option<Holdings>,
    /// The rows in them.
    pub(super) counts: BTreeMap<QualifiedName, u64>,
    /// Its schemas, in a database of others.
    pub(super) schemas: Vec<Ident>,
    /// Whether its database is there.
    pub(super) database: bool,
    /// Its roles that are there.
    pub(super) roles: Vec<Ident>,
}

impl Found {
    /// The rows, by the names of tables as SQL reads them.
    pub(super) fn rows_by_name(&self) -> BTreeMap<String, u64> {
        self.counts.iter().map(|(name, rows)| (name.to_string(), *rows)).collect()
    }

    /// What is to be done, for a person.
    pub(super) fn steps(&self) -> Vec<PlannedStep> {
        let tenant = &self.house.tenant;
        let placement = &tenant.placement;
        let cluster = format!("cluster {}", placement.cluster);
        let database = format!("database {} as {}", placement.database, tenant.owner);
        let mut steps = Vec::new();
        let mut add = |site: &str, what: String, statements: Vec<Sql>| {
            let site = site.to_owned();
            steps.push(PlannedStep { what, site, hazards: Vec::new(), statements });
        };
        add("registry", "record it as deleted: there is no way back".to_owned(), Vec::new());
        let rows = |rows: u64| count(usize::try_from(rows).unwrap_or(usize::MAX), "row");
        if let (Isolation::Shared, Some(holdings)) = (tenant.isolation, &self.holdings) {
            for name in unloading(holdings).concat() {
                let (Some(table), Some(number)) =
                    (holdings.tables.get(&name), self.counts.get(&name))
                else {
                    continue;
                };
                if *number > 0 {
                    let statement = empty_slice(&name, table, &tenant.key);
                    add(&database, format!("remove {} of {name}", rows(*number)), vec![statement]);
                }
            }
        }
        let all = rows(self.counts.values().sum());
        for schema in &self.schemas {
            let tables = self.counts.keys().filter(|name| name.schema == *schema).count();
            let what = format!("drop schema {schema} with {} and {all}", count(tables, "table"));
            add(&database, what, vec![sql!("DROP SCHEMA {} CASCADE", schema)]);
        }
        if self.database {
            let name = &placement.database;
            let what = format!(
                "drop database {name} with {} and {all}",
                count(self.counts.len(), "table")
            );
            add(&cluster, what, vec![sql!("DROP DATABASE {} WITH (FORCE)", name)]);
        }
        for role in &self.roles {
            let what = format!("drop role {role}, and its privileges in every database");
            add(&cluster, what, vec![sql!("DROP OWNED BY {}", role), sql!("DROP ROLE {}", role)]);
        }
        add("registry", "record it as purged, with a receipt".to_owned(), Vec::new());
        steps
    }
}

/// Finds what is a tenant's own, and refuses when something of others hangs on it.
///
/// # Errors
///
/// [`Code::Refused`] and [`Code::OwnershipConflict`] with what hangs on it, and whatever the servers
/// refuse.
pub(super) async fn find(
    cx: &Context<'_>,
    control: &Session,
    tenant: Tenant,
) -> Result<Found, Error> {
    let house = house(cx, control, tenant).await?;
    let placement = house.tenant.placement.clone();
    let server = cx.servers.session(&placement.cluster, None).await?;
    let mut found = Found {
        holdings: None,
        counts: BTreeMap::new(),
        schemas: Vec::new(),
        database: false,
        roles: Vec::new(),
        house,
    };
    let owner = purge::is_there(&server, &placement.database).await?;
    if let Some(owner) = owner {
        let house = &found.house;
        if house.tenant.isolation == Isolation::Database {
            if owner != house.tenant.owner.as_str() {
                let what = format!(
                    "remove tenant {}: database {} is {owner}'s, and not {}'s",
                    house.tenant.id, placement.database, house.tenant.owner
                );
                return Err(Error::new(Code::OwnershipConflict, what).hint(format!(
                    "if it is the tenant's, as its owner or a superuser: ALTER DATABASE {} OWNER TO {};",
                    placement.database, house.tenant.owner
                )));
            }
            found.database = true;
        }
        let session = inside(cx, house, placement.database.clone()).await?;
        within(&session, &mut found).await?;
    }
    roles(&server, &mut found).await?;
    Ok(found)
}

/// What stands in the tenant's database.
async fn within(session: &Session, found: &mut Found) -> Result<(), Error> {
    let house = &found.house;
    let holdings = match life::within(session, async || {
        let tenancy = house.sharing.as_ref().map(|sharing| &sharing.tenancy);
        holdings_of(session, &house.tenant, tenancy).await
    })
    .await
    {
        Err(error) if error.code == Code::NotFound => None,
        holdings => Some(holdings?),
    };
    if let Some(holdings) = &holdings {
        found.counts = purge::count(session, house, holdings).await?;
    }
    match house.tenant.isolation {
        Isolation::Shared => {
            if let Some(holdings) = &holdings {
                purge::refuse_crossing(session, house, holdings).await?;
            }
        }
        Isolation::Schema => {
            found.schemas = purge::own_schemas(session, house).await?;
            let outside = life::within(session, async || {
                let mut outside = purge::dependents(session, &found.schemas).await?;
                outside.extend(purge::strays(session, house, &found.schemas).await?);
                Ok(outside)
            })
            .await?;
            if !outside.is_empty() {
                let what = format!(
                    "remove tenant {}: with its schema would fall {}",
                    house.tenant.id,
                    outside.join("; ")
                );
                return Err(Error::new(Code::Refused, what)
                    .hint("move it out of the way first: ALTER EXTENSION ... SET SCHEMA, DROP VIEW, or REASSIGN OWNED"));
            }
        }
        Isolation::Database => {}
    }
    found.holdings = holdings;
    Ok(())
}

/// The tenant's roles that are there, none of which may own anything elsewhere.
async fn roles(server: &Session, found: &mut Found) -> Result<(), Error> {
    let house = &found.house;
    let own = house.tenant.placement.database.as_str();
    let owner = house.owner_is_its_own.then_some(&house.tenant.owner);
    // Second logins first: they are members of the others. The owner last: its privileges are what
    // the others' were granted by.
    for role in house.second_logins.iter().chain(&house.own_roles).chain(owner) {
        if !purge::role_is_there(server, role).await? {
            continue;
        }
        for trace in purge::traces(server, role).await? {
            let allowed = match trace.database.as_deref() {
                None => i64::from(found.database && *role == house.tenant.owner),
                Some(database) if database == own => i64::MAX,
                Some(_) => 0,
            };
            let place = trace.database.as_deref().unwrap_or("the cluster");
            if trace.owns > allowed {
                let what = format!(
                    "remove tenant {}: its role {role} owns {} in {place}",
                    house.tenant.id,
                    count(usize::try_from(trace.owns).unwrap_or(usize::MAX), "object")
                );
                return Err(Error::new(Code::OwnershipConflict, what).hint(format!(
                    "give them to somebody, there, as their owner or a superuser: REASSIGN OWNED BY {role} TO ...;"
                )));
            }
            if !trace.open {
                let what = format!(
                    "remove tenant {}: its role {role} is named in {place}, which lets nobody connect",
                    house.tenant.id
                );
                return Err(Error::new(Code::Refused, what)
                    .hint("as a superuser: ALTER DATABASE ... ALLOW_CONNECTIONS true;"));
            }
        }
        found.roles.push(role.clone());
    }
    Ok(())
}
