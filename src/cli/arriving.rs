//! Flags of the commands that make a tenant and fill it.

use uuid::Uuid;

use super::args::{self, Model, Waiting};
use crate::model::tenant::{ClusterName, Isolation};
use crate::ops::{FillOptions, Wishes};

/// What the new tenant should be, where it differs from the one whose data it gets.
#[derive(clap::Args)]
pub(super) struct Arriving {
    /// How it is isolated; otherwise as it was
    #[arg(long, value_enum, value_name = "MODEL")]
    isolation: Option<Model>,
    /// The cluster it lives on; otherwise the one it lived on, if that is in the fleet
    #[arg(long, value_name = "NAME", value_parser = args::cluster, conflicts_with = "region")]
    cluster: Option<ClusterName>,
    /// The region it must stay in; otherwise as it was
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Its tier; otherwise as it was
    #[arg(long, value_name = "TIER")]
    tier: Option<String>,
    /// A label, beside those it had; may be repeated
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = args::label)]
    labels: Vec<(String, String)>,
    /// Its uuid; otherwise a random one, or the old one for the same id
    #[arg(long, value_name = "UUID")]
    uuid: Option<Uuid>,
    /// Its value in the shared tables' tenant column, instead of the uuid
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Migrate it to the newest version once it is filled
    #[arg(long)]
    up: bool,
    #[command(flatten)]
    waiting: Waiting,
}

impl From<Arriving> for FillOptions {
    fn from(arriving: Arriving) -> Self {
        Self {
            wishes: Wishes {
                isolation: arriving.isolation.map(Isolation::from),
                cluster: arriving.cluster,
                region: arriving.region,
                tier: arriving.tier,
                uuid: arriving.uuid,
                key: arriving.key,
                labels: arriving.labels.into_iter().collect(),
            },
            up: arriving.up,
            lock_wait: arriving.waiting.tenant_lock_wait,
            limits: arriving.waiting.limits(),
        }
    }
}
