//! Stands where object storage is not compiled in: there is no bucket, and asking for one says why.

#![allow(dead_code, clippy::unused_async, reason = "what never is, is never made and never waits")]

use std::convert::Infallible;
use std::io;

use super::Url;
use crate::error::{Code, Error};

/// Nothing that ever is.
#[derive(Clone)]
pub(in crate::archive) struct Bucket(Infallible);

/// Nothing that ever is.
pub(in crate::archive) struct Upload(Infallible);

/// Nothing that ever is.
pub(in crate::archive) struct Ranges(Infallible);

impl Bucket {
    pub(in crate::archive) fn open(url: &Url) -> Result<Self, Error> {
        let what = format!("open {url}: this tenantctl was built without object storage");
        Err(Error::new(Code::Usage, what)
            .hint("build it with: cargo install --locked --path . --features s3")
            .hint("or send archives on: tenantctl export ID -O - | whatever keeps your objects"))
    }

    pub(in crate::archive) async fn holds(&self, _: Option<&str>) -> Result<bool, Error> {
        match self.0 {}
    }

    pub(in crate::archive) async fn get(&self, _: &str) -> Result<Vec<u8>, Error> {
        match self.0 {}
    }

    pub(in crate::archive) async fn put(&self, _: &str, _: Vec<u8>) -> Result<(), Error> {
        match self.0 {}
    }

    pub(in crate::archive) fn upload(&self, _: Option<&str>) -> Result<Upload, Error> {
        match self.0 {}
    }

    pub(in crate::archive) async fn ranges(&self, _: Option<&str>) -> Result<Ranges, Error> {
        match self.0 {}
    }
}

impl Upload {
    pub(in crate::archive) async fn put(&mut self, _: Vec<u8>) -> Result<(), Error> {
        match self.0 {}
    }

    pub(in crate::archive) async fn finish(self) -> Result<(), Error> {
        match self.0 {}
    }

    pub(in crate::archive) async fn abandon(self) {
        match self.0 {}
    }
}

impl Ranges {
    pub(in crate::archive) async fn get(&self, _: u64, _: u64) -> Result<Vec<u8>, Error> {
        match self.0 {}
    }
}

impl io::Read for Ranges {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }
}

impl io::Seek for Ranges {
    fn seek(&mut self, _: io::SeekFrom) -> io::Result<u64> {
        match self.0 {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_for_object_storage_is_told_how_to_have_it() {
        let url = Url::parse("s3://backups/acme").unwrap().unwrap();
        let error = Bucket::open(&url).err().unwrap();
        assert_eq!(error.code, Code::Usage);
        assert!(error.message.contains("s3://backups/acme"), "{error}");
        assert!(error.hints[0].contains("--features s3"), "{:?}", error.hints);
    }
}
