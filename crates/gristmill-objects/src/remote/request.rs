//! Requests on their way out: address, parameters, headers, signature.

use crate::{ObjectError, PutOptions, rules::refused};
use base64::{Engine, engine::general_purpose::STANDARD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{
    Method, Url,
    header::{HeaderName, HeaderValue},
};
use std::{io, net::IpAddr};

/// Everything but `A-Za-z0-9-_.~`. Slashes too: a URL library must not see `a/../b` as a path.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A request as it is signed: before the headers that signing adds, nothing encoded.
#[derive(Debug, Clone, Copy)]
pub struct Unsigned<'a> {
    /// Upper-case method.
    pub method: &'a str,
    /// The bucket; empty for the service.
    pub bucket: &'a str,
    /// The key; empty for the bucket.
    pub key: &'a str,
    /// Parameters.
    pub query: &'a [(&'a str, String)],
    /// Headers, lower-case names.
    pub headers: &'a [(String, String)],
}

/// Signs requests. It owns the key and the clock.
pub trait Signer: Send + Sync + 'static {
    /// The headers that let the request in: date, authorization, and a token where needed.
    fn sign(&self, request: &Unsigned<'_>) -> Vec<(String, String)>;
}

/// An endpoint that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Not a URL with a host and nothing else.
    #[error("`{text}` is not the URL of an object store")]
    Url {
        /// As given.
        text: String,
    },
    /// The HTTP client cannot be made.
    #[error("could not make an HTTP client")]
    Client(#[source] reqwest::Error),
}

/// Where the store is.
pub(super) struct Endpoint {
    scheme: String,
    host: String,
    port: String,
    path_style: bool,
}

impl Endpoint {
    /// Reads `http://host:port`, also without a scheme.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let bad = || EndpointError::Url { text: text.to_owned() };
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&whole).map_err(|_| bad())?;
        let host = url.host_str().ok_or_else(bad)?.to_owned();
        if !["http", "https"].contains(&url.scheme()) || !["", "/"].contains(&url.path()) {
            return Err(bad());
        }
        let bare = host.trim_matches(['[', ']']);
        let path_style = bare == "localhost" || bare.parse::<IpAddr>().is_ok();
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        Ok(Self { scheme: url.scheme().to_owned(), host, port, path_style })
    }

    /// Whether requests go out without TLS.
    pub fn is_plain(&self) -> bool {
        self.scheme == "http"
    }

    fn url(&self, bucket: &str, key: &str, query: &[(&str, String)]) -> Result<Url, ObjectError> {
        let Self { scheme, host, port, path_style } = self;
        let key_text = encoded(key);
        let mut text = match (bucket, path_style) {
            ("", _) => format!("{scheme}://{host}{port}/"),
            (bucket, true) => format!("{scheme}://{host}{port}/{}/{key_text}", encoded(bucket)),
            (bucket, false) => format!("{scheme}://{bucket}.{host}{port}/{key_text}"),
        };
        for (index, (name, value)) in query.iter().enumerate() {
            text.push(if index == 0 { '?' } else { '&' });
            text.push_str(&encoded(name));
            if !value.is_empty() {
                text.push('=');
                text.push_str(&encoded(value));
            }
        }
        let url = Url::parse(&text).map_err(|_| {
            refused("InvalidArgument", format!("`{bucket}/{key}` makes no address"))
        })?;
        // `.` and `..` alone are lost in every URL library.
        match url.path().ends_with(&format!("/{key_text}")) || bucket.is_empty() {
            true => Ok(url),
            false => {
                Err(refused("InvalidObjectName", format!("`{key}` cannot be asked for over HTTP")))
            }
        }
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// A request being put together.
pub(super) struct Outgoing<'a> {
    method: Method,
    pub bucket: &'a str,
    pub key: &'a str,
    query: Vec<(&'a str, String)>,
    headers: Vec<(String, String)>,
    body: Option<reqwest::Body>,
}

impl<'a> Outgoing<'a> {
    pub fn new(method: Method, bucket: &'a str, key: &'a str) -> Self {
        Self { method, bucket, key, query: vec![], headers: vec![], body: None }
    }

    pub fn param(mut self, name: &'a str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    pub fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub fn length(self, length: u64) -> Self {
        self.header("content-length", length)
    }

    pub fn content_md5(self, md5: [u8; 16]) -> Self {
        self.header("content-md5", STANDARD.encode(md5))
    }

    /// The headers an object is to keep.
    pub fn put_headers(mut self, options: &PutOptions) -> Self {
        for (name, value) in &options.headers {
            self = self.header(name, value);
        }
        match options.forbid_overwrite {
            true => self.header("x-oss-forbid-overwrite", "true"),
            false => self,
        }
    }

    pub fn body(mut self, body: reqwest::Body) -> Self {
        self.body = Some(body);
        self
    }

    /// What this request tries, for errors.
    pub fn doing(&self) -> String {
        let Self { method, bucket, key, .. } = self;
        format!("{} `{bucket}/{key}` at the object store", method.as_str().to_ascii_lowercase())
    }

    /// Signs it and makes it a request.
    pub fn build(
        self,
        endpoint: &Endpoint,
        signer: &dyn Signer,
    ) -> Result<reqwest::Request, ObjectError> {
        let url = endpoint.url(self.bucket, self.key, &self.query)?;
        let added = signer.sign(&Unsigned {
            method: self.method.as_str(),
            bucket: self.bucket,
            key: self.key,
            query: &self.query,
            headers: &self.headers,
        });
        let mut request = reqwest::Request::new(self.method, url);
        for (name, value) in self.headers.iter().chain(&added) {
            let bad = || refused("InvalidArgument", format!("header `{name}` cannot be sent"));
            let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
            let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| bad())?;
            request.headers_mut().insert(parsed, value);
        }
        *request.body_mut() = self.body;
        Ok(request)
    }
}

