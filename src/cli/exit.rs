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
        output::answer(&if colour { text.ansi().to_string() } else { text.to_string() });
        ExitCode::from(DONE)
    }
}

/// Ends the process now: the user has asked twice. Transactions that were open are rolled back by
/// the server.
#[expect(clippy::exit, reason = "the second interrupt must not wait for anything")]
pub(super) fn at_once() -> ! {
    std::process::exit(i32::from(INTERRUPTED))
}
