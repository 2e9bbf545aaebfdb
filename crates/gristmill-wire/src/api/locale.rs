//! Names of character sets that file names on mounts may be in (`reference/mounts.md` 7).
//!
//! Known are the sets in which the bytes of `/` and NUL never occur inside a character. Stateful
//! sets (ISO-2022, UTF-7) and wide ones (UTF-16, UTF-32) are not: their bytes would break paths.

/// What an absent or empty `Locale` means (`reference/api.md` 4.2).
pub const LOCALE_DEFAULT: &str = "GBK";

/// Spellings without `-` and `_`, in lower case, and the label of the WHATWG encoding standard.
const SPELLINGS: [(&str, &str); 22] = [
    ("utf8", "utf-8"),
    ("gbk", "gbk"),
    ("cp936", "gbk"),
    ("ms936", "gbk"),
    ("windows936", "gbk"),
    ("gb2312", "gbk"),
    ("euccn", "gbk"),
    ("gb18030", "gb18030"),
    ("big5", "big5"),
    ("cp950", "big5"),
    ("big5hkscs", "big5"),
    ("shiftjis", "shift_jis"),
    ("sjis", "shift_jis"),
    ("cp932", "shift_jis"),
    ("windows31j", "shift_jis"),
    ("eucjp", "euc-jp"),
    ("ujis", "euc-jp"),
    ("euckr", "euc-kr"),
    ("cp949", "euc-kr"),
    ("windows949", "euc-kr"),
    ("uhc", "euc-kr"),
    ("latin1", "iso-8859-1"),
];

/// Families with a number at the end: the spelling in front, the numbers, the labels.
const ISO: [&str; 15] = [
    "iso-8859-1",
    "iso-8859-2",
    "iso-8859-3",
    "iso-8859-4",
    "iso-8859-5",
    "iso-8859-6",
    "iso-8859-7",
    "iso-8859-8",
    "iso-8859-9",
    "iso-8859-10",
    "iso-8859-11",
    "iso-8859-13",
    "iso-8859-14",
    "iso-8859-15",
    "iso-8859-16",
];
const WINDOWS: [&str; 9] = [
    "windows-1250",
    "windows-1251",
    "windows-1252",
    "windows-1253",
    "windows-1254",
    "windows-1255",
    "windows-1256",
    "windows-1257",
    "windows-1258",
];

/// The label of the character set that `text` names: a set (`GBK`, `cp936`) or a locale
/// (`zh_CN.GBK`, `de_DE.ISO-8859-15@euro`), in any case. `None`: not one for file names.
pub fn charset(text: &str) -> Option<&'static str> {
    let set = text.split_once('.').map_or(text, |(_, set)| set);
    let set = set.split_once('@').map_or(set, |(set, _)| set);
    let spelling = plain(set);
    let label = |labels: &'static [&'static str], name: &str| {
        labels.iter().copied().find(|label| plain(label) == name)
    };
    SPELLINGS
        .iter()
        .find(|(known, _)| *known == spelling)
        .map(|(_, label)| *label)
        .or_else(|| label(&ISO, &spelling))
        .or_else(|| label(&WINDOWS, &spelling))
        .or_else(|| label(&WINDOWS, &format!("windows{}", spelling.strip_prefix("cp")?)))
}

/// Lower case without `-` and `_`.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '-' | '_')).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_and_locales_are_known_in_any_case() {
        for (text, wanted) in [
            ("GBK", "gbk"),
            ("gbk", "gbk"),
            ("CP936", "gbk"),
            ("zh_CN.GBK", "gbk"),
            ("zh_CN.gb2312", "gbk"),
            ("zh_CN.GB18030", "gb18030"),
            ("UTF-8", "utf-8"),
            ("utf8", "utf-8"),
            ("en_US.UTF-8", "utf-8"),
            ("Big5", "big5"),
            ("ja_JP.SJIS", "shift_jis"),
            ("Shift_JIS", "shift_jis"),
            ("EUC-JP", "euc-jp"),
            ("euckr", "euc-kr"),
            ("ISO-8859-15", "iso-8859-15"),
            ("de_DE.ISO8859-15@euro", "iso-8859-15"),
            ("latin1", "iso-8859-1"),
            ("windows-1252", "windows-1252"),
            ("CP1251", "windows-1251"),
        ] {
            assert_eq!(charset(text), Some(wanted), "{text}");
        }
    }

    #[test]
    fn sets_that_break_paths_and_unknown_ones_are_refused() {
        for text in [
            "",
            "C",
            "zh_CN",
            "UTF-7",
            "UTF-16",
            "utf-16le",
            "UTF-32",
            "ISO-2022-JP",
            "iso-8859-12",
            "cp1259",
            "klingon",
            "GBK.",
            ".",
        ] {
            assert_eq!(charset(text), None, "{text}");
        }
    }
}
