//! Looks for what may be tenants, and finds out whose they are.

use super::names::{Unmapped, named};
use super::{AdoptOptions, Quarry};
use crate::error::{Code, Error};
use crate::model::ident::Ident;
use crate::model::layout::Template;
use crate::model::tenant::{ClusterName, Isolation, Placement, State, Tenant, TenantId};
use crate::ops::Context;
use crate::pg::{self, adopt::FoundSchema};
use uuid::Uuid;

/// Something that may become a tenant of the registry.
pub(super) struct Candidate {
    pub(super) tenant: Tenant,
    /// What it was found as.
    pub(super) found: String,
    pub(super) differences: Vec<String>,
    pub(super) notes: Vec<String>,
}

/// Finds what is asked for, in the order of the ids.
pub(super) async fn candidates(
    cx: &Context<'_>,
    options: &AdoptOptions,
) -> Result<Vec<Candidate>, Error> {
    let cluster = options.cluster.clone().unwrap_or_else(|| cx.fleet.registry.0.clone());
    let region = cx.fleet.cluster(&cluster)?.region.clone();
    if let Some(wanted) = &options.region
        && region.as_ref() != Some(wanted)
    {
        return Err(Error::new(
            Code::Refused,
            format!(
                "cluster {cluster} is in {}, not in region {wanted}",
                region.as_deref().unwrap_or("no region that tenants.toml names")
            ),
        ));
    }
    let finder = Finder { cx, options, cluster };
    match &options.quarry {
        Quarry::Schemas(pattern) => {
            let database = finder.database()?;
            let session = cx.servers.session(&finder.cluster, Some(&database)).await?;
            let schemas = pg::adopt::schemas(&session).await?;
            let names = schemas
                .iter()
                .map(|schema| (schema.name.as_str().to_owned(), schema.name.as_str().to_owned()));
            let named = named(names, pattern.into(), &options.mapped, "schema")?;
            named
                .into_iter()
                .filter_map(|(id, name)| {
                    let schema = schemas.iter().find(|schema| schema.name.as_str() == name)?;
                    let placement = finder.placement(&database, &schema.name);
                    let found = format!("schema {} in {database}", schema.name);
                    Some(finder.candidate(id, None, placement, schema, found))
                })
                .collect()
        }
        Quarry::Databases(pattern) => {
            let session = cx.servers.session(&finder.cluster, None).await?;
            let databases = pg::adopt::databases(&session).await?;
            let names =
                databases.iter().map(|name| (name.as_str().to_owned(), name.as_str().to_owned()));
            let named = named(names, pattern.into(), &options.mapped, "database")?;
            let mut found = Vec::new();
            for (id, name) in named {
                let database = Ident::new(name)?;
                found.push(finder.database_of_its_own(id, database).await?);
            }
            Ok(found)
        }
        Quarry::Keys { table, key, name } => {
            let database = finder.database()?;
            let session = cx.servers.session(&finder.cluster, Some(&database)).await?;
            let wanted = cx.fleet.shared.schema.as_str();
            let schemas = pg::adopt::schemas(&session).await?;
            let schema = schemas.iter().find(|schema| schema.name.as_str() == wanted);
            let Some(schema) = schema else {
                return Err(Error::new(
                    Code::NotFound,
                    format!(
                        "there is no schema {wanted} in {database}, where shared tables would be"
                    ),
                )
                .hint("name it in tenants.toml: schema in [isolation.shared]"));
            };
            let keys = pg::adopt::keys(&session, table, key, name.as_ref()).await?;
            let named = named(keys.into_iter(), Unmapped::Itself, &options.mapped, "key")?;
            named
                .into_iter()
                .map(|(id, key)| {
                    let placement = finder.placement(&database, &schema.name);
                    let found = format!("key {key} in {table}");
                    finder.candidate(id, Some(key), placement, schema, found)
                })
                .collect()
        }
    }
}

struct Finder<'a> {
    cx: &'a Context<'a>,
    options: &'a AdoptOptions,
    cluster: ClusterName,
}

