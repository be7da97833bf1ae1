//! How an operation looks on a terminal while it runs: lines that never wrap.

use std::time::{Duration, Instant};

use super::board::{Board, Run, Struck, Tally};
use super::style::Style;
use crate::model::count;

/// Columns and lines of a screen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screen {
    /// Columns.
    pub(super) columns: usize,
    /// Lines.
    pub(super) lines: usize,
}

/// So many failures are shown while the run goes on; its answer has them all.
const FAILURES: usize = 5;
/// So many causes of waiting are shown.
const WAITS: usize = 2;
/// No bar is longer.
const LONGEST_BAR: usize = 30;
/// A shorter bar says nothing.
const SHORTEST_BAR: usize = 6;
/// Lines beside failures and bars: waits, the total, what is in flight.
const OTHERS: usize = 6;

/// The lines that show a board, each narrower than the screen.
pub(super) fn lines(board: &Board, now: Instant, screen: Screen, style: &Style) -> Vec<String> {
    // A line that fills its last column makes some terminals begin another.
    let columns = screen.columns.saturating_sub(1).max(1);
    let lines = match (&board.run, &board.working) {
        (Some(run), _) => of_run(run, now, Screen { columns, ..screen }, style),
        (None, Some(what)) => vec![format!("{} {what}", spinner(now))],
        (None, None) => Vec::new(),
    };
    lines
        .into_iter()
        .map(|line| {
            console::truncate_str(&line.replace(['\n', '\t'], " "), columns, "…").into_owned()
        })
        .collect()
}

fn of_run(run: &Run, now: Instant, screen: Screen, style: &Style) -> Vec<String> {
    let room = screen.lines.saturating_sub(OTHERS);
    let clusters = run.clusters.len().min(room.max(1));
    let failures = FAILURES.min(room.saturating_sub(clusters)).max(1);
    let mut lines = self::failures(&run.failures, failures, style);
    for (cause, first, number) in run.waits().into_iter().take(WAITS) {
        let who = and_more(first, number);
        lines.push(format!("{} {who}: {cause}", style.attention("waiting")));
    }
    if let Some((what, since)) = &run.holding {
        let so_long = rough(now.duration_since(*since));
        lines.push(format!("{} {} {what} ({so_long})", spinner(now), style.attention("holding")));
    }
    lines.extend(bars(run, clusters, now, screen.columns, style));
    lines.push(style.faint(&footer(run, now)));
    lines
}

fn failures(failures: &[Struck], room: usize, style: &Style) -> Vec<String> {
    // The frequent first; `sort_by_key` keeps the order in which they came.
    let mut sorted: Vec<&Struck> = failures.iter().collect();
    sorted.sort_by_key(|struck| std::cmp::Reverse(struck.targets));
    let mut lines: Vec<String> = sorted
        .iter()
        .take(room)
        .map(|struck| {
            let who = and_more(&struck.first, struck.targets);
            format!("{} {who}: {}", style.bad("failed"), struck.said)
        })
        .collect();
    let rest = sorted.get(room..).unwrap_or_default();
    if !rest.is_empty() {
        let struck: usize = rest.iter().map(|struck| struck.targets).sum();
        let line =
            format!("failed {} in {} more", count(struck, "target"), count(rest.len(), "way"));
        lines.push(style.bad(&line));
    }
    lines
}

