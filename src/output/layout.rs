//! How answers are laid out: tables, and text that is broken at blanks.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};
use console::measure_text_width;

use super::style::Style;
use crate::model::migration::Version;

/// So wide is a moment: 2026-01-02T03:04:05Z.
const MOMENT: usize = 20;

/// A table without lines, as wide as its content and no wider than the screen.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>, style: &Style) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(u16::try_from(style.width).unwrap_or(80))
        .set_header(header.iter().map(|name| name.to_uppercase()));
    // A moment is read as one.
    let moment = |cell: &String| cell.len() == MOMENT && cell.contains('T') && cell.ends_with('Z');
    let whole: Vec<bool> = (0..header.len())
        .map(|at| rows.iter().all(|row| row.get(at).is_some_and(moment)))
        .collect();
    for row in rows {
        table.add_row(row);
    }
    for (column, whole) in table.column_iter_mut().zip(whole) {
        column.set_padding((0, 2));
        if whole {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
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
    hanging(&" ".repeat(indent), text, indent, style)
}

/// Text behind a head, broken at blanks, its other lines indented by so many columns.
pub(super) fn hanging(head: &str, text: &str, indent: usize, style: &Style) -> String {
    let mut lines = String::new();
    for (at, paragraph) in text.lines().enumerate() {
        let mut line = if at == 0 { head.to_owned() } else { " ".repeat(indent) };
        let mut begun = false;
        for word in paragraph.split(' ') {
            let with_it = measure_text_width(&line) + 1 + measure_text_width(word);
            if begun && with_it > style.width {
                lines.push_str(&line);
                lines.push('\n');
                line = " ".repeat(indent);
            } else if begun {
                line.push(' ');
            }
            line.push_str(word);
            begun |= !word.is_empty();
        }
        lines.push_str(&line);
        lines.push('\n');
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_hangs_behind_its_head_and_colour_takes_no_room() {
        let style = Style::new(true, 40);
        let head = format!("{}: ", style.attention("note"));
        let text = hanging(&head, "a function names what is called otherwise by now", 2, &style);
        let plain = console::strip_ansi_codes(&text).into_owned();
        assert_eq!(plain, "note: a function names what is called\n  otherwise by now\n");
    }
}
