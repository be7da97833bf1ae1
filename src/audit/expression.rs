//! Whether a policy's condition, as the server prints it, ties rows to the current tenant.
//!
//! Promises to refuse what is visibly open: a constant, an alternative that forgets the tenant, a
//! negation, a comparison of the tenant column with itself. It is a reader of shapes and no prover:
//! what only an evaluation can tell is left to the live probe.

use std::collections::BTreeSet;

/// What a condition must mention to be tied to the tenant.
#[derive(Debug)]
pub(super) struct Binding<'a> {
    /// The table, as conditions with a subquery qualify its columns.
    pub(super) table: &'a str,
    /// The tenant column.
    pub(super) column: &'a str,
    /// The setting that holds the tenant.
    pub(super) setting: &'a str,
    /// Functions that read that setting, by name.
    pub(super) functions: &'a BTreeSet<String>,
    /// Functions that read who is asking in another way, by name.
    pub(super) identities: &'a BTreeSet<String>,
    /// Constants that name the tenant, where the policy is for one tenant's roles only.
    pub(super) keys: Vec<&'a str>,
    /// Each tenant has a role of its own, so that `CURRENT_USER` names the tenant.
    pub(super) role_is_tenant: bool,
    /// Rows without a tenant are common, for no tenant can make any.
    pub(super) null_is_common: bool,
    /// Who asks, when that is known: its name, and the roles that it is a member of.
    pub(super) asker: Option<(&'a str, BTreeSet<&'a str>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Quoted(String),
    Text(String),
    Sign(String),
}

impl Token {
    fn is_word(&self, word: &str) -> bool {
        matches!(self, Self::Word(own) if own.eq_ignore_ascii_case(word))
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(self, Self::Sign(own) if own == sign)
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::Word(name) | Self::Quoted(name) => Some(name),
            Self::Text(_) | Self::Sign(_) => None,
        }
    }
}

