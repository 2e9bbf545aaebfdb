//! Splits a `CommandLine` into a program and its arguments (guide: "the command line is run like a
//! program, not by a shell").
//!
//! Quotes and backslashes work as in a POSIX shell. Nothing is expanded: `$HOME`, `*`, `|`, `>` and
//! `#` are ordinary text.

/// Why a command line cannot be split.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No word in it.
    #[error("the command line is empty")]
    Empty,
    /// A quote is not closed, or a backslash ends the text.
    #[error("the command line ends inside {0}")]
    Unfinished(&'static str),
    /// The system cannot pass this on.
    #[error("the command line holds a NUL character")]
    Nul,
}

/// The words of `line`; at least one.
pub fn split(line: &str) -> Result<Vec<String>, CommandError> {
    if line.contains('\0') {
        return Err(CommandError::Nul);
    }
    let mut words = Vec::new();
    let mut rest = line.chars().peekable();
    loop {
        while rest.next_if(|c| is_blank(*c)).is_some() {}
        if rest.peek().is_none() {
            break;
        }
        words.extend(word(&mut rest)?);
    }
    if words.is_empty() { Err(CommandError::Empty) } else { Ok(words) }
}

type Rest<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// The next word. `None`: there was only a continued line, which is no word.
fn word(rest: &mut Rest<'_>) -> Result<Option<String>, CommandError> {
    let mut word: Option<String> = None;
    while let Some(c) = rest.next_if(|c| !is_blank(*c)) {
        let escaped = match c {
            '\\' => Some(rest.next().ok_or(CommandError::Unfinished("a backslash"))?),
            _ => None,
        };
        if escaped == Some('\n') {
            continue;
        }
        let word = word.get_or_insert_default();
        match escaped.unwrap_or(c) {
            '\'' if escaped.is_none() => single_quoted(rest, word)?,
            '"' if escaped.is_none() => double_quoted(rest, word)?,
            c => word.push(c),
        }
    }
    Ok(word)
}

fn single_quoted(rest: &mut Rest<'_>, word: &mut String) -> Result<(), CommandError> {
    loop {
        match rest.next().ok_or(CommandError::Unfinished("single quotes"))? {
            '\'' => return Ok(()),
            c => word.push(c),
        }
    }
}

fn double_quoted(rest: &mut Rest<'_>, word: &mut String) -> Result<(), CommandError> {
    let unfinished = || CommandError::Unfinished("double quotes");
    loop {
        match rest.next().ok_or_else(unfinished)? {
            '"' => return Ok(()),
            '\\' => match rest.next().ok_or_else(unfinished)? {
                c @ ('"' | '\\' | '$' | '`') => word.push(c),
                '\n' => {}
                c => word.extend(['\\', c]),
            },
            c => word.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_quotes_split_as_in_a_shell() {
        let table: &[(&str, &[&str])] = &[
            ("true", &["true"]),
            ("  python  map.py\t1 2 ", &["python", "map.py", "1", "2"]),
            ("sh -c 'echo $HOME > x; ls *'", &["sh", "-c", "echo $HOME > x; ls *"]),
            (r#"echo "a b" 'c "d"' e\ f"#, &["echo", "a b", r#"c "d""#, "e f"]),
            (r#"echo "\"\\\$\`" "\n" '\n'"#, &["echo", r#""\$`"#, r"\n", r"\n"]),
            ("a''b \"\" ''", &["ab", "", ""]),
            ("echo 你好 \"世 界\"", &["echo", "你好", "世 界"]),
            ("a # b", &["a", "#", "b"]),
            ("a | b && c > d $X `e`", &["a", "|", "b", "&&", "c", ">", "d", "$X", "`e`"]),
            ("one \\\n two", &["one", "two"]),
            ("one\r\ntwo", &["one", "two"]),
        ];
        for (line, words) in table {
            assert_eq!(split(line).as_deref(), Ok(&words.map_to_strings()[..]), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_split_says_why() {
        assert_eq!(split(""), Err(CommandError::Empty));
        assert_eq!(split(" \t\n"), Err(CommandError::Empty));
        assert_eq!(split("echo 'a"), Err(CommandError::Unfinished("single quotes")));
        assert_eq!(split("echo \"a\\"), Err(CommandError::Unfinished("double quotes")));
        assert_eq!(split("echo \\"), Err(CommandError::Unfinished("a backslash")));
        assert_eq!(split("a\0b"), Err(CommandError::Nul));
    }

    trait Words {
        fn map_to_strings(&self) -> Vec<String>;
    }

    impl Words for &[&str] {
        fn map_to_strings(&self) -> Vec<String> {
            self.iter().map(|w| (*w).to_owned()).collect()
        }
    }
}
