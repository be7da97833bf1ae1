//! Object storage that speaks S3, through the crate `object_store`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt as _, RetryConfig};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::Url;
use super::signing::Signing;
use crate::error::{Code, Error};

/// A part of an upload. There may be ten thousand of them, so this bounds the length of one object.
const PART: usize = 16 << 20;

/// So many parts are on their way at once: what is sent is in memory until the store has it.
const AT_ONCE: usize = 2;

/// What is read of an object to find where its files are.
const PEEK: u64 = 16 << 10;

/// A failed request is made again for so long.
const PATIENCE: Duration = Duration::from_mins(1);

/// A bucket and a key in it, reached as the environment says.
#[derive(Clone)]
pub(in crate::archive) struct Bucket {
    store: Arc<AmazonS3>,
    key: Path,
    url: String,
}

impl Bucket {
    /// Prepares requests: none is made yet. Endpoint, region and credentials are those of the `AWS_…`
    /// variables.
    pub(in crate::archive) fn open(url: &Url) -> Result<Self, Error> {
        let retry = RetryConfig { retry_timeout: PATIENCE, ..RetryConfig::default() };
        let store = AmazonS3Builder::from_env()
            .with_bucket_name(&url.bucket)
            .with_crypto_provider(Arc::new(Signing))
            .with_retry(retry)
            .build()
            .map_err(|error| {
                Error::new(Code::Config, format!("open {url}"))
                    .because(error)
                    .hint("see what AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY say")
            })?;
        let key = Path::parse(&url.key)
            .map_err(|error| Error::new(Code::Usage, format!("open {url}")).because(error))?;
        Ok(Self { store: Arc::new(store), key, url: url.to_string() })
    }

    fn path(&self, name: Option<&str>) -> Result<Path, Error> {
        let Some(name) = name else { return Ok(self.key.clone()) };
        Path::parse(format!("{}/{name}", self.key)).map_err(|error| {
            Error::new(Code::Io, format!("name {name} of {}", self.url)).because(error)
        })
    }

    /// Whether there is an object under this name, or under the key itself.
    pub(in crate::archive) async fn holds(&self, name: Option<&str>) -> Result<bool, Error> {
        match self.store.head(&self.path(name)?).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(failed(error, format!("look for {}", self.url))),
        }
    }

    /// Reads a whole object.
    pub(in crate::archive) async fn get(&self, name: &str) -> Result<Vec<u8>, Error> {
        let attempt = |error| failed(error, format!("read {name} of {}", self.url));
        let found = self.store.get(&self.path(Some(name))?).await.map_err(attempt)?;
        Ok(found.bytes().await.map_err(attempt)?.into())
    }

    /// Writes a whole object.
    pub(in crate::archive) async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
        self.store
            .put(&self.path(Some(name))?, bytes.into())
            .await
            .map_err(|error| failed(error, format!("write {name} of {}", self.url)))?;
        Ok(())
    }

    /// Begins to write an object whose length is not known: under this name, or under the key itself.
    pub(in crate::archive) fn upload(&self, name: Option<&str>) -> Result<Upload, Error> {
        Ok(Upload {
            bucket: self.clone(),
            path: self.path(name)?,
            begun: None,
            held: Vec::new(),
            sending: JoinSet::new(),
        })
    }

    /// Prepares to read an object piece by piece.
    pub(in crate::archive) async fn ranges(&self, name: Option<&str>) -> Result<Ranges, Error> {
        let path = self.path(name)?;
        let found = self.store.head(&path).await.map_err(|error| match error {
            object_store::Error::NotFound { .. } => {
                Error::new(Code::NotFound, format!("there is no {}", self.url))
            }
            error => failed(error, format!("look for {}", self.url)),
        })?;
        Ok(Ranges {
            bucket: self.clone(),
            path,
            size: found.size,
            at: 0,
            held: (0, Vec::new()),
            runtime: Handle::current(),
        })
    }
}

/// An object that is being written; nobody sees it before it is finished. What fails is given up at
/// once: the store forgets what it was sent.
pub(in crate::archive) struct Upload {
    bucket: Bucket,
    path: Path,
    /// None before the first part is full: what is smaller is one request.
    begun: Option<Box<dyn MultipartUpload>>,
    held: Vec<u8>,
    sending: JoinSet<object_store::Result<()>>,
}

impl Upload {
    /// Writes the next bytes, and waits while enough are on their way.
    pub(in crate::archive) async fn put(&mut self, bytes: Vec<u8>) -> Result<(), Error> {
        self.held.extend_from_slice(&bytes);
        drop(bytes);
        while self.held.len() >= PART {
            let rest = self.held.split_off(PART);
            let part = std::mem::replace(&mut self.held, rest);
            let sent = self.send(part).await;
            self.judged(sent).await?;
        }
        Ok(())
    }

