//! Values that a column might take: what its type allows, what its name suggests, and what the
//! constraints that speak of it mention.
//!
//! Promises to list the most likely first and not to list many. Whether a value will do is for the
//! server to say.

use uuid::Uuid;

use super::pattern;

/// What is known about a column besides its name.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    /// The type under a domain, with modifiers; of an array, with its brackets.
    pub(super) type_name: String,
    /// `c` when it is a row of columns of its own, `r` a range, `m` a multirange.
    pub(super) letter: char,
    /// The labels, when it is an enum or an array of one.
    pub(super) labels: Vec<String>,
}

/// What constraints mention, as material for values.
#[derive(Clone, Debug, Default)]
pub(super) struct Clues {
    texts: Vec<String>,
    patterns: Vec<String>,
    likes: Vec<String>,
    numbers: Vec<i64>,
}

impl Clues {
    /// Reads the expressions of constraints, as the server prints them.
    pub(super) fn of<'t>(expressions: impl IntoIterator<Item = &'t str>) -> Self {
        let mut clues = Self::default();
        for expression in expressions {
            clues.read(expression);
        }
        clues.numbers.sort_unstable();
        clues.numbers.dedup();
        clues
    }

    fn read(&mut self, expression: &str) {
        let mut rest = expression;
        while let Some(at) = rest.find(|c: char| c == '\'' || c.is_ascii_digit()) {
            let (before, from) = rest.split_at(at);
            if from.starts_with('\'') {
                let (text, after) = quoted(from, before.ends_with('E'));
                self.sort_in(before.trim_end_matches('E').trim_end(), text);
                rest = after;
                continue;
            }
            let end = from.find(|c: char| !c.is_ascii_digit()).unwrap_or(from.len());
            let name = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
            if !name && let Ok(number) = from[..end].parse::<i64>() {
                let negative = before.ends_with('-');
                self.numbers.push(if negative { -number } else { number });
            }
            rest = &from[end..];
        }
    }

    /// What stands before a text says what it is. An array of alternatives has its operator further
    /// off, and its texts are as good as any.
    fn sort_in(&mut self, before: &str, text: String) {
        // `'5'::numeric` and `'-1'::integer` are numbers.
        if let Ok(number) = text.parse() {
            self.numbers.push(number);
        }
        if before.ends_with("~~") || before.ends_with("~~*") {
            self.likes.push(text.clone());
        } else if before.ends_with('~') || before.ends_with("~*") {
            self.patterns.push(text.clone());
        } else {
            self.patterns.push(text.clone());
            self.texts.push(text);
        }
    }

    /// The texts that are mentioned.
    pub(super) fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Lengths and sizes that are worth trying.
    fn sizes(&self) -> Vec<usize> {
        let near = self.numbers.iter().flat_map(|number| [*number, number + 1, number - 1]);
        let mut sizes: Vec<usize> = near
            .filter_map(|size| usize::try_from(size).ok())
            .filter(|size| *size <= 4096)
            .collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes.truncate(12);
        sizes
    }
}

/// The text that a quote begins, and what follows it.
fn quoted(from: &str, escapes: bool) -> (String, &str) {
    let mut text = String::new();
    let mut signs = from.char_indices().skip(1).peekable();
    while let Some((at, sign)) = signs.next() {
        if sign == '\'' && signs.next_if(|(_, next)| *next == '\'').is_none() {
            return (text, &from[at + 1..]);
        }
        if sign == '\\' && escapes {
            text.extend(signs.next().map(|(_, next)| next));
        } else {
            text.push(sign);
        }
    }
    (text, "")
}

