//! `migrate new` for people and as JSON.

use serde_json::{Value, json};

use super::style::Style;
use crate::report::NewMigration;

pub(super) fn json(answer: &NewMigration) -> Value {
    let isolations: Vec<&str> = answer.isolations.iter().map(|model| model.word()).collect();
    json!({
        "format": super::json::FORMAT,
        "path": answer.path,
        "version": answer.version.0,
        "isolations": isolations,
    })
}

pub(super) fn human(answer: &NewMigration, style: &Style) -> String {
    let path = answer.path.display().to_string();
    format!(
        "wrote {}\nnext: write its SQL, then\n  tenantctl migrate lint {path}\n  tenantctl migrate up --check\n",
        style.strong(&path)
    )
}
