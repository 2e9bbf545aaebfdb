//! Bodies of answers of the object store, children in the customary order
//! (`reference/oss-gateway.md` 10 to 13). With `encode`, keys and prefixes are percent-encoded and
//! the body says so (`encoding-type=url`).

use super::xml::Out;
use crate::time::oss_date;
use gristmill_model::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::borrow::Cow;

/// What stays as it is in `encoding-type=url`.
const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

fn shown(text: &str, encode: bool) -> Cow<'_, str> {
    match encode {
        true => utf8_percent_encode(text, ENCODED).into(),
        false => text.into(),
    }
}

/// Who owns a bucket; shown as id and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner(pub String);

impl Owner {
    fn write(&self, out: &mut Out) {
        out.open("Owner").leaf("ID", &self.0).leaf("DisplayName", &self.0).close();
    }
}

/// An object in a listing.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its key.
    pub key: String,
    /// When it was written.
    pub last_modified: Timestamp,
    /// Without quotes.
    pub etag: String,
    /// `Normal`, `Appendable`, …
    pub kind: String,
    /// Bytes.
    pub size: u64,
}

/// Which of the two listings, with what belongs to it alone.
#[derive(Debug, Clone)]
pub enum Paging {
    /// ListObjects.
    Marker {
        /// As asked.
        marker: String,
        /// Where the next page starts.
        next: Option<String>,
    },
    /// ListObjectsV2.
    Token {
        /// As asked.
        start_after: String,
        /// As asked.
        token: Option<String>,
        /// Where the next page starts.
        next: Option<String>,
    },
}

/// A page of objects.
#[derive(Debug, Clone)]
pub struct ObjectPage {
    /// The bucket.
    pub bucket: String,
    /// As asked.
    pub prefix: String,
    /// As asked.
    pub delimiter: String,
    /// As asked.
    pub keys_max: usize,
    /// Percent-encode keys.
    pub encode: bool,
    /// Shown with each object, if at all.
    pub owner: Option<Owner>,
    /// Which listing.
    pub paging: Paging,
    /// The objects.
    pub objects: Vec<Row>,
    /// Folded keys.
    pub common_prefixes: Vec<String>,
}

impl ObjectPage {
    /// The XML.
    pub fn to_xml(&self) -> String {
        let text = |text| shown(text, self.encode);
        let mut out = Out::new("ListBucketResult");
        out.leaf("Name", &self.bucket).leaf("Prefix", text(&self.prefix));
        let next = match &self.paging {
            Paging::Marker { marker, next } => {
                out.leaf("Marker", text(marker));
                next
            }
            Paging::Token { start_after, token, next } => {
                out.leaf("StartAfter", text(start_after));
                out.leaf("ContinuationToken", token.as_deref().unwrap_or_default());
                next
            }
        };
        out.leaf("MaxKeys", self.keys_max).leaf("Delimiter", text(&self.delimiter));
        out.leaf_if("EncodingType", self.encode.then_some("url"));
        out.leaf("IsTruncated", next.is_some());
        match &self.paging {
            Paging::Marker { next, .. } => out.leaf_if("NextMarker", next.as_deref().map(text)),
            Paging::Token { next, .. } => {
                let count = self.objects.len() + self.common_prefixes.len();
                out.leaf_if("NextContinuationToken", next.as_deref()).leaf("KeyCount", count)
            }
        };
        for row in &self.objects {
            self.write_row(&mut out, row);
        }
        for prefix in &self.common_prefixes {
            out.open("CommonPrefixes").leaf("Prefix", text(prefix)).close();
        }
        out.finish()
    }

    fn write_row(&self, out: &mut Out, row: &Row) {
        out.open("Contents")
            .leaf("Key", shown(&row.key, self.encode))
            .leaf("LastModified", oss_date(row.last_modified))
            .leaf("ETag", quoted(&row.etag))
            .leaf("Type", &row.kind)
            .leaf("Size", row.size)
            .leaf("StorageClass", "Standard");
        if let Some(owner) = &self.owner {
            owner.write(out);
        }
        out.close();
    }
}

/// A bucket in a listing or by itself.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// `cn-local`.
    pub region: String,
    /// Where clients reach it; they connect to this.
    pub endpoint: String,
    /// Whose it is.
    pub owner: Owner,
    /// `private`, `public-read`, `public-read-write`.
    pub acl: &'static str,
}

