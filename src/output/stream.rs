//! `migrate up -o ndjson`: what happens, as it happens, one JSON object per line on stdout.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::mpsc::{self, Sender, TryRecvError};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use super::failure::failure_value;
use super::json::{FORMAT, lines};
use super::migration::{milliseconds, resume, summary_json, target_json};
use crate::error::{Code, Error};
use crate::model::tenant::{ClusterName, TenantId};
use crate::report::event::{Event, Observer};
use crate::report::{MigrationRun, Report, Verdict};

/// How long a line waits for others: a thread that is woken for each of thousands takes time from
/// what they tell of.
const GATHER: Duration = Duration::from_millis(5);

/// Writes events as lines, each as good as when it happened. A reader that is slow holds nothing up,
/// and one that has gone away, such as `head`, is no failure.
#[derive(Debug)]
pub struct Stream(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Whose line has been written: each tenant has one.
    told: BTreeSet<TenantId>,
    writer: Option<(Sender<String>, JoinHandle<io::Result<()>>)>,
}

impl Stream {
    /// Begins to write to stdout, on a thread of its own.
    ///
    /// # Errors
    ///
    /// [`Code::Io`] when the machine cannot start one.
    pub fn to_stdout() -> Result<Self, Error> {
        Self::to(io::stdout())
    }

    fn to(mut sink: impl Write + Send + 'static) -> Result<Self, Error> {
        let (sender, lines) = mpsc::channel::<String>();
        let write = move || -> io::Result<()> {
            while let Ok(mut text) = lines.recv() {
                let waits = loop {
                    match lines.try_recv() {
                        Ok(line) => text.push_str(&line),
                        Err(none) => break none == TryRecvError::Empty,
                    }
                };
                // Whoever closes lets go of the lines, and then wakes it.
                if waits {
                    thread::park_timeout(GATHER);
                    text.extend(lines.try_iter());
                }
                sink.write_all(text.as_bytes())?;
                sink.flush()?;
            }
            Ok(())
        };
        let thread = thread::Builder::new()
            .name("stream".to_owned())
            .spawn(write)
            .map_err(|error| Error::new(Code::Io, "start to write events").because(error))?;
        let state = State { told: BTreeSet::new(), writer: Some((sender, thread)) };
        Ok(Self(Mutex::new(state)))
    }

    /// Writes the tenants that no event spoke of, and as the last line what came of the run.
    ///
    /// # Errors
    ///
    /// [`Code::Io`] when a line could not be written, unless nobody reads any more.
    pub fn end(&self, report: &Report) -> Result<(), Error> {
        let mut state = self.state();
        let told = std::mem::take(&mut state.told);
        match report {
            Report::Migration(run) => {
                for target in run.targets.iter().filter(|target| !told.contains(&target.tenant)) {
                    state.write("target", target_json(target));
                }
                state.write("run_done", run_done(run, report.verdict()));
            }
            other => state.send(lines(other)),
        }
        state.close()
    }

    /// Writes why there is no answer, as the last line.
    ///
    /// # Errors
    ///
    /// As [`Stream::end`].
    pub fn fail(&self, error: &anyhow::Error) -> Result<(), Error> {
        let mut state = self.state();
        state.write("error", json!({"error": failure_value(error)}));
        state.close()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Hands a line to the writer. When it has ended, [`State::close`] says why.
    fn send(&self, line: String) {
        if let Some((sender, _)) = &self.writer {
            drop(sender.send(line));
        }
    }

    fn write(&self, event: &str, mut line: Value) {
        line["format"] = FORMAT.into();
        line["event"] = event.into();
        line["at"] = format!("{:.3}", jiff::Timestamp::now()).into();
        self.send(format!("{line}\n"));
    }

    fn close(&mut self) -> Result<(), Error> {
        let Some((sender, thread)) = self.writer.take() else {
            return Ok(());
        };
        drop(sender);
        thread.thread().unpark();
        match thread.join() {
            Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Error::new(Code::Io, "write the events to stdout").because(error))
            }
            Ok(_) => Ok(()),
            Err(_panic) => Err(Error::new(Code::Bug, "write the events to stdout")),
        }
    }
}

fn run_done(run: &MigrationRun, verdict: Verdict) -> Value {
    json!({
        "run": run.run.map(|run| run.to_string()),
        "verdict": verdict.word(),
        "interrupted": run.interrupted,
        "stopped": run.stopped,
        "summary": summary_json(run),
        "resume": resume(run),
        "duration_ms": milliseconds(run.took),
    })
}

