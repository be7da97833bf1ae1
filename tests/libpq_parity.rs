//! Asks libpq itself: `psql` and tenantctl get the same connection string, variables and files, and
//! must say the same to a server that listens to their first words and then refuses.
//!
//! Where there is no `psql`, there is nobody to ask, and the tests pass without asking.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use proptest::prelude::*;
use tenantctl::config::conninfo::{Environment, Source, resolve};
use tenantctl::pg::connect;

/// What a client said before it was refused: startup parameters, and the password.
type Words = BTreeMap<String, String>;

/// A server that asks for a password and refuses it, whatever it is.
struct Ear {
    home: tempfile::TempDir,
    heard: Receiver<Words>,
}

const PORT: &str = "5499";

impl Ear {
    fn open() -> Self {
        let home = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(home.path().join(format!(".s.PGSQL.{PORT}"))).unwrap();
        let (sender, heard) = channel();
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if let Some(words) = listen(stream)
                    && sender.send(words).is_err()
                {
                    return;
                }
            }
        });
        Self { home, heard }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.home.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn variables<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let home = self.home.path().to_str().unwrap();
        let mut all = vec![
            ("HOME", home),
            ("PGHOST", home),
            ("PGPORT", PORT),
            ("PGSYSCONFDIR", home),
            ("PGUSER", "somebody"),
        ];
        all.extend(more);
        all
    }

    /// What `psql` says; nothing when libpq refuses by itself.
    fn psql(&self, text: &str, variables: &[(&str, &str)]) -> Option<Words> {
        let status = Command::new("psql")
            .args(["--no-psqlrc", "--no-password", "--dbname", text, "--command", "SELECT 1"])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(self.variables(variables))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(!status.success());
        self.heard.recv_timeout(Duration::from_millis(30)).ok()
    }

    /// What tenantctl says; nothing when it refuses by itself.
    fn tenantctl(&self, text: &str, variables: &[(&str, &str)]) -> Option<Words> {
        let environment =
            self.variables(variables).into_iter().fold(
                Environment::bare().with_home(self.home.path()),
                |environment, (name, value)| environment.with_variable(name, value),
            );
        let source = Source::Environment("DATABASE_URL".to_owned());
        let settings = resolve(text, &source, &environment).ok()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(connect::connect(&settings)).unwrap_err();
        self.heard.recv_timeout(Duration::from_millis(30)).ok()
    }
}

fn listen(mut stream: UnixStream) -> Option<Words> {
    // Before the parameters stands the protocol's version.
    let startup = message(&mut stream)?.split_off(4);
    let mut texts = startup.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text));
    let mut words = Words::new();
    while let (Some(name), Some(value)) = (texts.next(), texts.next()) {
        words.insert(name.into_owned(), value.into_owned());
    }
    // What each program says for itself.
    words.remove("client_encoding");
    words.remove("");
    if matches!(words.get("application_name").map(String::as_str), Some("psql" | "tenantctl")) {
        words.remove("application_name");
    }
    // AuthenticationCleartextPassword
    stream.write_all(b"R\0\0\0\x08\0\0\0\x03").ok()?;
    let mut kind = [0];
    if stream.read_exact(&mut kind).is_ok() && kind == *b"p" {
        let password = message(&mut stream)?;
        let password = String::from_utf8_lossy(&password).trim_end_matches('\0').to_owned();
        words.insert("password".to_owned(), password);
    }
    // The client may have left already.
    drop(stream.write_all(b"E\0\0\0\x24SFATAL\0VFATAL\0C28P01\0Mrefused.\0\0\0"));
    Some(words)
}

/// One message without its kind: a length that counts itself, then the rest.
fn message(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?.checked_sub(4)?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(body)
}

fn psql_is_here() -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|directory| Path::new(&directory).join("psql").exists())
}

const SERVICES: &str = "[app]\nuser=service-user\ndbname=service-db\npassword=service-word\n\
                        [sys]\noptions=-c geqo=off\n";
const PASSWORDS: &str = "other:*:*:*:no\n# localhost:*:*:*:no\n*:1:*:*:no\n*:*:a\\:b:*:colon\n\
                         *:*:one:somebody:p\\\\1\\:\n*:*:*:app:for app:rest\n*:*:somebody:*:own\n";

