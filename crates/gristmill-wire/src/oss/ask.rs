//! Bodies of requests to the object store (`reference/oss-gateway.md` 10, 11, 14).

use super::xml::{Malformed, Node, parse};

/// Keys in one `DeleteMultipleObjects`.
pub const DELETE_MAX: usize = 1000;
/// Tags of one object.
pub const TAGS_MAX: usize = 10;

/// What to delete.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteObjects {
    /// Answer with an empty body.
    pub quiet: bool,
    /// The keys, as they are.
    pub keys: Vec<String>,
}

/// Reads `<Delete>`.
pub fn delete_objects(body: &[u8]) -> Result<DeleteObjects, Malformed> {
    let root = parse(body, "Delete")?;
    let quiet = match root.text_of("Quiet").map(str::trim) {
        None | Some("" | "false") => false,
        Some("true") => true,
        Some(other) => return Err(Malformed(format!("Quiet is `{other}`"))),
    };
    let key = |object: &Node| object.need("Key").map(str::to_owned);
    let keys = root.all("Object").map(key).collect::<Result<Vec<_>, _>>()?;
    if keys.is_empty() || keys.len() > DELETE_MAX || keys.iter().any(String::is_empty) {
        return Err(Malformed(format!("names {} keys, not 1 to {DELETE_MAX}", keys.len())));
    }
    Ok(DeleteObjects { quiet, keys })
}

/// Reads `<CompleteMultipartUpload>` as numbers and ETags.
pub fn complete_upload(body: &[u8]) -> Result<Vec<(u32, String)>, Malformed> {
    let root = parse(body, "CompleteMultipartUpload")?;
    let part = |part: &Node| {
        let number = part.need("PartNumber")?.trim();
        let number = number.parse().map_err(|_| Malformed(format!("part `{number}`")))?;
        Ok((number, part.need("ETag")?.trim().trim_matches('"').to_owned()))
    };
    root.all("Part").map(part).collect()
}

/// Why tags are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTags {
    /// The body is no `<Tagging>`.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A tag breaks the rules.
    #[error("{0}")]
    Invalid(String),
}

impl BadTags {
    /// The vendor's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "MalformedXML",
            Self::Invalid(_) => "InvalidTag",
        }
    }
}

/// Reads `<Tagging>`.
pub fn tagging(body: &[u8]) -> Result<Vec<(String, String)>, BadTags> {
    let root = parse(body, "Tagging")?;
    let set = root.child("TagSet").ok_or_else(|| Malformed("Tagging has no TagSet".into()))?;
    let tag = |tag: &Node| {
        let value = tag.text_of("Value").unwrap_or_default();
        Ok((tag.need("Key")?.to_owned(), value.to_owned()))
    };
    let tags = set.all("Tag").map(tag).collect::<Result<Vec<_>, Malformed>>()?;
    check_tags(tags)
}

/// Tags as they may be: at most 10, keys once each, 1 to 128 and 0 to 256 characters of letters,
/// digits, space and `+-=._:/`.
pub fn check_tags(tags: Vec<(String, String)>) -> Result<Vec<(String, String)>, BadTags> {
    let allowed = |c: char| c.is_alphanumeric() || " +-=._:/".contains(c);
    let good = |(key, value): &(String, String)| {
        (1..=128).contains(&key.chars().count())
            && value.chars().count() <= 256
            && key.chars().chain(value.chars()).all(allowed)
    };
    if tags.len() > TAGS_MAX {
        return Err(BadTags::Invalid(format!("{} tags, at most {TAGS_MAX}", tags.len())));
    }
    if let Some((key, _)) = tags.iter().find(|tag| !good(tag)) {
        return Err(BadTags::Invalid(format!("tag `{key}` breaks the rules for tags")));
    }
    let twice = |key: &str| tags.iter().filter(|(other, _)| other == key).count() > 1;
    if let Some((key, _)) = tags.iter().find(|(key, _)| twice(key)) {
        return Err(BadTags::Invalid(format!("tag `{key}` is there twice")));
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_to_delete_keep_their_bytes() {
        let body =
            b"<Delete><Quiet>true</Quiet><Object><Key>a\x0c &amp; \r b </Key></Object></Delete>";
        let read = delete_objects(body).expect("parses");
        assert!(read.quiet);
        assert_eq!(read.keys, ["a\u{c} & \r b "]);
        let many = "<Object><Key>k</Key></Object>".repeat(DELETE_MAX + 1);
        for body in ["<Delete/>", "<Delete><Object/></Delete>", &format!("<Delete>{many}</Delete>")]
        {
            assert!(delete_objects(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn parts_are_named_by_number_and_etag() {
        let body = b"<CompleteMultipartUpload><Part><PartNumber>2</PartNumber><ETag>\"AB\"</ETag></Part></CompleteMultipartUpload>";
        assert_eq!(complete_upload(body), Ok(vec![(2, "AB".to_owned())]));
        let body = b"<CompleteMultipartUpload><Part><PartNumber>x</PartNumber><ETag>A</ETag></Part></CompleteMultipartUpload>";
        assert!(complete_upload(body).is_err());
    }

    #[test]
    fn tags_keep_the_rules() {
        let body = |tags: &str| format!("<Tagging><TagSet>{tags}</TagSet></Tagging>");
        let tag = |key: &str| format!("<Tag><Key>{key}</Key><Value>v</Value></Tag>");
        let read = tagging(body(&tag("k 1+-=._:/")).as_bytes()).expect("parses");
        assert_eq!(read, [("k 1+-=._:/".to_owned(), "v".to_owned())]);
        let eleven: String = (0..11).map(|n| tag(&n.to_string())).collect();
        for bad in [tag("#"), tag(""), tag("k") + &tag("k"), eleven, tag(&"k".repeat(129))] {
            let error = tagging(body(&bad).as_bytes()).expect_err("is refused");
            assert_eq!(error.code(), "InvalidTag", "{bad}");
        }
        assert_eq!(tagging(b"<Tagging/>").expect_err("is refused").code(), "MalformedXML");
    }
}
