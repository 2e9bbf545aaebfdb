//! Members that are stored as they are and echoed: `Networks`, `CredentialConfig`.
//!
//! They are the only part of a body that becomes a tree of JSON values, so they are bounded while
//! they are read: in depth, because the journal wraps them again, and in the number of values.
//! A null is left out, because an echo must not hold one.

use crate::api::{
    ECHO_DEPTH_MAX, ITEMS_PER_MEMBER_MAX,
    read::{Shape, skip_array, skip_object},
};
use serde::{
    Deserializer,
    de::{DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};
use std::{cell::Cell, fmt};

/// An object kept as it is, without nulls.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Kept(pub Map<String, Value>);

impl Shape for Kept {
    const WANTED: &'static str = "an object of at most 10000 values, at most 8 deep";
    fn object<'de, A: MapAccess<'de>>(map: A) -> Result<Option<Self>, A::Error> {
        let left = Cell::new(ITEMS_PER_MEMBER_MAX);
        let kept = Keeper { left: &left, depth: ECHO_DEPTH_MAX }.visit_map(map)?;
        Ok(match kept {
            Some(Value::Object(map)) => Some(Self(map)),
            _ => None,
        })
    }
}

/// Reads one value. `None`: it is too deep, or there are too many.
#[derive(Clone, Copy)]
struct Keeper<'a> {
    /// How many values may still come.
    left: &'a Cell<usize>,
    /// How much deeper it may go.
    depth: usize,
}

impl Keeper<'_> {
    /// The reader of the values inside, if one more array or object may be opened.
    fn inner(self) -> Option<Self> {
        Some(Self { depth: self.depth.checked_sub(1)?, ..self })
    }

    /// Counts one value.
    fn count<E>(self, value: Value) -> Result<Option<Value>, E> {
        Ok(self.left.get().checked_sub(1).map(|left| {
            self.left.set(left);
            value
        }))
    }
}

impl<'de> DeserializeSeed<'de> for Keeper<'_> {
    type Value = Option<Value>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Keeper<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        self.count(Value::Null)
    }
    fn visit_bool<E>(self, truth: bool) -> Result<Self::Value, E> {
        self.count(truth.into())
    }
    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        self.count(number.into())
    }
    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        self.count(number.into())
    }
    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        self.count(number.into())
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        self.count(text.into())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Some(inner) = self.inner() else { return skip_object(map).map(|()| None) };
        let mut kept = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            match map.next_value_seed(inner)? {
                None => return skip_object(map).map(|()| None),
                Some(Value::Null) => {}
                Some(value) => drop(kept.insert(name, value)),
            }
        }
        self.count(kept.into())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let Some(inner) = self.inner() else { return skip_array(array).map(|()| None) };
        let mut kept = Vec::new();
        while let Some(item) = array.next_element_seed(inner)? {
            match item {
                None => return skip_array(array).map(|()| None),
                Some(Value::Null) => {}
                Some(value) => kept.push(value),
            }
        }
        self.count(kept.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::read::Member;
    use serde_json::json;

    fn read(text: &str) -> Member<Kept> {
        serde_json::from_str(text).expect("JSON")
    }

    #[test]
    fn everything_but_null_is_kept() {
        let kept = read(r#"{"a":[1,null,-2.5,"x",true,{"b":null}],"c":null,"d":{}}"#);
        let wanted = json!({"a": [1, -2.5, "x", true, {}], "d": {}});
        assert_eq!(kept, Member::Given(Kept(wanted.as_object().expect("an object").clone())));
    }

    #[test]
    fn depth_and_number_are_bounded() {
        let deep =
            |depth: usize| read(&format!("{}1{}", r#"{"x":"#.repeat(depth), "}".repeat(depth)));
        assert!(matches!(deep(ECHO_DEPTH_MAX), Member::Given(_)));
        assert_eq!(deep(ECHO_DEPTH_MAX + 1), Member::Wrong);
        let many = |count: usize| read(&format!(r#"{{"x":[{}1]}}"#, "1,".repeat(count - 1)));
        assert!(matches!(many(ITEMS_PER_MEMBER_MAX - 2), Member::Given(_)));
        assert_eq!(many(ITEMS_PER_MEMBER_MAX + 1), Member::Wrong);
        assert_eq!(read("[]"), Member::Wrong);
    }
}