impl Finder<'_> {
    /// The database in which schemas and shared tables are.
    fn database(&self) -> Result<Ident, Error> {
        if let Some(database) = &self.options.database {
            return Ok(database.clone());
        }
        let layout = self.cx.fleet.layout(self.options.quarry.isolation());
        match &layout.database {
            Some(template) => Ident::new(template.as_str().to_owned()),
            None => Ident::new(self.cx.fleet.cluster(&self.cluster)?.connection.database.clone()),
        }
    }

    fn placement(&self, database: &Ident, schema: &Ident) -> Placement {
        Placement {
            cluster: self.cluster.clone(),
            database: database.clone(),
            schema: schema.clone(),
        }
    }

    /// A database and the schema in it that holds the tenant.
    async fn database_of_its_own(&self, id: TenantId, database: Ident) -> Result<Candidate, Error> {
        let session = self.cx.servers.dedicated(&self.cluster, Some(&database)).await?;
        let schemas = pg::adopt::schemas(&session).await?;
        let wanted = match &self.options.schema {
            Some(schema) => schema.clone(),
            None => self.cx.fleet.database.schema.name(&id)?,
        };
        let Some(schema) = schemas.iter().find(|schema| schema.name == wanted) else {
            let names: Vec<&str> = schemas.iter().map(|schema| schema.name.as_str()).collect();
            return Err(Error::new(
                Code::NotFound,
                format!("there is no schema {wanted} in database {database}, for tenant {id}"),
            )
            .hint(format!("say which it is: --schema NAME, one of {}", names.join(", "))));
        };
        let placement = self.placement(&database, &schema.name);
        self.candidate(id, None, placement, schema, format!("database {database}"))
    }

    /// What is known of a tenant from who owns and who uses its schema.
    fn candidate(
        &self,
        id: TenantId,
        key: Option<String>,
        placement: Placement,
        schema: &FoundSchema,
        found: String,
    ) -> Result<Candidate, Error> {
        let isolation = self.options.quarry.isolation();
        let layout = self.cx.fleet.layout(isolation);
        let usual: Vec<Ident> =
            layout.roles.iter().map(|role| role.name(&id)).collect::<Result<_, _>>()?;
        let mut aside: Vec<Ident> = layout.login_role.iter().cloned().collect();
        if let Some(template) = &layout.readonly {
            aside.push(template.name(&id)?);
        }
        let mut roles: Vec<Ident> =
            schema.users.iter().filter(|role| !aside.contains(role)).cloned().collect();
        // The usual names first: the first role is the main one.
        roles.sort_by_key(|role| {
            (usual.iter().position(|name| name == role).unwrap_or(usize::MAX), role.clone())
        });
        let (mut differences, mut notes) = (Vec::new(), Vec::new());
        if roles.is_empty() {
            differences.push(format!(
                "nobody but its owner {} may use {}: the application works as the owner",
                schema.owner, schema.name
            ));
            roles.push(schema.owner.clone());
        }
        let own_roles =
            isolation != Isolation::Shared || layout.roles.iter().all(Template::per_tenant);
        for (what, has, template) in [
            ("owner", &schema.owner, layout.owner.name(&id)?),
            ("role", &roles[0], usual[0].clone()),
        ] {
            if *has != template {
                notes.push(format!("its {what} is {has}; create would name it {template}"));
            }
        }
        if own_roles && roles.len() > usual.len() {
            let names: Vec<String> = roles.iter().map(ToString::to_string).collect();
            notes.push(format!("{} roles may use it: {}", roles.len(), names.join(", ")));
        }
        let uuid =
            key.as_deref().and_then(|key| Uuid::parse_str(key).ok()).unwrap_or_else(Uuid::new_v4);
        let tenant = Tenant {
            id,
            uuid,
            key: key.unwrap_or_else(|| uuid.to_string()),
            isolation,
            placement,
            owner: schema.owner.clone(),
            roles,
            tier: self.options.tier.clone(),
            region: self.options.region.clone(),
            labels: self.options.labels.clone(),
            state: State::Active,
        };
        Ok(Candidate { tenant, found, differences, notes })
    }
}
