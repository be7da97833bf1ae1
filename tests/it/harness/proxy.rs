//! A socket between the binary and its server that kills the binary at a chosen request.
//!
//! Killing at a time would test other places on every machine. Killing at a request enumerates
//! every place at which the two can part: the server has this request, and no later one; it may
//! still be at work on it when the next run begins.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use tempfile::TempDir;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use super::postgres::{DATABASE, OPERATOR, Postgres};

/// The socket. Requests are simple queries (`Q`) and the ends of extended ones (`S`), counted over
/// all connections in the order in which they pass.
pub struct Proxy {
    directory: TempDir,
    passed: Arc<Mutex<Passed>>,
    victim: Arc<AtomicI32>,
}

/// A request that changes something: of a kind, the so-manyth (from 0).
#[derive(Clone, Debug)]
pub struct Turn {
    kind: String,
    nth: usize,
}

/// What changes something on a server, as statements begin.
const CHANGES: [&str; 16] = [
    "ALTER",
    "COMMENT",
    "COPY",
    "CREATE",
    "DELETE",
    "DROP",
    "GRANT",
    "INSERT",
    "REASSIGN",
    "REVOKE",
    "TRUNCATE",
    "UPDATE",
    "lo_unlink",
    "pg_create_logical_replication_slot",
    "pg_drop_replication_slot",
    "pg_terminate_backend",
];

#[derive(Default)]
struct Passed {
    requests: usize,
    /// The kinds of the changes that passed, and whether a transaction was still open behind each.
    changes: Vec<(String, bool)>,
    kill_after: Option<usize>,
    kill_at: Option<Turn>,
    /// The connection that carries these words is cut, once.
    cut_after: Option<String>,
    dead: bool,
}

impl Proxy {
    /// Stands before a server, and kills once request number `kill_after` (from 0) has passed;
    /// without one it only counts.
    pub fn start(server: &Postgres, kill_after: Option<usize>) -> Self {
        Self::with(server, Passed { kill_after, ..Passed::default() })
    }

    /// Stands before a server, and kills behind a change that [`Proxy::turns`] has named.
    pub fn killing(server: &Postgres, turn: &Turn) -> Self {
        Self::with(server, Passed { kill_at: Some(turn.clone()), ..Passed::default() })
    }

    /// The changes that have passed: of each kind the first, and the last one where it stands by
    /// itself. What is rolled back by a kill is hit once.
    pub fn turns(&self) -> Vec<Turn> {
        let passed = self.passed.lock().unwrap();
        let mut turns: Vec<Turn> = Vec::new();
        let mut seen: Vec<&str> = Vec::new();
        for (kind, open) in &passed.changes {
            let nth = seen.iter().filter(|one| *one == kind).count();
            seen.push(kind);
            match turns.iter_mut().filter(|turn| turn.kind == *kind).nth(1) {
                Some(last) => last.nth = nth,
                None if nth == 0 || !open => turns.push(Turn { kind: kind.clone(), nth }),
                None => {}
            }
        }
        turns
    }

    /// Stands before a server, and cuts the first connection on which a simple query with these
    /// words passes: the server has the request, and its answer reaches nobody.
    pub fn cutting(server: &Postgres, words: &str) -> Self {
        Self::with(server, Passed { cut_after: Some(words.to_owned()), ..Passed::default() })
    }

    fn with(server: &Postgres, passed: Passed) -> Self {
        let directory = tempfile::Builder::new().prefix("tenantctl-proxy-").tempdir().unwrap();
        let name = format!(".s.PGSQL.{}", server.server().port());
        let listener = UnixListener::bind(directory.path().join(&name)).unwrap();
        let behind = server.server().socket_dir().join(name);
        let passed = Arc::new(Mutex::new(passed));
        let victim = Arc::new(AtomicI32::new(0));
        let (state, pid) = (Arc::clone(&passed), Arc::clone(&victim));
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                let (state, pid, behind) = (Arc::clone(&state), Arc::clone(&pid), behind.clone());
                thread::spawn(move || forward(client, &behind, &state, &pid));
            }
        });
        Self { directory, passed, victim }
    }

    /// Names the process to kill. The first request waits for it.
    pub fn aim_at(&self, pid: u32) {
        self.victim.store(i32::try_from(pid).unwrap(), Ordering::SeqCst);
    }

    /// The operator's connection string through this socket.
    pub fn operator_url(&self, server: &Postgres) -> String {
        let mut url = server.url(DATABASE, OPERATOR);
        let direct = server.server().socket_dir().to_string_lossy().into_owned();
        let encoded = direct.replace('/', "%2F");
        let here = self.directory.path().to_string_lossy().into_owned();
        for place in [direct, encoded] {
            url = url.replace(&place, &here);
        }
        // Otherwise the test would pass by going around the proxy.
        let config: Config = url.parse().unwrap();
        assert_eq!(config.get_hosts(), [Host::Unix(PathBuf::from(&here))]);
        url
    }

    /// How many requests have passed.
    pub fn requests(&self) -> usize {
        self.passed.lock().unwrap().requests
    }
}