/// A bar for each cluster and one for all of them.
fn bars(run: &Run, room: usize, now: Instant, columns: usize, style: &Style) -> Vec<String> {
    let mut shown: Vec<_> = run.clusters.iter().collect();
    // Where the screen has no room for all, those that are done go first.
    if shown.len() > room {
        shown.sort_by_key(|(_, tally)| tally.done >= tally.targets);
        shown.truncate(room.saturating_sub(1).max(1));
    }
    let mut rows: Vec<Row<'_>> = shown
        .iter()
        .map(|(name, tally)| Row::new(name.as_str(), tally, run.waiting(Some(name)), run, now))
        .collect();
    let hidden = run.clusters.len() - rows.len();
    let total = if run.clusters.is_empty() { run.what.as_str() } else { "total" };
    rows.push(Row::new(total, &run.total, run.waiting(None), run, now));
    let widest = |of: fn(&Row<'_>) -> usize| rows.iter().map(of).max().unwrap_or_default();
    let name = widest(|row| row.name.chars().count()).min((columns / 4).max(5));
    let position = widest(|row| row.position.len());
    let bar = rows.iter().map(|row| row.room(name + 2 + position, columns)).min().unwrap_or(0);
    let mut lines: Vec<String> =
        rows.iter().map(|row| row.line(name, bar, position, columns, style)).collect();
    if hidden > 0 {
        let at = lines.len() - 1;
        lines.insert(at, style.faint(&format!("and {} more", count(hidden, "cluster"))));
    }
    lines
}

/// One bar with its numbers.
struct Row<'a> {
    name: &'a str,
    tally: &'a Tally,
    position: String,
    /// What stands behind the position, the most important first, and how it is painted.
    parts: Vec<(String, Paint)>,
}

type Paint = fn(&Style, &str) -> String;

impl<'a> Row<'a> {
    fn new(name: &'a str, tally: &'a Tally, waiting: usize, run: &Run, now: Instant) -> Self {
        let mut parts: Vec<(String, Paint)> = Vec::new();
        if tally.failed > 0 {
            parts.push((format!("{} failed", tally.failed), Style::bad));
        }
        if waiting > 0 {
            parts.push((format!("{waiting} waiting"), Style::attention));
        }
        // While the run holds, nobody knows when it will end.
        if run.holding.is_none() {
            parts.extend(tally.eta(now).map(|eta| (format!("eta {}", rough(eta)), plain as Paint)));
            let pace = (tally.done < tally.targets).then(|| tally.rate(now)).flatten();
            parts.extend(pace.map(|pace| (per_second(pace), plain as Paint)));
        }
        Self { name, tally, position: format!("{}/{}", tally.done, tally.targets), parts }
    }

    /// How many of the parts fit behind what is so wide.
    fn fitting(&self, mut used: usize, columns: usize) -> (usize, usize) {
        let mut fit = 0;
        for (part, _) in &self.parts {
            if used + 2 + part.chars().count() > columns {
                break;
            }
            used += 2 + part.chars().count();
            fit += 1;
        }
        (fit, used)
    }

    /// How long the bar can be.
    fn room(&self, used: usize, columns: usize) -> usize {
        let (_, used) = self.fitting(used, columns);
        match columns.saturating_sub(used + 2) {
            room if room < SHORTEST_BAR => 0,
            room => room.min(LONGEST_BAR),
        }
    }

    fn line(
        &self,
        name: usize,
        bar: usize,
        position: usize,
        columns: usize,
        style: &Style,
    ) -> String {
        let short = console::truncate_str(self.name, name, "…");
        let mut line = format!("{short:<name$}  ");
        if bar > 0 {
            line.push_str(&drawn(self.tally, bar, style));
            line.push_str("  ");
        }
        line.push_str(&format!("{:>position$}", self.position));
        let used = name + 2 + position + if bar > 0 { bar + 2 } else { 0 };
        let (fit, _) = self.fitting(used, columns);
        for (part, paint) in self.parts.iter().take(fit) {
            line.push_str("  ");
            line.push_str(&paint(style, part));
        }
        line
    }
}

fn plain(_: &Style, text: &str) -> String {
    text.to_owned()
}

/// The bar itself: what went well, what went badly, what is left.
fn drawn(tally: &Tally, length: usize, style: &Style) -> String {
    let part =
        |number: usize| (number * length).checked_div(tally.targets).unwrap_or(0).min(length);
    let done = part(tally.done);
    // One failure among thousands is still to be seen.
    let failed = part(tally.failed).max(usize::from(tally.failed > 0)).min(done);
    format!(
        "{}{}{}",
        style.good(&"━".repeat(done - failed)),
        style.bad(&"━".repeat(failed)),
        style.faint(&"╌".repeat(length - done))
    )
}

