//! A store that speaks as much of S3 as an archive needs, in memory, on the loopback.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// The access key that it knows.
pub const KEY: &str = "access-key";

/// What goes with it.
pub const SECRET: &str = "a-secret-key";

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trouble {
    #[default]
    None,
    /// The second part of an upload is forbidden.
    SecondPart,
    /// So many requests are put off.
    Busy(usize),
}

/// The store.
pub struct Store {
    address: SocketAddr,
    shelf: Arc<Mutex<Shelf>>,
}

#[derive(Default)]
struct Shelf {
    objects: BTreeMap<String, Vec<u8>>,
    uploads: BTreeMap<String, BTreeMap<usize, Vec<u8>>>,
    requests: Vec<String>,
    trouble: Trouble,
    begun: usize,
}

impl Store {
    /// Begins to listen.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shelf = Arc::new(Mutex::new(Shelf::default()));
        let kept = Arc::clone(&shelf);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shelf = Arc::clone(&kept);
                thread::spawn(move || while answer(&client, &shelf).is_some() {});
            }
        });
        Self { address, shelf }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The objects, as `bucket/key`.
    pub fn keys(&self) -> Vec<String> {
        self.shelf.lock().unwrap().objects.keys().cloned().collect()
    }

    /// How many uploads are open.
    pub fn uploads(&self) -> usize {
        self.shelf.lock().unwrap().uploads.len()
    }

    /// What was asked, in order.
    pub fn requests(&self) -> Vec<String> {
        self.shelf.lock().unwrap().requests.clone()
    }

    /// How many requests of a method had these words.
    pub fn count(&self, method: &str, words: &str) -> usize {
        let requests = self.requests();
        requests.iter().filter(|one| one.starts_with(method) && one.contains(words)).count()
    }

    /// Changes a byte of an object.
    pub fn damage(&self, key: &str) {
        let mut shelf = self.shelf.lock().unwrap();
        let object = shelf.objects.get_mut(key).unwrap();
        let middle = object.len() / 2;
        object[middle] ^= 1;
    }

    pub fn trouble(&self, trouble: Trouble) {
        self.shelf.lock().unwrap().trouble = trouble;
    }
}

