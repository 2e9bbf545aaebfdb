//! Numbers and texts as few bytes: seven bits a byte, the lowest first, the eighth says that more
//! follow. Signed numbers fold their sign into the lowest bit. Nothing here panics on damaged
//! input.

/// Bytes that end too soon, or a number that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record is cut short or damaged")]
pub(crate) struct Damaged;

/// Writes.
#[derive(Debug, Default)]
pub(crate) struct Writer(pub Vec<u8>);

impl Writer {
    pub fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    pub fn signed(&mut self, number: i64) {
        self.number(((number << 1) ^ (number >> 63)).cast_unsigned());
    }

    /// A step from one number to the next, in either direction.
    pub fn step(&mut self, last: &mut u64, number: u64) {
        self.signed(number.wrapping_sub(*last).cast_signed());
        *last = number;
    }

    pub fn id(&mut self, id: u128) {
        self.0.extend_from_slice(&id.to_be_bytes());
    }

    pub fn text(&mut self, text: &[u8]) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text);
    }
}

/// Reads.
#[derive(Debug)]
pub(crate) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn byte(&mut self) -> Result<u8, Damaged> {
        let (first, rest) = self.0.split_first().ok_or(Damaged)?;
        self.0 = rest;
        Ok(*first)
    }

    pub fn number(&mut self) -> Result<u64, Damaged> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Damaged)
    }

    pub fn small(&mut self) -> Result<u32, Damaged> {
        u32::try_from(self.number()?).map_err(|_| Damaged)
    }

    pub fn signed(&mut self) -> Result<i64, Damaged> {
        let number = self.number()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    pub fn step(&mut self, last: &mut u64) -> Result<u64, Damaged> {
        *last = last.wrapping_add(self.signed()?.cast_unsigned());
        Ok(*last)
    }

    pub fn id(&mut self) -> Result<u128, Damaged> {
        let (id, rest) = self.0.split_first_chunk().ok_or(Damaged)?;
        self.0 = rest;
        Ok(u128::from_be_bytes(*id))
    }

    pub fn text(&mut self) -> Result<&'a [u8], Damaged> {
        let length = usize::try_from(self.number()?).map_err(|_| Damaged)?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(Damaged)?;
        self.0 = rest;
        Ok(text)
    }

    pub fn str(&mut self) -> Result<&'a str, Damaged> {
        std::str::from_utf8(self.text()?).map_err(|_| Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back_and_small_ones_are_short() {
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX];
        let signed = [0, -1, 1, -64, 64, i64::MIN, i64::MAX];
        let mut writer = Writer::default();
        numbers.iter().for_each(|number| writer.number(*number));
        signed.iter().for_each(|number| writer.signed(*number));
        let (mut last, mut back) = (0, 0);
        [7, 3, u64::MAX].iter().for_each(|number| writer.step(&mut last, *number));
        writer.text("日".as_bytes());
        writer.id(9);
        let mut reader = Reader(&writer.0);
        assert_eq!(numbers.map(|_| reader.number()), numbers.map(Ok));
        assert_eq!(signed.map(|_| reader.signed()), signed.map(Ok));
        assert_eq!([7, 3, u64::MAX].map(|_| reader.step(&mut back)), [7, 3, u64::MAX].map(Ok));
        assert_eq!((reader.str(), reader.id()), (Ok("日"), Ok(9)));
        assert_eq!(reader.byte(), Err(Damaged));
    }

    #[test]
    fn damage_is_an_error() {
        assert_eq!(Reader(&[0xff; 11]).number(), Err(Damaged));
        assert_eq!(Reader(&[200, 200]).text(), Err(Damaged));
        assert_eq!(Reader(&[3, b'a']).text(), Err(Damaged));
    }
}
