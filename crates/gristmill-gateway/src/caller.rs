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
use gristmill_model::{
    AccountId, Timestamp,
    policy::{Grant, OssRights},
};
use gristmill_objects::{BucketAcl, BucketInfo};
use gristmill_wire::oss::sign::{Request, presented};
use std::fmt;

/// Where access keys are looked up.
pub trait AccessKeys: Send + Sync + 'static {
    /// The key of this id, if it is worth anything with this security token. Called for every
    /// signed request, so it should not wait.
    fn find(&self, access_key_id: &str, token: Option<&str>) -> Result<Key, Unwelcome>;
}

/// What an access key is worth.
#[derive(Clone)]
pub struct Key {
    /// What signs.
    pub secret: String,
    /// For whom it speaks.
    pub account: AccountId,
    /// How far it reaches.
    pub scope: Scope,
}

/// Why a key is worth nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwelcome {
    /// There is no such key, or it needs a token and has none.
    Unknown,
    /// The key is switched off.
    Inactive,
    /// Its account is.
    AccountDisabled,
    /// The token does not belong to it.
    WrongToken,
    /// It was temporary.
    Expired,
}

/// How far a key reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everything the account owns.
    Everything,
    /// Only this.
    Grants(Vec<Grant>),
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the secret.
        f.debug_struct("Key").field("account", &self.account).field("scope", &self.scope).finish()
    }
}

impl Unwelcome {
    fn fault(self) -> Fault {
        let (code, message) = match self {
            Self::Unknown => (
                "InvalidAccessKeyId",
                "The OSS Access Key Id you provided does not exist in our records.",
            ),
            Self::Inactive => {
                ("InvalidAccessKeyId", "The OSS Access Key Id you provided is disabled.")
            }
            Self::AccountDisabled => ("UserDisable", "The account of this access key is disabled."),
            Self::WrongToken => {
                ("InvalidSecurityToken", "The security token you provided is invalid.")
            }
            Self::Expired => {
                ("SecurityTokenExpired", "The security token you provided has expired.")
            }
        };
        Fault::new(code, message)
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
    /// Delete an object.
    Delete(&'a str),
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
    let token = presented.security_token.as_deref().filter(|token| !token.is_empty());
    let key =
        keys.find(id, token).map_err(|unwelcome| unwelcome.fault().detail("OSSAccessKeyId", id))?;
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
                if !grants.iter().any(|grant| covers(grant, bucket, wish)) =>
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
            | (Wish::Write(_) | Wish::Delete(_), BucketAcl::PublicReadWrite) => Ok(()),
            _ => Err(Fault::denied()),
        }
    }
}

fn covers(grant: &Grant, bucket: &str, wish: Wish) -> bool {
    let (key, rights) = match wish {
        Wish::Read(key) => (key, OssRights::GET),
        Wish::Write(key) => (key, OssRights::PUT),
        Wish::Delete(key) => (key, OssRights::DELETE),
        Wish::List(prefix) => (prefix, OssRights::LIST),
        Wish::Manage => return false,
    };
    grant.covers(bucket, key, rights)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scoped(grants: Vec<Grant>) -> Caller {
        Caller::Known { account: AccountId(1), scope: Scope::Grants(grants) }
    }

    fn grant(place: &str, rights: OssRights) -> Grant {
        Grant { place: Some(place.parse().expect("legal")), rights }
    }

    #[test]
    fn a_scoped_key_reaches_what_it_was_granted() {
        let caller = scoped(vec![
            grant("oss://bkt/in/", OssRights::READ),
            grant("oss://bkt/out/", OssRights::WRITE),
            grant("oss://bkt/one", OssRights::READ),
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
            (Wish::Delete("out/a"), true),
            (Wish::Delete("in/a"), false),
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
        let key = Key { secret: "hush".into(), account: AccountId(1), scope: Scope::Everything };
        let shown = format!("{key:?}");
        assert!(!shown.contains("hush"), "{shown}");
    }
}
