//! The databases of an audit, and who matters in each.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::ident::Ident;
use crate::model::tenant::{ClusterName, Isolation, Tenant, TenantId};

/// A database that holds selected tenants.
pub(super) struct Target<'a> {
    pub(super) cluster: &'a ClusterName,
    pub(super) database: &'a Ident,
    /// How many of its tenants are selected.
    pub(super) selected: usize,
    tenants: &'a [Tenant],
    asked: &'a BTreeSet<TenantId>,
}

impl Target<'_> {
    /// As people name it.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.cluster, self.database.as_str())
    }

    /// Everybody who matters there: the tenants in it, and those of its cluster that have a database
    /// of their own, whose roles must not get in. Made when it is asked for, so that a fleet of many
    /// databases is not in memory once for each.
    pub(super) fn tenants(&self) -> Vec<Tenant> {
        let mut inside: Vec<Tenant> = self
            .tenants
            .iter()
            .filter(|tenant| tenant.placement.cluster == *self.cluster)
            .filter(|tenant| {
                tenant.placement.database == *self.database
                    || tenant.isolation == Isolation::Database
            })
            .cloned()
            .collect();
        // Who is asked about comes first, and so acts where not everybody does.
        inside.sort_by_key(|tenant| !self.asked.contains(&tenant.id));
        inside
    }
}

/// The databases that hold selected tenants, by cluster and name.
pub(super) fn targets<'a>(tenants: &'a [Tenant], asked: &'a BTreeSet<TenantId>) -> Vec<Target<'a>> {
    let mut databases: BTreeMap<(&ClusterName, &Ident), usize> = BTreeMap::new();
    for tenant in tenants.iter().filter(|tenant| asked.contains(&tenant.id)) {
        let placement = &tenant.placement;
        *databases.entry((&placement.cluster, &placement.database)).or_default() += 1;
    }
    databases
        .into_iter()
        .map(|((cluster, database), selected)| Target {
            cluster,
            database,
            selected,
            tenants,
            asked,
        })
        .collect()
}
