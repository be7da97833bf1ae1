//! What commands are run with: flags, surroundings, screen.

use std::io::IsTerminal as _;
use std::sync::{Arc, OnceLock};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::args::{self, Global};
use crate::config::conninfo::Environment;
use crate::config::{Fleet, Sources};
use crate::error::{Code, Error};
use crate::model::interrupt::Interrupt;
use crate::ops::{self, Context, Sets};
use crate::output::{self, Format, Progress, Stream, Style};
use crate::report::Report;
use crate::report::event::{Both, Observer};

/// How wide answers are that no screen shows: whoever reads them can cut, and not put together.
const UNBOUND: usize = 200;

/// One run of the program.
pub(super) struct App {
    global: Global,
    command: String,
    style: Style,
    error_style: Style,
    progress: Progress,
    interrupt: Interrupt,
    /// Where a command that was asked to tells what happens, before it answers.
    stream: OnceLock<Arc<Stream>>,
}

impl App {
    pub(super) fn new(global: Global, command: &str) -> Self {
        let asked =
            !global.no_color && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        let terminal = draws();
        // COLUMNS is how a person, or a test, says how wide the reader behind a pipe is.
        let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let width = columns.unwrap_or_else(|| {
            console::Term::stdout().size_checked().map_or(UNBOUND, |(_, columns)| columns.into())
        });
        let style = Style::new(
            asked && console::colors_enabled() && std::io::stdout().is_terminal(),
            width,
        )
        .whole(global.verbose > 0);
        let error_style = Style::new(asked && terminal, width);
        let progress = Progress::new(terminal && !global.quiet);
        output::start_log(global.verbose, global.log_format.into(), progress.clone());
        Self {
            global,
            command: command.to_owned(),
            style,
            error_style,
            progress,
            interrupt: Interrupt::default(),
            stream: OnceLock::new(),
        }
    }

    pub(super) fn format(&self) -> Format {
        self.global.output.into()
    }

    pub(super) fn style(&self) -> &Style {
        &self.style
    }

    pub(super) fn error_style(&self) -> &Style {
        &self.error_style
    }

    pub(super) fn quiet(&self) -> bool {
        self.global.quiet
    }

    /// Whether every confirmation is given beforehand.
    pub(super) fn yes(&self) -> bool {
        self.global.yes
    }

    pub(super) fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// Whether a flag says which fleet to work on.
    pub(super) fn names_a_fleet(&self) -> bool {
        let Global { config, database_url, migrations, .. } = &self.global;
        config.is_some() || database_url.is_some() || migrations.is_some()
    }

    /// The first interrupt lets what was begun finish; the second cancels it on the server, where
    /// the command can; one more ends the process.
    pub(super) fn listen_for_interrupts(&self) {
        let interrupt = self.interrupt.clone();
        let (style, progress) = (self.error_style, self.progress.clone());
        tokio::spawn(async move {
            let Ok(mut stops) = Stops::listen() else {
                return;
            };
            let tell = |what: &str| {
                let line = format!("{}: {what}\n", style.attention("interrupted"));
                // Above the bars, which would draw over it.
                progress.suspend(|| output::story(&line));
            };
            while stops.next().await.is_some() {
                if !interrupt.is_raised() {
                    interrupt.raise();
                    tell("finishing what was begun; interrupt again to stop at once");
                } else if !interrupt.is_cancelled() && interrupt.cancel() {
                    tell("cancelling what is running on the servers");
                } else {
                    super::exit::at_once();
                }
            }
        });
    }

    /// Reads the configuration.
    pub(super) fn fleet(&self) -> Result<Fleet, Error> {
        let directory = std::env::current_dir()
            .map_err(|error| Error::new(Code::Io, "find the working directory").because(error))?;
        let sources = Sources {
            config: self.global.config.clone(),
            database_url: self.global.database_url.clone(),
            migrations: self.global.migrations.clone(),
            directory,
        };
        Fleet::load(&sources, &Environment::process())
    }

    /// Reads the configuration and the migrations, and runs a use case with them.
    pub(super) async fn with_fleet(
        &self,
        use_case: impl AsyncFnOnce(&Context<'_>) -> anyhow::Result<Report>,
    ) -> anyhow::Result<Report> {
        let fleet = self.fleet()?;
        let sets = Sets::load(&fleet)?;
        let servers = ops::servers(&fleet, &self.command);
        let observer = self.observer();
        let asked = args::asked();
        let context = Context {
            fleet: &fleet,
            servers: &servers,
            sets: &sets,
            observer: observer.as_ref(),
            interrupt: &self.interrupt,
            asked: &asked,
        };
        use_case(&context).await
    }

    pub(super) fn observer(&self) -> Box<dyn Observer> {
        let people = output::observer(&self.progress, draws(), self.global.quiet, self.error_style);
        match self.stream.get() {
            Some(stream) => Box::new(Both(Arc::clone(stream), people)),
            None => people,
        }
    }

    /// Makes `-o ndjson` a stream of what happens, for a command that takes a while; to be called
    /// before anything happens.
    pub(super) fn stream_events(&self) -> Result<(), Error> {
        if self.format() == Format::Ndjson && self.stream.get().is_none() {
            // Nobody can have come in between: a process runs one command.
            drop(self.stream.set(Arc::new(Stream::to_stdout()?)));
        }
        Ok(())
    }

    /// Writes the answer to stdout.
    pub(super) fn answer(&self, report: &Report) -> Result<(), Error> {
        match self.stream.get() {
            Some(stream) => stream.end(report),
            None => output::answer(&output::render(report, self.format(), self.style())),
        }
    }

    /// Writes to stdout why there is no answer, for scripts; people are told on stderr.
    pub(super) fn answer_failure(&self, error: &anyhow::Error) -> Result<(), Error> {
        match (self.stream.get(), self.format()) {
            (Some(stream), _) => stream.fail(error),
            (None, format @ (Format::Json | Format::Ndjson)) => {
                output::answer(&output::failure_json(error, format))
            }
            (None, _) => Ok(()),
        }
    }
}

/// Whether stderr is a terminal on which lines can be drawn anew.
fn draws() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// What asks a program to stop: Ctrl-C, and SIGTERM of a machine that shuts down.
struct Stops {
    typed: Signal,
    sent: Signal,
}

impl Stops {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { typed: signal(SignalKind::interrupt())?, sent: signal(SignalKind::terminate())? })
    }

    /// Waits for the next.
    async fn next(&mut self) -> Option<()> {
        tokio::select! {
            typed = self.typed.recv() => typed,
            sent = self.sent.recv() => sent,
        }
    }
}
