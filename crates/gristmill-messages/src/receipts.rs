//! Receipt handles and message ids as text. Both are opaque to clients; a receipt uses only
//! characters that need no encoding in a URL, because the official SDK does not encode it.

use gristmill_model::Timestamp;

/// Names the last receipt of one message of one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) queue: i64,
    pub(crate) message: i64,
    /// Which receipt of the message it is.
    pub(crate) count: i64,
}

impl Receipt {
    pub(crate) fn text(self) -> String {
        format!("1-{:x}-{:x}-{:x}", self.queue, self.message, self.count)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("1-")?.split('-');
        let mut number = || {
            let part = parts.next()?;
            let canonical = !part.starts_with('+') && !part.starts_with('0');
            i64::from_str_radix(part, 16).ok().filter(|_| canonical)
        };
        let receipt = Self { queue: number()?, message: number()?, count: number()? };
        parts.next().is_none().then_some(receipt)
    }
}

/// The id of a message: groups of upper-case hexadecimal digits.
pub(crate) fn message_id(place: i64, number: i64, at: Timestamp) -> String {
    format!("{place:016X}-1-{:X}-{number:X}", at.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_read_back_and_nothing_else_is_one() {
        let receipt = Receipt { queue: 7, message: 0x1f, count: 2 };
        assert_eq!(receipt.text(), "1-7-1f-2");
        assert_eq!(Receipt::parse("1-7-1f-2"), Some(receipt));
        for wrong in
            ["", "1", "1-7-1f", "1-7-1f-2-3", "2-7-1f-2", "1-7-1f-x", "1-7-1f-+2", "1--1-1"]
        {
            assert_eq!(Receipt::parse(wrong), None, "{wrong}");
        }
    }
}
