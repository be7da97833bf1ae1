//! Where a tenant goes and what it becomes there: flags, then its entry in `tenants.toml`, then its
//! tier, then defaults.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::fleet::{Fleet, Layout};
use super::raw;
use crate::error::{Code, Error};
use crate::model::desired::{Desired, Limits};
use crate::model::ident::Ident;
use crate::model::layout::Estate;
use crate::model::tenant::{ClusterName, Isolation, Placement, State, Tenant, TenantId};

/// What the command line says about a tenant.
#[derive(Clone, Debug)]
pub struct Request {
    /// The slug.
    pub id: TenantId,
    /// `--isolation`.
    pub isolation: Option<Isolation>,
    /// `--cluster`.
    pub cluster: Option<ClusterName>,
    /// `--region`.
    pub region: Option<String>,
    /// `--tier`.
    pub tier: Option<String>,
    /// `--uuid`.
    pub uuid: Option<Uuid>,
    /// `--key`.
    pub key: Option<String>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
}

impl Request {
    /// A tenant about which nothing is said but its name.
    pub fn new(id: TenantId) -> Self {
        Self {
            id,
            isolation: None,
            cluster: None,
            region: None,
            tier: None,
            uuid: None,
            key: None,
            labels: BTreeMap::new(),
        }
    }
}

impl Fleet {
    /// Resolves what a tenant should be; `uuid` is used when nobody says which it has.
    ///
    /// # Errors
    ///
    /// * [`Code::NotFound`] for a cluster or tier that does not exist.
    /// * [`Code::Refused`] when its cluster is not known to be in its region.
    /// * [`Code::NameTaken`] when a name would not fit.
    /// * [`Code::Config`] when the key is not of the shared tables' type.
    pub fn desired(&self, request: &Request, uuid: Uuid) -> Result<Desired, Error> {
        let declared = self.tenants.iter().find(|tenant| tenant.id == request.id);
        let tier_name =
            request.tier.clone().or_else(|| declared.and_then(|tenant| tenant.tier.clone()));
        let tier = tier_name.as_deref().map(|name| self.tier(name)).transpose()?;
        let isolation = request
            .isolation
            .or_else(|| declared.and_then(|tenant| tenant.isolation))
            .or_else(|| tier.and_then(|tier| tier.isolation))
            .unwrap_or(Isolation::Schema);
        let region =
            request.region.clone().or_else(|| declared.and_then(|tenant| tenant.region.clone()));
        let cluster = self.choose_cluster(request, declared, region.as_deref())?;
        let mut labels = declared.map(|tenant| tenant.labels.clone()).unwrap_or_default();
        labels.extend(request.labels.clone());
        let uuid = request.uuid.or_else(|| declared.and_then(|tenant| tenant.uuid)).unwrap_or(uuid);
        let key = request
            .key
            .clone()
            .or_else(|| declared.and_then(|tenant| tenant.key.clone()).map(raw::Key::into_text))
            .unwrap_or_else(|| uuid.to_string());

        let layout = self.layout(isolation);
        let id = &request.id;
        let tenant = Tenant {
            id: id.clone(),
            uuid,
            key,
            isolation,
            placement: self.placement(id, layout, &cluster)?,
            owner: layout.owner.name(id)?,
            roles: layout.roles.iter().map(|role| role.name(id)).collect::<Result<_, _>>()?,
            tier: tier_name,
            region,
            labels,
            state: State::Active,
        };
        let desired = Desired {
            roles_are_its_own: layout.roles.iter().all(crate::model::layout::Template::per_tenant),
            readonly: layout.readonly.as_ref().map(|role| role.name(id)).transpose()?,
            login_role: layout.login_role.clone(),
            limits: tier.map_or_else(Limits::default, |tier| tier.limits.clone()),
            copying: layout.copying,
            version: None,
            closed: false,
            sharing: layout.sharing.clone(),
            credentials: BTreeMap::new(),
            tenant,
        };
        check_names(&desired)?;
        if let Some(sharing) = &desired.sharing
            && !sharing.key_type.accepts(&desired.tenant.key)
        {
            return Err(Error::new(
                Code::Config,
                format!(
                    "the key {:?} of tenant {id} is no {}",
                    desired.tenant.key,
                    sharing.key_type.word()
                ),
            )
            .hint("give one of that type with --key, or change key_type in [isolation.shared]"));
        }
        Ok(desired)
    }