#[test]
fn psql_and_tenantctl_say_the_same() {
    if !psql_is_here() {
        return;
    }
    let ear = Ear::open();
    ear.write(".pg_service.conf", SERVICES);
    ear.write(".pgpass", PASSWORDS);
    ear.write("wide", "*:*:*:*:wide\n");
    let wide = ear.home.path().join("wide");
    fs::set_permissions(&wide, fs::Permissions::from_mode(0o644)).unwrap();
    let wide = format!("passfile={}", wide.display());
    let percent_home = ear
        .home
        .path()
        .to_str()
        .unwrap()
        .bytes()
        .fold(String::new(), |text, byte| format!("{text}%{byte:02x}"));
    let uri = format!("postgres://u%40x:p%3Aw@{percent_home}:{PORT}/d%2Fb?application_name=a%20b");
    let cases: &[(&str, &[(&str, &str)])] = &[
        ("user=somebody", &[]),
        ("dbname=one", &[]),
        ("dbname=a:b", &[]),
        ("user=app dbname=x", &[]),
        ("user = 'it\\'s me' password= 'a b' dbname=x\\ y", &[]),
        ("user=a user=b password=1 password=2", &[]),
        ("password=", &[("PGPASSWORD", "variable")]),
        (
            "user=a",
            &[("PGPASSWORD", "variable"), ("PGDATABASE", "variable"), ("PGOPTIONS", "-c a=b")],
        ),
        ("service=app", &[("PGPASSWORD", "variable")]),
        ("service=app user=mine", &[("PGDATABASE", "variable")]),
        ("user=x", &[("PGSERVICE", "sys"), ("PGOPTIONS", "-c b=c")]),
        ("service=absent", &[]),
        ("user=x", &[("PGAPPNAME", "named")]),
        (&wide, &[]),
        (&uri, &[]),
        ("postgres://", &[]),
        ("postgres:///one", &[]),
        ("postgresql://app@/one?password=q", &[]),
        ("postgresql://app:first@/one?password=second&user=third", &[]),
        ("postgresql://app@/?dbname=one", &[]),
        ("postgresql://a?b:c@/one", &[]),
        ("postgres://?user=%zz", &[]),
        ("postgres://?user=a%00b", &[]),
        ("postgres://?user=a=b", &[]),
        ("postgres://?user", &[]),
        ("postgres://?usr=a", &[]),
        ("postgres://[::1", &[]),
        ("user=x port=0", &[]),
        ("user=x port=65536", &[]),
        ("user=x sslmode=never", &[]),
        ("user=x sslmode=require", &[]),
        ("user=x target_session_attrs=none", &[]),
        ("user=x channel_binding=always", &[]),
        ("user=x connect_timeout=x", &[]),
        ("user='x", &[]),
        ("user=x nonsense", &[]),
        ("user=x nonsense=1", &[]),
    ];
    for (text, variables) in cases {
        assert_eq!(ear.tenantctl(text, variables), ear.psql(text, variables), "{text}");
    }
}

/// Keyword strings, well formed or nearly so.
const KEYWORDS: &str =
    r"([ \t]?(user|password|dbname) ?= ?(a|b| |'|'a b'|'\\''|\\|=|:|%41){0,4}){1,3}";
/// URIs without a host, so that no name is ever looked up.
const URIS: &str = r"postgres(ql)?://((a|:|\?|%41|%4|=){0,4}@)?(/(a|b|:|/|%2f|%41){0,3})?(\?((user|password|dbname|ssl)=(a|true|/|\+|%41|%4){0,2}&?){0,3})?";

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64, failure_persistence: None, ..ProptestConfig::default()
    })]

    /// tenantctl may refuse more than libpq, and then says nothing; it never says anything else.
    #[test]
    fn on_any_string_tenantctl_says_what_psql_says_or_nothing(
        text in proptest::string::string_regex(&format!("{KEYWORDS}|{URIS}")).unwrap(),
    ) {
        if psql_is_here() {
            let ear = Ear::open();
            if let Some(words) = ear.tenantctl(&text, &[]) {
                prop_assert_eq!(Some(words), ear.psql(&text, &[]));
            }
        }
    }
}