impl Bucket {
    fn write_common(&self, out: &mut Out) {
        out.leaf("CreationDate", oss_date(self.created))
            .leaf("ExtranetEndpoint", &self.endpoint)
            .leaf("IntranetEndpoint", &self.endpoint)
            .leaf("Location", format!("oss-{}", self.region))
            .leaf("Name", &self.name);
    }

    /// `GET /?bucketInfo`.
    pub fn to_xml(&self) -> String {
        let mut out = Out::new("BucketInfo");
        out.open("Bucket").leaf("AccessMonitor", "Disabled");
        self.write_common(&mut out);
        out.leaf("StorageClass", "Standard")
            .leaf("DataRedundancyType", "LRS")
            .leaf("CrossRegionReplication", "Disabled")
            .leaf("TransferAcceleration", "Disabled")
            .leaf("ResourceGroupId", "")
            .leaf("Comment", "");
        self.owner.write(&mut out);
        out.open("AccessControlList").leaf("Grant", self.acl).close();
        out.open("ServerSideEncryptionRule").leaf("SSEAlgorithm", "None");
        out.finish()
    }
}

/// A page of buckets.
#[derive(Debug, Clone)]
pub struct BucketPage {
    /// Whose.
    pub owner: Owner,
    /// As asked.
    pub prefix: String,
    /// As asked.
    pub marker: String,
    /// As asked.
    pub keys_max: usize,
    /// Where the next page starts.
    pub next: Option<String>,
    /// The buckets.
    pub buckets: Vec<Bucket>,
}

impl BucketPage {
    /// The XML.
    pub fn to_xml(&self) -> String {
        let mut out = Out::new("ListAllMyBucketsResult");
        self.owner.write(&mut out);
        out.leaf("Prefix", &self.prefix)
            .leaf("Marker", &self.marker)
            .leaf("MaxKeys", self.keys_max)
            .leaf("IsTruncated", self.next.is_some())
            .leaf_if("NextMarker", self.next.as_deref())
            .open("Buckets");
        for bucket in &self.buckets {
            out.open("Bucket");
            bucket.write_common(&mut out);
            out.leaf("Region", &bucket.region)
                .leaf("StorageClass", "Standard")
                .leaf("ResourceGroupId", "")
                .close();
        }
        out.finish()
    }
}

/// `GET /?location`.
pub fn location(region: &str) -> String {
    let mut out = Out::new("LocationConstraint");
    out.text(&format!("oss-{region}"));
    out.finish()
}

/// `GET /?acl` of a bucket or an object.
pub fn acl(owner: &Owner, grant: &str) -> String {
    let mut out = Out::new("AccessControlPolicy");
    owner.write(&mut out);
    out.open("AccessControlList").leaf("Grant", grant);
    out.finish()
}

/// `GET /?stat`.
pub fn stat(bytes: u64, objects: u64, uploads: u64, parts: u64, now: Timestamp) -> String {
    let mut out = Out::new("BucketStat");
    out.leaf("Storage", bytes)
        .leaf("ObjectCount", objects)
        .leaf("MultipartUploadCount", uploads)
        .leaf("LiveChannelCount", 0)
        .leaf("LastModifiedTime", now.0 / 1_000_000)
        .leaf("StandardStorage", bytes)
        .leaf("StandardObjectCount", objects);
    for name in [
        "InfrequentAccessStorage",
        "InfrequentAccessRealStorage",
        "InfrequentAccessObjectCount",
        "ArchiveStorage",
        "ArchiveRealStorage",
        "ArchiveObjectCount",
        "ColdArchiveStorage",
        "ColdArchiveRealStorage",
        "ColdArchiveObjectCount",
        "DeepColdArchiveStorage",
        "DeepColdArchiveRealStorage",
        "DeepColdArchiveObjectCount",
    ] {
        out.leaf(name, 0);
    }
    out.leaf("MultipartPartCount", parts).leaf("DeleteMarkerCount", 0);
    out.finish()
}

/// `GET /?live`: there are no live channels.
pub fn no_live_channels(prefix: &str, marker: &str) -> String {
    let mut out = Out::new("ListLiveChannelResult");
    out.leaf("Prefix", prefix).leaf("Marker", marker).leaf("MaxKeys", 100);
    out.leaf("IsTruncated", false);
    out.finish()
}