    fn choose_cluster(
        &self,
        request: &Request,
        declared: Option<&raw::Tenant>,
        region: Option<&str>,
    ) -> Result<ClusterName, Error> {
        let named = match &request.cluster {
            Some(name) => Some(name.clone()),
            None => declared
                .and_then(|tenant| tenant.cluster.clone())
                .map(ClusterName::new)
                .transpose()?,
        };
        if let Some(name) = named {
            let cluster = self.cluster(&name)?;
            // A cluster that says no region could be anywhere.
            if let Some(wanted) = region
                && cluster.region.as_deref() != Some(wanted)
            {
                let has = cluster.region.as_deref().unwrap_or("no region that tenants.toml names");
                return Err(Error::new(
                    Code::Refused,
                    format!(
                        "tenant {} must stay in region {wanted}, and cluster {name} is in {has}",
                        request.id
                    ),
                )
                .hint(format!("choose a cluster of that region: {}", self.in_region(wanted))));
            }
            return Ok(name);
        }
        let Some(region) = region else {
            return Ok(self.registry.0.clone());
        };
        let mut fitting = self
            .clusters
            .iter()
            .filter(|(_, cluster)| cluster.region.as_deref() == Some(region))
            .map(|(name, _)| name);
        match (fitting.next(), fitting.next()) {
            (Some(only), None) => Ok(only.clone()),
            (Some(_), Some(_)) => Err(Error::new(
                Code::Usage,
                format!("region {region} has several clusters: {}", self.in_region(region)),
            )
            .hint("choose one with --cluster")),
            (None, _) => Err(Error::new(
                Code::Refused,
                format!("tenant {} must stay in region {region}, where no cluster is", request.id),
            )
            .hint("give a cluster in tenants.toml that region")),
        }
    }

    fn in_region(&self, region: &str) -> String {
        let names: Vec<&str> = self
            .clusters
            .iter()
            .filter(|(_, cluster)| cluster.region.as_deref() == Some(region))
            .map(|(name, _)| name.as_str())
            .collect();
        if names.is_empty() { "there is none".to_owned() } else { names.join(", ") }
    }

    fn placement(
        &self,
        id: &TenantId,
        layout: &Layout,
        cluster: &ClusterName,
    ) -> Result<Placement, Error> {
        let database = match &layout.database {
            Some(template) => template.name(id)?,
            None => Ident::new(self.cluster(cluster)?.connection.database.clone())?,
        };
        Ok(Placement { cluster: cluster.clone(), database, schema: layout.schema.name(id)? })
    }

    /// Whether the file declares any tenant.
    pub fn declares(&self) -> bool {
        !self.tenants.is_empty()
    }

    /// The tenants that the file declares, resolved. A tenant without a uuid has the nil one.
    ///
    /// # Errors
    ///
    /// As [`Fleet::desired`], for the first that cannot be resolved; [`Code::Config`] when a
    /// tenant of shared tables has no key, or another's: who is who there could not be told.
    pub fn declared(&self) -> Result<Vec<Tenant>, Error> {
        let mut tenants = Vec::with_capacity(self.tenants.len());
        for entry in &self.tenants {
            let tenant = self.desired(&Request::new(entry.id.clone()), Uuid::nil())?.tenant;
            if tenant.isolation == Isolation::Shared && entry.uuid.is_none() && entry.key.is_none()
            {
                return Err(Error::new(
                    Code::Config,
                    format!("[[tenants]] gives {} of shared tables no uuid or key", tenant.id),
                )
                .hint("add the one that its rows carry: uuid = \"…\", or key = …"));
            }
            tenants.push(tenant);
        }
        let mut keys = BTreeMap::new();
        for tenant in tenants.iter().filter(|tenant| tenant.isolation == Isolation::Shared) {
            let key = (&tenant.placement, &tenant.key);
            if let Some(other) = keys.insert(key, &tenant.id) {
                return Err(Error::new(
                    Code::Config,
                    format!(
                        "[[tenants]] gives {other} and {} of the same shared tables one key, {:?}",
                        tenant.id, tenant.key
                    ),
                )
                .hint("give each the uuid or key that its own rows carry"));
            }
        }
        Ok(tenants)
    }

    /// What is audited together: tenants of one database, and what they share there.
    pub fn estate(&self, tenants: Vec<Tenant>) -> Estate {
        let mut login_roles = Vec::new();
        let mut readonly_roles = BTreeMap::new();
        let mut tenancy = None;
        for tenant in &tenants {
            let layout = self.layout(tenant.isolation);
            login_roles.extend(layout.login_role.clone());
            if let Some(Ok(role)) = layout.readonly.as_ref().map(|role| role.name(&tenant.id)) {
                readonly_roles.insert(tenant.id.clone(), role);
            }
            if let Some(sharing) = &layout.sharing {
                tenancy = Some(sharing.tenancy.clone());
            }
        }
        login_roles.sort();
        login_roles.dedup();
        Estate { tenants, tenancy, login_roles, readonly_roles }
    }
}

/// One role must not be two things: an owner that the application becomes guards nothing.
fn check_names(desired: &Desired) -> Result<(), Error> {
    let tenant = &desired.tenant;
    let mut names: Vec<&Ident> = vec![&tenant.owner];
    names.extend(desired.users().chain(&desired.login_role));
    // GRANT and SET ROLE give these a meaning of their own, quoted or not.
    if let Some(name) = names.iter().find(|name| ["public", "none"].contains(&name.as_str())) {
        return Err(Error::new(
            Code::NameTaken,
            format!(
                "the name {name} of tenant {} is one that PostgreSQL gives to no role",
                tenant.id
            ),
        )
        .hint(
            "put a prefix before {tenant} in the naming templates, for example \"app_{tenant}\"",
        ));
    }
    let total = names.len();
    names.sort();
    names.dedup();
    if names.len() == total {
        return Ok(());
    }
    Err(Error::new(
        Code::Config,
        format!(
            "the naming templates of [isolation.{}] give two roles of tenant {} one name",
            tenant.isolation, tenant.id
        ),
    )
    .hint("owner, role, readonly_role and login_role must differ"))
}
