//! What the commands that change tenants' lives ask for alike.

use std::time::Duration;

use super::args;
use crate::model::tenant::TenantId;
use crate::ops::{LifeOptions, Selection, Selector};

#[derive(clap::Args)]
pub(super) struct Living {
    /// The tenants
    #[arg(value_name = "ID", value_parser = args::tenant, required_unless_present = "selector")]
    tenants: Vec<TenantId>,
    /// Those that fit every condition: tier=pro,region!=us,LABEL=VALUE
    #[arg(long, value_name = "EXPR", value_parser = args::selector)]
    selector: Option<Selector>,
    /// Not these tenants
    #[arg(long, value_name = "ID", value_parser = args::tenant)]
    exclude: Vec<TenantId>,
    /// Show what would be done, with its SQL, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// How long to wait for another tenantctl that works on the same tenant
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = args::duration)]
    tenant_lock_wait: Duration,
}

impl Living {
    pub(super) fn options(self, reason: Option<String>) -> LifeOptions {
        LifeOptions {
            selection: Selection {
                tenants: self.tenants,
                exclude: self.exclude,
                selector: self.selector,
            },
            dry_run: self.dry_run,
            reason,
            lock_wait: self.tenant_lock_wait,
        }
    }
}