    /// Makes the object whole, and visible.
    pub(in crate::archive) async fn finish(mut self) -> Result<(), Error> {
        let rest = std::mem::take(&mut self.held);
        if self.begun.is_none() {
            let put = self.bucket.store.put(&self.path, rest.into()).await;
            return put.map(drop).map_err(|error| self.failed(error));
        }
        let done = self.complete(rest).await;
        self.judged(done).await
    }

    /// Gives up.
    pub(in crate::archive) async fn abandon(mut self) {
        self.give_up().await;
    }

    async fn send(&mut self, part: Vec<u8>) -> object_store::Result<()> {
        while self.sending.len() >= AT_ONCE {
            self.sent().await?;
        }
        let begun = match &mut self.begun {
            Some(begun) => begun,
            none => none.insert(self.bucket.store.put_multipart(&self.path).await?),
        };
        self.sending.spawn(begun.put_part(part.into()));
        Ok(())
    }

    /// Waits for a part that is on its way.
    async fn sent(&mut self) -> object_store::Result<()> {
        match self.sending.join_next().await {
            Some(Ok(sent)) => sent,
            Some(Err(source)) => Err(object_store::Error::JoinError { source }),
            None => Ok(()),
        }
    }

    async fn complete(&mut self, rest: Vec<u8>) -> object_store::Result<()> {
        if !rest.is_empty() {
            self.send(rest).await?;
        }
        while !self.sending.is_empty() {
            self.sent().await?;
        }
        if let Some(begun) = &mut self.begun {
            begun.complete().await?;
        }
        Ok(())
    }

    async fn judged(&mut self, done: object_store::Result<()>) -> Result<(), Error> {
        match done {
            Ok(()) => Ok(()),
            Err(error) => {
                self.give_up().await;
                Err(self.failed(error))
            }
        }
    }

    async fn give_up(&mut self) {
        self.sending.shutdown().await;
        let Some(mut begun) = self.begun.take() else { return };
        if let Err(error) = begun.abort().await {
            log::warn!("parts of {} are left in the bucket: {error}", self.bucket.url);
        }
    }

    fn failed(&self, error: object_store::Error) -> Error {
        failed(error, format!("write {}", self.bucket.url))
    }
}

/// An object as something to read and to seek in, on a thread that may wait.
pub(in crate::archive) struct Ranges {
    bucket: Bucket,
    path: Path,
    size: u64,
    at: u64,
    /// What was read last, and where it begins.
    held: (u64, Vec<u8>),
    runtime: Handle,
}

impl Ranges {
    /// Reads so many bytes from a place, as far as there are any.
    pub(in crate::archive) async fn get(&self, at: u64, length: u64) -> Result<Vec<u8>, Error> {
        let end = at.saturating_add(length).min(self.size);
        if at >= end {
            return Ok(Vec::new());
        }
        let found = self.bucket.store.get_range(&self.path, at..end).await;
        let bytes = found.map_err(|error| {
            failed(error, format!("read bytes {at} to {end} of {}", self.bucket.url))
        })?;
        Ok(bytes.into())
    }
}

impl io::Read for Ranges {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.size || into.is_empty() {
            return Ok(0);
        }
        let (begins, bytes) = &self.held;
        let is_held = self.at >= *begins && self.at < begins + bytes.len() as u64;
        if !is_held {
            let bytes = self.runtime.clone().block_on(self.get(self.at, PEEK));
            self.held = (self.at, bytes.map_err(io::Error::other)?);
        }
        let (begins, bytes) = &self.held;
        let from = usize::try_from(self.at - begins).map_err(io::Error::other)?;
        let count = into.len().min(bytes.len() - from);
        into[..count].copy_from_slice(&bytes[from..from + count]);
        self.at += count as u64;
        Ok(count)
    }
}

impl io::Seek for Ranges {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        let at = match to {
            io::SeekFrom::Start(at) => Some(at),
            io::SeekFrom::End(by) => self.size.checked_add_signed(by),
            io::SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

fn failed(error: object_store::Error, what: String) -> Error {
    use object_store::Error as Refusal;
    let (code, hint) = match &error {
        Refusal::NotFound { .. } => (Code::NotFound, "see whether bucket and key are right"),
        Refusal::PermissionDenied { .. } => (
            Code::Permission,
            "allow s3:GetObject, s3:PutObject and s3:AbortMultipartUpload on the key, and s3:ListBucket on the bucket",
        ),
        Refusal::Unauthenticated { .. } => (
            Code::AuthFailed,
            "see what AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN say",
        ),
        _ => (
            Code::Io,
            "see what AWS_ENDPOINT_URL and AWS_REGION say; http:// needs AWS_ALLOW_HTTP=true",
        ),
    };
    Error::new(code, what).because(error).hint(hint)
}