/// The wave, what is in flight, and how long it has taken.
fn footer(run: &Run, now: Instant) -> String {
    let mut parts = vec![rough(now.duration_since(run.begun))];
    if let Some((number, name)) = &run.wave {
        parts.push(format!("wave {number} ({name})"));
    }
    if let Some((target, so_long)) = run.longest(now) {
        let mut part = format!("{} in flight", run.in_flight.len());
        // What is quick need not be named: it would only flicker.
        if so_long >= Duration::from_secs(2) {
            part.push_str(&format!(", {target} for {}", rough(so_long)));
        }
        parts.push(part);
        parts.extend(run.come_to().map(str::to_owned));
    }
    parts.join("  ")
}

/// A name, and how many others there are.
pub(super) fn and_more(first: &str, number: usize) -> String {
    match number {
        0 | 1 => first.to_owned(),
        more => format!("{first} and {} more", more - 1),
    }
}

/// Something that moves, so that a screen on which nothing else does is seen to live.
fn spinner(now: Instant) -> char {
    const FRAMES: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
    /// `Instant` has no beginning of its own to count from.
    static FIRST: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let so_long = now.saturating_duration_since(*FIRST.get_or_init(|| now)).as_millis() / 100;
    let frame = usize::try_from(so_long).unwrap_or_default() % FRAMES.len();
    FRAMES.get(frame).copied().unwrap_or(' ')
}

/// A rate as people read it: `34/s`, `3.4/s`, `12/min`.
fn per_second(rate: f64) -> String {
    if rate >= 9.95 {
        format!("{rate:.0}/s")
    } else if rate >= 0.95 {
        format!("{rate:.1}/s")
    } else {
        format!("{:.1}/min", rate * 60.0)
    }
}

