//! Flags that several commands share, and how their values are read.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::SignedDuration;

use crate::error::Error;
use crate::model::migration::Version;
use crate::model::run::RunReference;
use crate::model::severity::Severity;
use crate::model::tenant::{ClusterName, Isolation, TenantId};
use crate::ops::{Selection, Selector};
use crate::output;
use crate::pg;
use crate::plan::waves::{Share, Wave};

/// Flags of every command.
#[derive(Args)]
pub(super) struct Global {
    /// Configuration file; otherwise TENANTCTL_CONFIG, then tenants.toml here or in a parent directory
    #[arg(short, long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub(super) config: Option<PathBuf>,
    /// URL of the only, or the registry's, cluster; otherwise DATABASE_URL, then PG* variables. No passwords here
    #[arg(long, global = true, value_name = "URL", help_heading = "Global options")]
    pub(super) database_url: Option<String>,
    /// Directory of migration files, for every isolation model
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub(super) migrations: Option<PathBuf>,
    /// How the answer is written to stdout
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        help_heading = "Global options"
    )]
    pub(super) output: Output,
    /// Say nothing but the answer
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub(super) quiet: bool,
    /// Log what happens to stderr; twice for every detail
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Global options")]
    pub(super) verbose: u8,
    /// How the log is written
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        help_heading = "Global options"
    )]
    pub(super) log_format: LogFormat,
    /// No colour; the environment variable NO_COLOR says the same
    #[arg(long, global = true, help_heading = "Global options")]
    pub(super) no_color: bool,
    /// Take every confirmation as given
    #[arg(long, global = true, help_heading = "Global options")]
    pub(super) yes: bool,
}

/// `-o`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people
    #[default]
    Human,
    /// One JSON document
    Json,
    /// One JSON document per line; of `migrate up`, what happens as it happens
    Ndjson,
    /// SARIF 2.1.0, of verify-rls and migrate lint
    Sarif,
    #[value(help = "JUnit XML, of verify-rls and migrate lint")]
    Junit,
    /// Annotations of GitHub Actions, of verify-rls and migrate lint
    Github,
    /// Tables in Markdown, of verify-rls, its matrix, migrate lint and explain
    Markdown,
    /// Values between commas, of verify-rls matrix
    Csv,
}

impl From<Output> for output::Format {
    fn from(output: Output) -> Self {
        match output {
            Output::Human => Self::Human,
            Output::Json => Self::Json,
            Output::Ndjson => Self::Ndjson,
            Output::Sarif => Self::Sarif,
            Output::Junit => Self::Junit,
            Output::Github => Self::Github,
            Output::Markdown => Self::Markdown,
            Output::Csv => Self::Csv,
        }
    }
}

/// `--log-format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people
    #[default]
    Human,
    /// One JSON object per line
    Json,
}

impl From<LogFormat> for output::LogFormat {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Human => Self::Human,
            LogFormat::Json => Self::Json,
        }
    }
}

/// Which tenants.
#[derive(Args, Clone)]
pub(super) struct Selecting {
    /// Only these tenants
    #[arg(long = "tenant", value_name = "ID", value_parser = tenant)]
    tenants: Vec<TenantId>,
    /// Not these tenants
    #[arg(long, value_name = "ID", value_parser = tenant)]
    exclude: Vec<TenantId>,
    /// Only tenants that fit every condition: tier=pro,region!=us,LABEL=VALUE
    #[arg(long, value_name = "EXPR", value_parser = selector)]
    selector: Option<Selector>,
}

impl From<Selecting> for Selection {
    fn from(selecting: Selecting) -> Self {
        Self {
            tenants: selecting.tenants,
            exclude: selecting.exclude,
            selector: selecting.selector,
        }
    }
}

/// How long to wait for others.
#[derive(Args, Clone, Copy)]
pub(super) struct Waiting {
    /// How long to wait for another tenantctl that works on the same tenant
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub(super) tenant_lock_wait: Duration,
    /// How long a migration's statement may wait for a lock
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    lock_timeout: Duration,
    /// How long a migration's statement may run; without it the server's own limit holds
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    statement_timeout: Option<Duration>,
}

impl Waiting {
    pub(super) fn limits(&self) -> pg::Limits {
        pg::Limits { lock: self.lock_timeout, statement: self.statement_timeout }
    }
}

/// Reads how a run is named: last, its id, or the id's beginning.
pub(super) fn run(text: &str) -> Result<RunReference, String> {
    text.parse().map_err(spoken)
}

