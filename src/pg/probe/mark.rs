//! Marks: texts and uuids that stand nowhere else, and say whose they are and where they were put.

use uuid::Uuid;

/// The mark of one tenant, for as long as one audit of one database takes.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    /// Twelve hexadecimal digits.
    digits: String,
}

impl Mark {
    pub(super) fn new() -> Self {
        Self { digits: Uuid::new_v4().simple().to_string()[..12].to_owned() }
    }

    /// As a text, for the table with that number.
    pub(super) fn text(&self, table: usize) -> String {
        format!("canary{}t{:03x}", self.digits, table % 0x1000)
    }

    /// As a uuid, for the table with that number. Each one is another.
    pub(super) fn uuid(&self, table: usize) -> String {
        let rest = Uuid::new_v4().simple().to_string();
        let (digits, table) = (&self.digits, table % 0x1000);
        format!("{}-{}-4{table:03x}-a{}-{}", &digits[..8], &digits[8..], &rest[..3], &rest[4..16])
    }

    /// Whether it stands in a text.
    pub(super) fn stands_in(&self, text: &str) -> bool {
        self.patterns().iter().any(|pattern| text.contains(pattern.trim_matches('%')))
    }

    /// Patterns of `LIKE`, one of which fits every text in lower case that the mark stands in.
    pub(super) fn patterns(&self) -> [String; 2] {
        let digits = &self.digits;
        [format!("%canary{digits}t%"), format!("%{}-{}-4%", &digits[..8], &digits[8..])]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_in_what_it_makes_and_is_a_uuid() {
        let (mark, other) = (Mark::new(), Mark::new());
        let [text, uuid] = mark.patterns().map(|pattern| pattern.trim_matches('%').to_owned());
        assert!(mark.text(7).contains(&text) && mark.uuid(7).contains(&uuid));
        assert!(!other.text(7).contains(&text) && !other.uuid(7).contains(&uuid));
        assert!(mark.uuid(4095).parse::<Uuid>().is_ok());
        assert_ne!(mark.uuid(1), mark.uuid(1));
    }
}
