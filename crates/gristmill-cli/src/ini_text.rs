//! INI as the official tool's reader understands it: quotes and backslashes are ordinary letters.
//!
//! The library joins a line that ends in a backslash with the next one whatever it is told, so a
//! value such as `C:\` gets a space behind it first; values are trimmed afterwards.

use ini::{Ini, ParseError, ParseOption};

/// Reads a file. With `continued`, an indented line continues the value above it.
pub(crate) fn read(text: &str, continued: bool) -> Result<Ini, ParseError> {
    let options = ParseOption {
        enabled_quote: false,
        enabled_escape: false,
        enabled_indented_mutiline_value: continued,
        enabled_preserve_key_leading_whitespace: false,
    };
    Ini::load_from_str_opt(&text.replace("\\\n", "\\ \n"), options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backslash_at_the_end_of_a_line_is_a_letter() {
        let file = read("[a]\nx = C:\\\ny = \"q\\n\"\nz = \\", false).unwrap();
        let value = |key| file.get_from(Some("a"), key).map(str::trim);
        assert_eq!(
            [value("x"), value("y"), value("z")],
            [Some("C:\\"), Some("\"q\\n\""), Some("\\")]
        );
    }
}
