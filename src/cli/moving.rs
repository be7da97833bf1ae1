//! `tenantctl move`.

use std::time::Duration;

use super::app::App;
use super::args::{self, Model, Waiting};
use super::consent::AskedAbout;
use crate::error::{Code, Error};
use crate::model::ident::Ident;
use crate::model::moving::Method;
use crate::model::tenant::{ClusterName, Isolation, TenantId};
use crate::ops::{self, MoveOptions};
use crate::report::Report;

/// Move a tenant to another isolation model, database or cluster; its old place is kept until finish
///
/// Everything is copied, compared table by table, and switched at once. Running it again goes on
/// where it was interrupted. Nobody can write in two places, whatever happens.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// The tenant
    #[arg(value_name = "ID", value_parser = args::tenant, required = true)]
    id: Option<TenantId>,
    /// The isolation model that it moves to
    #[arg(long, value_enum, value_name = "MODEL")]
    to_isolation: Option<Model>,
    /// The cluster that it moves to
    #[arg(long, value_name = "NAME", value_parser = args::cluster)]
    to_cluster: Option<ClusterName>,
    /// The database that it moves to, instead of the one that tenants.toml says
    #[arg(long, value_name = "NAME", value_parser = database)]
    to_database: Option<Ident>,
    /// How long it may be unable to write: refused when the estimate says more, given up when it takes more
    #[arg(long, value_name = "DURATION", value_parser = args::duration)]
    max_freeze: Option<Duration>,
    /// How rows get there; without it, the best that the servers allow
    #[arg(long, value_enum, value_name = "METHOD")]
    method: Option<How>,
    /// Say what would be moved, how, and for how long the tenant could not write
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    patience: Patience,
}

/// `--method`.
#[derive(Clone, Copy, clap::ValueEnum)]
enum How {
    /// Copied while the tenant writes; what it writes is read from the server's log and applied
    Replication,
    /// Copied while the tenant cannot write
    Freeze,
}

impl From<How> for Method {
    fn from(how: How) -> Self {
        match how {
            How::Replication => Self::Replication,
            How::Freeze => Self::Freeze,
        }
    }
}

/// How long to wait.
#[derive(Clone, Copy, clap::Args)]
struct Patience {
    /// How long to wait for whoever uses a table that is to be closed or opened
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = args::duration)]
    writer_wait: Duration,
    #[command(flatten)]
    waiting: Waiting,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Remove the old place of a tenant that has moved
    Finish(Finish),
    /// Bring a tenant back to its old place, and remove the new one
    Abort(Abort),
    /// Say where moves are
    Status(Status),
}

#[derive(clap::Args)]
struct Finish {
    /// The tenant
    #[arg(value_name = "ID", value_parser = args::tenant)]
    id: TenantId,
    /// Say what would be removed
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    patience: Patience,
}

#[derive(clap::Args)]
struct Abort {
    /// The tenant
    #[arg(value_name = "ID", value_parser = args::tenant)]
    id: TenantId,
    /// Lose what was written in the new place since the switch
    #[arg(long)]
    lose_writes: bool,
    #[command(flatten)]
    patience: Patience,
}

#[derive(clap::Args)]
struct Status {
    /// Only this tenant, with the moves that are over
    #[arg(value_name = "ID", value_parser = args::tenant)]
    id: Option<TenantId>,
}

fn database(name: &str) -> Result<Ident, String> {
    Ident::new(name).map_err(args::spoken)
}

impl Patience {
    fn options(self) -> MoveOptions {
        MoveOptions {
            to_isolation: None,
            to_cluster: None,
            to_database: None,
            max_freeze: None,
            method: None,
            writer_wait: self.writer_wait,
            lock_wait: self.waiting.tenant_lock_wait,
            limits: self.waiting.limits(),
            dry_run: false,
            lose_writes: false,
        }
    }
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        match self.command {
            Some(Command::Finish(Finish { id, dry_run, patience })) => {
                let options = MoveOptions { dry_run, ..patience.options() };
                let asked = AskedAbout { app, command: "move finish", tenant: &id };
                app.with_fleet(async |cx| {
                    Box::pin(ops::finish_move(cx, &id, &options, &asked)).await
                })
                .await
            }
            Some(Command::Abort(Abort { id, lose_writes, patience })) => {
                let options = MoveOptions { lose_writes, ..patience.options() };
                app.with_fleet(async |cx| Box::pin(ops::abort_move(cx, &id, &options)).await).await
            }
            Some(Command::Status(Status { id })) => {
                app.with_fleet(async |cx| ops::move_status(cx, id.as_ref()).await).await
            }
            None => {
                let id = self.id.ok_or_else(|| Error::new(Code::Usage, "say which tenant"))?;
                let options = MoveOptions {
                    to_isolation: self.to_isolation.map(Isolation::from),
                    to_cluster: self.to_cluster,
                    to_database: self.to_database,
                    max_freeze: self.max_freeze,
                    method: self.method.map(Method::from),
                    dry_run: self.dry_run,
                    ..self.patience.options()
                };
                app.with_fleet(async |cx| Box::pin(ops::relocate(cx, &id, &options)).await).await
            }
        }
    }
}
