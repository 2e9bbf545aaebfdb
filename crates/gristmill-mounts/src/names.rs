//! Names of files on a mount: from a component of a key to local bytes and back.
//!
//! Keys are UTF-8. A program that uses another character set sees names in that set
//! (`reference/mounts.md` 7). [`Locale`] knows the set; [`Shelf`] holds the names of one directory
//! and keeps them apart.
//!
//! Invariants
//! - A name the set cannot express is shown as its raw UTF-8 bytes; nothing is hidden for it.
//! - A name once given to an entry never changes; the later of two equal names gets `~2`.
//! - Only names are converted, and there is no Unicode normalisation.
//! - Only sets in which the bytes `/` and NUL are never part of another character are known.
//!
//! Start at [`Locale::encode`].

use encoding_rs::{EncoderResult, Encoding, UTF_8};
use std::{borrow::Cow, collections::HashMap, fmt, hash::Hash, str::FromStr, sync::Arc};

/// The longest local name the kernel takes, in bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// A character set for names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Locale(&'static Encoding);

/// A locale whose character set is unknown or unusable for file names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a known character set for file names")]
pub struct UnknownLocale(pub String);

/// Whether `Locale` may have this value. What is not known is refused at submission.
pub fn known(text: &str) -> bool {
    text.parse::<Locale>().is_ok()
}

/// Names of sets people use that the encoding library does not list. Compared without case, `-`
/// and `_`.
const ALIASES: &[(&str, &str)] = &[
    ("cp936", "gbk"),
    ("ms936", "gbk"),
    ("windows936", "gbk"),
    ("euccn", "gbk"),
    ("cp54936", "gb18030"),
    ("cp950", "big5"),
    ("big5hkscs", "big5"),
    ("cp932", "shift_jis"),
    ("ms932", "shift_jis"),
    ("sjis", "shift_jis"),
    ("shiftjis", "shift_jis"),
    ("eucjp", "euc-jp"),
    ("ujis", "euc-jp"),
    ("euckr", "euc-kr"),
    ("cp949", "euc-kr"),
    ("uhc", "euc-kr"),
    ("cp65001", "utf-8"),
];

impl FromStr for Locale {
    type Err = UnknownLocale;

    /// Accepts `GBK`, `zh_CN.GBK`, `CP936`, `de_DE.ISO-8859-15@euro` and so on, in any case.
    fn from_str(text: &str) -> Result<Self, UnknownLocale> {
        let set = text.split_once('.').map_or(text, |(_, set)| set);
        let set = set.split_once('@').map_or(set, |(set, _)| set).to_ascii_lowercase();
        let plain: String = set.chars().filter(|c| !matches!(c, '-' | '_')).collect();
        ALIASES
            .iter()
            .find(|(alias, _)| *alias == plain)
            .and_then(|(_, label)| Encoding::for_label(label.as_bytes()))
            .or_else(|| Encoding::for_label(set.as_bytes()))
            .or_else(|| numbered(&plain))
            .filter(|encoding| is_usable(encoding))
            .map(Self)
            .ok_or_else(|| UnknownLocale(text.to_owned()))
    }
}

/// `iso88591`, `cp1252`, `windows1252` and their like.
fn numbered(plain: &str) -> Option<&'static Encoding> {
    let families =
        [("iso8859", "iso-8859-"), ("cp125", "windows-125"), ("windows125", "windows-125")];
    families.iter().find_map(|(alias, label)| {
        let rest = plain.strip_prefix(alias)?;
        Encoding::for_label(format!("{label}{rest}").as_bytes())
    })
}

/// Whether the set is one of the reference's list: without state, and with `/` and NUL only for
/// themselves. `windows-874` is what the library calls ISO-8859-11.
fn is_usable(encoding: &'static Encoding) -> bool {
    let name = encoding.name();
    matches!(name, "UTF-8" | "GBK" | "gb18030" | "Big5" | "Shift_JIS" | "EUC-JP" | "EUC-KR")
        || name.starts_with("ISO-8859-")
        || name.starts_with("windows-")
}

impl Locale {
    /// Names as they are in keys.
    pub const UTF_8: Self = Self(UTF_8);

