//! How the tenants of one isolation model are laid out on a server.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::credential::second_login;
use super::ident::{Ident, QualifiedName};
use super::tenant::{Isolation, Tenant, TenantId};
use crate::error::{Code, Error};

/// A name with `{tenant}` in it, or without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(String);

impl Template {
    const HOLE: &'static str = "{tenant}";

    /// Checks a template: `{tenant}` is the only hole.
    ///
    /// # Errors
    ///
    /// [`Code::Config`] for any other brace, and for a template that is empty.
    pub fn new(text: impl Into<String>) -> Result<Self, Error> {
        let text = text.into();
        let rest = text.replace(Self::HOLE, "");
        if text.is_empty() || rest.contains(['{', '}', '\0']) {
            return Err(Error::new(Code::Config, format!("{text:?} is not a naming template"))
                .hint("the only placeholder is {tenant}, for example \"tenant_{tenant}\""));
        }
        Ok(Self(text))
    }

    /// Whether each tenant gets a name of its own.
    pub fn per_tenant(&self) -> bool {
        self.0.contains(Self::HOLE)
    }

    /// The name for one tenant.
    ///
    /// # Errors
    ///
    /// [`Code::NameTaken`] when it would not fit into 63 bytes or begins with `pg_`.
    pub fn name(&self, tenant: &TenantId) -> Result<Ident, Error> {
        let name = Ident::new(self.0.replace(Self::HOLE, &tenant.in_names()))?;
        if name.as_str().starts_with("pg_") {
            return Err(Error::new(
                Code::NameTaken,
                format!("the name {name} of tenant {tenant} begins with pg_, which PostgreSQL keeps for itself"),
            )
            .hint("put a prefix before {tenant} in the naming templates, for example \"tenant_{tenant}\""));
        }
        Ok(name)
    }

    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a custom setting, such as `app.tenant_id`: what policies read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Setting(String);

impl Setting {
    /// Checks a name: two or more identifiers with dots between them.
    ///
    /// # Errors
    ///
    /// [`Code::Config`] when PostgreSQL would not take it as a custom setting.
    pub fn new(name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        let part = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "_$".contains(c))
        };
        if name.len() <= 63 && name.split('.').count() >= 2 && name.split('.').all(part) {
            Ok(Self(name))
        } else {
            Err(Error::new(Code::Config, format!("{name:?} is not the name of a custom setting"))
                .hint("use two words with a dot between them, such as \"app.tenant_id\""))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How rows of shared tables say whose they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenancy {
    /// The tenant column.
    pub column: Ident,
    /// The setting that holds the current tenant's key.
    pub setting: Setting,
}

/// The tenants that live in one database, and what they share there.
#[derive(Clone, Debug)]
pub struct Estate {
    /// The tenants, in the order of their ids.
    pub tenants: Vec<Tenant>,
    /// How shared tables are told apart, when tenants of this database share tables.
    pub tenancy: Option<Tenancy>,
    /// Logins that may become the tenants' roles (the application's pools).
    pub login_roles: Vec<Ident>,
    /// The role that only reads, of each tenant that has one.
    pub readonly_roles: BTreeMap<TenantId, Ident>,
}

impl Estate {
    /// The tenants of one isolation model.
    pub fn of(&self, isolation: Isolation) -> impl Iterator<Item = &Tenant> {
        self.tenants.iter().filter(move |tenant| tenant.isolation == isolation)
    }

    /// The roles that act in a tenant's name: its own, and the one that only reads.
    pub fn roles_of<'e>(&'e self, tenant: &'e Tenant) -> impl Iterator<Item = &'e Ident> {
        tenant.roles.iter().chain(self.readonly_roles.get(&tenant.id))
    }

    /// Adds the second logins of the tenants' roles and logins, of those that exist.
    pub fn add_second_logins<'a>(&mut self, existing: impl Iterator<Item = &'a Ident>) {
        let roles = self.tenants.iter().flat_map(|tenant| &tenant.roles).chain(&self.login_roles);
        let seconds: BTreeSet<Ident> = roles.filter_map(|role| second_login(role).ok()).collect();
        self.login_roles.extend(existing.filter(|name| seconds.contains(*name)).cloned());
    }

    /// The schema that shared tables live in.
    pub fn shared_schema(&self) -> Option<&Ident> {
        self.of(Isolation::Shared).next().map(|tenant| &tenant.placement.schema)
    }

    /// The history table of a schema: refinery's own.
    pub fn history(schema: &Ident) -> Result<QualifiedName, Error> {
        Ok(QualifiedName::new(schema.clone(), Ident::new(HISTORY_TABLE)?))
    }
}

/// The table in which refinery records what it applied.
pub const HISTORY_TABLE: &str = "refinery_schema_history";

/// The table in which tenantctl remembers how far it came with a file that runs outside of a
/// transaction. It stands in the tenant's schema until the file is recorded, and never longer.
pub const PROGRESS_TABLE: &str = "tenantctl_progress";
/// The table in which tenantctl records which repeatable files were applied, beside the history.
pub const REPEATABLES_TABLE: &str = "tenantctl_repeatables";
/// The table among shared ones that says which tenants are closed; the policies beside it consult it.
/// It comes with the first tenant that is closed.
pub const CLOSED_TABLE: &str = "tenantctl_closed";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_have_one_kind_of_hole() {
        let acme = TenantId::new("acme-eu").unwrap();
        let name = |text| Template::new(text).unwrap().name(&acme).unwrap().to_string();
        assert_eq!(name("tenant_{tenant}"), "tenant_acme_eu");
        assert_eq!(name("app_rw"), "app_rw");
        assert!(Template::new("tenant_{id}").is_err());
        assert!(Template::new("").is_err());
    }

    #[test]
    fn names_that_postgresql_keeps_are_refused() {
        let id = TenantId::new("pg_x").unwrap();
        assert!(Template::new("{tenant}").unwrap().name(&id).is_err());
        assert!(Template::new("t_{tenant}").unwrap().name(&id).is_ok());
    }

    #[test]
    fn settings_need_a_prefix() {
        assert!(Setting::new("app.tenant_id").is_ok());
        for name in ["tenant_id", "app.", ".x", "app.a b", "app.1", "app.x'"] {
            assert!(Setting::new(name).is_err(), "{name}");
        }
    }
}
