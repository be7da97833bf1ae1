//! `ALTER`: each action has a lock of its own, and the strongest one counts.

use super::{Cursor, Effect, Hazard, Mode};

/// Functions whose value differs from row to row: as a default of a new column they are stored in
/// every row. Any other function may be such a one, too.
const STABLE: [&str; 12] = [
    "NOW",
    "CURRENT_TIMESTAMP",
    "LOCALTIMESTAMP",
    "TRANSACTION_TIMESTAMP",
    "STATEMENT_TIMESTAMP",
    "CURRENT_SETTING",
    "CURRENT_DATABASE",
    "CURRENT_SCHEMA",
    "LOWER",
    "UPPER",
    "COALESCE",
    "NULLIF",
];

pub(super) fn judge(at: &mut Cursor<'_, '_>, effect: &mut Effect) {
    at.skip(&["FOREIGN"]);
    if at.skip(&["TABLE"]) {
        return table(at, effect);
    }
    if at.skip(&["MATERIALIZED", "VIEW"]) || at.skip(&["VIEW"]) {
        at.skip(&["IF", "EXISTS"]);
        effect.lock(at.name(), Mode::AccessExclusive);
    } else if at.skip(&["INDEX"]) {
        at.skip(&["IF", "EXISTS"]);
        let mode =
            if at.has("TABLESPACE") { Mode::AccessExclusive } else { Mode::ShareUpdateExclusive };
        effect.lock(at.name(), mode);
    } else if at.skip(&["SEQUENCE"]) {
        at.skip(&["IF", "EXISTS"]);
        effect.lock(at.name(), Mode::ShareRowExclusive);
    } else if at.skip(&["POLICY"]) || at.skip(&["TRIGGER"]) || at.skip(&["RULE"]) {
        at.past("ON");
        effect.lock(at.name(), Mode::AccessExclusive);
    } else if at.skip(&["DOMAIN"]) && at.has("ADD") && !at.has_all(&["NOT", "VALID"]) {
        effect.locks_unnamed = true;
        effect.hazard(Hazard::FullScan);
    }
}

fn table(at: &mut Cursor<'_, '_>, effect: &mut Effect) {
    at.skip(&["IF", "EXISTS"]);
    at.skip(&["ONLY"]);
    let Some(table) = at.name() else {
        // ALTER TABLE ALL IN TABLESPACE …
        return effect.hazard(Hazard::Unknown);
    };
    at.symbol(b'*');
    for mut action in at.parts() {
        let mode = self::action(&mut action, effect);
        effect.lock(Some(table.clone()), mode);
    }
}

/// The lock of one action; what else it does goes into the effect.
fn action(at: &mut Cursor<'_, '_>, effect: &mut Effect) -> Mode {
    match at.word().as_str() {
        "ADD" => add(at, effect),
        "DROP" => {
            if !at.skip(&["CONSTRAINT"]) {
                effect.hazard(Hazard::LosesData);
            }
            Mode::AccessExclusive
        }
        "ALTER" => column(at, effect),
        "VALIDATE" => {
            effect.hazard(Hazard::FullScan);
            Mode::ShareUpdateExclusive
        }
        "ENABLE" | "DISABLE" => {
            let trigger = at.has("TRIGGER");
            if trigger { Mode::ShareRowExclusive } else { Mode::AccessExclusive }
        }
        "CLUSTER" => Mode::ShareUpdateExclusive,
        "SET" | "RESET" => set(at, effect),
        "ATTACH" => {
            at.skip(&["PARTITION"]);
            effect.lock(at.name(), Mode::AccessExclusive);
            effect.hazard(Hazard::FullScan);
            Mode::ShareUpdateExclusive
        }
        "DETACH" => {
            at.skip(&["PARTITION"]);
            effect.lock(at.name(), Mode::AccessExclusive);
            let gently = at.has("CONCURRENTLY") || at.has("FINALIZE");
            if gently { Mode::ShareUpdateExclusive } else { Mode::AccessExclusive }
        }
        _ => Mode::AccessExclusive,
    }
}

