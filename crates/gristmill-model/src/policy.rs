//! What a key may do: actions of the three services, and places of the object store.
//!
//! A key without a policy may do everything its account may. A policy only takes away. A temporary
//! key has the policy of the key that asked for it and one of its own; both must agree
//! ([`Permit`]). Whether the account owns what is asked for is another question, asked later.
//!
//! Start at [`Permit::allows`] for an operation and [`Permit::reach`] for the object store.

use crate::names::OssPath;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};

/// The most entries of each list of a policy.
pub const POLICY_ENTRIES_MAX: usize = 50;

/// The services an action may belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Operations of the BatchCompute API by their names: `GetJob`.
    BatchCompute,
    /// `oss:get`, `oss:put`, `oss:list`, `oss:delete`.
    Oss,
    /// Operations of the message service: `mns:SendMessage`.
    Mns,
}

impl Service {
    fn prefix(self) -> &'static str {
        match self {
            Self::BatchCompute => "",
            Self::Oss => "oss:",
            Self::Mns => "mns:",
        }
    }
}

/// A pattern of actions: `GetJob`, `List*`, `oss:get`, `mns:*`; `*` alone is everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Action(String);

/// A text that is not a pattern of actions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be the name of an operation, oss:get, oss:put, oss:list, oss:delete or mns:NAME; a * may end it"
)]
pub struct BadAction;

impl Action {
    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this operation is one of the pattern's.
    pub fn admits(&self, service: Service, operation: &str) -> bool {
        if self.0 == "*" {
            return true;
        }
        let own = |service: Service| {
            let rest = self.0.strip_prefix(service.prefix())?;
            (!rest.contains(':')).then_some(rest)
        };
        own(service).is_some_and(|pattern| match pattern.strip_suffix('*') {
            Some(start) => operation.starts_with(start),
            None => operation == pattern,
        })
    }
}

impl FromStr for Action {
    type Err = BadAction;

