//! Texts that fit a pattern: what a CHECK constraint with `~` or `LIKE` asks of a made-up value.
//!
//! Promises nothing about patterns that look around or back, and about dialects that differ: the
//! server judges every text before it is used.

use regex_syntax::hir::{Class, Hir, HirKind};
use uuid::Uuid;

/// How often a part that may repeat without end is repeated.
const OFTEN: u32 = 8;

/// A text that a regular expression matches, different from call to call where it can be.
pub(super) fn matching(pattern: &str) -> Option<String> {
    // The server knows \Z, \m, \M and \y where this parser knows \z, \b{start}, \b{end} and \b.
    let pattern = pattern.replace("\\Z", "\\z").replace("\\y", "\\b");
    let parsed = regex_syntax::parse(&pattern).ok()?;
    let mut text = String::new();
    let mut chance = Chance(Uuid::new_v4().as_u128());
    append(&parsed, &mut chance, &mut text)?;
    Some(text)
}

/// A text that a LIKE pattern matches.
pub(super) fn like(pattern: &str) -> String {
    let mut text = String::new();
    let mut signs = pattern.chars();
    while let Some(sign) = signs.next() {
        match sign {
            '%' | '_' => text.push('a'),
            '\\' => text.extend(signs.next()),
            other => text.push(other),
        }
    }
    text
}

/// A few decisions that need not be good, only different.
struct Chance(u128);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        let limit = limit.max(1) as u128;
        let choice = self.0 % limit;
        self.0 = (self.0 / limit) ^ self.0.rotate_left(61).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        usize::try_from(choice).unwrap_or(0)
    }
}

fn append(part: &Hir, chance: &mut Chance, text: &mut String) -> Option<()> {
    match part.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.push_str(std::str::from_utf8(&literal.0).ok()?),
        HirKind::Class(class) => text.push(member(class, chance)?),
        HirKind::Repetition(repeated) => {
            let most = repeated.max.unwrap_or(u32::MAX);
            // What may be left out is left out, and what may be long is long enough to be unique.
            let times = match (repeated.min, most) {
                (0, 1) => 0,
                (least, most) => least.max(OFTEN.min(most)),
            };
            for _ in 0..times.min(4096) {
                append(&repeated.sub, chance, text)?;
            }
        }
        HirKind::Capture(group) => append(&group.sub, chance, text)?,
        HirKind::Concat(parts) => {
            for part in parts {
                append(part, chance, text)?;
            }
        }
        HirKind::Alternation(parts) => append(parts.first()?, chance, text)?,
    }
    Some(())
}

/// A member of a class of characters: a lower-case letter or a digit where the class has them.
fn member(class: &Class, chance: &mut Chance) -> Option<char> {
    let ranges: Vec<(char, char)> = match class {
        Class::Unicode(class) => class.iter().map(|r| (r.start(), r.end())).collect(),
        Class::Bytes(class) => class.iter().map(|r| (r.start().into(), r.end().into())).collect(),
    };
    let holds = |wanted: &char| ranges.iter().any(|(from, to)| (from..=to).contains(&wanted));
    for plain in ['a'..='z', '0'..='9', 'A'..='Z'] {
        let members: Vec<char> = plain.filter(holds).collect();
        if !members.is_empty() {
            return members.get(chance.below(members.len())).copied();
        }
    }
    (' '..='~').find(|sign| holds(sign)).or_else(|| ranges.first().map(|(from, _)| *from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_fit_the_patterns_that_schemas_use() {
        for pattern in [
            "^[A-Za-z0-9_]{8,16}$",
            r"^[^@\s]+@[^@\s]+$",
            r"^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}$",
            "^[a-z][a-z0-9_.]*$",
            "^[a-z][a-z0-9_.]{0,99}$",
            r"^\d+\.\d+\.\d+(-[a-z]+)?$",
            "^(draft|published)$",
            r"^\+[1-9]\d{6,14}$",
            "^https?://",
            "^#[0-9a-f]{6}$",
            "^[[:alpha:]]{2}-[[:digit:]]{4}$",
        ] {
            let text = matching(pattern).unwrap();
            // The first place where the parsed pattern must hold is its own text.
            assert!(regex(pattern, &text), "{pattern} made {text:?}");
        }
        assert_ne!(matching("^[a-z]{9}$"), matching("^[a-z]{9}$"));
    }

    #[test]
    fn a_pattern_that_cannot_be_read_makes_nothing() {
        assert_eq!(matching("(?=x)("), None);
        assert_eq!(like(r"sk\_%"), "sk_a");
    }

    /// Whether a text fits, by the simplest matcher there is.
    fn regex(pattern: &str, text: &str) -> bool {
        fn ends(part: &Hir, text: &str, at: usize) -> Vec<usize> {
            match part.kind() {
                HirKind::Empty | HirKind::Look(_) => vec![at],
                HirKind::Literal(literal) => {
                    let literal = std::str::from_utf8(&literal.0).unwrap();
                    if text[at..].starts_with(literal) { vec![at + literal.len()] } else { vec![] }
                }
                HirKind::Class(Class::Unicode(class)) => text[at..]
                    .chars()
                    .next()
                    .filter(|c| class.iter().any(|r| (r.start()..=r.end()).contains(c)))
                    .map(|c| vec![at + c.len_utf8()])
                    .unwrap_or_default(),
                HirKind::Class(Class::Bytes(_)) => vec![],
                HirKind::Repetition(repeated) => {
                    let (mut found, mut now) = (vec![], vec![at]);
                    for times in 0..=repeated.max.unwrap_or(64).min(64) {
                        if times >= repeated.min {
                            found.extend(&now);
                        }
                        now = now.iter().flat_map(|at| ends(&repeated.sub, text, *at)).collect();
                    }
                    found
                }
                HirKind::Capture(group) => ends(&group.sub, text, at),
                HirKind::Concat(parts) => parts.iter().fold(vec![at], |from, part| {
                    from.iter().flat_map(|at| ends(part, text, *at)).collect()
                }),
                HirKind::Alternation(parts) => {
                    parts.iter().flat_map(|part| ends(part, text, at)).collect()
                }
            }
        }
        let parsed = regex_syntax::parse(pattern).unwrap();
        let found = ends(&parsed, text, 0);
        if pattern.ends_with('$') { found.contains(&text.len()) } else { !found.is_empty() }
    }
}