fn set(at: &mut Cursor<'_, '_>, effect: &mut Effect) -> Mode {
    if at.symbol(b'(') || at.skip(&["WITHOUT", "CLUSTER"]) {
        return Mode::ShareUpdateExclusive;
    }
    if ["TABLESPACE", "LOGGED", "UNLOGGED", "ACCESS"].iter().any(|word| at.skip(&[word])) {
        effect.hazard(Hazard::Rewrite);
    }
    Mode::AccessExclusive
}

fn add(at: &mut Cursor<'_, '_>, effect: &mut Effect) -> Mode {
    if at.skip(&["CONSTRAINT"]) {
        at.name();
    }
    let unchecked = at.has_all(&["NOT", "VALID"]);
    if at.skip(&["FOREIGN", "KEY"]) {
        for parent in at.names_behind("REFERENCES") {
            effect.lock(Some(parent), Mode::ShareRowExclusive);
        }
        if !unchecked {
            effect.hazard(Hazard::FullScan);
        }
        return Mode::ShareRowExclusive;
    }
    if at.skip(&["CHECK"]) || at.skip(&["NOT", "NULL"]) {
        if !unchecked {
            effect.hazard(Hazard::FullScan);
        }
        return Mode::AccessExclusive;
    }
    if at.skip(&["PRIMARY", "KEY"]) || at.skip(&["UNIQUE"]) || at.skip(&["EXCLUDE"]) {
        if !at.has_all(&["USING", "INDEX"]) || at.has("EXCLUDE") {
            effect.hazard(Hazard::FullScan);
        }
        return Mode::AccessExclusive;
    }
    new_column(at, effect);
    Mode::AccessExclusive
}

fn new_column(at: &mut Cursor<'_, '_>, effect: &mut Effect) {
    at.skip(&["COLUMN"]);
    at.skip(&["IF", "NOT", "EXISTS"]);
    at.name();
    for parent in at.names_behind("REFERENCES") {
        effect.lock(Some(parent), Mode::ShareRowExclusive);
    }
    let serial = ["SERIAL", "BIGSERIAL", "SMALLSERIAL"].iter().any(|word| at.has(word));
    let stored = at.has("GENERATED") && !at.has("VIRTUAL");
    if serial || stored || volatile_default(at) {
        effect.hazard(Hazard::Rewrite);
    }
    let key = at.has_all(&["PRIMARY", "KEY"]) || at.has("UNIQUE");
    if key || at.has("CHECK") || (at.has("REFERENCES") && at.has("DEFAULT")) {
        effect.hazard(Hazard::FullScan);
    }
}

/// Whether a default calls a function that may give every row its own value.
fn volatile_default(at: &Cursor<'_, '_>) -> bool {
    let mut at = at.clone();
    if !at.past("DEFAULT") {
        return false;
    }
    (at.at..at.end).any(|here| {
        let mut before = at.clone();
        before.at = here;
        let name = before.word();
        // A constraint behind the default has parentheses, too.
        let constraint = ["CHECK", "KEY", "UNIQUE", "VARCHAR", "NUMERIC", "CHAR"];
        !name.is_empty()
            && before.is_symbol(before.at, b'(')
            && !STABLE.contains(&name.as_str())
            && !constraint.contains(&name.as_str())
            && !follows_references(&at, here)
    })
}

/// Whether the word here is the table of a foreign key.
fn follows_references(at: &Cursor<'_, '_>, here: usize) -> bool {
    (at.at..here).any(|before| at.is_word(before, "REFERENCES"))
}

fn column(at: &mut Cursor<'_, '_>, effect: &mut Effect) -> Mode {
    if at.skip(&["CONSTRAINT"]) {
        return Mode::ShareRowExclusive;
    }
    at.skip(&["COLUMN"]);
    at.name();
    if at.skip(&["TYPE"]) || at.skip(&["SET", "DATA", "TYPE"]) || at.skip(&["SET", "EXPRESSION"]) {
        effect.hazard(Hazard::Rewrite);
    } else if at.skip(&["SET", "NOT", "NULL"]) {
        effect.hazard(Hazard::FullScan);
    } else if at.skip(&["SET", "STATISTICS"])
        || at.skip(&["RESET"])
        || (at.skip(&["SET"]) && at.symbol(b'('))
    {
        return Mode::ShareUpdateExclusive;
    }
    Mode::AccessExclusive
}
