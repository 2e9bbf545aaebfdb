//! Who is calling and what that caller may do.
//!
//! Keys come from [`AccessKeys`]; the gateway keeps none. A key speaks for its account, either for
//! everything the account owns or for a list of grants: the key of a task instance may touch what
//! its job's mappings name and nothing else.
//!
//! Invariants
//! - A scoped key learns nothing about what it was not granted, not even that it exists.
//! - Others than the owner get what the ACL of object or bucket gives them, and never a listing.

use crate::fault::Fault;
use gristmill_model::{AccountId, Timestamp};
use gristmill_objects::{BucketAcl, BucketInfo};
use gristmill_wire::oss::sign::{Request, presented};
use std::fmt;

/// Where access keys are looked up.
pub trait AccessKeys: Send + Sync + 'static {
    /// The key of this id, if there is one and it is active. Called for every signed request, so
    /// it should not wait.
    fn find(&self, access_key_id: &str) -> Option<Key>;
}

/// What an access key is worth.
#[derive(Clone)]
pub struct Key {
    /// What signs.
    pub secret: String,
    /// For whom it speaks.
    pub account: AccountId,
    /// For a temporary key: the token every request must carry.
    pub security_token: Option<String>,
    /// How far it reaches.
    pub scope: Scope,
}

/// How far a key reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everything the account owns.
    Everything,
    /// Only this.
    Grants(Vec<Grant>),
}

/// A part of a bucket, and what may be done there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The bucket.
    pub bucket: String,
    /// Which keys.
    pub what: Granted,
    /// Get, head, and list inside a granted prefix.
    pub read: bool,
    /// Put, append, multipart, delete.
    pub write: bool,
}

/// The keys of a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Granted {
    /// All keys that start so.
    Prefix(String),
    /// This very key.
    Key(String),
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without secret and token.
        f.debug_struct("Key").field("account", &self.account).field("scope", &self.scope).finish()
    }
}

/// Who is calling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Nobody signed.
    Anonymous,
    /// A verified key.
    Known {
        /// For whom it speaks.
        account: AccountId,
        /// How far it reaches.
        scope: Scope,
    },
}

