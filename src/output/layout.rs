//! How answers are laid out: tables, and text that is broken at blanks.

use comfy_table::{ContentArrangement, Table, presets};

use super::style::Style;
use crate::model::migration::Version;

/// A table without lines, as wide as its content and no wider than the screen.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>, style: &Style) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(u16::try_from(style.width).unwrap_or(80))
        .set_header(header.iter().map(|name| name.to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text: String = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    if let Some(end) = text.find('\n') {
        let header = style.faint(&text[..end]);
        text.replace_range(..end, &header);
    }
    text
}

pub(super) fn version(version: Option<Version>) -> String {
    version.map_or_else(|| "-".to_owned(), |version| format!("V{version}"))
}

/// Text broken at blanks, so that it fits the screen.
pub(super) fn wrapped(text: &str, indent: usize, style: &Style) -> String {
    let mut lines = String::new();
    for paragraph in text.lines() {
        let mut line = " ".repeat(indent);
        for word in paragraph.split(' ') {
            let begun = !line.trim_start().is_empty();
            if begun && line.chars().count() + 1 + word.chars().count() > style.width {
                lines.push_str(&line);
                lines.push('\n');
                line = " ".repeat(indent);
            } else if begun {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push_str(&line);
        lines.push('\n');
    }
    lines
}