impl Observer for Stream {
    fn on(&self, event: &Event<'_>) {
        let mut state = self.state();
        match event {
            Event::RunStarted { what, run, targets, clusters } => {
                let clusters: Vec<Value> = clusters
                    .iter()
                    .map(|(name, targets)| json!({"cluster": name.as_str(), "targets": targets}))
                    .collect();
                let run = run.map(|run| run.to_string());
                let line =
                    json!({"what": what, "run": run, "targets": targets, "clusters": clusters});
                state.write("run_started", line);
            }
            Event::WaveStarted { number, name, targets } => {
                let line = json!({"number": number, "name": name, "targets": targets});
                state.write("wave_started", line);
            }
            Event::Announced { what } => state.write("announced", json!({"what": what})),
            Event::Holding { what } => state.write("holding", json!({"what": what})),
            Event::TargetStarted { cluster, target } => {
                let cluster = cluster.map(ClusterName::as_str);
                state.write("target_started", json!({"cluster": cluster, "target": target}));
            }
            Event::TargetWaiting { cluster, target, cause, attempts } => {
                let line = json!({
                    "cluster": cluster.as_str(),
                    "target": target,
                    "waited_for": cause,
                    "attempts": attempts,
                });
                state.write("target_waiting", line);
            }
            Event::TargetDone { rows, .. } => {
                for row in *rows {
                    state.write("target", target_json(row));
                    state.told.insert(row.tenant.clone());
                }
            }
            // How it ended, the answer knows.
            Event::RunDone
            | Event::Working { .. }
            | Event::TargetWorking { .. }
            | Event::StepStarted { .. }
            | Event::StepDone { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::board::tests::{done, failed, row};
    use super::*;
    use crate::report::{Status, Verb};

    /// A sink that a test reads, or that fails.
    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>, Option<io::ErrorKind>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(kind) = self.1 {
                return Err(kind.into());
            }
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn events(sink: &Sink) -> Vec<Value> {
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn each_tenant_has_one_line_and_the_last_is_the_runs() {
        let (sink, eu) = (Sink::default(), ClusterName::new("eu-1").unwrap());
        let stream = Stream::to(sink.clone()).unwrap();
        let clusters = [(eu.clone(), 2)];
        stream.on(&Event::RunStarted {
            what: "migrate",
            run: Some(uuid::Uuid::nil()),
            targets: 2,
            clusters: &clusters,
        });
        stream.on(&Event::WaveStarted { number: 1, name: "10%", targets: 2 });
        stream.on(&Event::TargetStarted { cluster: Some(&eu), target: "dog" });
        stream.on(&Event::TargetWaiting {
            cluster: &eu,
            target: "dog",
            cause: "pid 7",
            attempts: 1,
        });
        stream.on(&done(&eu, &[failed("dog", "tags")]));
        stream.on(&Event::Holding { what: "a soak" });
        stream.on(&Event::RunDone);
        let targets = vec![failed("dog", "tags"), row("elk", Status::UpToDate)];
        stream.end(&Report::Migration(MigrationRun::new(Verb::Up, targets))).unwrap();
        let mut events = events(&sink);
        for event in &mut events {
            assert_eq!(event["format"], 1);
            let at = event["at"].take();
            assert!(at.as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{at}");
        }
        let words: Vec<&str> =
            events.iter().map(|event| event["event"].as_str().unwrap()).collect();
        let expected = [
            "run_started",
            "wave_started",
            "target_started",
            "target_waiting",
            "target",
            "holding",
            "target",
            "run_done",
        ];
        assert_eq!(words, expected);
        assert_eq!(events[4]["error"]["sqlstate"], "42P07");
        assert_eq!(
            (&events[6]["tenant"], &events[6]["status"]),
            (&"elk".into(), &"up-to-date".into())
        );
        assert_eq!(events[7]["verdict"], "partial");
    }

    #[test]
    fn a_reader_that_is_gone_is_no_failure_and_a_full_disk_is_one() {
        for (kind, fails) in
            [(io::ErrorKind::BrokenPipe, false), (io::ErrorKind::StorageFull, true)]
        {
            let stream = Stream::to(Sink(Arc::default(), Some(kind))).unwrap();
            for _ in 0..3 {
                stream.on(&Event::Holding { what: "a soak" });
            }
            let end = stream.fail(&anyhow::anyhow!("lost"));
            assert_eq!(end.is_err(), fails, "{end:?}");
        }
    }
}