    fn from_str(text: &str) -> Result<Self, BadAction> {
        let (service, name) = text.split_once(':').unwrap_or(("", text));
        let letters = name.strip_suffix('*').unwrap_or(name);
        let is_known = match service {
            "oss" => {
                let right = |right: &str| Self(text.to_owned()).admits(Service::Oss, right);
                ["get", "put", "list", "delete"].into_iter().any(right)
            }
            "" | "mns" => true,
            _ => false,
        };
        let is_plain = letters.bytes().all(|b| b.is_ascii_alphabetic());
        if name.is_empty() || text.len() > 64 || !is_plain || !is_known {
            return Err(BadAction);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Action {
    type Error = BadAction;

    fn try_from(text: String) -> Result<Self, BadAction> {
        text.parse()
    }
}

impl From<Action> for String {
    fn from(action: Action) -> String {
        action.0
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a key is limited to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Policy {
    /// Only these actions.
    pub actions: Vec<Action>,
    /// In the object store only below these prefixes, and these objects; none: everywhere.
    #[serde(default)]
    pub places: Vec<OssPath>,
}

/// What may be done at a place of the object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OssRights {
    /// Read objects and what is known of them.
    pub get: bool,
    /// Write objects, whole or in parts.
    pub put: bool,
    /// List a prefix.
    pub list: bool,
    /// Delete objects.
    pub delete: bool,
}

impl OssRights {
    /// All of them.
    pub const ALL: Self = Self { get: true, put: true, list: true, delete: true };
    /// Reading a tree.
    pub const READ: Self = Self { get: true, put: false, list: true, delete: false };
    /// Changing a tree.
    pub const WRITE: Self = Self { get: false, put: true, list: false, delete: true };

    fn meet(self, other: Self) -> Self {
        Self {
            get: self.get && other.get,
            put: self.put && other.put,
            list: self.list && other.list,
            delete: self.delete && other.delete,
        }
    }

    /// Only reading objects.
    pub const GET: Self = Self { get: true, put: false, list: false, delete: false };
    /// Only writing objects.
    pub const PUT: Self = Self { get: false, put: true, list: false, delete: false };
    /// Only listing.
    pub const LIST: Self = Self { get: false, put: false, list: true, delete: false };
    /// Only deleting objects.
    pub const DELETE: Self = Self { get: false, put: false, list: false, delete: true };

    /// Whether all of `wanted` is among them.
    pub fn cover(self, wanted: Self) -> bool {
        self.meet(wanted) == wanted
    }
}

/// What a key may do at a place of the object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// A prefix or one object; `None`: wherever the account may.
    pub place: Option<OssPath>,
    /// What may be done there.
    pub rights: OssRights,
}

impl Grant {
    /// Whether all of `rights` may be used at this key. For listing, the key is the prefix that is
    /// listed, and one object is no such prefix.
    pub fn covers(&self, bucket: &str, key: &str, rights: OssRights) -> bool {
        let is_here = match &self.place {
            None => true,
            Some(place) if place.bucket() != bucket => false,
            Some(place) if place.is_prefix() => key.starts_with(place.key()),
            Some(place) => key == place.key() && !rights.list,
        };
        is_here && self.rights.cover(rights)
    }
}

/// How far a key reaches in the object store, within what its account owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// What may be done.
    pub rights: OssRights,
    /// Where; `None`: everywhere.
    pub places: Option<Vec<OssPath>>,
}

impl Reach {
    /// All rights everywhere.
    pub const WHOLE: Self = Self { rights: OssRights::ALL, places: None };

    /// Whether nothing is taken away.
    pub fn is_whole(&self) -> bool {
        *self == Self::WHOLE
    }

    /// Whether all of `rights` may be used at this object, or everywhere below this prefix.
    pub fn covers(&self, path: &OssPath, rights: OssRights) -> bool {
        let here = |place: &OssPath| includes(place, path);
        self.rights.cover(rights) && self.places.as_ref().is_none_or(|all| all.iter().any(here))
    }

    /// The same as grants; `None`: nothing is taken away.
    pub fn grants(&self) -> Option<Vec<Grant>> {
        let rights = self.rights;
        let grant = |place| Grant { place, rights };
        match &self.places {
            _ if self.is_whole() => None,
            None => Some(vec![grant(None)]),
            Some(places) => Some(places.iter().cloned().map(Some).map(grant).collect()),
        }
    }

    fn meet(self, other: Self) -> Self {
        let places = match (self.places, other.places) {
            (None, places) | (places, None) => places,
            (Some(ours), Some(theirs)) => {
                let pairs =
                    ours.iter().flat_map(|our| theirs.iter().map(move |their| (our, their)));
                Some(pairs.filter_map(|(our, their)| narrower(our, their)).cloned().collect())
            }
        };
        Self { rights: self.rights.meet(other.rights), places }
    }
}

/// Whether `path`, with all below it when it is a prefix, lies at `place`.
fn includes(place: &OssPath, path: &OssPath) -> bool {
    place.bucket() == path.bucket()
        && match place.is_prefix() {
            true => path.key().starts_with(place.key()),
            false => path.key() == place.key(),
        }
}

fn narrower<'a>(one: &'a OssPath, other: &'a OssPath) -> Option<&'a OssPath> {
    match (includes(one, other), includes(other, one)) {
        (true, _) => Some(other),
        (false, true) => Some(one),
        (false, false) => None,
    }
}

impl Policy {
    fn allows(&self, service: Service, operation: &str) -> bool {
        self.actions.iter().any(|action| action.admits(service, operation))
    }

    fn reach(&self) -> Reach {
        let may = |right| self.allows(Service::Oss, right);
        let rights = OssRights {
            get: may("get"),
            put: may("put"),
            list: may("list"),
            delete: may("delete"),
        };
        Reach { rights, places: (!self.places.is_empty()).then(|| self.places.clone()) }
    }
}

/// All policies that hold for a key; each has to agree. Without any, everything is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Permit(pub Vec<Arc<Policy>>);

impl Permit {
    /// Whether this operation is allowed.
    pub fn allows(&self, service: Service, operation: &str) -> bool {
        self.0.iter().all(|policy| policy.allows(service, operation))
    }

    /// How far the key reaches in the object store.
    pub fn reach(&self) -> Reach {
        self.0.iter().fold(Reach::WHOLE, |reach, policy| reach.meet(policy.reach()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(actions: &[&str], places: &[&str]) -> Arc<Policy> {
        let actions = actions.iter().map(|text| text.parse().expect("legal")).collect();
        let places = places.iter().map(|text| text.parse().expect("legal")).collect();
        Arc::new(Policy { actions, places })
    }

    #[test]
    fn patterns_admit_operations_of_their_service() {
        use Service::{BatchCompute, Mns, Oss};
        for (pattern, service, operation, admits) in [
            ("*", BatchCompute, "CreateJob", true),
            ("*", Oss, "get", true),
            ("*", Mns, "SendMessage", true),
            ("GetJob", BatchCompute, "GetJob", true),
            ("GetJob", BatchCompute, "GetJobDescription", false),
            ("Get*", BatchCompute, "GetJobDescription", true),
            ("Get*", BatchCompute, "ListJobs", false),
            ("Get*", Oss, "get", false),
            ("get*", Oss, "get", false),
            ("oss:get", Oss, "get", true),
            ("oss:get", Oss, "put", false),
            ("oss:*", Oss, "delete", true),
            ("oss:*", BatchCompute, "GetJob", false),
            ("oss:*", Mns, "SendMessage", false),
            ("mns:Send*", Mns, "SendMessage", true),
            ("mns:Send*", Mns, "PeekMessage", false),
        ] {
            let action: Action = pattern.parse().expect("legal");
            assert_eq!(action.admits(service, operation), admits, "{pattern} {operation}");
        }
    }

    #[test]
    fn other_texts_are_no_patterns() {
        for text in ["", "oss:", "oss:read", "ecs:Run", "Get**", "G*t", "a b", "oss:get:x", "*Job"]
        {
            assert_eq!(text.parse::<Action>(), Err(BadAction), "{text}");
        }
        assert!("oss:g*".parse::<Action>().is_ok());
    }

    #[test]
    fn a_policy_is_read_as_written_and_nothing_else() {
        let text = r#"{"Actions":["Get*","oss:get"],"Places":["oss://bucket/in/"]}"#;
        let read: Policy = serde_json::from_str(text).expect("legal");
        assert_eq!(read, *policy(&["Get*", "oss:get"], &["oss://bucket/in/"]));
        assert_eq!(serde_json::to_string(&read).expect("texts"), text);
        assert!(serde_json::from_str::<Policy>(r#"{"Actions":["*"],"Effect":"Deny"}"#).is_err());
    }

    #[test]
    fn every_policy_has_to_agree() {
        let permit = Permit(vec![policy(&["Get*", "oss:*"], &[]), policy(&["GetJob"], &[])]);
        assert!(permit.allows(Service::BatchCompute, "GetJob"));
        assert!(!permit.allows(Service::BatchCompute, "GetImage"));
        assert_eq!(permit.reach().rights, OssRights::default());
        assert!(Permit::default().allows(Service::Mns, "Anything"));
        assert!(Permit::default().reach().is_whole());
    }

    #[test]
    fn a_grant_covers_its_place() {
        let grant = |place: &str, rights| Grant { place: place.parse().ok(), rights };
        let (tree, one) =
            (grant("oss://bkt/in/", OssRights::READ), grant("oss://bkt/one", OssRights::READ));
        let anywhere = grant("", OssRights::GET);
        for (grant, key, rights, covered) in [
            (&tree, "in/a", OssRights::GET, true),
            (&tree, "in", OssRights::GET, false),
            (&tree, "in/", OssRights::LIST, true),
            (&tree, "", OssRights::LIST, false),
            (&tree, "in/a", OssRights::PUT, false),
            (&one, "one", OssRights::GET, true),
            (&one, "one", OssRights::LIST, false),
            (&one, "one/more", OssRights::GET, false),
            (&anywhere, "x", OssRights::GET, true),
            (&anywhere, "x", OssRights::DELETE, false),
        ] {
            assert_eq!(grant.covers("bkt", key, rights), covered, "{grant:?} {key} {rights:?}");
        }
        assert!(!tree.covers("other", "in/a", OssRights::GET));
        assert!(anywhere.covers("other", "in/a", OssRights::GET));
    }

    #[test]
    fn the_reach_of_two_policies_is_what_both_name() {
        let wide = policy(&["oss:*"], &["oss://bucket/in/", "oss://bucket/one", "oss://other/"]);
        let narrow = policy(&["oss:get", "oss:list"], &["oss://bucket/", "oss://other/x/"]);
        let reach = Permit(vec![wide, narrow]).reach();
        let covers = |path: &str, rights| reach.covers(&path.parse().expect("legal"), rights);
        for (path, covered) in [
            ("oss://bucket/in/a", true),
            ("oss://bucket/in/", true),
            ("oss://bucket/in", false),
            ("oss://bucket/", false),
            ("oss://bucket/one", true),
            ("oss://bucket/one/", false),
            ("oss://other/x/y", true),
            ("oss://other/y", false),
            ("oss://third/", false),
        ] {
            assert_eq!(covers(path, OssRights::READ), covered, "{path}");
            assert!(!covers(path, OssRights::WRITE), "{path}");
        }
    }
}