/// A duration that changes while one looks: `3 s`, `2 min 5 s`, `1 h 10 min`.
pub(super) fn rough(took: Duration) -> String {
    match took.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::super::board::tests::{done, failed, row};
    use super::*;
    use crate::model::tenant::ClusterName;
    use crate::report::Status;
    use crate::report::event::Event;

    /// A run over two clusters in which everything happens: the board and the time.
    fn busy() -> (Board, Instant) {
        let (eu, us) = (ClusterName::new("eu-1").unwrap(), ClusterName::new("us-east-1").unwrap());
        let begun = Instant::now();
        let mut board = Board::default();
        let clusters = [(eu.clone(), 150), (us.clone(), 50)];
        let run =
            Event::RunStarted { what: "migrate", run: None, targets: 200, clusters: &clusters };
        board.take(&run, begun);
        board.take(&Event::WaveStarted { number: 2, name: "wave=late", targets: 200 }, begun);
        let at = |seconds| begun + Duration::from_secs(seconds);
        for tenant in 0..60_u64 {
            let id = format!("t{tenant}");
            let row = match tenant {
                3..=7 => failed(&id, "tags"),
                8 => failed(&id, "a_table_with_a_name_that_is_far_too_long_for_any_small_screen"),
                _ => row(&id, Status::Applied),
            };
            let cluster = if tenant % 2 == 0 { &eu } else { &us };
            board.take(&done(cluster, &[row]), at(tenant / 6));
        }
        for id in ["acme", "globex"] {
            board.take(&Event::TargetStarted { cluster: Some(&eu), target: id }, at(2));
        }
        let cause = "pid 4711 (psql) has held notes for 2 min: SELECT * FROM notes FOR UPDATE";
        board.take(
            &Event::TargetWaiting { cluster: &eu, target: "acme", cause, attempts: 2 },
            at(4),
        );
        (board, at(10))
    }

    fn drawn_at(board: &Board, now: Instant, columns: usize) -> String {
        let style = Style::new(false, columns);
        let lines = lines(board, now, Screen { columns, lines: 24 }, &style);
        for line in &lines {
            assert!(console::measure_text_width(line) < columns, "too wide: {line}");
        }
        lines.join("\n")
    }

    #[test]
    fn a_screen_of_eighty_columns() {
        let (board, now) = busy();
        insta::assert_snapshot!(drawn_at(&board, now, 80));
    }

    #[test]
    fn a_screen_of_forty_columns() {
        let (board, now) = busy();
        insta::assert_snapshot!(drawn_at(&board, now, 40));
    }

    #[test]
    fn one_cluster_has_one_bar() {
        let begun = Instant::now();
        let mut board = Board::default();
        let run = Event::RunStarted { what: "migrate", run: None, targets: 9, clusters: &[] };
        board.take(&run, begun);
        let now = begun + Duration::from_secs(75);
        let drawn = drawn_at(&board, now, 60);
        assert_eq!(drawn, format!("migrate  {}  0/9\n1 min 15 s", "╌".repeat(30)));
        board.take(&Event::Holding { what: "wave 2 until 12:00" }, now);
        let held = drawn_at(&board, now + Duration::from_secs(3), 60);
        assert!(held.contains("holding wave 2 until 12:00 (3 s)\n"), "{held}");
    }

    #[test]
    fn how_far_a_target_has_come_is_shown() {
        let begun = Instant::now();
        let mut board = Board::default();
        board.take(
            &Event::RunStarted { what: "verify", run: None, targets: 1, clusters: &[] },
            begun,
        );
        board.take(&Event::TargetStarted { cluster: None, target: "main/app" }, begun);
        let what = "pair 3 of 12: acme against globex";
        board.take(&Event::TargetWorking { cluster: None, target: "main/app", what }, begun);
        let drawn = drawn_at(&board, begun + Duration::from_secs(4), 90);
        let last = drawn.lines().last().unwrap();
        assert_eq!(last, "4 s  1 in flight, main/app for 4 s  pair 3 of 12: acme against globex");
    }

    #[test]
    fn nothing_wraps_on_any_screen() {
        let (board, now) = busy();
        for columns in 2..120 {
            drawn_at(&board, now, columns);
        }
    }

    #[test]
    fn many_clusters_leave_room_for_the_total() {
        let names: Vec<ClusterName> =
            (0..40).map(|at| ClusterName::new(format!("c{at}")).unwrap()).collect();
        let clusters: Vec<_> = names.iter().map(|name| (name.clone(), 1)).collect();
        let now = Instant::now();
        let mut board = Board::default();
        let run =
            Event::RunStarted { what: "migrate", run: None, targets: 40, clusters: &clusters };
        board.take(&run, now);
        board.take(&done(&names[0], &[row("dog", Status::Applied)]), now);
        let style = Style::new(false, 80);
        let lines = lines(&board, now, Screen { columns: 80, lines: 24 }, &style);
        assert!(lines.len() < 24, "{lines:#?}");
        assert!(lines[lines.len() - 2].starts_with("total"), "{lines:#?}");
        assert!(!lines.iter().any(|line| line.starts_with("c0 ")), "{lines:#?}");
    }

    #[test]
    fn colour_is_not_counted_and_not_needed() {
        let (board, now) = busy();
        let screen = Screen { columns: 50, lines: 24 };
        let plain = lines(&board, now, screen, &Style::new(false, 50));
        let painted = lines(&board, now, screen, &Style::new(true, 50));
        let stripped: Vec<_> =
            painted.iter().map(|line| console::strip_ansi_codes(line).into_owned()).collect();
        assert_eq!(stripped, plain);
        assert_ne!(painted, plain);
    }

    #[test]
    fn rates_and_times_read_well() {
        assert_eq!([34.2, 3.42, 0.2].map(per_second), ["34/s", "3.4/s", "12.0/min"]);
        let rough = |seconds| rough(Duration::from_secs(seconds));
        assert_eq!([rough(3), rough(125), rough(4_200)], ["3 s", "2 min 5 s", "1 h 10 min"]);
    }
}
