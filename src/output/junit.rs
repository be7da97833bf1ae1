//! `JUnit` XML, which every CI system shows: a finding at or above the limit is a failed test.

use super::notice::{Notices, Remark, justification};

pub(super) fn render(notices: &Notices<'_>) -> String {
    let failed = notices.all.iter().filter(|notice| notice.fails(notices.fail_on)).count();
    let skipped = notices.all.iter().filter(|notice| notice.suppressed.is_some()).count();
    let grave: Vec<&Remark> = notices.remarks.iter().filter(|remark| remark.grave).collect();
    // Nothing found is one test that passed: an empty file looks like a run that never was.
    let tests = (notices.all.len() + grave.len()).max(1);
    let suite = escaped(&format!("tenantctl {}", notices.command));
    let counts = format!(
        "tests=\"{tests}\" failures=\"{failed}\" errors=\"{}\" skipped=\"{skipped}\"",
        grave.len()
    );
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"{suite}\" {counts}>\n  \
         <testsuite name=\"{suite}\" {counts}>\n"
    );
    if notices.all.is_empty() && grave.is_empty() {
        xml.push_str(&format!("    <testcase classname=\"{suite}\" name=\"no findings\"/>\n"));
    }
    for notice in &notices.all {
        let name = escaped(&format!("{} at {}", notice.rule, notice.place.label()));
        let class = escaped(&notice.place.subject());
        let message = escaped(notice.message);
        let shown = notice.reproduce.map_or_else(String::new, |sql| format!("\nreproduce:\n{sql}"));
        let text = escaped(&format!(
            "{}: {}\n{}\nfix: {}{shown}",
            notice.severity,
            notice.place.label(),
            notice.message,
            notice.fix
        ));
        let body = if let Some(suppression) = notice.suppressed {
            let why = escaped(&justification(suppression));
            format!("<skipped message=\"{why}\"/>")
        } else if notice.severity >= notices.fail_on {
            let rule = notice.rule;
            format!("<failure type=\"{rule}\" message=\"{message}\">{text}</failure>")
        } else {
            format!("<system-out>{text}</system-out>")
        };
        xml.push_str(&format!(
            "    <testcase classname=\"{class}\" name=\"{name}\">\n      {body}\n    </testcase>\n"
        ));
    }
    for remark in grave {
        let (name, message) = (escaped(remark.title), escaped(&remark.message));
        xml.push_str(&format!(
            "    <testcase classname=\"{suite}\" name=\"{name}: {message}\">\n      <error type=\"{name}\" message=\"{message}\"/>\n    </testcase>\n"
        ));
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

/// Text that XML takes: what it has no character for is left out.
fn escaped(text: &str) -> String {
    let mut xml = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\n' | '\t' => xml.push(character),
            character if character.is_control() => {}
            character => xml.push(character),
        }
    }
    xml
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xml_is_escaped() {
        assert_eq!(escaped("a<b> & \"c\"\u{1b}[0m"), "a&lt;b&gt; &amp; &quot;c&quot;[0m");
    }
}
