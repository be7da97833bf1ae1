//! `erase`.

use serde_json::{Value, json};

use super::json::FORMAT;
use super::layout::table;
use super::progress::duration;
use super::style::Style;
use crate::model::count;
use crate::model::erasure::Fate;
use crate::model::ident::Ident;
use crate::report::Erasing;

fn rows(number: u64) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), "row")
}

pub(super) fn human(answer: &Erasing, style: &Style) -> String {
    let id = style.strong(answer.tenant.as_str());
    if answer.deleted() + answer.nulled() == 0 {
        return format!("nothing to do: no row of tenant {id} is meant by {}\n", answer.file);
    }
    let lines = answer
        .tables
        .iter()
        .filter(|table| table.rows.deleted + table.rows.nulled > 0)
        .map(|table| {
            vec![
                table.name.name.as_str().to_owned(),
                table.rows.before.to_string(),
                table.rows.meant.to_string(),
                table.rows.deleted.to_string(),
                table.rows.nulled.to_string(),
                table.rows.after.to_string(),
            ]
        })
        .collect();
    let header = ["table", "before", "meant", "deleted", "let go", "after"];
    let mut text = table(&header, lines, style);
    for link in answer.links.iter().filter(|link| link.rows > 0) {
        let fate = match link.fate {
            Some(Fate::Delete) => "deleted",
            Some(Fate::SetNull) => "let go",
            None => "undecided",
        };
        text.push_str(&format!(
            "  {} of {} {fate}: they refer to {} by {}\n",
            rows(link.rows),
            link.from.name,
            link.to.name,
            link.key
        ));
    }
    for table in
        answer.tables.iter().filter(|table| !table.triggers.is_empty() && table.rows.deleted > 0)
    {
        let names: Vec<&str> = table.triggers.iter().map(Ident::as_str).collect();
        text.push_str(&format!(
            "{}: triggers of {} fire: {}; what they write down of a row is meant only if {} says so\n",
            style.attention("note"),
            table.name.name,
            names.join(", "),
            answer.file
        ));
    }
    let what = format!("{} of tenant {id}", rows(answer.deleted()));
    let gone = match answer.nulled() {
        0 => String::new(),
        number => format!(", {} let go", rows(number)),
    };
    if answer.dry_run {
        text.push_str(&format!("{what} to be erased{gone}; nothing is done\n"));
    } else {
        text.push_str(&format!("erased {what}{gone} in {}\n", duration(answer.took)));
        text.push_str(&format!("  {:<10} {}\n", "receipt", answer.receipt()));
    }
    text
}

pub(super) fn document(answer: &Erasing) -> Value {
    let tables: Vec<Value> = answer
        .tables
        .iter()
        .map(|table| {
            json!({
                "schema": table.name.schema.as_str(),
                "table": table.name.name.as_str(),
                "before": table.rows.before,
                "meant": table.rows.meant,
                "deleted": table.rows.deleted,
                "let_go": table.rows.nulled,
                "after": table.rows.after,
                "triggers": table.triggers.iter().map(Ident::as_str).collect::<Vec<_>>(),
            })
        })
        .collect();
    let keys: Vec<Value> = answer
        .links
        .iter()
        .map(|link| {
            json!({
                "key": link.key.as_str(),
                "from": link.from.name.as_str(),
                "to": link.to.name.as_str(),
                "fate": link.fate.map(Fate::word),
                "rows": link.rows,
            })
        })
        .collect();
    json!({
        "format": FORMAT,
        "tenant": answer.tenant.as_str(),
        "uuid": answer.uuid.to_string(),
        "dry_run": answer.dry_run,
        "where_file": answer.file,
        "where_file_sha256": answer.file_digest,
        "deleted": answer.deleted(),
        "let_go": answer.nulled(),
        "tables": tables,
        "keys": keys,
        "receipt": (!answer.dry_run).then(|| answer.receipt()),
    })
}