struct Request {
    method: String,
    /// As it was sent, and signed.
    path: String,
    key: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// Answers one request; none when the client has gone.
fn answer(client: &TcpStream, shelf: &Mutex<Shelf>) -> Option<()> {
    let request = read(client)?;
    let (status, headers, body) = shelf.lock().unwrap().answer(&request);
    let mut head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let body = if request.method == "HEAD" { Vec::new() } else { body };
    let mut client = client;
    client.write_all(head.as_bytes()).ok()?;
    client.write_all(&body).ok()
}

fn read(client: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(client);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let query = query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let key = decoded(path.trim_start_matches('/'));
    Some(Request { method, path: path.to_owned(), key, query, headers, body })
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let code = (*first == b'%').then(|| std::str::from_utf8(&more[..2]).unwrap());
        match code {
            Some(code) => {
                bytes.push(u8::from_str_radix(code, 16).unwrap());
                rest = &more[2..];
            }
            None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn keyed(key: &[u8], data: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(data.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Whether the request carries Signature Version 4 of whoever knows the secret.
fn is_signed(request: &Request) -> bool {
    let header = |name: &str| request.headers.get(name).cloned().unwrap_or_default();
    let given = header("authorization");
    let field = |name: &str| {
        let value = given.split_once(name).map_or("", |(_, rest)| rest);
        value.split(',').next().unwrap_or_default().to_owned()
    };
    let (names, signature) = (field("SignedHeaders="), field("Signature="));
    let scope = field(&format!("Credential={KEY}/"));
    let parts: Vec<&str> = scope.split('/').collect();
    let [date, region, service, end] = parts[..] else { return false };
    let body = header("x-amz-content-sha256");
    if body != "UNSIGNED-PAYLOAD" && body != hex(&Sha256::digest(&request.body)) {
        return false;
    }
    let query: Vec<String> =
        request.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let headers: String =
        names.split(';').map(|name| format!("{name}:{}\n", header(name))).collect();
    let (method, path, query) = (&request.method, &request.path, query.join("&"));
    let canonical = format!("{method}\n{path}\n{query}\n{headers}\n{names}\n{body}");
    let digest = hex(&Sha256::digest(canonical.as_bytes()));
    let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{digest}", header("x-amz-date"));
    let key = [date, region, service, end]
        .into_iter()
        .fold(format!("AWS4{SECRET}").into_bytes(), |key, part| keyed(&key, part));
    signature == hex(&keyed(&key, &text))
}

type Answer = (&'static str, Vec<(&'static str, String)>, Vec<u8>);

fn refusal(status: &'static str, code: &str) -> Answer {
    let text = format!("<Error><Code>{code}</Code><Message>refused</Message></Error>");
    (status, Vec::new(), text.into_bytes())
}

fn done(body: String) -> Answer {
    let tag = ("etag", "\"tag\"".to_owned());
    ("200 OK", vec![tag], body.into_bytes())
}

impl Shelf {
    fn answer(&mut self, request: &Request) -> Answer {
        let Request { method, key, query, headers, body, .. } = request;
        let asked: Vec<String> =
            query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let asked = if asked.is_empty() { String::new() } else { format!("?{}", asked.join("&")) };
        self.requests.push(format!("{method} /{key}{asked}"));
        if let Trouble::Busy(left @ 1..) = self.trouble {
            self.trouble = Trouble::Busy(left - 1);
            return refusal("503 Slow Down", "SlowDown");
        }
        if !is_signed(request) {
            return refusal("403 Forbidden", "SignatureDoesNotMatch");
        }
        match (method.as_str(), query.get("uploadId"), query.get("partNumber")) {
            ("PUT", Some(upload), Some(part)) => {
                let part: usize = part.parse().unwrap();
                if self.trouble == Trouble::SecondPart && part == 2 {
                    return refusal("403 Forbidden", "AccessDenied");
                }
                match self.uploads.get_mut(upload) {
                    Some(parts) => {
                        parts.insert(part, body.clone());
                        done(String::new())
                    }
                    None => refusal("404 Not Found", "NoSuchUpload"),
                }
            }
            ("PUT", None, None) => {
                self.objects.insert(key.clone(), body.clone());
                done(String::new())
            }
            ("POST", None, None) if query.contains_key("uploads") => {
                self.begun += 1;
                let id = format!("upload{}", self.begun);
                self.uploads.insert(id.clone(), BTreeMap::new());
                let (bucket, key) = key.split_once('/').unwrap();
                done(format!(
                    "<InitiateMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{key}</Key>\
                     <UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
                ))
            }
            ("POST", Some(upload), None) => match self.uploads.remove(upload) {
                Some(parts) => {
                    self.objects.insert(key.clone(), parts.into_values().flatten().collect());
                    done(
                        "<CompleteMultipartUploadResult><ETag>\"tag\"</ETag></CompleteMultipartUploadResult>"
                            .to_owned(),
                    )
                }
                None => refusal("404 Not Found", "NoSuchUpload"),
            },
            ("DELETE", Some(upload), None) => {
                self.uploads.remove(upload);
                ("204 No Content", Vec::new(), Vec::new())
            }
            ("GET" | "HEAD", None, None) => self.read(key, headers.get("range")),
            _ => refusal("400 Bad Request", "InvalidRequest"),
        }
    }

    fn read(&self, key: &str, range: Option<&String>) -> Answer {
        let Some(object) = self.objects.get(key) else {
            return refusal("404 Not Found", "NoSuchKey");
        };
        let mut headers = vec![
            ("etag", "\"tag\"".to_owned()),
            ("last-modified", "Sat, 01 Aug 2026 12:00:00 GMT".to_owned()),
        ];
        let Some(range) = range else { return ("200 OK", headers, object.clone()) };
        let (from, to) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let from: usize = from.parse().unwrap();
        let end = to.parse::<usize>().map_or(object.len(), |to| (to + 1).min(object.len()));
        headers.push(("content-range", format!("bytes {from}-{}/{}", end - 1, object.len())));
        ("206 Partial Content", headers, object[from..end].to_vec())
    }
}
