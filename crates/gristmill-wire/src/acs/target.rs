//! The spellings of the resource line (`reference/api.md` 2.4).
//!
//! The Python family signs the request target as it is sent. The Java family signs the path and
//! the *decoded* query sorted by key, whatever order and encoding it puts on the wire. In both, a
//! value that is empty leaves the bare key.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

/// What the Python SDK leaves as it is: letters, digits and `_ . - ~`.
pub(super) const PYTHON: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~');

/// Every spelling under which `target` may have been signed, the likeliest first.
pub(super) fn spellings(target: &str) -> impl Iterator<Item = Vec<u8>> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let raw = std::iter::once(target.as_bytes().to_vec());
    let decoded_path: Vec<u8> = percent_decode(path.as_bytes()).collect();
    let paths = match decoded_path == path.as_bytes() {
        true => vec![decoded_path],
        false => vec![path.as_bytes().to_vec(), decoded_path],
    };
    let pairs = sorted_pairs(query);
    raw.chain(paths.into_iter().flat_map(move |path| {
        [join(&path, &pairs, |text| text.to_vec()), join(&path, &pairs, encode)]
    }))
}

/// Keys and values of a query, decoded, by the bytes of the key.
fn sorted_pairs(query: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut pairs: Vec<_> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect();
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    pairs
}

/// `%XX`, and `+` as a space: one of the Java cores writes spaces so.
fn decode(text: &str) -> Vec<u8> {
    percent_decode(text.replace('+', " ").as_bytes()).collect()
}

fn encode(text: &[u8]) -> Vec<u8> {
    percent_encode(text, PYTHON).to_string().into_bytes()
}

fn join(path: &[u8], pairs: &[(Vec<u8>, Vec<u8>)], spell: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut line = path.to_vec();
    for (at, (key, value)) in pairs.iter().enumerate() {
        line.push(if at == 0 { b'?' } else { b'&' });
        line.extend(spell(key));
        if !value.is_empty() {
            line.push(b'=');
            line.extend(spell(value));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(target: &str) -> Vec<String> {
        spellings(target).map(|line| String::from_utf8_lossy(&line).into_owned()).collect()
    }

    #[test]
    fn the_wire_comes_first_then_java_then_a_sorted_python() {
        assert_eq!(
            all("/jobs?MaxItemCount=50&Marker=a%20b%2Fc%2Bd"),
            [
                "/jobs?MaxItemCount=50&Marker=a%20b%2Fc%2Bd",
                "/jobs?Marker=a b/c+d&MaxItemCount=50",
                "/jobs?Marker=a%20b%2Fc%2Bd&MaxItemCount=50",
            ]
        );
    }

    #[test]
    fn an_old_java_writes_a_space_as_plus_and_empty_values_with_a_sign() {
        assert_eq!(all("/jobs?State=&Marker=a+b")[1], "/jobs?Marker=a b&State");
    }

    #[test]
    fn an_encoded_path_is_tried_both_ways() {
        assert_eq!(all("/apps/Public%3Ax?Qualifier").len(), 5);
        assert_eq!(all("/apps/Public%3Ax?Qualifier")[3], "/apps/Public:x?Qualifier");
    }

    #[test]
    fn no_query_is_no_question_mark() {
        assert_eq!(all("/jobs")[1], "/jobs");
        assert_eq!(all("/jobs?")[1], "/jobs");
    }
}
