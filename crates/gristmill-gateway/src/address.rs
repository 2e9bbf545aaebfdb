//! Which bucket and key a request means: host style, path style, absolute form
//! (`reference/oss-gateway.md` 2).
//!
//! The key is percent-decoded exactly once; `//`, `.` and `..` mean nothing special.

use crate::fault::Fault;
use gristmill_model::names::is_bucket_name;
use percent_encoding::percent_decode_str;

/// What a request is about. Empty texts: the service, or the bucket as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Address {
    /// The bucket.
    pub bucket: String,
    /// The key, decoded.
    pub key: String,
    /// Where the caller reached us, without the bucket: `host:port`.
    pub endpoint: String,
}

/// The names this endpoint has.
pub(crate) struct Endpoints(Vec<String>);

impl Endpoints {
    pub fn new(region: &str, names: &[String]) -> Self {
        let mut all = vec![
            format!("oss-{region}.aliyuncs.com"),
            format!("oss-{region}-internal.aliyuncs.com"),
        ];
        all.extend(names.iter().map(|name| name.to_ascii_lowercase()));
        Self(all)
    }

    /// Resolves host and raw path.
    pub fn address(&self, host: &str, path: &str) -> Result<Address, Fault> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let (bucket, key, endpoint) = match self.bucket_of(host) {
            Some(bucket) => (bucket.to_owned(), path, &host[bucket.len() + 1..]),
            None => {
                let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
                (decoded(bucket).ok_or_else(|| bad_bucket(bucket))?, key, host)
            }
        };
        if !bucket.is_empty() && !is_bucket_name(&bucket) {
            return Err(bad_bucket(&bucket));
        }
        let key = decoded(key)
            .filter(|key| is_key(key))
            .ok_or_else(|| Fault::new("InvalidObjectName", "The key is not valid."))?;
        Ok(Address { bucket, key, endpoint: endpoint.to_owned() })
    }

    /// The bucket in a host name, if the rest is one of our names, or looks like an endpoint
    /// (`<bucket>.oss-…`).
    fn bucket_of<'a>(&self, host: &'a str) -> Option<&'a str> {
        let name = without_port(host).to_ascii_lowercase();
        let (bucket, rest) = name.split_once('.')?;
        let ours = self.0.iter().any(|endpoint| *endpoint == rest);
        let whole_is_ours = self.0.contains(&name);
        let looks = rest.starts_with("oss-") && rest.contains('.');
        (!whole_is_ours && (ours || looks)).then(|| &host[..bucket.len()])
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// A key that may be used; the empty one means the bucket.
pub(crate) fn is_key(key: &str) -> bool {
    key.len() <= 1023 && !key.starts_with(['/', '\\']) && !key.contains('\0')
}

/// Percent-decodes once; `+` is a plus. `None`: not UTF-8.
pub(crate) fn decoded(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(Into::into)
}

/// The parameters of a query in their order, decoded once.
pub(crate) fn query(text: &str) -> Result<Vec<(String, String)>, Fault> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decoded(name)?, decoded(value)?))
        })
        .collect::<Option<_>>()
        .ok_or_else(|| Fault::new("InvalidArgument", "A parameter is not UTF-8."))
}

fn bad_bucket(bucket: &str) -> Fault {
    Fault::new("InvalidBucketName", "The specified bucket is not valid.")
        .detail("BucketName", bucket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(host: &str, path: &str) -> Result<(String, String, String), String> {
        Endpoints::new("cn-local", &["store.test".to_owned()])
            .address(host, path)
            .map(|a| (a.bucket, a.key, a.endpoint))
            .map_err(|fault| fault.code.into_owned())
    }

    fn ok(bucket: &str, key: &str, endpoint: &str) -> Result<(String, String, String), String> {
        Ok((bucket.into(), key.into(), endpoint.into()))
    }

    #[test]
    fn the_bucket_is_in_the_host_or_in_the_path() {
        for (host, path, right) in [
            ("127.0.0.1:80", "/", ok("", "", "127.0.0.1:80")),
            ("127.0.0.1:80", "/bkt", ok("bkt", "", "127.0.0.1:80")),
            ("localhost", "/bkt/", ok("bkt", "", "localhost")),
            ("[::1]:80", "/bkt/a/b", ok("bkt", "a/b", "[::1]:80")),
            ("store.test:80", "/bkt/a", ok("bkt", "a", "store.test:80")),
            ("bkt.store.test:80", "/a", ok("bkt", "a", "store.test:80")),
            ("BKT.Store.Test", "/a", Err("InvalidBucketName".into())),
            ("bkt.oss-cn-local.aliyuncs.com", "/", ok("bkt", "", "oss-cn-local.aliyuncs.com")),
            ("bkt.oss-cn-x.aliyuncs.com", "/k", ok("bkt", "k", "oss-cn-x.aliyuncs.com")),
            ("oss-cn-local.aliyuncs.com", "/", ok("", "", "oss-cn-local.aliyuncs.com")),
        ] {
            assert_eq!(resolve(host, path), right, "{host} {path}");
        }
    }

    #[test]
    fn keys_are_decoded_once_and_never_normalised() {
        for (path, key) in [
            ("/bkt/a%2Fb", "a/b"),
            ("/bkt/a%252Fb", "a%2Fb"),
            ("/bkt/a//b/../c/.", "a//b/../c/."),
            ("/bkt/a+b%20c", "a+b c"),
            ("/bkt/%E4%B8%AD", "中"),
            ("/bkt/a/", "a/"),
        ] {
            assert_eq!(resolve("h", path), ok("bkt", key, "h"), "{path}");
        }
    }

    #[test]
    fn bad_names_are_refused() {
        for path in ["/bkt/%5Cx", "/bkt//x", "/bkt/%2Fx", "/bkt/%FF", "/bkt/a%00b"] {
            assert_eq!(resolve("h", path), Err("InvalidObjectName".into()), "{path}");
        }
        for path in ["/B/k", "/a/k", "/..%2Fetc/k", "/-bk/k", "/%FF/k"] {
            assert_eq!(resolve("h", path), Err("InvalidBucketName".into()), "{path}");
        }
    }

    #[test]
    fn parameters_keep_their_order_and_their_plus() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let right = [pair("b", ""), pair("a", "1+2 3"), pair("c", "=")];
        assert_eq!(query("b&a=1+2%203&&c=%3D").expect("reads"), right);
        assert!(query("a=%FF").is_err());
    }
}
