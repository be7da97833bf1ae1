//! `tenantctl export`.

use std::io::IsTerminal as _;

use clap::ValueEnum;

use super::app::App;
use super::args;
use crate::archive::{Compression, Destination};
use crate::error::{Code, Error};
use crate::model::manifest::Rendering;
use crate::model::tenant::TenantId;
use crate::ops::{self, ExportOptions};
use crate::output::{self, Format};
use crate::report::Report;

/// Write down what a tenant has, in all tables at one moment
///
/// The archive is a directory or a tar file with the rows of each table as COPY writes them, and a
/// manifest with their numbers and checksums. `tenantctl import` makes a tenant of it.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The tenant's id
    #[arg(value_name = "ID", value_parser = args::tenant)]
    id: TenantId,
    /// Where: a directory, a file that ends in .tar, `s3://bucket/key`, or - for a tar file on stdout
    #[arg(short = 'O', long = "to", value_name = "DIR|FILE.tar|URL|-")]
    to: String,
    /// How rows are written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Rows,
    /// Whether files are compressed; without it, what import reads is, and what people read is not
    #[arg(long, value_enum, value_name = "METHOD")]
    compress: Option<Method>,
    /// Go on where large objects would stay behind
    #[arg(long)]
    leave_large_objects: bool,
}

/// `--format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Rows {
    /// For import, and for COPY
    #[default]
    Copy,
    /// For a person or a program: one JSON object per line
    Ndjson,
    /// For a person or a program: CSV with a header
    Csv,
}

/// `--compress`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Method {
    /// gzip
    Gzip,
    /// As they are
    None,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        let to = Destination::of(&self.to)?;
        let to_stdout = to == Destination::Stdout;
        if to_stdout {
            refuse_stdout(app)?;
        }
        let rendering = match self.format {
            Rows::Copy => Rendering::Copy,
            Rows::Ndjson => Rendering::Ndjson,
            Rows::Csv => Rendering::Csv,
        };
        let compression = match (self.compress, rendering) {
            (Some(Method::Gzip), _) | (None, Rendering::Copy) => Compression::Gzip,
            (Some(Method::None) | None, _) => Compression::None,
        };
        let options = ExportOptions {
            to,
            rendering,
            compression,
            leave_large_objects: self.leave_large_objects,
        };
        let id = self.id;
        let report = app.with_fleet(async |cx| ops::export(cx, &id, &options).await).await?;
        if !to_stdout {
            return Ok(report);
        }
        if !app.quiet() {
            output::story(&output::render(&report, Format::Human, app.error_style()));
        }
        Ok(Report::Text(String::new()))
    }
}

/// Stdout is the archive then, and nothing else.
fn refuse_stdout(app: &App) -> Result<(), Error> {
    if app.format() != Format::Human {
        return Err(Error::new(Code::Usage, "-O - writes the archive to stdout, which leaves no place for an answer")
            .hint("leave out -o, or write the archive to a file"));
    }
    if std::io::stdout().is_terminal() {
        return Err(Error::new(Code::Usage, "an archive is nothing to write to a terminal")
            .hint("send it on: tenantctl export ID -O - | ssh host 'cat > acme.tar'"));
    }
    Ok(())
}
