//! One table of exit statuses; nothing else chooses one.

use std::process::ExitCode;

use crate::error::{Code, Error};
use crate::output;
use crate::report::Verdict;

/// Done, or nothing to do.
const DONE: u8 = 0;
/// An error.
pub(super) const ERROR: u8 = 1;
/// The answer is "no".
const NO: u8 = 2;
/// Some targets failed.
const PARTIAL: u8 = 3;
/// Policy, safety, residency or a diverged history forbids it.
const REFUSED: u8 = 4;
/// A lock was not obtained.
const LOCKED: u8 = 5;
/// A cluster is unreachable, or refused the credentials.
const UNREACHABLE: u8 = 6;
/// The command line cannot be meant.
const USAGE: u8 = 64;
/// Stopped by the user, after what was begun was finished.
const INTERRUPTED: u8 = 130;

pub(super) fn of_verdict(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Done => DONE,
        Verdict::No => NO,
        Verdict::Partial => PARTIAL,
        Verdict::Failed(code) => code.map_or(ERROR, of_code),
        Verdict::Interrupted => INTERRUPTED,
    }
}

pub(super) fn of_error(error: &anyhow::Error) -> u8 {
    Error::find(error).map_or(ERROR, |error| of_code(error.code))
}

fn of_code(code: Code) -> u8 {
    match code {
        Code::HistoryDiverged
        | Code::OwnershipConflict
        | Code::NameTaken
        | Code::RegistryNewer
        | Code::Refused => REFUSED,
        Code::LockBusy => LOCKED,
        Code::Unreachable | Code::AuthFailed => UNREACHABLE,
        Code::Usage => USAGE,
        Code::Interrupted => INTERRUPTED,
        Code::Config
        | Code::Migrations
        | Code::NotFound
        | Code::Server
        | Code::Permission
        | Code::ToolMissing
        | Code::Io
        | Code::Bug => ERROR,
    }
}

/// Writes what clap has to say: help and version are answers, the rest is a mistake.
pub(super) fn usage(error: &clap::Error) -> ExitCode {
    let text = error.render();
    if error.use_stderr() {
        let colour = console::colors_enabled_stderr();
        output::story(&if colour { text.ansi().to_string() } else { text.to_string() });
        ExitCode::from(USAGE)
    } else {
        let colour = console::colors_enabled();
        match output::answer(&if colour { text.ansi().to_string() } else { text.to_string() }) {
            Ok(()) => ExitCode::from(DONE),
            Err(_lost) => ExitCode::from(ERROR),
        }
    }
}

/// Ends the process now: the user has asked twice. Transactions that were open are rolled back by
/// the server.
#[expect(clippy::exit, reason = "the second interrupt must not wait for anything")]
pub(super) fn at_once() -> ! {
    std::process::exit(i32::from(INTERRUPTED))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const README: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"));

    /// The cells of the table below a heading of the README, without its head.
    fn table(heading: &str) -> Vec<Vec<&'static str>> {
        let (_, section) = README.split_once(&format!("\n## {heading}\n")).unwrap();
        section
            .lines()
            .skip_while(|line| !line.starts_with('|'))
            .take_while(|line| line.starts_with('|'))
            .skip(2)
            .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
            .collect()
    }

    #[test]
    fn the_readme_lists_every_status() {
        let listed: Vec<u8> =
            table("Exit statuses").iter().map(|row| row[0].parse().unwrap()).collect();
        let known = [DONE, ERROR, NO, PARTIAL, REFUSED, LOCKED, UNREACHABLE, USAGE, INTERRUPTED];
        assert_eq!(listed, known);
    }

    #[test]
    fn the_readme_lists_every_code_with_its_status() {
        let listed: Vec<(String, String)> = table("Error codes")
            .iter()
            .map(|row| (row[0].trim_matches('`').to_owned(), row[1].to_owned()))
            .collect();
        let known: Vec<(String, String)> = Code::ALL
            .iter()
            .map(|code| {
                let status = of_error(&anyhow::Error::new(Error::new(*code, "x")));
                (code.id().to_owned(), status.to_string())
            })
            .collect();
        assert_eq!(listed, known);
    }
}
