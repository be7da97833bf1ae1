//! `tenantctl man`.

use super::app::App;
use crate::error::{Code, Error};
use crate::report::Report;

/// Print the manual page (roff): tenantctl man | man -l -
#[derive(clap::Args)]
pub(super) struct Args {}

impl Args {
    #[expect(clippy::unused_async, reason = "every command is called alike")]
    pub(super) async fn run(self, _: &App) -> anyhow::Result<Report> {
        let mut page = Vec::new();
        render(&super::command(), &mut page)
            .map_err(|error| Error::new(Code::Bug, "write the manual page").because(error))?;
        Ok(Report::Text(String::from_utf8_lossy(&page).into_owned()))
    }
}

/// One page for everything: the commands follow each other as sections.
fn render(command: &clap::Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    clap_mangen::Man::new(command.clone()).render(page)?;
    for sub in command.get_subcommands() {
        section(sub, "tenantctl", page)?;
    }
    Ok(())
}

fn section(command: &clap::Command, parent: &str, page: &mut Vec<u8>) -> std::io::Result<()> {
    let name = format!("{parent} {}", command.get_name());
    let man = clap_mangen::Man::new(command.clone().bin_name(name.clone()).display_name(name.clone()));
    page.extend_from_slice(format!(".SH \"{}\"\n", name.to_uppercase()).as_bytes());
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    for sub in command.get_subcommands() {
        section(sub, &name, page)?;
    }
    Ok(())
}
