//! Reads bodies whose members may have any type.
//!
//! An ordinary derived reader stops at the first member of a wrong type with a text about a
//! column. We owe the client `Invalid{Member}`. So every member is read as a [`Member`], which
//! takes whatever is there and remembers whether it had the right shape; the conversion to the
//! model asks for it by name and makes the refusal. Only text that is not JSON fails here.
//!
//! Start at [`parse_body`]; [`Shape`] says which JSON becomes which Rust type.

use crate::{
    api::ITEMS_PER_MEMBER_MAX,
    error::{ApiError, Code},
};
use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor,
        value::MapAccessDeserializer,
    },
};
use std::{collections::BTreeMap, fmt, marker::PhantomData};

/// What stood where a member should be.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) enum Member<T> {
    /// Nothing, or null.
    #[default]
    Absent,
    /// The right shape.
    Given(T),
    /// Something else.
    Wrong,
}

impl<T: Shape> Member<T> {
    /// The member if it was given.
    pub(super) fn optional(self, name: &'static str) -> Result<Option<T>, ApiError> {
        self.optional_as(name, T::WANTED)
    }

    /// The member, which must be there.
    pub(super) fn required(self, name: &'static str) -> Result<T, ApiError> {
        self.optional(name)?.ok_or_else(|| ApiError::missing(name))
    }
}

impl<T> Member<T> {
    /// The member if it was given; `wanted` describes the right shape.
    pub(super) fn optional_as(
        self,
        name: &'static str,
        wanted: &'static str,
    ) -> Result<Option<T>, ApiError> {
        match self {
            Self::Absent => Ok(None),
            Self::Given(value) => Ok(Some(value)),
            Self::Wrong => Err(ApiError::invalid(name, format_args!("must be {wanted}"))),
        }
    }
}

impl<T: Shape + Default> Member<T> {
    /// The member, or what its type has as nothing: empty text, empty object, false.
    pub(super) fn or_empty(self, name: &'static str) -> Result<T, ApiError> {
        Ok(self.optional(name)?.unwrap_or_default())
    }
}

impl Member<i64> {
    /// A whole number within a range, or `default` when it is not given.
    pub(super) fn within(
        self,
        name: &'static str,
        range: std::ops::RangeInclusive<u32>,
        default: u32,
    ) -> Result<u32, ApiError> {
        let (min, max) = (range.start(), range.end());
        let wrong =
            || ApiError::invalid(name, format_args!("must be a whole number in [{min}, {max}]"));
        match self {
            Self::Absent => Ok(default),
            Self::Given(number) => {
                u32::try_from(number).ok().filter(|n| range.contains(n)).ok_or_else(wrong)
            }
            Self::Wrong => Err(wrong()),
        }
    }
}

/// Which JSON becomes which Rust type. Every function answers for one kind of JSON; the answer
/// is `None` where the kind is wrong.
pub(super) trait Shape: Sized {
    /// For the sentence "must be …".
    const WANTED: &'static str;

    fn text(_: &str) -> Option<Self> {
        None
    }
    fn number(_: f64) -> Option<Self> {
        None
    }
    fn integer(number: i64) -> Option<Self> {
        Self::number(number as f64)
    }
    fn truth(_: bool) -> Option<Self> {
        None
    }
    fn object<'de, A: MapAccess<'de>>(map: A) -> Result<Option<Self>, A::Error> {
        skip_object(map).map(|()| None)
    }
    fn array<'de, A: SeqAccess<'de>>(array: A) -> Result<Option<Self>, A::Error> {
        skip_array(array).map(|()| None)
    }
}

impl Shape for String {
    const WANTED: &'static str = "a text";
    fn text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Shape for bool {
    const WANTED: &'static str = "true or false";
    fn truth(truth: bool) -> Option<Self> {
        Some(truth)
    }
}

impl Shape for f64 {
    const WANTED: &'static str = "a number";
    fn number(number: f64) -> Option<Self> {
        Some(number)
    }
}

impl Shape for i64 {
    const WANTED: &'static str = "a whole number";
    fn integer(number: i64) -> Option<Self> {
        Some(number)
    }
    /// `3.0` is whole. Beyond 2^53 a float does not say which number was meant.
    fn number(number: f64) -> Option<Self> {
        let whole = number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0;
        whole.then_some(number as i64)
    }
}

/// An object with members we know.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Object<T>(pub T);

impl<T: DeserializeOwned> Shape for Object<T> {
    const WANTED: &'static str = "an object";
    fn object<'de, A: MapAccess<'de>>(map: A) -> Result<Option<Self>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(|body| Some(Self(body)))
    }
}

/// An object from names of the user to texts.
pub(super) type Texts = BTreeMap<String, String>;