/// What a caller wants to do with a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish<'a> {
    /// Read an object.
    Read(&'a str),
    /// Write an object.
    Write(&'a str),
    /// List keys that start so.
    List(&'a str),
    /// Look at or change the bucket itself.
    Manage,
}

/// Verifies the signature of a request.
pub(crate) fn authenticate(
    keys: &dyn AccessKeys,
    request: &Request,
    regions: &[String],
    now: Timestamp,
) -> Result<Caller, Fault> {
    let Some(presented) = presented(request)? else { return Ok(Caller::Anonymous) };
    let id = &presented.access_key_id;
    let key = keys.find(id).ok_or_else(|| {
        Fault::new(
            "InvalidAccessKeyId",
            "The OSS Access Key Id you provided does not exist in our records.",
        )
        .detail("OSSAccessKeyId", id)
    })?;
    presented.verify(request, &key.secret, regions, now).map_err(|error| {
        let mismatch = error.code() == "SignatureDoesNotMatch";
        let fault = Fault::from(error);
        match mismatch {
            true => {
                fault.detail("OSSAccessKeyId", id).detail("SignatureProvided", &presented.signature)
            }
            false => fault,
        }
    })?;
    if key.security_token.is_some() && key.security_token != presented.security_token {
        return Err(Fault::new("InvalidSecurityToken", "The security token is not valid."));
    }
    Ok(Caller::Known { account: key.account, scope: key.scope })
}

impl Caller {
    /// The account, where one is needed and all of it: listing and making buckets.
    pub fn whole_account(&self) -> Result<AccountId, Fault> {
        match self {
            Self::Known { account, scope: Scope::Everything } => Ok(*account),
            _ => Err(Fault::denied()),
        }
    }

    /// Whether it is a key with grants.
    pub fn is_scoped(&self) -> bool {
        matches!(self, Self::Known { scope: Scope::Grants(_), .. })
    }

    /// Refuses a scoped key what its grants do not cover, before anything is looked up.
    pub fn check_scope(&self, bucket: &str, wish: Wish) -> Result<(), Fault> {
        match self {
            Self::Known { scope: Scope::Grants(grants), .. }
                if !grants.iter().any(|grant| grant.covers(bucket, wish)) =>
            {
                Err(Fault::denied())
            }
            _ => Ok(()),
        }
    }

    /// Whether it is the owner who calls. The scope was checked before.
    pub fn owns(&self, bucket: &BucketInfo) -> bool {
        matches!(self, Self::Known { account, .. } if *account == bucket.owner)
    }

    /// Whether somebody who is not the owner may.
    pub fn check_public(acl: BucketAcl, wish: Wish) -> Result<(), Fault> {
        match (wish, acl) {
            (Wish::Read(_), BucketAcl::PublicRead | BucketAcl::PublicReadWrite)
            | (Wish::Write(_), BucketAcl::PublicReadWrite) => Ok(()),
            _ => Err(Fault::denied()),
        }
    }
}

impl Grant {
    fn covers(&self, bucket: &str, wish: Wish) -> bool {
        let reaches = |key: &str| match &self.what {
            Granted::Prefix(prefix) => key.starts_with(prefix.as_str()),
            Granted::Key(granted) => key == granted,
        };
        self.bucket == bucket
            && match wish {
                Wish::Read(key) => self.read && reaches(key),
                Wish::Write(key) => self.write && reaches(key),
                Wish::List(prefix) => {
                    self.read && matches!(self.what, Granted::Prefix(_)) && reaches(prefix)
                }
                Wish::Manage => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scoped(grants: Vec<Grant>) -> Caller {
        Caller::Known { account: AccountId(1), scope: Scope::Grants(grants) }
    }

    fn grant(what: Granted, read: bool, write: bool) -> Grant {
        Grant { bucket: "bkt".into(), what, read, write }
    }

    #[test]
    fn a_scoped_key_reaches_what_it_was_granted() {
        let caller = scoped(vec![
            grant(Granted::Prefix("in/".into()), true, false),
            grant(Granted::Prefix("out/".into()), false, true),
            grant(Granted::Key("one".into()), true, false),
        ]);
        let may = |bucket, wish| caller.check_scope(bucket, wish).is_ok();
        for (wish, right) in [
            (Wish::Read("in/a"), true),
            (Wish::Read("in"), false),
            (Wish::Read("out/a"), false),
            (Wish::Read("one"), true),
            (Wish::Read("one/more"), false),
            (Wish::Write("in/a"), false),
            (Wish::Write("out/a"), true),
            (Wish::Write("one"), false),
            (Wish::List("in/"), true),
            (Wish::List("in/sub"), true),
            (Wish::List("i"), false),
            (Wish::List(""), false),
            (Wish::List("one"), false),
            (Wish::List("out/"), false),
            (Wish::Manage, false),
        ] {
            assert_eq!(may("bkt", wish), right, "{wish:?}");
            assert!(!may("other", wish), "{wish:?} elsewhere");
        }
        assert!(caller.whole_account().is_err());
    }

    #[test]
    fn strangers_get_what_the_acl_gives() {
        let may = |acl, wish| Caller::check_public(acl, wish).is_ok();
        assert!(!may(BucketAcl::Private, Wish::Read("k")));
        assert!(may(BucketAcl::PublicRead, Wish::Read("k")));
        assert!(!may(BucketAcl::PublicRead, Wish::Write("k")));
        assert!(may(BucketAcl::PublicReadWrite, Wish::Write("k")));
        assert!(!may(BucketAcl::PublicReadWrite, Wish::List("")));
        assert!(!may(BucketAcl::PublicReadWrite, Wish::Manage));
    }

    #[test]
    fn a_key_does_not_show_its_secret() {
        let key = Key {
            secret: "hush".into(),
            account: AccountId(1),
            security_token: Some("token".into()),
            scope: Scope::Everything,
        };
        let shown = format!("{key:?}");
        assert!(!shown.contains("hush") && !shown.contains("token"), "{shown}");
    }
}