impl Binding<'_> {
    /// Whether every row that the condition admits is the current tenant's, as far as its shape says.
    pub(super) fn holds(&self, condition: &str) -> bool {
        self.tied(&tokens(condition), Self::mentions)
    }

    /// The same for a table without the tenant column, which must ask another table or a function.
    pub(super) fn refers(&self, condition: &str) -> bool {
        self.tied(&tokens(condition), Self::asks_elsewhere)
    }

    /// Whether each part of a query filters by the tenant, as far as its shape says; one that begins
    /// with WITH is not read.
    pub(super) fn filters(&self, query: &str) -> bool {
        let query = tokens(query.trim_end().trim_end_matches(';'));
        if query.first().is_some_and(|first| first.is_word("with")) {
            return true;
        }
        let mut parts = vec![query.as_slice()];
        for word in ["union", "intersect", "except"] {
            parts = parts.into_iter().flat_map(|part| split(part, word)).collect();
        }
        parts.into_iter().all(|part| {
            let part = unwrapped(part);
            let Some(filter) = split(part, "where").into_iter().nth(1) else {
                // What a query selects from may be filtered inside.
                return part.iter().any(|token| token.is_word("where"));
            };
            let ends = ["group", "order", "limit", "having", "window", "offset", "for"];
            let filter = ends.iter().fold(filter, |filter, word| split(filter, word)[0]);
            self.tied(filter, Self::mentions)
        })
    }

    fn tied(&self, condition: &[Token], leaf: fn(&Self, &[Token]) -> bool) -> bool {
        let condition = unwrapped(condition);
        let alternatives = split(condition, "or");
        if alternatives.len() > 1 {
            return alternatives.iter().all(|part| self.tied(part, leaf));
        }
        let demands = split(condition, "and");
        if demands.len() > 1 {
            return demands.iter().any(|part| self.tied(part, leaf));
        }
        match condition.first() {
            None => false,
            Some(first) if first.is_word("not") => {
                // What is not different is equal.
                equality(unwrapped(&condition[1..])).is_some_and(|equal| leaf(self, &equal))
            }
            Some(first) if first.is_word("case") => branches(condition).iter().all(|(when, then)| {
                let closed = matches!(unwrapped(then), [only] if only.is_word("false") || only.is_word("null"));
                closed || self.tied(then, leaf) || self.tied(when, leaf)
            }),
            Some(_) => leaf(self, condition) || self.closed(condition),
        }
    }

    /// Whether a condition asks for a role that whoever asks is not: then it admits nothing.
    fn closed(&self, atom: &[Token]) -> bool {
        let Some((name, reached)) = &self.asker else { return false };
        let texts: Vec<&str> = atom
            .iter()
            .filter_map(
                |token| if let Token::Text(text) = token { Some(text.as_str()) } else { None },
            )
            .collect();
        let says = |word: &str| atom.iter().any(|token| token.is_word(word));
        // Whatever else stands there may be anything.
        let known = ["pg_has_role", "current_user", "name", "text", "any", "array"];
        let mut names = atom.iter().filter_map(Token::name);
        if !names.all(|name| known.iter().any(|word| name.eq_ignore_ascii_case(word))) {
            return false;
        }
        let [first, ..] = texts[..] else { return false };
        if says("pg_has_role") {
            return !reached.contains(first);
        }
        let equals = atom.iter().any(|token| token.is_sign("="));
        equals && says("current_user") && texts.iter().all(|text| text != name)
    }

    /// Judges a condition without AND and OR at its top.
    fn mentions(&self, atom: &[Token]) -> bool {
        if self.null_is_common && self.own_columns(atom) == 1 {
            let asks = |word: &str| atom.iter().any(|token| token.is_word(word));
            if atom.len() <= 5 && asks("is") && asks("null") && !asks("not") {
                return true;
            }
        }
        // A SELECT without FROM only has the planner evaluate its value once.
        let subquery = ["select", "from"].iter().all(|word| atom.iter().any(|t| t.is_word(word)));
        let inverted = ["<>", "<", ">", "<=", ">=", "~~", "~", "~*", "~~*", "!~", "!~~"];
        if !subquery && inverted.iter().any(|sign| atom.iter().any(|token| token.is_sign(sign))) {
            return false;
        }
        let own = self.own_columns(atom);
        // Where roles are tenants, a row that names its role names its tenant.
        if own == 0 && self.role_is_tenant && !subquery && names_role(atom) {
            return true;
        }
        // Compared with something made of itself, the column says nothing: coalesce(…, tenant_id).
        if own == 0 || (own > 1 && !subquery) {
            return false;
        }
        let equals = atom.iter().any(|token| token.is_sign("=")) || compares_whole(atom);
        // Which roles one has is asked of the row: the row's own role is its tenant.
        let has =
            atom.windows(2).any(|pair| pair[0].is_word("pg_has_role") && pair[1].is_sign("("));
        if has && self.role_is_tenant && atom.iter().any(|token| token.is_word("current_user")) {
            return true;
        }
        let calls = |names: &BTreeSet<String>| {
            atom.windows(2).any(|pair| {
                pair[1].is_sign("(") && pair[0].name().is_some_and(|name| names.contains(name))
            })
        };
        let reads = calls(self.functions)
            || atom.iter().any(|token| match token {
                Token::Text(text) => {
                    text.eq_ignore_ascii_case(self.setting) || self.keys.contains(&text.as_str())
                }
                _ => self.role_is_tenant && token.is_word("current_user"),
            });
        let asks = ["current_setting", "current_user", "session_user"]
            .iter()
            .any(|word| atom.iter().any(|token| token.is_word(word)));
        match (equals, subquery) {
            (true, false) => reads || (self.role_is_tenant && calls(self.identities)),
            // A membership table, or a function that is handed the tenant: it need not be the setting.
            (_, true) => equals && (reads || asks || calls(self.identities)),
            (false, false) => calls(self.functions) || calls(self.identities),
        }
    }

    /// Judges such a condition of a table without the tenant column: it asks a table with a row of its
    /// own in hand, or somebody who knows who is asking.
    fn asks_elsewhere(&self, atom: &[Token]) -> bool {
        let calls = |names: &BTreeSet<String>| {
            atom.windows(2).any(|pair| {
                pair[1].is_sign("(") && pair[0].name().is_some_and(|name| names.contains(name))
            })
        };
        let subquery = ["select", "from"].iter().all(|word| atom.iter().any(|t| t.is_word(word)));
        if subquery {
            let own = atom
                .windows(2)
                .any(|pair| pair[0].name() == Some(self.table) && pair[1].is_sign("."));
            let left = atom.first().is_some_and(|t| !t.is_word("exists") && t.name().is_some())
                || atom.first().is_some_and(|t| t.is_sign("("));
            return own || left;
        }
        let reads = atom.iter().any(
            |token| matches!(token, Token::Text(text) if text.eq_ignore_ascii_case(self.setting)),
        );
        calls(self.functions) || calls(self.identities) || reads
    }

    /// How often the table's own tenant column stands there: bare, or qualified by the table. What a
    /// subquery calls its answer is no column, and neither is a function of that name.
    fn own_columns(&self, atom: &[Token]) -> usize {
        (0..atom.len())
            .filter(|&at| {
                atom[at].name() == Some(self.column)
                    && !at.checked_sub(1).is_some_and(|before| atom[before].is_word("as"))
                    && !atom.get(at + 1).is_some_and(|next| next.is_sign("("))
                    && match at.checked_sub(2).map(|from| &atom[from..at]) {
                        Some([owner, dot]) if dot.is_sign(".") => {
                            self.table.is_empty() || owner.name() == Some(self.table)
                        }
                        _ => true,
                    }
            })
            .count()
    }
}

