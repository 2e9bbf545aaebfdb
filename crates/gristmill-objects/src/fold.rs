//! Folding of sorted keys into a page of keys and common prefixes.
//!
//! The same rule serves every store: the store offers keys in byte order from where [`Fold::seek`]
//! says, and [`Fold::see`] answers what to do with each. A folded prefix costs one seek, not a walk
//! over the keys below it.
//!
//! Invariants
//! - A common prefix is shown when it sorts after `after`, like a key (`reference/oss-gateway.md` 12).
//! - `next` is the last thing shown, and only set when something follows.

/// The state of one page.
pub(crate) struct Fold<'a> {
    prefix: &'a str,
    delimiter: Option<&'a str>,
    room: usize,
    last: Option<String>,
    /// Common prefixes of this page, in byte order.
    pub common_prefixes: Vec<String>,
    /// `after` of the next page.
    pub next: Option<String>,
}

/// What to do with a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum See {
    /// It belongs to the page.
    Take,
    /// It was folded: go on at the first key that is at or after this text.
    Seek(Vec<u8>),
    /// The page is full; `next` is set.
    Full,
}

impl<'a> Fold<'a> {
    /// An empty page for `keys_max` entries.
    pub fn new(prefix: &'a str, delimiter: Option<&'a str>, keys_max: usize) -> Self {
        let delimiter = delimiter.filter(|text| !text.is_empty());
        Self { prefix, delimiter, room: keys_max, last: None, common_prefixes: vec![], next: None }
    }

    /// Where to start reading: the first key that is at or after this text.
    pub fn seek(&self, after: &str) -> Vec<u8> {
        if after < self.prefix {
            return self.prefix.as_bytes().to_vec();
        }
        match self.common_prefix(after) {
            Some(folded) => successor(folded.as_bytes()),
            None if after.is_empty() => vec![],
            None => [after.as_bytes(), &[0]].concat(),
        }
    }

    /// Looks at the next key, which must have the prefix.
    pub fn see(&mut self, key: &str) -> See {
        if self.room == 0 {
            self.next = self.last.take();
            return See::Full;
        }
        self.room -= 1;
        match self.common_prefix(key).map(str::to_owned) {
            None => {
                self.last = Some(key.to_owned());
                See::Take
            }
            Some(folded) => {
                let seek = successor(folded.as_bytes());
                self.last = Some(folded.clone());
                self.common_prefixes.push(folded);
                See::Seek(seek)
            }
        }
    }

    fn common_prefix<'k>(&self, key: &'k str) -> Option<&'k str> {
        let delimiter = self.delimiter?;
        let rest = key.strip_prefix(self.prefix)?;
        let at = rest.find(delimiter)?;
        Some(&key[..self.prefix.len() + at + delimiter.len()])
    }
}

/// The smallest text after every text that starts with `text`. Keys are UTF-8, so no byte is 0xFF
/// and the last one can always grow.
fn successor(text: &[u8]) -> Vec<u8> {
    let mut next = text.to_vec();
    if let Some(last) = next.last_mut() {
        *last += 1;
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages through `keys` and shows each page as `key key prefix* | next`.
    fn pages(keys: &[&str], prefix: &str, delimiter: Option<&str>, max: usize) -> Vec<String> {
        let (mut pages, mut after) = (vec![], String::new());
        loop {
            let mut fold = Fold::new(prefix, delimiter, max);
            let (mut from, mut shown) = (fold.seek(&after), vec![]);
            for key in keys.iter().filter(|key| key.starts_with(prefix)) {
                if key.as_bytes() < &from[..] {
                    continue;
                }
                match fold.see(key) {
                    See::Take => shown.push((*key).to_owned()),
                    See::Seek(to) => from = to,
                    See::Full => break,
                }
            }
            shown.extend(fold.common_prefixes.iter().map(|text| format!("{text}*")));
            pages.push(shown.join(" "));
            match fold.next {
                Some(next) => after = next,
                None => return pages,
            }
        }
    }

    #[test]
    fn keys_under_a_delimiter_fold_into_one_entry() {
        let keys = ["a", "a/", "a/b", "a/c", "b", "c/d"];
        assert_eq!(pages(&keys, "", Some("/"), 10), ["a b a/* c/*"]);
        assert_eq!(pages(&keys, "a/", Some("/"), 10), ["a/ a/b a/c"]);
        assert_eq!(pages(&keys, "", None, 10), ["a a/ a/b a/c b c/d"]);
    }

    #[test]
    fn pages_meet_without_gap_or_overlap() {
        let keys = ["a", "a/b", "a/c", "b", "c/d", "c/e"];
        assert_eq!(pages(&keys, "", Some("/"), 1), ["a", "a/*", "b", "c/*"]);
        assert_eq!(pages(&keys, "", Some("/"), 4), ["a b a/* c/*"]);
        assert_eq!(pages(&keys, "a/", None, 1), ["a/b", "a/c"]);
    }

    #[test]
    fn a_start_inside_a_folded_prefix_skips_the_prefix() {
        let fold = Fold::new("", Some("/"), 10);
        assert_eq!(fold.seek("a/b"), b"a0");
        assert_eq!(fold.seek("a"), b"a\0");
        assert_eq!(Fold::new("b/", None, 1).seek("a"), b"b/");
    }
}
