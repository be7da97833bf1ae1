//! Medians, ratios, and a Markdown table.

use std::collections::BTreeMap;

use crate::cost::Cost;

/// What is measured in turns: what each contender took, in the order of rounds.
#[derive(Default)]
pub struct Race(BTreeMap<usize, (String, Vec<Cost>)>);

/// What came of a contender: medians, and the median of its ratios to the limit of the same round.
pub struct Outcome {
    pub name: String,
    pub cost: Cost,
    pub ratio: f64,
}

impl Race {
    /// Adds what contender number `at` took; 0 is the limit.
    pub fn add(&mut self, at: usize, name: &str, cost: Cost) {
        self.0.entry(at).or_insert_with(|| (name.to_owned(), Vec::new())).1.push(cost);
    }

    /// Every contender but the limit.
    pub fn results(&self) -> Vec<Outcome> {
        let limit = &self.0[&0].1;
        let others = self.0.iter().skip(1).map(|(_, (name, costs))| {
            let ratios = costs.iter().zip(limit).map(|(cost, limit)| cost.time / limit.time);
            let ratio = median(&ratios.collect::<Vec<_>>());
            Outcome { name: name.clone(), cost: middle(costs), ratio }
        });
        others.collect()
    }

    /// The limit's medians.
    pub fn limit(&self) -> Cost {
        middle(&self.0[&0].1)
    }
}

fn middle(costs: &[Cost]) -> Cost {
    let of = |part: fn(&Cost) -> f64| median(&costs.iter().map(part).collect::<Vec<_>>());
    Cost {
        time: of(|cost| cost.time),
        server: of(|cost| cost.server),
        program: of(|cost| cost.program),
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

/// Begins a table of [`rows`].
pub fn race_head(title: &str, labels: &[&str]) {
    head(title, &[labels, &COLUMNS].concat());
}

/// What [`rows`] fills, after its labels.
const COLUMNS: [&str; 7] = [
    "limit, ms",
    "server's CPU, ms",
    "",
    "ms",
    "server's CPU, ms",
    "own CPU, ms",
    "ratio (target)",
];

/// A row of a race for each contender.
pub fn rows(labels: &[String], race: &Race, target: f64) {
    let limit = race.limit();
    for Outcome { name, cost, ratio } in race.results() {
        println!(
            "| {} | {:.2} | {:.2} | {name} | {:.2} | {:.2} | {:.2} | **{ratio:.2}** ({target:.2}) |",
            labels.join(" | "),
            limit.time,
            limit.server,
            cost.time,
            cost.server,
            cost.program,
        );
    }
}

/// Ends a table.
pub fn end() {
    println!();
}
