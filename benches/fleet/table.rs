//! Medians, ratios, and a Markdown table.

use std::collections::BTreeMap;

/// What is measured in turns: times of each contender, in the order of rounds.
#[derive(Default)]
pub struct Race(BTreeMap<usize, (String, Vec<f64>)>);

impl Race {
    /// Adds a time, in milliseconds per tenant, of contender number `at`; 0 is the limit.
    pub fn add(&mut self, at: usize, name: &str, time: f64) {
        self.0.entry(at).or_insert_with(|| (name.to_owned(), Vec::new())).1.push(time);
    }

    /// Every contender but the limit: name, median, and the median of its ratios to the limit of
    /// the same round.
    pub fn ratios(&self) -> Vec<(String, f64, f64)> {
        let limit = &self.0[&0].1;
        let others = self.0.iter().skip(1).map(|(_, (name, times))| {
            let ratios = times.iter().zip(limit).map(|(time, limit)| time / limit);
            (name.clone(), median(times), median(&ratios.collect::<Vec<_>>()))
        });
        others.collect()
    }

    /// The limit's median.
    pub fn limit(&self) -> f64 {
        median(&self.0[&0].1)
    }
}

/// The middle one; the mean of the two in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// Begins a table.
pub fn head(title: &str, columns: &[&str]) {
    println!("### {title}\n\n| {} |", columns.join(" | "));
    println!("|{}", "---|".repeat(columns.len()));
}

/// A row of a race for each contender.
pub fn rows(labels: &[String], race: &Race, target: f64) {
    for (name, time, ratio) in race.ratios() {
        let met = if ratio <= target { "" } else { " (over)" };
        println!(
            "| {} | {:.3} | {name} | {time:.3} | **{ratio:.2}** | {target:.2}{met} |",
            labels.join(" | "),
            race.limit(),
        );
    }
}

/// Ends a table.
pub fn end() {
    println!();
}
