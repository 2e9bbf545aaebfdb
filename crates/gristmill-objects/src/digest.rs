//! The sums of a body, computed while it streams: MD5 for the ETag, CRC-64/XZ for
//! `x-oss-hash-crc64ecma`, and the length (`reference/oss-gateway.md` 9).

use crate::{ObjectError, PutOptions};
use crc_fast::CrcAlgorithm::Crc64Xz;
use md5::{Digest as _, Md5};

/// Sums in the making.
pub struct Digest {
    md5: Md5,
    crc64: crc_fast::Digest,
    length: u64,
}

/// The sums of a whole body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sum {
    /// MD5.
    pub md5: [u8; 16],
    /// CRC-64/XZ.
    pub crc64: u64,
    /// Bytes.
    pub length: u64,
}

impl Default for Digest {
    fn default() -> Self {
        Self { md5: Md5::new(), crc64: crc_fast::Digest::new(Crc64Xz), length: 0 }
    }
}

impl Digest {
    /// Takes the next bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.crc64.update(bytes);
        self.length += bytes.len() as u64;
    }

    /// The sums of everything seen.
    pub fn finish(self) -> Sum {
        Sum { md5: self.md5.finalize().into(), crc64: self.crc64.finalize(), length: self.length }
    }
}

impl Sum {
    /// The sums of bytes in memory.
    pub fn of(bytes: &[u8]) -> Self {
        let mut digest = Digest::default();
        digest.update(bytes);
        digest.finish()
    }

    /// The ETag of a body that was put in one piece.
    pub fn etag(&self) -> String {
        hex_upper(&self.md5)
    }

    /// Whether this is the body that was announced.
    pub fn check(&self, key: &str, options: &PutOptions) -> Result<(), ObjectError> {
        let corrupt = |what, expected, actual| {
            Err(ObjectError::Corrupt { what, key: key.to_owned(), expected, actual })
        };
        match (options.length, options.content_md5) {
            (Some(length), _) if length != self.length => {
                corrupt("length", length.to_string(), self.length.to_string())
            }
            (_, Some(md5)) if md5 != self.md5 => corrupt("MD5", hex_upper(&md5), self.etag()),
            _ => Ok(()),
        }
    }
}

/// The CRC of `first` followed by `second`, without reading either again.
pub(crate) fn combined_crc(first: u64, second: u64, second_length: u64) -> u64 {
    crc_fast::checksum_combine(Crc64Xz, first, second, second_length)
}

/// Upper-case hexadecimal.
pub(crate) fn hex_upper(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_are_those_of_the_protocol() {
        let sum = Sum::of(b"hello gristmill");
        assert_eq!(sum.etag(), "5D05470A3CB4CB8076915B5DAB0DF827");
        assert_eq!(sum.crc64, 17_346_265_302_628_625_600);
        assert_eq!(Sum::of(b"123456789").crc64, 11_051_210_869_376_104_954);
        assert_eq!(Sum::of(b"").crc64, 0);
    }

    #[test]
    fn crcs_of_parts_combine_to_the_crc_of_the_whole() {
        let (first, second) = (Sum::of(b"12345"), Sum::of(b"6789"));
        assert_eq!(combined_crc(first.crc64, second.crc64, 4), Sum::of(b"123456789").crc64);
        assert_eq!(combined_crc(first.crc64, 0, 0), first.crc64);
        assert_eq!(combined_crc(0, second.crc64, 4), second.crc64);
    }
}