/// The answer of DeleteMultipleObjects that is not quiet.
pub fn deleted(keys: &[String], encode: bool) -> String {
    let mut out = Out::new("DeleteResult");
    out.leaf_if("EncodingType", encode.then_some("url"));
    for key in keys {
        out.open("Deleted").leaf("Key", shown(key, encode)).close();
    }
    out.finish()
}

/// The answer of CopyObject.
pub fn copied_object(etag: &str, time: Timestamp) -> String {
    copied("CopyObjectResult", etag, time)
}

/// The answer of UploadPartCopy.
pub fn copied_part(etag: &str, time: Timestamp) -> String {
    copied("CopyPartResult", etag, time)
}

fn copied(root: &'static str, etag: &str, time: Timestamp) -> String {
    let mut out = Out::new(root);
    out.leaf("LastModified", oss_date(time)).leaf("ETag", quoted(etag));
    out.finish()
}

/// The answer of InitiateMultipartUpload.
pub fn initiated(bucket: &str, key: &str, upload: &str, encode: bool) -> String {
    let mut out = Out::new("InitiateMultipartUploadResult");
    out.leaf_if("EncodingType", encode.then_some("url"))
        .leaf("Bucket", bucket)
        .leaf("Key", shown(key, encode))
        .leaf("UploadId", upload);
    out.finish()
}

/// The answer of CompleteMultipartUpload.
pub fn completed(bucket: &str, key: &str, etag: &str, location: &str, encode: bool) -> String {
    let mut out = Out::new("CompleteMultipartUploadResult");
    out.leaf_if("EncodingType", encode.then_some("url"))
        .leaf("Location", location)
        .leaf("Bucket", bucket)
        .leaf("Key", shown(key, encode))
        .leaf("ETag", quoted(etag));
    out.finish()
}

/// A page of the parts of an upload.
#[derive(Debug, Clone)]
pub struct PartPage {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The upload.
    pub upload: String,
    /// As asked.
    pub after: u32,
    /// As asked.
    pub parts_max: usize,
    /// The number after which the next page starts.
    pub next: Option<u32>,
    /// Percent-encode the key.
    pub encode: bool,
    /// Number, time, ETag, size, CRC-64.
    pub parts: Vec<(u32, Timestamp, String, u64, u64)>,
}

impl PartPage {
    /// The XML.
    pub fn to_xml(&self) -> String {
        let last = self.parts.last().map_or(self.after, |part| part.0);
        let mut out = Out::new("ListPartsResult");
        out.leaf_if("EncodingType", self.encode.then_some("url"))
            .leaf("Bucket", &self.bucket)
            .leaf("Key", shown(&self.key, self.encode))
            .leaf("UploadId", &self.upload)
            .leaf("StorageClass", "Standard")
            .leaf("PartNumberMarker", self.after)
            .leaf("NextPartNumberMarker", self.next.unwrap_or(last))
            .leaf("MaxParts", self.parts_max)
            .leaf("IsTruncated", self.next.is_some());
        for (number, time, etag, size, crc64) in &self.parts {
            out.open("Part")
                .leaf("PartNumber", number)
                .leaf("LastModified", oss_date(*time))
                .leaf("ETag", quoted(etag))
                .leaf("HashCrc64ecma", crc64)
                .leaf("Size", size)
                .close();
        }
        out.finish()
    }
}

/// A page of uploads.
#[derive(Debug, Clone)]
pub struct UploadPage {
    /// The bucket.
    pub bucket: String,
    /// As asked.
    pub prefix: String,
    /// As asked.
    pub delimiter: String,
    /// As asked.
    pub key_marker: String,
    /// As asked.
    pub upload_marker: String,
    /// As asked.
    pub uploads_max: usize,
    /// Percent-encode keys.
    pub encode: bool,
    /// Key and upload after which the next page starts.
    pub next: Option<(String, String)>,
    /// Key, id, time.
    pub uploads: Vec<(String, String, Timestamp)>,
    /// Folded keys.
    pub common_prefixes: Vec<String>,
}