/// One value of a type, as text: the first guess. `None` when the type is not known here.
pub(super) fn first(kind: &Kind) -> Option<String> {
    let name = kind.type_name.as_str();
    if name.ends_with("[]") {
        return Some("{}".to_owned());
    }
    if let Some(label) = kind.labels.first() {
        return Some(label.clone());
    }
    let simple = name.rsplit('.').next().unwrap_or(name);
    let value = match base(simple) {
        "uuid" => Uuid::new_v4().to_string(),
        "text" | "character varying" | "character" | "name" | "citext" | "ltree" => word(name),
        "smallint" => (Uuid::new_v4().as_u128() % 30_000).to_string(),
        "integer" | "bigint" | "oid" => (Uuid::new_v4().as_u128() % 2_000_000_000).to_string(),
        "numeric" | "real" | "double precision" | "money" => "1".to_owned(),
        "boolean" => "false".to_owned(),
        "date" | "timestamp with time zone" | "timestamp without time zone" => "now".to_owned(),
        "time without time zone" | "time with time zone" => "12:00".to_owned(),
        "interval" => "1 second".to_owned(),
        "json" | "jsonb" => "{}".to_owned(),
        "bytea" | "tsvector" | "tsquery" | "hstore" => String::new(),
        "inet" | "cidr" => "192.0.2.1".to_owned(),
        "macaddr" => "02:00:00:00:00:01".to_owned(),
        "macaddr8" => "02:00:00:00:00:00:00:01".to_owned(),
        "xml" => "<canary/>".to_owned(),
        "jsonpath" => "$".to_owned(),
        "pg_lsn" => "0/1".to_owned(),
        "bit" | "bit varying" => "1".repeat(size(name).unwrap_or(1)),
        "point" => "(0,0)".to_owned(),
        "box" => "(1,1),(0,0)".to_owned(),
        "lseg" | "path" => "[(0,0),(1,1)]".to_owned(),
        "line" => "{1,-1,0}".to_owned(),
        "circle" => "<(0,0),1>".to_owned(),
        "polygon" => "((0,0),(1,1),(1,0))".to_owned(),
        "geometry" | "geography" => geometry(name)?,
        "vector" | "halfvec" => format!("[{}]", vec!["1"; size(name).unwrap_or(3)].join(",")),
        _ if kind.letter == 'm' => "{}".to_owned(),
        _ if kind.letter == 'r' => "empty".to_owned(),
        _ => return None,
    };
    Some(value)
}

/// Values that are worth trying where the first guess broke a constraint.
pub(super) fn others(column: &str, kind: &Kind, clues: &Clues) -> Vec<String> {
    let name = kind.type_name.as_str();
    if let Some(element) = name.strip_suffix("[]") {
        return arrays(column, &Kind { type_name: element.to_owned(), ..kind.clone() }, clues);
    }
    if !kind.labels.is_empty() {
        return kind.labels.clone();
    }
    let simple = name.rsplit('.').next().unwrap_or(name);
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    match base(simple) {
        "text" | "character varying" | "character" | "name" | "citext" | "ltree" => {
            texts(column, clues)
        }
        "smallint" | "integer" | "bigint" => numbers(clues),
        "numeric" | "real" | "double precision" | "money" => {
            let mut found = numbers(clues);
            found.push("0.5".to_owned());
            found
        }
        "boolean" => owned(&["true", "false"]),
        "date" | "timestamp with time zone" | "timestamp without time zone" => {
            let mut found = clues.texts.clone();
            found.extend(owned(&["tomorrow", "yesterday", "2001-01-01", "2999-01-01", "infinity"]));
            found
        }
        "time without time zone" | "time with time zone" => owned(&["00:00", "23:59"]),
        "interval" => {
            let mut found = clues.texts.clone();
            found.extend(owned(&["1 minute", "1 hour", "1 day", "1 month", "1 year", "0"]));
            found
        }
        "json" | "jsonb" => json(clues),
        "bytea" => {
            let sizes = clues.sizes().into_iter().chain([1, 16, 20, 32, 64]);
            sizes.map(|size| format!("\\x{}", hex(size * 2))).collect()
        }
        "inet" | "cidr" => owned(&["2001:db8::1", "192.0.2.0/24", "10.0.0.0/8"]),
        _ if kind.letter == 'r' => {
            owned(&["(,)", "[1,2)", "[2001-01-01,2999-01-01)", "[now,infinity)"])
        }
        _ => Vec::new(),
    }
}