/// Carries one connection until either side ends it.
fn forward(mut client: UnixStream, behind: &Path, passed: &Mutex<Passed>, victim: &AtomicI32) {
    let Ok(mut server) = UnixStream::connect(behind) else { return };
    let (mut source, mut sink) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    thread::scope(|scope| {
        // The end of either stream ends both ways; there is nobody to tell.
        scope.spawn(move || {
            drop(answers(&mut source, &mut sink, passed));
            drop(sink.shutdown(Shutdown::Both));
        });
        drop(requests(&mut client, &mut server, passed, victim));
        drop(server.shutdown(Shutdown::Both));
        drop(client.shutdown(Shutdown::Both));
    });
}

fn answers(
    server: &mut UnixStream,
    client: &mut UnixStream,
    passed: &Mutex<Passed>,
) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    while let count @ 1.. = server.read(&mut buffer)? {
        // Waits while the binary is killed: it never reads the answer to its last request.
        if passed.lock().unwrap().dead {
            break;
        }
        client.write_all(&buffer[..count])?;
    }
    Ok(())
}

fn requests(
    client: &mut UnixStream,
    server: &mut UnixStream,
    passed: &Mutex<Passed>,
    victim: &AtomicI32,
) -> io::Result<()> {
    // The first message has no letter, only its length.
    let mut length = [0; 4];
    client.read_exact(&mut length)?;
    server.write_all(&length)?;
    carry_body(client, server, length)?;
    let mut talk = Talk::default();
    loop {
        let mut head = [0; 5];
        client.read_exact(&mut head)?;
        let length = [head[1], head[2], head[3], head[4]];
        // Held while the binary is killed, so that no other connection gets further meanwhile.
        let mut state = passed.lock().unwrap();
        if state.dead {
            return Ok(());
        }
        let counts = matches!(head[0], b'Q' | b'S');
        let number = state.requests;
        state.requests += usize::from(counts);
        let mut body = Vec::new();
        (&*client).take(body_length(length)).read_to_end(&mut body)?;
        let turn = talk.change(head[0], &body).map(|(kind, open)| {
            let nth = state.changes.iter().filter(|(one, _)| *one == kind).count();
            state.changes.push((kind.clone(), open));
            Turn { kind, nth }
        });
        let wanted = |turn: &Turn| {
            state.kill_at.as_ref().is_some_and(|at| (&at.kind, at.nth) == (&turn.kind, turn.nth))
        };
        let kills = counts && state.kill_after == Some(number) || turn.as_ref().is_some_and(wanted);
        let cut = head[0] == b'Q'
            && state.cut_after.as_ref().is_some_and(|words| contains(&body, words.as_bytes()));
        server.write_all(&head)?;
        server.write_all(&body)?;
        if cut {
            state.cut_after = None;
            return client.shutdown(Shutdown::Both);
        }
        if kills {
            state.dead = true;
            kill(victim);
            return Ok(());
        }
    }
}

/// What one connection has said so far.
#[derive(Default)]
struct Talk {
    /// What was prepared last.
    prepared: String,
    /// The changes of the transaction that is open.
    open: Option<Vec<String>>,
}

impl Talk {
    /// The kind of a change, and whether a transaction is open behind it.
    fn change(&mut self, letter: u8, body: &[u8]) -> Option<(String, bool)> {
        let text = |bytes: &[u8]| {
            String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap()).into_owned()
        };
        let said = match letter {
            b'Q' => text(body),
            b'P' => {
                let name = body.iter().position(|byte| *byte == 0).unwrap();
                self.prepared = text(&body[name + 1..]);
                return None;
            }
            b'S' => std::mem::take(&mut self.prepared),
            _ => return None,
        };
        let words = words(&said);
        let has = |word: &str| words.contains(&word);
        if words.first() == Some(&"BEGIN") {
            self.open = Some(Vec::new());
        }
        let mut kind = words.join(" ");
        let mut changes = words.iter().any(|word| CHANGES.contains(word));
        if let Some(open) = &mut self.open {
            if changes {
                open.push(kind.clone());
                open.dedup();
            }
            if has("COMMIT") {
                changes = !open.is_empty();
                kind = format!("{}; COMMIT", open.join("; "));
            }
            if has("COMMIT") || has("ROLLBACK") {
                self.open = None;
            }
        }
        changes.then_some((kind, self.open.is_some()))
    }
}

/// A statement without names and values: what two of a kind have in common.
fn words(statement: &str) -> Vec<&str> {
    let outside = statement.split('\'').step_by(2);
    let word = |word: &&str| {
        word.len() > 1
            && (word.chars().all(|letter| letter.is_ascii_uppercase())
                || word.starts_with("pg_")
                || word.starts_with("lo_"))
    };
    outside
        .flat_map(|part| part.split(|letter: char| !(letter.is_alphanumeric() || letter == '_')))
        .filter(word)
        .collect()
}

fn carry_body(client: &mut UnixStream, server: &mut UnixStream, length: [u8; 4]) -> io::Result<()> {
    io::copy(&mut client.take(body_length(length)), server)?;
    Ok(())
}

fn body_length(length: [u8; 4]) -> u64 {
    u64::from(u32::from_be_bytes(length)).saturating_sub(4)
}

fn contains(body: &[u8], words: &[u8]) -> bool {
    body.windows(words.len()).any(|window| window == words)
}

fn kill(victim: &AtomicI32) {
    let pid = loop {
        match victim.load(Ordering::SeqCst) {
            0 => thread::yield_now(),
            pid => break pid,
        }
    };
    let command = format!("kill -KILL {pid}");
    assert!(Command::new("/bin/sh").args(["-c", &command]).status().unwrap().success());
}
