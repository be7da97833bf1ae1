//! The command line: parse, call one use case, write its answer, choose the exit status.

mod app;
mod args;
mod arriving;
mod consent;
mod exit;
mod living;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser};

use crate::error::{Code, Error};
use crate::output::{self, Format};
use crate::report::Report;
use app::App;
use args::Global;

/// Declares commands, at the top or below one: module, variant and arm. Help comes from the doc
/// comment on the module's `Args`.
macro_rules! commands {
    ($($module:ident => $name:ident),* $(,)?) => {
        $(mod $module;)*

        #[derive(clap::Subcommand)]
        enum Command {
            $($name($module::Args),)*
        }

        impl Command {
            async fn run(self, app: &App) -> anyhow::Result<Report> {
                match self {
                    $(Self::$name(args) => Box::pin(args.run(app)).await,)*
                }
            }
        }
    };
}

commands! {
    demo => Demo,
    init => Init,
    doctor => Doctor,
    config => Config,
    create => Create,
    list => List,
    show => Show,
    suspend => Suspend,
    resume => Resume,
    delete => Delete,
    undelete => Undelete,
    purge => Purge,
    rename => Rename,
    hold => Hold,
    clone => Clone,
    export => Export,
    import => Import,
    moving => Move,
    erase => Erase,
    set => Set,
    adopt => Adopt,
    backup => Backup,
    restore => Restore,
    migrate => Migrate,
    runs => Runs,
    credentials => Credentials,
    audit => Audit,
    verify_rls => VerifyRls,
    explain => Explain,
    metrics => Metrics,
    completions => Completions,
    man => Man,
}

/// Provision tenants in PostgreSQL, migrate them, and prove that none can see another.
#[derive(Parser)]
#[command(name = "tenantctl", version, max_term_width = 100, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Commands that answer in more formats than all do.
const FORMATS: [(&str, &[Format]); 4] = [
    ("migrate lint", &Format::FOR_FINDINGS),
    ("verify-rls", &Format::FOR_FINDINGS),
    ("verify-rls matrix", &[Format::Markdown, Format::Csv]),
    ("explain", &[Format::Markdown]),
];

/// Refuses a format that a command does not answer in.
fn refuse_format(verbs: &str, format: Format) -> Result<(), Error> {
    let more =
        FORMATS.iter().find(|(command, _)| *command == verbs).map_or(&[][..], |(_, more)| more);
    if Format::EVERYWHERE.contains(&format) || more.contains(&format) {
        return Ok(());
    }
    let takes = Format::EVERYWHERE.iter().chain(more).map(|format| format.word());
    let who =
        FORMATS.iter().filter(|(_, more)| more.contains(&format)).map(|(command, _)| *command);
    Err(Error::new(Code::Usage, format!("{verbs} does not answer in {}", format.word()))
        .hint(format!("it takes -o {}", takes.collect::<Vec<_>>().join(", ")))
        .hint(format!("{}: {}", format.word(), who.collect::<Vec<_>>().join(", "))))
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return exit::usage(&error),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return exit::usage(&error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::story(&format!("error[io]: start the runtime: {error}\n"));
            return ExitCode::from(exit::ERROR);
        }
    };
    let command = matches.subcommand_name().unwrap_or_default();
    let verbs = verbs(&matches);
    let code = runtime.block_on(run(cli, command, &verbs));
    // Connections end with the process, all at once: each that is taken apart before wakes a process
    // of the server, which then takes the processor from this one.
    std::mem::forget(runtime);
    code
}

/// The whole command line, as clap, completions and the manual know it.
fn command() -> clap::Command {
    Cli::command()
}

/// The words of the command: `migrate lint`.
fn verbs(matches: &clap::ArgMatches) -> String {
    let mut words = Vec::new();
    let mut at = matches;
    while let Some((word, below)) = at.subcommand() {
        words.push(word);
        at = below;
    }
    words.join(" ")
}

async fn run(cli: Cli, command: &str, verbs: &str) -> ExitCode {
    let app = App::new(cli.global, command);
    if let Err(error) = refuse_format(verbs, app.format()) {
        return fail(&app, &error.into());
    }
    app.listen_for_interrupts();
    let outcome = cli.command.run(&app).await;
    match outcome {
        Ok(report) => {
            let verdict = report.verdict();
            match app.answer(&report) {
                Ok(()) => ExitCode::from(exit::of_verdict(verdict)),
                Err(lost) => fail(&app, &lost.into()),
            }
        }
        Err(error) => match app.answer_failure(&error) {
            Ok(()) => fail(&app, &error),
            Err(lost) => fail(&app, &lost.into()),
        },
    }
}

/// Tells a failure on stderr.
fn fail(app: &App, error: &anyhow::Error) -> ExitCode {
    output::story(&output::failure_human(error, app.error_style()));
    ExitCode::from(exit::of_error(error))
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    const README: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"));

    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }

    /// What a reader would type: the lines of its console blocks behind their prompt.
    fn typed() -> impl Iterator<Item = &'static str> {
        let blocks = README.split("```console\n").skip(1);
        blocks
            .filter_map(|block| block.split("```").next())
            .flat_map(str::lines)
            .filter_map(|line| line.strip_prefix("$ "))
    }

    #[test]
    fn the_readme_shows_command_lines_that_work() {
        let mut checked = 0;
        for line in typed().filter(|line| line.starts_with("tenantctl ")) {
            let words = line.split_whitespace().take_while(|word| !["|", ">"].contains(word));
            let refused = super::command().try_get_matches_from(words).err().filter(|error| {
                !matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)
            });
            assert!(
                refused.is_none(),
                "{line}\n{}",
                refused.map_or_else(String::new, |e| e.to_string())
            );
            checked += 1;
        }
        assert!(checked > 10, "{checked} command lines were found");
    }

    #[test]
    fn the_readme_names_scripts_that_exist() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        for line in typed().filter(|line| line.starts_with("scripts/")) {
            let script = line.split_whitespace().next().unwrap_or(line);
            assert!(root.join(script).is_file(), "{script}");
        }
    }
}
