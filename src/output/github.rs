//! Commands by which GitHub Actions marks lines of a pull request.

use super::notice::{Notices, Place};
use crate::model::severity::Severity;

pub(super) fn render(notices: &Notices<'_>) -> String {
    let mut text = String::new();
    for notice in notices.open() {
        let level = match notice.severity {
            _ if notice.fails(notices.fail_on) => "error",
            Severity::Critical | Severity::High | Severity::Medium => "warning",
            Severity::Low | Severity::Info => "notice",
        };
        let mut properties = match &notice.place {
            Place::File { path, line, column, end_column } => format!(
                "file={},line={line},col={column},endColumn={end_column},",
                property(path.strip_prefix("./").unwrap_or(path))
            ),
            Place::Object { .. } => String::new(),
        };
        properties.push_str(&format!("title={}", property(notice.rule)));
        let mut message = format!("{}\nfix: {}", notice.message, notice.fix);
        if let Place::Object { .. } = &notice.place {
            message = format!("{}: {message}", notice.place.label());
        }
        text.push_str(&format!("::{level} {properties}::{}\n", escaped(&message)));
    }
    for remark in &notices.remarks {
        let level = if remark.grave { "error" } else { "notice" };
        let (title, message) = (property(remark.title), escaped(&remark.message));
        text.push_str(&format!("::{level} title={title}::{message}\n"));
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    escaped(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_command_is_escaped() {
        assert_eq!(escaped("100 %\nof it: a, b"), "100 %25%0Aof it: a, b");
        assert_eq!(property("a:b,c"), "a%3Ab%2Cc");
    }
}
