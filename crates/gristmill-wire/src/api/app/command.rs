//! Puts the values of parameters into a command line.
//!
//! A command line is split into words like a shell does it and run without one. `${name}` of a
//! parameter is replaced by its value (guide, chapter on creating an app), quoted for the place it
//! stands in: whatever a value holds, blanks and quotes included, it stays in the word around it
//! and reads as itself. A program that is a shell (`sh -c '… ${name} …'`) gets the value as text of
//! its script; there the environment variable `"$name"` is the safe way.
//!
//! What is not the name of a parameter stays as it is: `${HOME}` may be meant for a shell.

use std::collections::BTreeMap;

/// The quotes around a place in the line.
#[derive(Clone, Copy, PartialEq)]
enum Quotes {
    None,
    Single,
    Double,
}

/// The line with every `${name}` of `values` replaced.
pub(super) fn filled_in(line: &str, values: &BTreeMap<&str, String>) -> String {
    let (mut whole, mut quotes, mut rest) = (String::with_capacity(line.len()), Quotes::None, line);
    while let Some(first) = rest.chars().next() {
        let found = rest.strip_prefix("${").and_then(|rest| rest.split_once('}'));
        if let Some((value, behind)) =
            found.and_then(|(name, behind)| Some((values.get(name)?, behind)))
        {
            whole.push_str(&quoted(value, quotes));
            rest = behind;
            continue;
        }
        let mut length = first.len_utf8();
        match (first, quotes) {
            ('\'', Quotes::None) => quotes = Quotes::Single,
            ('"', Quotes::None) => quotes = Quotes::Double,
            ('\'', Quotes::Single) | ('"', Quotes::Double) => quotes = Quotes::None,
            ('\\', Quotes::None | Quotes::Double) => {
                length += rest[length..].chars().next().map_or(0, char::len_utf8);
            }
            _ => {}
        }
        whole.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    whole
}

/// The value so that it reads as itself between these quotes.
fn quoted(value: &str, quotes: Quotes) -> String {
    match quotes {
        Quotes::None => format!("'{}'", quoted(value, Quotes::Single)),
        Quotes::Single => value.replace('\'', r"'\''"),
        Quotes::Double => value.chars().fold(String::new(), |mut text, c| {
            if matches!(c, '"' | '\\' | '$' | '`') {
                text.push('\\');
            }
            text.push(c);
            text
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(line: &str) -> String {
        let values = [
            ("src", "/home/input/".to_owned()),
            ("n", "7".to_owned()),
            ("evil", r#"a 'b" \$(c)"#.to_owned()),
            ("again", "${n}".to_owned()),
            ("none", String::new()),
        ];
        filled_in(line, &values.into())
    }

    /// The lines are checked against the splitter of the runtime in `tests/api/apps.rs`; here
    /// the text itself.
    #[test]
    fn values_are_quoted_for_their_place() {
        for (line, wanted) in [
            ("true", "true"),
            ("cp ${src} x", "cp '/home/input/' x"),
            ("head -n ${n}", "head -n '7'"),
            ("--n=${n}0", "--n='7'0"),
            ("sh -c 'cp ${src} x'", "sh -c 'cp /home/input/ x'"),
            (r#"echo "${src}""#, r#"echo "/home/input/""#),
            ("echo ${evil}", r#"echo 'a '\''b" \$(c)'"#),
            ("echo '${evil}'", r#"echo 'a '\''b" \$(c)'"#),
            (r#"echo "${evil}""#, r#"echo "a 'b\" \\\$(c)""#),
            ("echo ${none} x", "echo '' x"),
            ("echo ${HOME} $n ${} ${n", "echo ${HOME} $n ${} ${n"),
            ("echo ${again}", "echo '${n}'"),
            (r"echo \${n}", r"echo \${n}"),
            (r#"echo \"${evil}"#, r#"echo \"'a '\''b" \$(c)'"#),
            ("echo 你${n}好", "echo 你'7'好"),
            (r"end \", r"end \"),
        ] {
            assert_eq!(fill(line), wanted, "{line}");
        }
    }
}
