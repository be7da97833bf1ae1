//! `JUnit` XML, which every CI system shows: a finding at or above the limit is a failed test.

use super::notice::Notices;

pub(super) fn render(notices: &Notices<'_>) -> String {
    let failed = notices.all.iter().filter(|notice| notice.severity >= notices.fail_on).count();
    // Nothing found is one test that passed: an empty file looks like a run that never was.
    let tests = notices.all.len().max(1);
    let suite = escaped(&format!("tenantctl {}", notices.command));
    let counts = format!("tests=\"{tests}\" failures=\"{failed}\" errors=\"0\"");
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"{suite}\" {counts}>\n  \
         <testsuite name=\"{suite}\" {counts}>\n"
    );
    if notices.all.is_empty() {
        xml.push_str(&format!("    <testcase classname=\"{suite}\" name=\"no findings\"/>\n"));
    }
    for notice in &notices.all {
        let name = escaped(&format!("{} at {}", notice.rule, notice.place.label()));
        let class = escaped(&notice.place.subject());
        let message = escaped(notice.message);
        let text = escaped(&format!(
            "{}: {}\n{}\nfix: {}",
            notice.severity,
            notice.place.label(),
            notice.message,
            notice.fix
        ));
        let body = if notice.severity >= notices.fail_on {
            let rule = notice.rule;
            format!("<failure type=\"{rule}\" message=\"{message}\">{text}</failure>")
        } else {
            format!("<system-out>{text}</system-out>")
        };
        xml.push_str(&format!(
            "    <testcase classname=\"{class}\" name=\"{name}\">\n      {body}\n    </testcase>\n"
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