/// An error of the HTTP client. The address is cut off: its parameters may hold a signature.
pub(super) fn failed(doing: &str, error: reqwest::Error) -> ObjectError {
    ObjectError::Io { doing: doing.to_owned(), source: io::Error::other(error.without_url()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(endpoint: &str, bucket: &str, key: &str) -> String {
        let endpoint = Endpoint::parse(endpoint).expect("parses");
        endpoint.url(bucket, key, &[]).map_or_else(|error| error.to_string(), String::from)
    }

    #[test]
    fn the_bucket_goes_where_the_host_allows() {
        for (endpoint, right) in [
            ("http://127.0.0.1:8081", "http://127.0.0.1:8081/bkt/a%2Fb%20c"),
            ("localhost:80", "http://localhost/bkt/a%2Fb%20c"),
            ("http://[::1]:1", "http://[::1]:1/bkt/a%2Fb%20c"),
            ("https://oss-cn-x.aliyuncs.com", "https://bkt.oss-cn-x.aliyuncs.com/a%2Fb%20c"),
        ] {
            assert_eq!(url(endpoint, "bkt", "a/b c"), right);
        }
        assert_eq!(url("http://h", "", ""), "http://h/");
    }

    #[test]
    fn keys_are_never_normalised() {
        assert_eq!(
            url("http://1.1.1.1", "bkt", "a/../b//c/."),
            "http://1.1.1.1/bkt/a%2F..%2Fb%2F%2Fc%2F."
        );
        assert!(url("http://1.1.1.1", "bkt", "..").contains("InvalidObjectName"));
        assert!(url("http://1.1.1.1", "bkt", ".").contains("InvalidObjectName"));
    }

    #[test]
    fn what_is_not_an_endpoint_is_refused() {
        for text in ["", "ftp://h", "http://h/path", "http://"] {
            assert!(Endpoint::parse(text).is_err(), "{text}");
        }
    }
}
