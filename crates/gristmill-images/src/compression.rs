//! Archives come plain or compressed; the first bytes tell.

use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufRead, BufReader, Read};

const BUFFER_BYTES: usize = 128 << 10;

/// Known beginnings that are not understood, for a message.
const UNKNOWN: [(&[u8], &str); 4] = [
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"PK\x03\x04", "zip"),
    (b"\x04\x22\x4d\x18", "lz4"),
];

/// What the compressed or plain `content` unpacks to.
pub(crate) fn plain<'r>(content: impl Read + 'r) -> io::Result<Box<dyn Read + 'r>> {
    let mut content = BufReader::with_capacity(BUFFER_BYTES, content);
    let start = content.fill_buf()?;
    if let Some((_, name)) = UNKNOWN.iter().find(|(magic, _)| start.starts_with(magic)) {
        let what = format!("{name} is not understood; plain, gzip and zstd are");
        return Err(io::Error::new(io::ErrorKind::Unsupported, what));
    }
    if is_gzip(start) {
        Ok(Box::new(MultiGzDecoder::new(content)))
    } else if is_zstd(start) {
        Ok(Box::new(zstd::Decoder::with_buffer(content)?))
    } else {
        Ok(Box::new(content))
    }
}

/// Whether something begins like a compressed file.
pub(crate) fn is_compressed(start: &[u8]) -> bool {
    is_gzip(start) || is_zstd(start)
}

fn is_gzip(start: &[u8]) -> bool {
    start.starts_with(b"\x1f\x8b")
}

fn is_zstd(start: &[u8]) -> bool {
    start.starts_with(b"\x28\xb5\x2f\xfd")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_was_compressed_comes_back() {
        let text = b"hello hello hello".repeat(1_000);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).expect("in memory");
        let gzip = gzip.finish().expect("in memory");
        let zstd = zstd::encode_all(&text[..], 1).expect("in memory");
        assert!(is_compressed(&gzip) && is_compressed(&zstd) && !is_compressed(&text));
        for packed in [&text[..], &gzip, &zstd] {
            let mut back = Vec::new();
            plain(packed).expect("understood").read_to_end(&mut back).expect("whole");
            assert!(back == text);
        }
        let error = plain(&b"\xfd7zXZ\0rest"[..]).err().expect("not understood");
        assert!(error.to_string().starts_with("xz is not understood"), "{error}");
    }
}
