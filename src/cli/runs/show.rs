//! `tenantctl runs show`.

use clap::builder::{PossibleValuesParser, TypedValueParser as _};

use crate::cli::app::App;
use crate::cli::args;
use crate::model::run::{RunReference, TargetState};
use crate::ops;
use crate::report::Report;

/// Show one run: why tenants failed, what they wait for, and what is left
#[derive(clap::Args)]
pub(super) struct Args {
    /// The run: last, its id, or as much of the id as no other run begins with
    #[arg(value_name = "RUN", value_parser = args::run)]
    run: RunReference,
    /// Only tenants in this state; may be given several times
    #[arg(long = "state", value_name = "STATE", value_delimiter = ',', value_parser = states())]
    states: Vec<TargetState>,
}

fn states() -> impl clap::builder::TypedValueParser<Value = TargetState> {
    PossibleValuesParser::new(TargetState::ALL.map(TargetState::word))
        .try_map(|word| word.parse::<TargetState>())
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        app.with_fleet(async |cx| ops::show_run(cx, &self.run, &self.states).await).await
    }
}
