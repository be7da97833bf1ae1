//! Markdown, for comments on pull requests and summaries of jobs.

use super::findings::tally;
use super::notice::Notices;
use crate::report::FindingsSummary;

pub(super) fn render(notices: &Notices<'_>) -> String {
    let summary = FindingsSummary::of(notices.all.iter().map(|notice| notice.severity));
    let failed = notices.all.iter().any(|notice| notice.severity >= notices.fail_on);
    let mark = if failed { "❌" } else { "✅" };
    let mut text = format!("### {mark} tenantctl {}: {}\n", notices.command, tally(&summary));
    if notices.all.is_empty() {
        return text;
    }
    text.push_str("\n| severity | rule | where | what | fix |\n|---|---|---|---|---|\n");
    for notice in &notices.all {
        text.push_str(&format!(
            "| {} | `{}` | {} | {} | {} |\n",
            notice.severity,
            notice.rule,
            cell(&notice.place.label()),
            cell(notice.message),
            cell(&notice.fix)
        ));
    }
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