impl Shape for Texts {
    const WANTED: &'static str = "an object from text to text, with at most 10000 members";
    fn object<'de, A: MapAccess<'de>>(mut map: A) -> Result<Option<Self>, A::Error> {
        let mut texts = Self::new();
        while let Some((key, value)) = map.next_entry::<String, Member<String>>()? {
            match value {
                Member::Given(value) if texts.len() < ITEMS_PER_MEMBER_MAX => {
                    texts.insert(key, value);
                }
                _ => return skip_object(map).map(|()| None),
            }
        }
        Ok(Some(texts))
    }
}

/// An object whose names are the user's, in the order sent. A name may be there twice.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Named<T>(pub Vec<(String, Member<T>)>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Shape> Shape for Named<T> {
    const WANTED: &'static str = "an object of at most 10000 members";
    fn object<'de, A: MapAccess<'de>>(mut map: A) -> Result<Option<Self>, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            if entries.len() == ITEMS_PER_MEMBER_MAX {
                return skip_object(map).map(|()| None);
            }
            entries.push(entry);
        }
        Ok(Some(Self(entries)))
    }
}

impl<T: Shape> Shape for Vec<T> {
    const WANTED: &'static str = "an array of at most 10000 items of one type";
    fn array<'de, A: SeqAccess<'de>>(mut array: A) -> Result<Option<Self>, A::Error> {
        let mut items = Self::new();
        while let Some(item) = array.next_element::<Member<T>>()? {
            match item {
                Member::Given(item) if items.len() < ITEMS_PER_MEMBER_MAX => items.push(item),
                _ => return skip_array(array).map(|()| None),
            }
        }
        Ok(Some(items))
    }
}

impl<'de, T: Shape> Deserialize<'de> for Member<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ByShape(PhantomData::<T>).deserialize(deserializer)
    }
}

/// How a member is read when the reader needs to know more than the type, such as a limit.
/// The answer is `None` where the kind of JSON is wrong.
pub(super) trait ReadWith<'de>: Sized {
    /// What is read.
    type Out;

    fn object<A: MapAccess<'de>>(self, map: A) -> Result<Option<Self::Out>, A::Error> {
        skip_object(map).map(|()| None)
    }
    fn array<A: SeqAccess<'de>>(self, array: A) -> Result<Option<Self::Out>, A::Error> {
        skip_array(array).map(|()| None)
    }
}

/// Reads a [`Member`] with a reader that carries context.
pub(super) struct With<R>(pub R);

/// The reader behind every [`Shape`].
struct ByShape<T>(PhantomData<T>);

fn verdict<T, E>(value: Option<T>) -> Result<Member<T>, E> {
    Ok(value.map_or(Member::Wrong, Member::Given))
}

pub(super) fn skip_object<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

pub(super) fn skip_array<'de, A: SeqAccess<'de>>(mut array: A) -> Result<(), A::Error> {
    while array.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

impl<'de, T: Shape> DeserializeSeed<'de> for ByShape<T> {
    type Value = Member<T>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Member<T>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Shape> Visitor<'de> for ByShape<T> {
    type Value = Member<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::WANTED)
    }
    fn visit_unit<E>(self) -> Result<Member<T>, E> {
        Ok(Member::Absent)
    }
    fn visit_str<E>(self, text: &str) -> Result<Member<T>, E> {
        verdict(T::text(text))
    }
    fn visit_bool<E>(self, truth: bool) -> Result<Member<T>, E> {
        verdict(T::truth(truth))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Member<T>, E> {
        verdict(T::integer(number))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Member<T>, E> {
        verdict(i64::try_from(number).map_or_else(|_| T::number(number as f64), T::integer))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Member<T>, E> {
        verdict(T::number(number))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Member<T>, A::Error> {
        verdict(T::object(map)?)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, array: A) -> Result<Member<T>, A::Error> {
        verdict(T::array(array)?)
    }
}

impl<'de, R: ReadWith<'de>> DeserializeSeed<'de> for With<R> {
    type Value = Member<R::Out>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, R: ReadWith<'de>> Visitor<'de> for With<R> {
    type Value = Member<R::Out>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Member::Absent)
    }
    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Member::Wrong)
    }
    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Member::Wrong)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Member::Wrong)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Member::Wrong)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Member::Wrong)
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        verdict(self.0.object(map)?)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, array: A) -> Result<Self::Value, A::Error> {
        verdict(self.0.array(array)?)
    }
}

/// Reads a whole body that must be an object with the members of `T`.
pub(super) fn parse_body<T: DeserializeOwned>(body: &[u8], size_max: usize) -> Result<T, ApiError> {
    parse_body_with(ByShape(PhantomData::<Object<T>>), body, size_max).map(|object| object.0)
}

