//! Real servers: started, watched, stopped, killed.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::*;

/// Whether a server answers on its socket: the protocol's request for TLS gets one byte back.
fn answers(socket_dir: &Path, port: u16) -> bool {
    let Ok(mut stream) = UnixStream::connect(socket_dir.join(format!(".s.PGSQL.{port}"))) else {
        return false;
    };
    let mut byte = [0];
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).unwrap();
    stream.read_exact(&mut byte).is_ok() && b"SN".contains(&byte[0])
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come true");
        thread::sleep(Duration::from_millis(20));
    }
}

fn alive(pid: u32) -> bool {
    Command::new("sh")
        .args(["-c", &format!("kill -0 {pid}")])
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .success()
}

#[test]
fn names_and_paths_survive_a_connection_string() {
    assert_eq!(percent_encoded("a b/ü?&"), "a%20b%2F%C3%BC%3F%26");
    assert_eq!(percent_encoded("app-1_x.y~"), "app-1_x.y~");
}

#[test]
fn a_private_key_is_not_shown() {
    let certificate =
        Certificate { chain: "CHAIN".into(), key: "SECRET".into(), client_authority: None };
    assert!(!format!("{:?}", Listen::Loopback(Some(certificate))).contains("SECRET"));
}

#[test]
fn a_server_starts_answers_and_leaves_nothing() {
    let server = Server::launch(&Options::default()).unwrap();
    let (dir, pid) = (server.socket_dir().to_path_buf(), server.pid());
    assert!(answers(&dir, server.port()));
    assert!(server.version().major() >= OLDEST_MAJOR);
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(server.loopback_url("app", "me"), None);
    drop(server);
    assert!(!dir.exists());
    assert!(!alive(pid));
}

#[test]
fn a_saved_server_starts_others() {
    let scratch = tempfile::tempdir().unwrap();
    let saved = scratch.path().join("saved");
    Server::launch(&Options::default()).unwrap().save(&saved).unwrap();
    let options = Options::default().template(&saved);
    let (one, two) = (Server::launch(&options).unwrap(), Server::launch(&options).unwrap());
    assert_ne!(one.socket_dir(), two.socket_dir());
    assert!(answers(one.socket_dir(), one.port()) && answers(two.socket_dir(), two.port()));
}

#[test]
fn a_setting_that_the_server_refuses_is_quoted_from_its_log() {
    let error =
        Server::launch(&Options::default().setting("shared_buffers", "plenty")).unwrap_err();
    assert_eq!(error.code, Code::Server);
    let reason = std::error::Error::source(&error).unwrap().to_string();
    assert!(reason.contains("invalid value for parameter \"shared_buffers\""), "{reason}");
}

#[test]
fn the_loopback_is_opened_on_request_only() {
    let server = Server::launch(&Options::default().listen(Listen::Loopback(None))).unwrap();
    std::net::TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    let url = server.loopback_url("app", "me").unwrap();
    assert_eq!(url, format!("postgres://me@127.0.0.1:{}/app", server.port()));
}

#[test]
fn a_kept_server_outlives_its_maker_and_cleans_up_after_itself() {
    let kept = Server::launch(&Options::default()).unwrap().keep().unwrap();
    assert!(answers(&kept.socket_dir, kept.port));
    // The next launch sweeps what is abandoned; a kept server is not.
    drop(Server::launch(&Options::default()).unwrap());
    assert!(answers(&kept.socket_dir, kept.port));
    assert!(Command::new("sh").args(["-c", &kept.stop_command()]).status().unwrap().success());
    eventually("the directory's end", || !kept.directory.exists());
    assert!(!alive(kept.pid));
}

/// The child half of the next test: starts a server from a short-lived thread of a runtime, says
/// where it is, and waits to be killed.
#[test]
#[ignore = "run by a_killed_process_leaves_no_server_behind"]
fn victim() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .thread_keep_alive(Duration::from_millis(1))
        .build()
        .unwrap();
    let server = runtime
        .block_on(async {
            tokio::task::spawn_blocking(|| Server::launch(&Options::default())).await
        })
        .unwrap()
        .unwrap();
    // The thread that started the server ends here; the server must not.
    thread::sleep(Duration::from_millis(300));
    assert!(answers(server.socket_dir(), server.port()));
    let report = std::env::var_os("VICTIM_REPORT").map(PathBuf::from).unwrap();
    let line = format!("{} {}", server.pid(), server.socket_dir().display());
    fs::write(report.with_extension("new"), line).unwrap();
    fs::rename(report.with_extension("new"), report).unwrap();
    thread::sleep(Duration::from_mins(1));
}

#[test]
fn a_killed_process_leaves_no_server_behind() {
    let scratch = tempfile::tempdir().unwrap();
    let report = scratch.path().join("report");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "pg::server::tests::victim"])
        .env("VICTIM_REPORT", &report)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the victim's report", || report.exists());
    let line = fs::read_to_string(&report).unwrap();
    let (pid, directory) = line.split_once(' ').unwrap();
    let (pid, directory) = (pid.parse().unwrap(), Path::new(directory));
    assert!(alive(pid));

    // `Child::kill` is SIGKILL: no handler and no destructor runs.
    child.kill().unwrap();
    child.wait().unwrap();

    eventually("the server's end", || !alive(pid));
    eventually("the directory's end", || !directory.exists());
}

#[test]
fn a_port_that_somebody_took_is_replaced_in_the_same_directory() {
    let installation = newest().unwrap();
    let directory = Directory::create(None).unwrap();
    data::initdb(&installation, &directory).unwrap();
    let options = Options::default().listen(Listen::Loopback(None));
    let settings = server_settings(&options, &directory);
    let start = |port| {
        let arguments = arguments(&directory, port, &settings);
        Watchdog::start(&installation.program("postgres"), &arguments, &directory)
    };
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();

    let refused = start(taken.local_addr().unwrap().port()).unwrap_err();
    assert!(matches!(refused, Failure::PortTaken(_)), "{refused:?}");

    let port = free_port().unwrap();
    let (_watchdog, pid) = start(port).unwrap();
    assert!(alive(pid) && answers(directory.path(), port));
}
