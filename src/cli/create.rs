//! `tenantctl create`.

use std::path::PathBuf;

use uuid::Uuid;

use super::app::App;
use super::args::{self, Model, Waiting};
use crate::config::Request;
use crate::model::tenant::{ClusterName, Isolation, TenantId};
use crate::ops::{self, CreateOptions};
use crate::output::Format;
use crate::report::Report;

/// Make a tenant: roles, schema or database, grants, policies, migrations
///
/// Running it again says "nothing to do"; a run that was interrupted is finished by the next.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The tenant's id: a lower-case letter, then letters, digits, - and _
    #[arg(value_name = "ID", value_parser = args::tenant)]
    id: TenantId,
    /// How it is isolated; otherwise as tenants.toml or its tier says, otherwise schema
    #[arg(long, value_enum, value_name = "MODEL")]
    isolation: Option<Model>,
    /// The cluster it lives on; otherwise the registry's
    #[arg(long, value_name = "NAME", value_parser = args::cluster, conflicts_with = "region")]
    cluster: Option<ClusterName>,
    /// The region it must stay in
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Its tier
    #[arg(long, value_name = "TIER")]
    tier: Option<String>,
    /// A label; may be repeated
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = args::label)]
    labels: Vec<(String, String)>,
    /// Its uuid, instead of a random one
    #[arg(long, value_name = "UUID")]
    uuid: Option<Uuid>,
    /// Its value in the shared tables' tenant column, instead of the uuid
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Leave a tenant that exists as it is
    #[arg(long)]
    if_not_exists: bool,
    /// Write the password of a role that logs in to this file (0600)
    #[arg(long, value_name = "FILE")]
    credentials_file: Option<PathBuf>,
    /// Show the plan, its hazards and its SQL, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    waiting: Waiting,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        let request = Request {
            id: self.id,
            isolation: self.isolation.map(Isolation::from),
            cluster: self.cluster,
            region: self.region,
            tier: self.tier,
            uuid: self.uuid,
            key: self.key,
            labels: self.labels.into_iter().collect(),
        };
        let options = CreateOptions {
            if_not_exists: self.if_not_exists,
            dry_run: self.dry_run,
            show_credentials: self.credentials_file.is_none() && app.format() == Format::Json,
            credentials_file: self.credentials_file,
            lock_wait: self.waiting.tenant_lock_wait,
            limits: self.waiting.limits(),
        };
        app.with_fleet(async |cx| ops::create(cx, request, &options).await).await
    }
}
