//! Markdown, for comments on pull requests and summaries of jobs.

use super::findings::tally;
use super::notice::{Notices, justification};
use crate::model::count;
use crate::report::FindingsSummary;

pub(super) fn render(notices: &Notices<'_>) -> String {
    let summary = FindingsSummary::of(notices.open().map(|notice| notice.severity));
    let mark = if notices.fail() { "❌" } else { "✅" };
    let mut text = format!("### {mark} tenantctl {}: {}\n", notices.command, tally(&summary));
    if notices.open().next().is_some() {
        text.push_str("\n| severity | rule | where | what | fix |\n|---|---|---|---|---|\n");
    }
    for notice in notices.open() {
        text.push_str(&format!(
            "| {} | `{}` | {} | {} | {} |\n",
            notice.severity,
            notice.rule,
            cell(&notice.place.label()),
            cell(notice.message),
            cell(&notice.fix)
        ));
    }
    text.push_str(&suppressed(notices));
    if !notices.remarks.is_empty() {
        text.push('\n');
    }
    for remark in &notices.remarks {
        text.push_str(&format!("- **{}**: {}\n", remark.title, cell(&remark.message)));
    }
    text
}

/// What does not count, folded away.
fn suppressed(notices: &Notices<'_>) -> String {
    let those: Vec<_> =
        notices.all.iter().filter_map(|notice| Some((notice, notice.suppressed?))).collect();
    if those.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "\n<details><summary>{} known or allowed</summary>\n\n| severity | rule | where | why |\n|---|---|---|---|\n",
        count(those.len(), "finding")
    );
    for (notice, suppression) in those {
        text.push_str(&format!(
            "| {} | `{}` | {} | {} |\n",
            notice.severity,
            notice.rule,
            cell(&notice.place.label()),
            cell(&justification(suppression))
        ));
    }
    text.push_str("\n</details>\n");
    text
}

/// Text that stays in its cell.
pub(super) fn cell(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_one_line_and_keeps_its_bars() {
        assert_eq!(cell("a |\n b <x>"), "a \\| b &lt;x>");
    }
}
