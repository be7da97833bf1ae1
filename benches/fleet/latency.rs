//! A server further away: a socket before it that holds back every byte for a while, in both
//! directions, and lets through as many as come.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::World;

/// The socket; it takes connections for as long as the process lives.
pub struct Far {
    directory: TempDir,
    behind: PathBuf,
}

impl Far {
    /// Adds half of `round_trip` to each direction.
    pub fn start(world: &World, round_trip: Duration) -> Self {
        let directory = tempfile::Builder::new().prefix("tenantctl-far-").tempdir().unwrap();
        let name = format!(".s.PGSQL.{}", world.server().port());
        let behind = world.server().socket_dir().to_owned();
        let listener = UnixListener::bind(directory.path().join(&name)).unwrap();
        let server = behind.join(name);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if let Ok(server) = UnixStream::connect(&server) {
                    let pairs = [(&client, &server), (&server, &client)];
                    for (from, to) in pairs {
                        carry(from.try_clone().unwrap(), to.try_clone().unwrap(), round_trip / 2);
                    }
                }
            }
        });
        Self { directory, behind }
    }

    /// The same place, reached through this socket.
    pub fn url(&self, url: &str) -> String {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let here = text(self.directory.path());
        let direct = text(&self.behind);
        let far = url.replace(&direct.replace('/', "%2F"), &here.replace('/', "%2F"));
        let far = far.replace(&direct, &here);
        assert_ne!(far, url, "the url does not name the server's socket");
        far
    }
}

/// Carries one direction: one thread notes when bytes came, another passes them on when it is time.
fn carry(mut from: UnixStream, mut to: UnixStream, delay: Duration) {
    let (held, due) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if held.send((Instant::now() + delay, buffer[..count].to_vec())).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        for (at, bytes) in due {
            thread::sleep(at.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        drop(to.shutdown(Shutdown::Both));
    });
}