/// `login = CURRENT_USER`, either way around.
fn names_role(atom: &[Token]) -> bool {
    let role = |token: &Token| token.is_word("current_user");
    let others = ["<", ">", "||", "<=", ">=", "<>"];
    atom.iter().any(|token| token.is_sign("="))
        && atom.iter().filter(|token| role(token)).count() == 1
        && !atom.iter().any(|token| matches!(token, Token::Text(_)))
        && !others.iter().any(|sign| atom.iter().any(|token| token.is_sign(sign)))
        && atom.iter().any(|token| {
            token.name().is_some_and(|name| !role(token) && !["text", "name"].contains(&name))
        })
}

/// Whether a prefix is asked for that ends with a separator on both sides, so that it is a whole key:
/// `starts_with(a || '/', b || '/')`.
fn compares_whole(atom: &[Token]) -> bool {
    let ends: Vec<&str> = atom
        .windows(2)
        .filter(|pair| pair[0].is_sign("||"))
        .filter_map(|pair| match &pair[1] {
            Token::Text(text) if !text.is_empty() => Some(text.as_str()),
            _ => None,
        })
        .collect();
    let prefix = atom.windows(2).any(|p| p[0].is_word("starts_with") && p[1].is_sign("("));
    prefix && matches!(ends[..], [first, second] if first == second)
}

/// `a = b` for `a <> b` and for `a IS DISTINCT FROM b`, where nothing else stands.
fn equality(condition: &[Token]) -> Option<Vec<Token>> {
    let equals = Token::Sign("=".to_owned());
    if split(condition, "and").len() > 1 || split(condition, "or").len() > 1 {
        return None;
    }
    if let Some(at) = condition.iter().position(|token| token.is_sign("<>")) {
        let mut equal = condition.to_vec();
        equal[at] = equals;
        return Some(equal);
    }
    let words = ["is", "distinct", "from"];
    let at = condition
        .windows(3)
        .position(|three| three.iter().zip(words).all(|(token, word)| token.is_word(word)))?;
    let mut equal = condition.to_vec();
    equal.splice(at..at + 3, [equals]);
    Some(equal)
}

