//! Archives in object storage: `s3://bucket/key`.
//!
//! What speaks to it is compiled in with the feature `s3`, and otherwise says so.

#[cfg(any(test, not(feature = "s3")))]
mod absent;
#[cfg(feature = "s3")]
mod bucket;
#[cfg(feature = "s3")]
mod signing;

use std::fmt;

#[cfg(not(feature = "s3"))]
pub(super) use absent::{Bucket, Ranges, Upload};
#[cfg(feature = "s3")]
pub(super) use bucket::{Bucket, Ranges, Upload};

use crate::error::{Code, Error};

/// A place in object storage: a bucket, and the key of an object or the beginning of many keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    bucket: String,
    key: String,
}

impl Url {
    /// Reads what was typed; none for what is no URL.
    ///
    /// # Errors
    ///
    /// [`Code::Usage`] for another scheme, and without a bucket or a key.
    pub fn parse(text: &str) -> Result<Option<Self>, Error> {
        let Some((scheme, rest)) = text.split_once("://") else { return Ok(None) };
        if scheme != "s3" {
            return Err(Error::new(Code::Usage, format!("{scheme}:// is no place of an archive"))
                .hint("name a directory, a file that ends in .tar, or s3://bucket/key"));
        }
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let key = key.trim_end_matches('/');
        let whole = !bucket.is_empty() && !key.is_empty();
        // A key with an empty part, or one that a URL would read as a way, is some other object.
        if !whole || key.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(Error::new(Code::Usage, format!("{text} names no object"))
                .hint("write s3://bucket/key: the key may have slashes, and one that ends in .tar is one object"));
        }
        Ok(Some(Self { bucket: bucket.to_owned(), key: key.to_owned() }))
    }

    /// Whether it is one object, and not the beginning of many keys.
    pub(super) fn is_tar(&self) -> bool {
        std::path::Path::new(&self.key).extension().is_some_and(|end| end == "tar")
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_and_a_key_are_needed() {
        let url = Url::parse("s3://backups/eu/acme.tar").unwrap().unwrap();
        assert_eq!((url.bucket.as_str(), url.key.as_str()), ("backups", "eu/acme.tar"));
        assert_eq!(url.to_string(), "s3://backups/eu/acme.tar");
        assert!(url.is_tar());
        assert!(!Url::parse("s3://backups/acme/").unwrap().unwrap().is_tar());
        assert_eq!(Url::parse("acme.tar").unwrap(), None);
        for wrong in
            ["s3://backups", "s3:///acme", "s3://", "s3://b/a//c", "s3://b/../c", "gs://b/c"]
        {
            assert_eq!(Url::parse(wrong).unwrap_err().code, Code::Usage, "{wrong}");
        }
    }
}