    /// The name of the set.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// The local bytes of a key's component; the raw UTF-8 bytes where the set cannot express it.
    pub fn encode(self, component: &str) -> Cow<'_, [u8]> {
        if self.0 == UTF_8 || component.is_ascii() {
            return Cow::Borrowed(component.as_bytes());
        }
        let mut encoder = self.0.new_encoder();
        let room = encoder.max_buffer_length_from_utf8_without_replacement(component.len());
        let mut bytes = Vec::with_capacity(room.unwrap_or(component.len() * 4));
        match encoder.encode_from_utf8_to_vec_without_replacement(component, &mut bytes, true).0 {
            EncoderResult::InputEmpty if !bytes.iter().any(|b| matches!(b, 0 | b'/')) => {
                Cow::Owned(bytes)
            }
            _ => Cow::Borrowed(component.as_bytes()),
        }
    }

    /// The components a program may mean by these bytes, likeliest first: the set's reading, then
    /// plain UTF-8.
    pub fn candidates(self, name: &[u8]) -> Vec<String> {
        let local = self.0.decode_without_bom_handling_and_without_replacement(name);
        let mut found: Vec<String> = local.map(Cow::into_owned).into_iter().collect();
        if let Ok(raw) = std::str::from_utf8(name)
            && !found.iter().any(|text| text == raw)
        {
            found.push(raw.to_owned());
        }
        found
    }

    /// The key's component for the name of an output file: UTF-8 stays, other bytes are read in
    /// this set, and what is neither is percent-encoded.
    pub fn key_component(self, name: &[u8]) -> KeyComponent {
        if let Ok(text) = std::str::from_utf8(name) {
            return KeyComponent { text: text.to_owned(), origin: Origin::Utf8 };
        }
        let converted = self.0.decode_without_bom_handling_and_without_replacement(name);
        if let Some(text) = converted
            && !text.contains(['/', '\0'])
        {
            return KeyComponent { text: text.into_owned(), origin: Origin::Converted };
        }
        KeyComponent { text: percent_encode_bad(name), origin: Origin::Escaped }
    }
}

impl fmt::Debug for Locale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name of an output file as a component of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyComponent {
    /// The component.
    pub text: String,
    /// How it came about.
    pub origin: Origin,
}

/// How a local name became a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was UTF-8.
    Utf8,
    /// It was read in the locale's set.
    Converted,
    /// Bytes that mean nothing were percent-encoded; worth a warning.
    Escaped,
}

fn percent_encode_bad(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len() * 2);
    for chunk in name.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// The names of one directory. `T` is whatever an entry is known by.
#[derive(Debug)]
pub struct Shelf<T> {
    /// What listings show.
    shown: HashMap<Arc<[u8]>, T>,
    /// The raw UTF-8 spelling of entries that are shown differently.
    raw: HashMap<Box<str>, T>,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { shown: HashMap::new(), raw: HashMap::new() }
    }
}

/// How a name was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// As listings show it.
    Shown,
    /// As it is in the key.
    Raw,
}

impl<T: Copy + Eq + Hash> Shelf<T> {
    /// Gives `item` a name made from `component` and returns it, or `None` when it would be longer
    /// than the kernel takes. Give each component once.
    pub fn insert(&mut self, locale: Locale, component: &str, item: T) -> Option<Arc<[u8]>> {
        let wanted = locale.encode(component);
        let name = self.free_name(&wanted)?;
        if name.as_ref() != component.as_bytes() {
            self.raw.insert(component.into(), item);
        }
        self.shown.insert(name.clone(), item);
        Some(name)
    }

    fn free_name(&self, wanted: &[u8]) -> Option<Arc<[u8]>> {
        let mut name: Arc<[u8]> = wanted.into();
        let mut number = 2;
        while self.shown.contains_key(&name) {
            name = [wanted, b"~", number.to_string().as_bytes()].concat().into();
            number += 1;
        }
        (name.len() <= NAME_BYTES_MAX).then_some(name)
    }

    /// Who is meant by these bytes, in either spelling; what listings show wins.
    pub fn find(&self, name: &[u8]) -> Option<(T, Spelling)> {
        if let Some(item) = self.shown.get(name) {
            return Some((*item, Spelling::Shown));
        }
        let raw = std::str::from_utf8(name).ok()?;
        self.raw.get(raw).map(|item| (*item, Spelling::Raw))
    }