/// The branches of a CASE: when, and what then. ELSE has no condition; a CASE on a value is not read.
fn branches(condition: &[Token]) -> Vec<(&[Token], &[Token])> {
    let mut found = Vec::new();
    let (mut depth, mut when, mut then): (i32, Option<usize>, Option<usize>) = (0, None, None);
    let none: &[Token] = &[];
    for (at, token) in condition.iter().enumerate() {
        if token.is_sign("(") || token.is_word("case") {
            depth += 1;
        } else if token.is_sign(")") {
            depth -= 1;
        }
        let ends = token.is_word("end");
        if depth == 1 && (token.is_word("when") || token.is_word("else") || ends) {
            if let (Some(from), Some(then)) = (when, then) {
                let asked = if from == then { none } else { &condition[from + 1..then] };
                found.push((asked, &condition[then + 1..at]));
            }
            when = Some(at);
            then = token.is_word("else").then_some(at);
        } else if depth == 1 && token.is_word("then") {
            then = Some(at);
        }
        if ends {
            depth -= 1;
        }
    }
    // A value stands between CASE and WHEN.
    match condition.get(1) {
        Some(first) if first.is_word("when") => found,
        _ => vec![(none, none)],
    }
}

/// The condition without the parentheses around all of it.
fn unwrapped(mut condition: &[Token]) -> &[Token] {
    while let [first, inner @ .., last] = condition {
        if !(first.is_sign("(") && last.is_sign(")")) {
            break;
        }
        let mut depth = 0_i32;
        let closes_early = inner.iter().any(|token| {
            depth += i32::from(token.is_sign("(")) - i32::from(token.is_sign(")"));
            depth < 0
        });
        if closes_early {
            break;
        }
        condition = inner;
    }
    condition
}

/// The parts between a word at the top level.
fn split<'t>(condition: &'t [Token], word: &str) -> Vec<&'t [Token]> {
    let mut depth = 0_i32;
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, token) in condition.iter().enumerate() {
        if token.is_sign("(") || token.is_word("case") {
            depth += 1;
        } else if token.is_sign(")") || token.is_word("end") {
            depth -= 1;
        } else if depth == 0 && token.is_word(word) {
            parts.push(&condition[start..at]);
            start = at + 1;
        }
    }
    parts.push(&condition[start..]);
    parts
}

fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(&next) = rest.peek() {
        if next.is_whitespace() {
            rest.next();
        } else if next == '\'' || next == '"' {
            rest.next();
            let mut inside = String::new();
            while let Some(c) = rest.next() {
                if c == next && rest.next_if_eq(&next).is_none() {
                    break;
                }
                inside.push(c);
            }
            found.push(if next == '"' { Token::Quoted(inside) } else { Token::Text(inside) });
        } else if next.is_alphanumeric() || next == '_' {
            let mut word = String::new();
            while let Some(c) = rest.next_if(|c| c.is_alphanumeric() || *c == '_' || *c == '$') {
                word.push(c);
            }
            found.push(Token::Word(word));
        } else if "()[],.;".contains(next) {
            rest.next();
            found.push(Token::Sign(next.to_string()));
        } else {
            let mut sign = String::new();
            while let Some(c) = rest.next_if(|c| {
                !c.is_whitespace() && !c.is_alphanumeric() && !"_()[],.;'\"".contains(*c)
            }) {
                sign.push(c);
            }
            found.push(Token::Sign(sign));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: &str = "NULLIF(current_setting('app.tenant_id'::text, true), ''::text)";

    fn holds(condition: &str) -> bool {
        let functions = BTreeSet::from(["current_tenant_id".to_owned()]);
        let identities = BTreeSet::from(["may_see".to_owned()]);
        let binding = Binding {
            table: "notes",
            column: "tenant_id",
            setting: "app.tenant_id",
            functions: &functions,
            identities: &identities,
            keys: Vec::new(),
            role_is_tenant: false,
            null_is_common: false,
            asker: None,
        };
        binding.holds(&condition.replace("CTX", SET))
    }

    #[test]
    fn the_usual_forms_are_tied() {
        for condition in [
            "(tenant_id = (CTX)::uuid)",
            "(tenant_id = ( SELECT (CTX)::uuid AS \"nullif\"))",
            "((tenant_id)::text = current_setting('app.tenant_id'::text))",
            "(tenant_id = app.current_tenant_id())",
            "((tenant_id = ( SELECT app.current_tenant_id() AS c)) AND (deleted_at IS NULL))",
            "((deleted OR (x = 1)) AND (tenant_id = (CTX)::uuid))",
            "app.may_see(tenant_id)",
            "(NOT (tenant_id <> (CTX)::uuid))",
            "starts_with(((tenant_id)::text || '/'::text), (CTX || '/'::text))",
            "(NOT (tenant_id IS DISTINCT FROM (CTX)::uuid))",
            "CASE WHEN (x = 1) THEN (tenant_id = (CTX)::uuid) WHEN (tenant_id = (CTX)::uuid) THEN true ELSE false END",
            "(tenant_id = ( SELECT app.current_tenant_id() AS tenant_id))",
            "(tenant_id = tenant_id(CTX))",
            "(ROW(tenant_id, true) = ROW(( SELECT app.current_tenant_id() AS tenant_id), true))",
            "(tenant_id IN ( SELECT m.tenant_id FROM app.members m WHERE (m.who = CURRENT_USER)))",
        ] {
            assert!(holds(condition), "{condition}");
        }
    }

    #[test]
    fn open_conditions_are_not() {
        for condition in [
            "true",
            "(tenant_id = tenant_id)",
            "(tenant_id <> (CTX)::uuid)",
            "(NOT (tenant_id = (CTX)::uuid))",
            "((tenant_id = (CTX)::uuid) OR (CTX IS NULL))",
            "((tenant_id = (CTX)::uuid) OR (tenant_id IS NULL))",
            "((tenant_id = (CTX)::uuid) AND (a = 1)) OR (b = 2)",
            "(tenant_id = COALESCE((CTX)::uuid, tenant_id))",
            "(CTX IS NOT NULL)",
            "(created_at > now())",
            "(tenant_id = ( SELECT (current_setting('app.other'::text, true))::uuid AS c))",
            "(tenant_id = ( SELECT COALESCE((CTX)::uuid, notes.tenant_id) AS c))",
            "(tenant_id = (current_setting('app.other'::text, true))::uuid)",
            "((tenant_id)::text ~~ (CTX || '%'::text))",
            "(tenant_id = '11111111-1111-1111-1111-111111111111'::uuid)",
            "CASE WHEN (tenant_id = (CTX)::uuid) THEN true ELSE true END",
            "CASE WHEN (x = 1) THEN (tenant_id = (CTX)::uuid) ELSE (y = 2) END",
            "CASE x WHEN 1 THEN (tenant_id = (CTX)::uuid) ELSE false END",
            "(NOT ((tenant_id <> (CTX)::uuid) AND (x = 1)))",
            "starts_with((tenant_id)::text, CTX)",
            "starts_with(((tenant_id)::text || '/'::text), CTX)",
            "(EXISTS ( SELECT 1 FROM app.tenants t WHERE (t.tenant_id = (CTX)::uuid)))",
        ] {
            assert!(!holds(condition), "{condition}");
        }
    }

    #[test]
    fn a_role_that_the_asker_is_not_opens_nothing() {
        let none = BTreeSet::new();
        let holds = |condition: &str, role_is_tenant| {
            let binding = Binding {
                table: "notes",
                column: "tenant_id",
                setting: "app.tenant_id",
                functions: &none,
                identities: &none,
                keys: Vec::new(),
                role_is_tenant,
                null_is_common: false,
                asker: Some(("app_rw", BTreeSet::from(["app_rw", "desk"]))),
            };
            binding.holds(condition)
        };
        for closed in [
            "pg_has_role(CURRENT_USER, 'ops'::name, 'MEMBER'::text)",
            "pg_has_role('ops'::name, 'USAGE'::text)",
            "(CURRENT_USER = 'ops'::name)",
            "(CURRENT_USER = ANY (ARRAY['ops'::name, 'dba'::name]))",
        ] {
            assert!(holds(closed, false), "{closed}");
        }
        for open in [
            "pg_has_role(CURRENT_USER, 'desk'::name, 'MEMBER'::text)",
            "pg_has_role(SESSION_USER, 'ops'::name, 'MEMBER'::text)",
            "pg_has_role(CURRENT_USER, keeper, 'MEMBER'::text)",
            "(CURRENT_USER = 'app_rw'::name)",
            "(CURRENT_USER <> 'ops'::name)",
            "(NOT pg_has_role(CURRENT_USER, 'ops'::name, 'MEMBER'::text))",
            "(login = CURRENT_USER)",
        ] {
            assert!(!holds(open, false), "{open}");
        }
        assert!(holds("(login = CURRENT_USER)", true));
        assert!(!holds("(login <> CURRENT_USER)", true));
    }

    #[test]
    fn a_view_is_read_part_by_part() {
        let functions = BTreeSet::from(["current_tenant_id".to_owned()]);
        let none = BTreeSet::new();
        let binding = Binding {
            table: "",
            column: "tenant_id",
            setting: "app.tenant_id",
            functions: &functions,
            identities: &none,
            keys: Vec::new(),
            role_is_tenant: false,
            null_is_common: false,
            asker: None,
        };
        let filters = |query: &str| binding.filters(query);
        let mine = "SELECT n.id FROM app.notes n WHERE ((n.tenant_id = app.current_tenant_id()) AND (n.x > 1)) ORDER BY n.id;";
        assert!(filters(mine));
        assert!(!filters("SELECT n.id, app.current_tenant_id() AS me FROM app.notes n;"));
        assert!(!filters(
            "SELECT n.id FROM app.notes n WHERE ((n.tenant_id = app.current_tenant_id()) OR n.shared);"
        ));
        assert!(!filters(&format!("SELECT o.id FROM app.old o UNION ALL {mine}")));
    }

    #[test]
    fn a_table_without_the_column_must_ask_with_a_row_in_hand() {
        let refers = |condition: &str| {
            let (functions, none) =
                (BTreeSet::from(["current_tenant_id".to_owned()]), BTreeSet::new());
            Binding {
                table: "lines",
                column: "tenant_id",
                setting: "app.tenant_id",
                functions: &functions,
                identities: &none,
                keys: Vec::new(),
                role_is_tenant: false,
                null_is_common: false,
                asker: None,
            }
            .refers(condition)
        };
        assert!(refers("(EXISTS ( SELECT 1 FROM app.notes n WHERE (n.id = lines.note_id)))"));
        assert!(refers("(note_id IN ( SELECT notes.id FROM app.notes))"));
        assert!(!refers(
            "(EXISTS ( SELECT 1 FROM app.notes n WHERE (n.tenant_id = app.current_tenant_id())))"
        ));
        assert!(!refers("true"));
        assert!(!refers("(note_id IS NOT NULL)"));
    }

    #[test]
    fn rows_without_a_tenant_may_be_common() {
        let common = |condition: &str| {
            let none = BTreeSet::new();
            Binding {
                table: "notes",
                column: "tenant_id",
                setting: "app.tenant_id",
                functions: &none,
                identities: &none,
                keys: Vec::new(),
                role_is_tenant: false,
                null_is_common: true,
                asker: None,
            }
            .holds(&condition.replace("CTX", SET))
        };
        assert!(common("((tenant_id IS NULL) OR (tenant_id = (CTX)::uuid))"));
        assert!(!common("((tenant_id IS NOT NULL) OR (tenant_id = (CTX)::uuid))"));
        assert!(!common("((CTX IS NULL) OR (tenant_id = (CTX)::uuid))"));
    }

    #[test]
    fn quoted_text_does_not_pass_for_syntax() {
        assert!(holds("((tenant_id = (CTX)::uuid) AND (kind = 'a'' OR b'::text))"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_reader_stumble(text in ".{0,80}") {
            let _ = holds(&text);
        }

        #[test]
        fn an_open_alternative_opens_whatever_it_stands_beside(text in "[a-z0-9_ ()=']{0,40}") {
            let balanced = text.replace(['(', ')', '\''], "");
            let open = format!("(({balanced}) OR true)");
            proptest::prop_assert!(!holds(&open), "{open}");
        }
    }
}