/// `--isolation`.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(super) enum Model {
    /// Rows in shared tables, guarded by row-level security
    Shared,
    /// A schema of its own
    Schema,
    /// A database of its own
    Database,
}

impl From<Model> for Isolation {
    fn from(model: Model) -> Self {
        match model {
            Model::Shared => Self::Shared,
            Model::Schema => Self::Schema,
            Model::Database => Self::Database,
        }
    }
}

/// Reads a severity.
pub(super) fn severity(word: &str) -> Result<Severity, String> {
    word.parse().map_err(spoken)
}

/// Reads a cluster's name.
pub(super) fn cluster(name: &str) -> Result<ClusterName, String> {
    ClusterName::new(name).map_err(spoken)
}

/// Reads a tenant's id.
pub(super) fn tenant(text: &str) -> Result<TenantId, String> {
    TenantId::new(text).map_err(spoken)
}

/// Reads a selector.
pub(super) fn selector(text: &str) -> Result<Selector, String> {
    text.parse().map_err(spoken)
}

/// Reads a duration: `500ms`, `30s`, `2m`, `1h 30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let refused = || format!("{text:?} is no duration; write 500ms, 30s, 2m or 1h");
    let signed: SignedDuration = text.parse().map_err(|_| refused())?;
    Duration::try_from(signed).map_err(|_| refused())
}

/// Reads a duration in which days may be meant: `30d`, `12h`, `0s`.
pub(super) fn days(text: &str) -> Result<Duration, String> {
    let refused = || format!("{text:?} is no duration; write 30d, 12h or 0s");
    let Some(days) = text.strip_suffix('d') else {
        return duration(text).map_err(|_| refused());
    };
    let days: u32 = days.parse().map_err(|_| refused())?;
    Ok(Duration::from_secs(u64::from(days) * 24 * 60 * 60))
}

/// Reads why something is done.
pub(super) fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() { Err("say why".to_owned()) } else { Ok(text.to_owned()) }
}

/// Reads a time in whole units up to days and weeks: `90d`, `2w`, `12h`, `0s`.
pub(super) fn long_duration(text: &str) -> Result<SignedDuration, String> {
    let refused = || format!("{text:?} is no duration; write 90d, 12h, 30m or 0s");
    let span: jiff::Span = text.parse().map_err(|_| refused())?;
    let time =
        span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| refused())?;
    if time.is_negative() { Err(refused()) } else { Ok(time) }
}

/// What was typed after the program's name, as a shell reads it again. No secret is among it: a
/// password in `--database-url` is refused.
pub(super) fn asked() -> String {
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| quoted(&word.to_string_lossy())).collect();
    words.join(" ")
}

/// A word for a shell: in quotes unless it is plain.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_=./,:@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Reads a wave of a run.
pub(super) fn wave(text: &str) -> Result<Wave, String> {
    let wave: Wave = text.parse().map_err(spoken)?;
    if let Wave::Fitting(condition) = &wave {
        condition.parse::<Selector>().map_err(spoken)?;
    }
    Ok(wave)
}

/// Reads a number or a percentage of targets.
pub(super) fn share(text: &str) -> Result<Share, String> {
    text.parse().map_err(spoken)
}

/// Reads a migration's version, with or without its `V`.
pub(super) fn version(text: &str) -> Result<Version, String> {
    text.strip_prefix(['V', 'v'])
        .unwrap_or(text)
        .parse()
        .map(Version)
        .map_err(|_| format!("{text:?} is no version; write 12 or V12"))
}

/// Reads `name=value`.
pub(super) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is no label; write name=value")),
    }
}

/// A failure in one line, with what to do: clap has room for no more.
pub(super) fn spoken(error: Error) -> String {
    match error.hints.first() {
        Some(hint) => format!("{} ({hint})", error.message),
        None => error.message,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(duration("2m").unwrap(), Duration::from_mins(2));
        assert!(duration("5").is_err());
        assert!(duration("-5s").is_err());
    }

    #[test]
    fn long_durations_know_days() {
        assert_eq!(long_duration("90d").unwrap(), SignedDuration::from_hours(90 * 24));
        assert_eq!(long_duration("0s").unwrap(), SignedDuration::ZERO);
        for text in ["90", "-1d", "a while", "1mo"] {
            assert!(long_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn versions_may_keep_their_letter() {
        assert_eq!(version("V12").unwrap(), Version(12));
        assert_eq!(version("12").unwrap(), Version(12));
        assert!(version("x").is_err());
    }
}