/// Reads a whole body that must be an object, with a reader that carries context.
pub(super) fn parse_body_with<'de, T, S>(
    seed: S,
    body: &'de [u8],
    size_max: usize,
) -> Result<T, ApiError>
where
    S: DeserializeSeed<'de, Value = Member<T>>,
{
    if body.len() > size_max {
        let message = format!("the body has {} bytes, the limit is {size_max}", body.len());
        return Err(ApiError::new(Code::InvalidHttpBody, message));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = seed.deserialize(&mut reader).and_then(|member| reader.end().map(|()| member));
    match read {
        Ok(Member::Given(body)) => Ok(body),
        Ok(Member::Absent | Member::Wrong) => {
            Err(ApiError::new(Code::InvalidHttpBody, "the body must be a JSON object"))
        }
        Err(error) => Err(not_json(&error)),
    }
}

/// The refusal of a text that is not JSON.
pub(super) fn not_json(error: &serde_json::Error) -> ApiError {
    ApiError::new(Code::InvalidJsonFormat, format!("the body is not JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Body {
        name: Member<String>,
        count: Member<i64>,
        price: Member<f64>,
        flag: Member<bool>,
        env: Member<Texts>,
        items: Member<Vec<String>>,
        inner: Member<Object<Inner>>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Inner {
        name: Member<String>,
    }

    fn read(text: &str) -> Body {
        parse_body(text.as_bytes(), 1 << 20).expect("JSON")
    }

    #[test]
    fn the_right_shape_is_given_and_unknown_members_are_ignored() {
        let body = read(
            r#"{"Name":"a","Count":3.0,"Price":1,"Flag":false,"Env":{"k":"v"},"Items":["x"],
                "Inner":{"Name":"b","Other":[1,{}]},"Other":{"deep":[[]]}}"#,
        );
        assert_eq!(body.name, Member::Given("a".into()));
        assert_eq!(body.count, Member::Given(3));
        assert_eq!(body.price, Member::Given(1.0));
        assert_eq!(body.flag, Member::Given(false));
        assert_eq!(body.env, Member::Given([("k".into(), "v".into())].into()));
        assert_eq!(body.items, Member::Given(vec!["x".into()]));
        assert_eq!(body.inner, Member::Given(Object(Inner { name: Member::Given("b".into()) })));
    }

    #[test]
    fn null_is_not_given() {
        let body = read(r#"{"Name":null,"Count":null,"Env":null,"Items":null,"Inner":null}"#);
        assert_eq!(body, Body::default());
    }

    #[test]
    fn every_wrong_shape_is_noticed_and_reading_goes_on() {
        for wrong in ["1.5", "true", "\"t\"", "[1]", "{\"a\":1}", "-1", "1e300"] {
            let text = format!(
                r#"{{"Name":{wrong},"Count":{wrong},"Price":{wrong},"Flag":{wrong},
                    "Env":{wrong},"Items":{wrong},"Inner":{wrong}}}"#
            );
            let body = read(&text);
            let good = [
                body.name != Member::Wrong,
                body.count != Member::Wrong,
                body.price != Member::Wrong,
                body.flag != Member::Wrong,
                body.env != Member::Wrong,
                body.items != Member::Wrong,
                body.inner != Member::Wrong,
            ];
            let count = good.iter().filter(|good| **good).count();
            let wanted = match wrong {
                "[1]" => 0,
                "-1" => 2,
                _ => 1,
            };
            assert_eq!(count, wanted, "{wrong}: {body:?}");
        }
    }

    #[test]
    fn bodies_that_are_not_objects_have_their_own_code() {
        let code = |text: &str, max| parse_body::<Body>(text.as_bytes(), max).map_err(|e| e.code);
        for text in ["[]", "1", "null", "\"x\"", "true", "-0.5"] {
            assert_eq!(code(text, 100), Err(Code::InvalidHttpBody), "{text}");
        }
        for text in ["", "{", "{}x", "{'a':1}", "{\"Name\":\"\u{1}\"}", "{\"Name\":}", "<html>"] {
            assert_eq!(code(text, 100), Err(Code::InvalidJsonFormat), "{text}");
        }
        assert_eq!(code("{}     ", 6), Err(Code::InvalidHttpBody));
        assert_eq!(code("{}    ", 6), Ok(Body::default()));
    }

    #[test]
    fn arrays_and_objects_of_the_user_have_a_bound() {
        let array = |count| format!(r#"{{"Items":[{}"x"]}}"#, "\"\",".repeat(count - 1));
        assert!(matches!(read(&array(ITEMS_PER_MEMBER_MAX)).items, Member::Given(_)));
        assert_eq!(read(&array(ITEMS_PER_MEMBER_MAX + 1)).items, Member::Wrong);
        let object = |count: usize| {
            let members: Vec<_> = (0..count).map(|at| format!(r#""{at}":"""#)).collect();
            format!(r#"{{"Env":{{{}}}}}"#, members.join(","))
        };
        assert!(matches!(read(&object(ITEMS_PER_MEMBER_MAX)).env, Member::Given(_)));
        assert_eq!(read(&object(ITEMS_PER_MEMBER_MAX + 1)).env, Member::Wrong);
    }

    #[test]
    fn what_nobody_knows_may_be_deep() {
        let deep = format!(r#"{{"Other":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(read(&deep), Body::default());
    }
}
