//! Where new passwords go, as the command line says it.

use crate::ops::{Delivery, Pattern, SecretFormat, Sink};

#[derive(clap::Args)]
pub(super) struct Delivering {
    /// A file for the passwords (0600); {tenant}, {role} and {cluster} stand for names
    #[arg(long, value_name = "file:PATH", value_parser = file)]
    to: Option<String>,
    /// A command that reads them from its standard input; they are in no argument
    #[arg(long, value_name = "COMMAND")]
    to_command: Option<String>,
    /// How they are spelled
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "json")]
    format: Spelling,
    /// The name of the Kubernetes Secret [default: {tenant}-postgres]
    #[arg(long, value_name = "NAME")]
    secret_name: Option<String>,
    /// The namespace of the Kubernetes Secret
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Print them: they are part of the answer
    #[arg(long)]
    show: bool,
}

/// `--format`.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Spelling {
    /// The document of create --credentials-file, with what was replaced and how to connect
    Json,
    /// Lines of an environment file: PGUSER, PGPASSWORD, DATABASE_URL, …
    Env,
    /// The manifest of a Kubernetes Secret
    K8s,
}

fn file(text: &str) -> Result<String, String> {
    match text.strip_prefix("file:") {
        Some(path) if !path.is_empty() => Ok(path.to_owned()),
        _ => Err(format!("{text:?} is no place; write file:PATH, or use --to-command")),
    }
}

impl From<Delivering> for Delivery {
    fn from(delivering: Delivering) -> Self {
        let file = delivering.to.map(|path| Sink::File(Pattern(path)));
        let command = delivering.to_command.map(Sink::Command);
        Self {
            sinks: file.into_iter().chain(command).collect(),
            format: match delivering.format {
                Spelling::Json => SecretFormat::Json,
                Spelling::Env => SecretFormat::Env,
                Spelling::K8s => SecretFormat::Kubernetes,
            },
            secret_name: delivering.secret_name.map(Pattern),
            namespace: delivering.namespace,
            show: delivering.show,
        }
    }
}