fn texts(column: &str, clues: &Clues) -> Vec<String> {
    let mut found: Vec<String> = clues.texts.clone();
    found.extend(clues.patterns.iter().filter_map(|text| pattern::matching(text)));
    found.extend(clues.likes.iter().map(|text| pattern::like(text)));
    found.extend(suggested(column).into_iter().map(str::to_owned));
    let word = Uuid::new_v4().simple().to_string();
    found.push(format!("canary-{word}@example.org"));
    found.push(format!("https://example.org/{word}"));
    found.push(letters(12));
    found.push(letters(12).to_uppercase());
    for size in clues.sizes() {
        found.push(hex(size));
        found.push(letters(size));
        found.push(letters(size).to_uppercase());
        found.push("7".repeat(size));
    }
    let usual =
        ["1", "a", "en", "EN", "en-US", "EUR", "UTC", "1.0.0", "+4930123456", "/", "{}", ""];
    found.extend(usual.map(str::to_owned));
    // A pattern for each part of a text: a value that combines a beginning with an end.
    for (start, end) in clues.likes.iter().zip(clues.likes.iter().skip(1)) {
        found.push(pattern::like(start) + &pattern::like(end));
    }
    found
}

/// What a column of that name usually holds.
fn suggested(column: &str) -> Vec<&'static str> {
    const HINTS: [(&str, &[&str]); 13] = [
        ("mail", &["canary@example.org"]),
        ("slug", &["canary", "canary-1"]),
        ("url", &["https://example.org/"]),
        ("uri", &["https://example.org/"]),
        ("domain", &["example.org"]),
        ("host", &["example.org"]),
        ("phone", &["+4930123456", "030123456"]),
        ("currency", &["EUR", "eur"]),
        ("country", &["DE", "de", "DEU"]),
        ("local", &["en", "en-US", "en_US"]),
        ("lang", &["en", "en-US", "eng"]),
        ("zone", &["UTC", "Europe/Berlin"]),
        ("colo", &["#a1b2c3"]),
    ];
    let column = column.to_ascii_lowercase();
    let fits = HINTS.iter().filter(|(part, _)| column.contains(part));
    fits.flat_map(|(_, values)| values.iter().copied()).collect()
}

fn numbers(clues: &Clues) -> Vec<String> {
    let known = clues.numbers.iter();
    let near =
        known.flat_map(|number| [*number, number.saturating_add(1), number.saturating_sub(1)]);
    let middle = clues.numbers.windows(2).map(|pair| pair[0].midpoint(pair[1]));
    let found =
        [1, 0, 10].into_iter().chain(near).chain(middle).chain([100, -1]).map(|n| n.to_string());
    found.collect()
}

fn json(clues: &Clues) -> Vec<String> {
    let mut found = vec!["[]".to_owned(), "[1]".to_owned(), "\"a\"".to_owned(), "1".to_owned()];
    let quoted = |text: &String| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    // Any text may be a key that has to be there.
    for value in ["\"a\"", "1", "[]", "{}", "true"] {
        let pairs: Vec<String> =
            clues.texts.iter().map(|text| format!("{}: {value}", quoted(text))).collect();
        if !pairs.is_empty() {
            found.push(format!("{{{}}}", pairs.join(", ")));
        }
    }
    found.extend(clues.texts.iter().filter(|text| text.starts_with(['{', '['])).cloned());
    found
}

fn arrays(column: &str, element: &Kind, clues: &Clues) -> Vec<String> {
    let mut elements: Vec<String> = clues
        .texts
        .iter()
        .filter(|_| element.labels.is_empty())
        .cloned()
        .chain(first(element))
        .collect();
    elements.extend(others(column, element, clues).into_iter().take(6));
    let item = |text: &String| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut found: Vec<String> =
        elements.iter().take(8).map(|text| format!("{{{}}}", item(text))).collect();
    for size in clues.sizes().into_iter().chain([2, 3]).filter(|size| (2..=1600).contains(size)) {
        if let Some(one) = first(element) {
            found.push(format!("{{{}}}", vec![item(&one); size].join(",")));
        }
    }
    found
}

/// A geometry as wide as its modifier wants: `geometry(Point,4326)`.
fn geometry(type_name: &str) -> Option<String> {
    let modifier = type_name.split_once('(').map_or("", |(_, rest)| rest.trim_end_matches(')'));
    let (shape, system) = modifier.split_once(',').unwrap_or((modifier, ""));
    let text = match shape.to_ascii_lowercase().as_str() {
        "" | "point" | "geometry" => "POINT(0 0)",
        "linestring" => "LINESTRING(0 0,1 1)",
        "polygon" => "POLYGON((0 0,1 0,1 1,0 0))",
        "multipoint" => "MULTIPOINT(0 0)",
        "multipolygon" => "MULTIPOLYGON(((0 0,1 0,1 1,0 0)))",
        _ => return None,
    };
    Some(if system.is_empty() { text.to_owned() } else { format!("SRID={system};{text}") })
}

