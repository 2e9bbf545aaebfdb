//! Error codes of the object store: which status belongs to which code, and the body that carries
//! them (`reference/oss-gateway.md` 4). The SDK picks its exception class by both.

use super::xml::Out;

/// A code the store may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The vendor's word.
    pub code: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The fine-grained code; empty where the vendor's is not known.
    pub ec: &'static str,
}

const fn known(code: &'static str, status: u16, ec: &'static str) -> Known {
    Known { code, status, ec }
}

/// Every code, by status.
pub const CODES: &[Known] = &[
    known("InvalidArgument", 400, ""),
    known("InvalidRequest", 400, ""),
    known("InvalidDigest", 400, ""),
    known("InvalidObjectName", 400, ""),
    known("InvalidBucketName", 400, ""),
    known("InvalidTag", 400, ""),
    known("InvalidPart", 400, ""),
    known("InvalidPartOrder", 400, ""),
    known("InvalidTargetType", 400, ""),
    known("IncompleteBody", 400, ""),
    known("EntityTooSmall", 400, ""),
    known("EntityTooLarge", 400, ""),
    known("MalformedXML", 400, ""),
    known("NotImplemented", 400, ""),
    known("NotSymlink", 400, ""),
    known("OperationNotSupported", 400, ""),
    known("PartNotSequential", 400, ""),
    known("TooManyBuckets", 400, ""),
    known("AccessDenied", 403, ""),
    known("InvalidAccessKeyId", 403, "0002-00000902"),
    known("InvalidSecurityToken", 403, ""),
    known("QuotaExceeded", 403, ""),
    known("RequestTimeTooSkewed", 403, "0002-00000504"),
    known("SecurityTokenExpired", 403, ""),
    known("SignatureDoesNotMatch", 403, "0002-00000040"),
    known("UserDisable", 403, ""),
    known("NoSuchBucket", 404, "0015-00000101"),
    known("NoSuchBucketPolicy", 404, ""),
    known("NoSuchCORSConfiguration", 404, ""),
    known("NoSuchKey", 404, "0026-00000001"),
    known("NoSuchLifecycle", 404, ""),
    known("NoSuchServerSideEncryptionRule", 404, ""),
    known("NoSuchUpload", 404, "0042-00000002"),
    known("NoSuchWebsiteConfiguration", 404, ""),
    known("SymlinkTargetNotExist", 404, ""),
    known("MethodNotAllowed", 405, ""),
    known("BucketAlreadyExists", 409, ""),
    known("BucketNotEmpty", 409, ""),
    known("FileAlreadyExists", 409, ""),
    known("ObjectNotAppendable", 409, ""),
    known("PositionNotEqualToLength", 409, ""),
    known("MissingContentLength", 411, ""),
    known("PreconditionFailed", 412, ""),
    known("InvalidRange", 416, ""),
    known("RequestHeaderSectionTooLarge", 431, ""),
    known("InternalError", 500, ""),
    known("ServiceUnavailable", 503, ""),
    known("InsufficientStorage", 507, ""),
];

/// What is known of a code. An unknown one is a bad request.
pub fn lookup(code: &str) -> Known {
    let found = CODES.iter().find(|known| known.code == code);
    found.copied().unwrap_or(Known { code: "InvalidArgument", status: 400, ec: "" })
}

/// The status of a code.
pub fn status(code: &str) -> u16 {
    lookup(code).status
}

/// An error on its way to a client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorBody {
    /// The vendor's word.
    pub code: String,
    /// What is wrong, for people.
    pub message: String,
    /// The id of the request.
    pub request_id: String,
    /// The host that was asked.
    pub host_id: String,
    /// The fine-grained code; empty to leave it out.
    pub ec: String,
    /// Further children, which depend on the code.
    pub details: Vec<(&'static str, String)>,
}

impl ErrorBody {
    /// The XML.
    pub fn to_xml(&self) -> String {
        let mut out = Out::new("Error");
        out.leaf("Code", &self.code)
            .leaf("Message", &self.message)
            .leaf("RequestId", &self.request_id)
            .leaf("HostId", &self.host_id);
        for (name, value) in &self.details {
            out.leaf(name, value);
        }
        if !self.ec.is_empty() {
            out.leaf("EC", &self.ec);
        }
        out.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_follows_the_code() {
        for (code, right) in [("NoSuchKey", 404), ("AccessDenied", 403), ("FileAlreadyExists", 409)]
        {
            assert_eq!(status(code), right, "{code}");
        }
        assert_eq!(status("SomethingElse"), 400);
    }

    #[test]
    fn an_error_is_written_in_the_customary_order() {
        let error = ErrorBody {
            code: "NoSuchKey".into(),
            message: "a <b> & c".into(),
            request_id: "5F".into(),
            host_id: "h".into(),
            ec: "0026-00000001".into(),
            details: vec![("Key", "k".into())],
        };
        assert_eq!(
            error.to_xml(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code>\
             <Message>a &lt;b&gt; &amp; c</Message><RequestId>5F</RequestId><HostId>h</HostId>\
             <Key>k</Key><EC>0026-00000001</EC></Error>"
        );
    }
}