impl UploadPage {
    /// The XML. The next markers are always there, empty on the last page.
    pub fn to_xml(&self) -> String {
        let text = |text| shown(text, self.encode);
        let (next_key, next_upload) = self.next.clone().unwrap_or_default();
        let mut out = Out::new("ListMultipartUploadsResult");
        out.leaf_if("EncodingType", self.encode.then_some("url"))
            .leaf("Bucket", &self.bucket)
            .leaf("KeyMarker", text(&self.key_marker))
            .leaf("UploadIdMarker", &self.upload_marker)
            .leaf("NextKeyMarker", text(&next_key))
            .leaf("NextUploadIdMarker", next_upload)
            .leaf("Delimiter", text(&self.delimiter))
            .leaf("Prefix", text(&self.prefix))
            .leaf("MaxUploads", self.uploads_max)
            .leaf("IsTruncated", self.next.is_some());
        for (key, id, time) in &self.uploads {
            out.open("Upload")
                .leaf("Key", text(key))
                .leaf("UploadId", id)
                .leaf("StorageClass", "Standard")
                .leaf("Initiated", oss_date(*time))
                .close();
        }
        for prefix in &self.common_prefixes {
            out.open("CommonPrefixes").leaf("Prefix", text(prefix)).close();
        }
        out.finish()
    }
}

/// `GET ?tagging`.
pub fn tagging(tags: &[(String, String)]) -> String {
    let mut out = Out::new("Tagging");
    out.open("TagSet");
    for (key, value) in tags {
        out.open("Tag").leaf("Key", key).leaf("Value", value).close();
    }
    out.finish()
}

fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(paging: Paging, encode: bool) -> ObjectPage {
        ObjectPage {
            bucket: "b".into(),
            prefix: "a b/".into(),
            delimiter: "/".into(),
            keys_max: 2,
            encode,
            owner: None,
            paging,
            objects: vec![Row {
                key: "a b/<c>".into(),
                last_modified: Timestamp(1_704_164_645_000_000),
                etag: "AB".into(),
                kind: "Normal".into(),
                size: 7,
            }],
            common_prefixes: vec!["a b/d/".into()],
        }
    }

    #[test]
    fn a_listing_has_its_children_in_order() {
        let paging = Paging::Marker { marker: String::new(), next: Some("a b/d/".into()) };
        let row = "<LastModified>2024-01-02T03:04:05.000Z</LastModified>\
                   <ETag>&quot;AB&quot;</ETag><Type>Normal</Type><Size>7</Size>\
                   <StorageClass>Standard</StorageClass></Contents>";
        assert_eq!(
            page(paging, false).to_xml(),
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult><Name>b</Name>\
                 <Prefix>a b/</Prefix><Marker></Marker><MaxKeys>2</MaxKeys>\
                 <Delimiter>/</Delimiter><IsTruncated>true</IsTruncated>\
                 <NextMarker>a b/d/</NextMarker><Contents><Key>a b/&lt;c&gt;</Key>{row}\
                 <CommonPrefixes><Prefix>a b/d/</Prefix></CommonPrefixes></ListBucketResult>"
            )
        );
    }

    #[test]
    fn an_encoded_listing_says_so() {
        let token = Paging::Token { start_after: "é".into(), token: None, next: Some("T".into()) };
        let xml = page(token, true).to_xml();
        for part in [
            "<EncodingType>url</EncodingType>",
            "<Key>a%20b/%3Cc%3E</Key>",
            "<StartAfter>%C3%A9</StartAfter>",
            "<NextContinuationToken>T</NextContinuationToken><KeyCount>2</KeyCount>",
        ] {
            assert!(xml.contains(part), "{part} is not in {xml}");
        }
    }

    #[test]
    fn the_last_page_of_uploads_has_empty_markers() {
        let page = UploadPage {
            bucket: "b".into(),
            prefix: String::new(),
            delimiter: String::new(),
            key_marker: String::new(),
            upload_marker: String::new(),
            uploads_max: 10,
            encode: false,
            next: None,
            uploads: vec![("k".into(), "U".into(), Timestamp(0))],
            common_prefixes: vec![],
        };
        let xml = page.to_xml();
        assert!(
            xml.contains(
                "<NextKeyMarker></NextKeyMarker><NextUploadIdMarker></NextUploadIdMarker>"
            )
        );
        assert!(xml.contains("<IsTruncated>false</IsTruncated>"));
    }
}
