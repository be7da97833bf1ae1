//! Asking before something is done that cannot be taken back.

use std::io::IsTerminal as _;

use super::app::App;
use crate::error::{Code, Error};
use crate::model::tenant::TenantId;
use crate::ops::{Consent, TypedConsent};
use crate::output::{self, Format};
use crate::report::Report;

/// Whoever sits at the terminal, unless `--yes` has spoken.
pub(super) struct Asked<'a> {
    pub(super) app: &'a App,
    /// The command that asks.
    pub(super) command: &'static str,
    /// The word that is to be typed: a key that was hit by chance agrees to nothing.
    pub(super) word: &'static str,
}

/// As [`Asked`], about one tenant, whose id is to be typed.
pub(super) struct AskedAbout<'a> {
    pub(super) app: &'a App,
    /// The command: `move finish`.
    pub(super) command: &'static str,
    pub(super) tenant: &'a TenantId,
}

impl Consent for AskedAbout<'_> {
    fn given(&self, what: &Report) -> Result<(), Error> {
        let command = format!("{} {}", self.command, self.tenant);
        ask(self.app, &command, self.tenant.as_str(), what)
    }
}

impl Consent for Asked<'_> {
    fn given(&self, what: &Report) -> Result<(), Error> {
        ask(self.app, self.command, self.word, what)
    }
}

fn ask(app: &App, command: &str, word: &str, what: &Report) -> Result<(), Error> {
    if app.yes() {
        return Ok(());
    }
    let refused = |why: &str| Error::new(Code::Refused, format!("{command}: {why}"));
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Err(refused("it wants to be confirmed, and there is no terminal to ask on")
            .hint("see what would be done with --dry-run")
            .hint("then run it again with --yes"));
    }
    output::story(&output::render(what, Format::Human, app.error_style()));
    output::story(&format!("type {word} to go on: "));
    let typed = console::Term::stderr()
        .read_line()
        .map_err(|error| Error::new(Code::Io, "read the confirmation").because(error))?;
    if typed.trim() == word {
        Ok(())
    } else {
        Err(refused("it was not confirmed").hint("nothing was done"))
    }
}

/// Whoever sits at the terminal, who types the tenant's id, unless `--yes` has spoken.
pub(super) struct Typed<'a> {
    pub(super) app: &'a App,
    /// The command, as it is typed.
    pub(super) verb: &'static str,
}

impl TypedConsent for Typed<'_> {
    fn given(&self, what: &Report, word: &str) -> Result<(), Error> {
        // For several tenants the word names the verb itself.
        let command = match word.strip_prefix(self.verb) {
            Some(_) => word.to_owned(),
            None => format!("{} {word}", self.verb),
        };
        ask(self.app, &command, word, what)
    }
}