/// A word that stands nowhere else, as long as a type permits.
pub(super) fn word(type_name: &str) -> String {
    let mut word = format!("canary{}", Uuid::new_v4().simple());
    if let Some(size) = size(type_name) {
        // The end is what differs from word to word.
        word = word.split_off(word.len().saturating_sub(size));
    } else if base(type_name) == "character" {
        word.truncate(1);
    }
    word
}

/// Hexadecimal digits that stand nowhere else.
fn hex(size: usize) -> String {
    let digits = std::iter::repeat_with(|| Uuid::new_v4().simple().to_string());
    digits.flat_map(|word| word.chars().collect::<Vec<_>>()).take(size).collect()
}

/// Lower-case letters that stand nowhere else.
fn letters(size: usize) -> String {
    let letter =
        |digit: u8| char::from(if digit.is_ascii_digit() { digit - b'0' + b'g' } else { digit });
    hex(size).bytes().map(letter).collect()
}

/// The type without its modifier: `timestamp(3) with time zone` is `timestamp with time zone`.
pub(super) fn base(type_name: &str) -> &str {
    match type_name.split_once('(') {
        Some((before, after)) if after.ends_with("with time zone") => match before {
            "timestamp" => "timestamp with time zone",
            _ => "time with time zone",
        },
        Some((before, after)) if after.ends_with("without time zone") => match before {
            "timestamp" => "timestamp without time zone",
            _ => "time without time zone",
        },
        Some((before, _)) => before,
        None => type_name,
    }
}

/// The first number of a type's modifier.
pub(super) fn size(type_name: &str) -> Option<usize> {
    let (_, modifier) = type_name.split_once('(')?;
    modifier.split([')', ',']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(type_name: &str) -> Kind {
        Kind { type_name: type_name.to_owned(), letter: 'b', labels: Vec::new() }
    }

    #[test]
    fn types_are_recognised_under_their_modifiers() {
        assert_eq!(base("character varying(12)"), "character varying");
        assert_eq!(base("timestamp(3) with time zone"), "timestamp with time zone");
        assert_eq!(base("timestamp(3) without time zone"), "timestamp without time zone");
        assert_eq!(size("numeric(10,2)"), Some(10));
        assert!(word("character varying(5)").len() == 5);
        assert!(word("character(1)").len() == 1);
        assert_eq!(first(&kind("bit(4)")).as_deref(), Some("1111"));
        assert_eq!(first(&kind("geometry(Point,4326)")).as_deref(), Some("SRID=4326;POINT(0 0)"));
    }

    #[test]
    fn what_a_constraint_mentions_becomes_a_candidate() {
        let found =
            |column, type_name, check| others(column, &kind(type_name), &Clues::of([check]));
        let action = "(action = ANY (ARRAY['INSERT'::text, 'it''s'::text]))";
        assert_eq!(found("action", "text", action)[..2], ["INSERT", "it's"]);
        let hashes = found("hash", "bytea", "(octet_length(hash) = 32)");
        assert!(hashes.iter().any(|text| text.len() == 2 + 64), "{hashes:?}");
        let between = found("n", "integer", "((n >= 500) AND (n <= 600))");
        assert!(between.contains(&"500".to_owned()) && between.contains(&"550".to_owned()));
        let object = found("v", "jsonb", "(v ? 'kind'::text)");
        assert!(object.contains(&"{\"kind\": \"a\"}".to_owned()), "{object:?}");
        let mut scopes = kind("app.scope[]");
        scopes.labels = vec!["read".to_owned()];
        assert_eq!(others("scopes", &scopes, &Clues::default())[0], "{\"read\"}");
    }

    #[test]
    fn escaped_and_unfinished_texts_are_read() {
        let clues = Clues::of(["(a ~ E'^\\\\d{3}$'::text)"]);
        assert_eq!(clues.patterns, ["^\\d{3}$"]);
        assert!(clues.numbers.is_empty() && clues.texts.is_empty());
        assert_eq!(Clues::of(["col2 = '-5'::integer AND x1 > 7"]).numbers, [-5, 7]);
        assert_eq!(Clues::of(["'open"]).texts, ["open"]);
    }
}