    /// Who came from this component.
    pub fn of_component(
        &self,
        locale: Locale,
        component: &str,
        is_it: impl Fn(T) -> bool,
    ) -> Option<T> {
        if let Some(item) = self.raw.get(component) {
            return Some(*item);
        }
        let item = self.shown.get(locale.encode(component).as_ref())?;
        is_it(*item).then_some(*item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn gbk() -> Locale {
        "GBK".parse().expect("known")
    }

    #[test]
    fn character_sets_of_the_reference_are_known_in_many_spellings() {
        for good in [
            "GBK",
            "gbk",
            "zh_CN.GBK",
            "CP936",
            "zh_CN.UTF-8",
            "utf8",
            "UTF-8",
            "GB18030",
            "gb2312",
            "Big5",
            "BIG5-HKSCS",
            "zh_TW.big5",
            "Shift_JIS",
            "SJIS",
            "ja_JP.eucJP",
            "EUC-KR",
            "CP949",
            "ISO-8859-1",
            "de_DE.ISO8859-15@euro",
            "iso8859_2",
            "windows-1252",
            "CP1251",
            "C.UTF-8",
        ] {
            assert!(known(good), "{good}");
        }
        for bad in
            ["", "klingon", "UTF-16", "UTF-16LE", "UTF-32", "UTF-7", "ISO-2022-JP", "hz-gb-2312"]
        {
            assert!(!known(bad), "{bad}");
        }
    }

    #[test]
    fn names_are_shown_in_the_set_and_found_in_both_spellings() {
        let mut shelf = Shelf::default();
        let name = shelf.insert(gbk(), "日志.txt", 7).expect("short");
        assert_eq!(name.as_ref(), [0xC8, 0xD5, 0xD6, 0xBE, b'.', b't', b'x', b't']);
        assert_eq!(shelf.find(&name), Some((7, Spelling::Shown)));
        assert_eq!(shelf.find("日志.txt".as_bytes()), Some((7, Spelling::Raw)));
        assert_eq!(shelf.find(b"other"), None);
    }

    #[test]
    fn a_name_the_set_cannot_express_is_shown_raw() {
        assert_eq!(gbk().encode("naïve-한").as_ref(), "naïve-한".as_bytes());
        let big5: Locale = "Big5".parse().expect("known");
        assert_eq!(big5.encode("中文").as_ref(), [0xA4, 0xA4, 0xA4, 0xE5]);
    }

    #[test]
    fn equal_local_names_are_kept_apart() {
        // U+00A5 and the backslash are both 0x5C in Shift_JIS.
        let sjis: Locale = "Shift_JIS".parse().expect("known");
        let mut shelf = Shelf::default();
        assert_eq!(shelf.insert(sjis, "a\\b", 1).as_deref(), Some(&b"a\\b"[..]));
        assert_eq!(shelf.insert(sjis, "a¥b", 2).as_deref(), Some(&b"a\\b~2"[..]));
        assert_eq!(shelf.find(b"a\\b"), Some((1, Spelling::Shown)));
        assert_eq!(shelf.find(b"a\\b~2"), Some((2, Spelling::Shown)));
        assert_eq!(shelf.find("a¥b".as_bytes()), Some((2, Spelling::Raw)));
    }

    #[test]
    fn names_over_255_bytes_after_conversion_are_not_given() {
        let mut shelf = Shelf::default();
        let hundred = "日".repeat(100); // 300 bytes as UTF-8, 200 in GBK
        assert!(shelf.insert(gbk(), &hundred, 1).is_some());
        assert!(shelf.insert(Locale::UTF_8, &hundred, 2).is_none());
        assert!(shelf.insert(Locale::UTF_8, &"x".repeat(255), 3).is_some());
        assert!(shelf.insert(Locale::UTF_8, &"y".repeat(256), 4).is_none());
    }

    #[test]
    fn output_names_become_utf8_keys() {
        let of = |bytes: &[u8]| {
            let component = gbk().key_component(bytes);
            (component.text, component.origin)
        };
        assert_eq!(of("日志".as_bytes()), ("日志".into(), Origin::Utf8));
        assert_eq!(of(&[0xC8, 0xD5, 0xD6, 0xBE]), ("日志".into(), Origin::Converted));
        assert_eq!(of(&[b'a', 0xFF, b'b']), ("a%FFb".into(), Origin::Escaped));
        let utf8 = Locale::UTF_8.key_component(&[0xC8, b'x']);
        assert_eq!((utf8.text.as_str(), utf8.origin), ("%C8x", Origin::Escaped));
    }

    #[test]
    fn a_lookup_tries_the_set_and_then_utf8() {
        assert_eq!(gbk().candidates(&[0xC8, 0xD5]), ["日"]);
        assert_eq!(gbk().candidates("日日".as_bytes()), ["鏃ユ棩", "日日"]);
        assert_eq!(Locale::UTF_8.candidates(&[0xC8, 0xD5]), Vec::<String>::new());
    }

    proptest! {
        /// Whatever the components are: each that fits is shown once, no two share a name, and
        /// each is found by what is shown; by its raw spelling too, unless that is shown for
        /// somebody else.
        #[test]
        fn shelves_keep_every_name_apart(
            components in proptest::collection::btree_set("[a-c日志한¥\\\\é~2]{1,4}", 1..40),
            set in prop_oneof![Just("GBK"), Just("UTF-8"), Just("Shift_JIS"), Just("ISO-8859-1"), Just("Big5")],
        ) {
            let locale: Locale = set.parse().expect("known");
            let mut shelf = Shelf::default();
            let mut model = BTreeMap::new();
            for (number, component) in components.iter().enumerate() {
                let name = shelf.insert(locale, component, number).expect("short");
                prop_assert!(model.insert(name, number).is_none(), "two entries share a name");
            }
            for (name, number) in &model {
                prop_assert_eq!(shelf.find(name), Some((*number, Spelling::Shown)));
            }
            for (number, component) in components.iter().enumerate() {
                let by_component = shelf.of_component(locale, component, |item| item == number);
                prop_assert_eq!(by_component, Some(number));
                let expected = *model.get(component.as_bytes()).unwrap_or(&number);
                prop_assert_eq!(shelf.find(component.as_bytes()).map(|found| found.0), Some(expected));
            }
        }
    }
}
