//! Temporary keys: an id, a secret and a token that say by themselves what they are worth.
//!
//! The token is what is granted (for whom, until when, limited to what) and a MAC over it with the
//! region's secret; the secret is derived from the token. So nothing is stored, any process that
//! knows the region's secret can check, and a restart changes nothing. What cannot be done is to
//! take back one of them; the key that asked for it can be switched off, and then it is worth
//! nothing too.
//!
//! Invariants
//! - A temporary key is worth at most what the key behind it is worth now.
//! - A temporary key cannot ask for another one.

use crate::keys::{KeyRing, Unwelcome, Welcome};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use gristmill_model::{AccountId, Seconds, Timestamp, policy::Policy};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// How long a temporary key lives at least.
pub const LIFE_MIN: Seconds = Seconds(15 * 60);
/// How long it lives at most.
pub const LIFE_MAX: Seconds = Seconds(12 * 3600);
/// How long it lives when nobody says.
pub const LIFE_DEFAULT: Seconds = Seconds(3600);
/// The longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 16 << 10;

const PREFIX: &str = "STS.";

/// Whether this is the id of a temporary key.
pub fn is_temporary(id: &str) -> bool {
    id.starts_with(PREFIX)
}

/// What is granted. The names are short because the token travels with every request.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Claims {
    /// The id of the temporary key.
    #[serde(rename = "i")]
    id: String,
    /// The key that asked for it.
    #[serde(rename = "k")]
    parent: String,
    /// For whom it speaks. The root key may ask for another account.
    #[serde(rename = "a")]
    account: AccountId,
    /// The second it ends.
    #[serde(rename = "e")]
    until: i64,
    /// What it is limited to, beside its parent's policy.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    policy: Option<Policy>,
}

/// A wish for a temporary key.
pub struct Wish {
    /// The key that asks.
    pub parent: String,
    /// For whom it is to speak.
    pub account: AccountId,
    /// How long it is to live.
    pub life: Seconds,
    /// What it is to be limited to.
    pub policy: Option<Policy>,
    /// Never the same twice.
    pub chance: u128,
}

/// A temporary key as its user gets it, once.
pub struct Temporary {
    /// The id.
    pub id: String,
    /// What signs.
    pub secret: String,
    /// What goes with every request.
    pub token: String,
    /// When it ends.
    pub until: Timestamp,
}

impl KeyRing {
    /// Makes a temporary key. Who may ask for which is the caller's to know.
    pub fn issue(&self, wish: Wish, now: Timestamp) -> Temporary {
        let until = now.after(wish.life).0.div_euclid(1_000_000);
        let id = format!("{PREFIX}{:032X}", wish.chance);
        let claims = Claims {
            id: id.clone(),
            parent: wish.parent,
            account: wish.account,
            until,
            policy: wish.policy,
        };
        let said = serde_json::to_vec(&claims).expect("claims have only texts as names");
        let said = URL_SAFE_NO_PAD.encode(said);
        let token = format!("{said}.{}", self.derive(&["sts-token", &said]));
        let secret = self.secret_of(&token);
        Temporary { id, secret, token, until: Timestamp(until * 1_000_000) }
    }

    /// What a temporary key is worth now.
    pub(crate) fn temporary(
        &self,
        id: &str,
        token: Option<&str>,
        now: Timestamp,
    ) -> Result<Welcome, Unwelcome> {
        let token = token.filter(|token| !token.is_empty()).ok_or(Unwelcome::MissingToken)?;
        let claims = self.claims(token).ok_or(Unwelcome::WrongToken)?;
        if claims.id != id {
            return Err(Unwelcome::WrongToken);
        }
        if claims.until.saturating_mul(1_000_000) <= now.0 {
            return Err(Unwelcome::Expired);
        }
        let parent = self.permanent(&claims.parent)?;
        self.check_account(claims.account)?;
        let mut permit = parent.permit;
        permit.0.extend(claims.policy.map(Arc::new));
        Ok(Welcome {
            secret: self.secret_of(token),
            account: claims.account,
            permit,
            is_root: false,
            key_id: claims.parent,
            is_temporary: true,
        })
    }

    /// What a token says, if it was made here.
    fn claims(&self, token: &str) -> Option<Claims> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (said, seal) = token.split_once('.')?;
        let ours = self.derive(&["sts-token", said]);
        if !bool::from(ours.as_bytes().ct_eq(seal.as_bytes())) {
            return None;
        }
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(said).ok()?).ok()
    }

    fn secret_of(&self, token: &str) -> String {
        self.derive(&["sts-secret", token])[..40].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_model::policy::Service;

    const NOW: Timestamp = Timestamp(1_764_000_000_000_000);

    fn ring(secret: u8) -> KeyRing {
        KeyRing::new([secret; 32], ("root".to_owned(), "hush".to_owned()), AccountId(7))
    }

    fn wish(policy: Option<&str>) -> Wish {
        Wish {
            parent: "root".to_owned(),
            account: AccountId(7),
            life: LIFE_MIN,
            policy: policy.map(|text| serde_json::from_str(text).expect("legal")),
            chance: 9,
        }
    }

    #[test]
    fn a_temporary_key_is_worth_something_until_it_ends() {
        let ring = ring(1);
        let key = ring.issue(wish(None), NOW);
        let find = |now| ring.find(&key.id, Some(&key.token), now);
        let welcome = find(NOW).expect("young");
        assert_eq!((welcome.secret, welcome.account), (key.secret.clone(), AccountId(7)));
        assert!(welcome.is_temporary && !welcome.is_root, "not even root's may use the admin door");
        assert!(find(Timestamp(key.until.0 - 1)).is_ok());
        assert_eq!(find(key.until).err(), Some(Unwelcome::Expired));
    }

    #[test]
    fn without_its_token_or_with_another_it_is_worth_nothing() {
        let (ring, other) = (ring(1), ring(2));
        let key = ring.issue(wish(None), NOW);
        let second = ring.issue(Wish { chance: 10, ..wish(None) }, NOW);
        let foreign = other.issue(wish(None), NOW);
        let unsealed = key.token.split_once('.').map(|(said, _)| format!("{said}.")).expect("two");
        let find = |token| ring.find(&key.id, token, NOW).err();
        assert_eq!(find(None), Some(Unwelcome::MissingToken));
        assert_eq!(find(Some("")), Some(Unwelcome::MissingToken));
        let long = "a".repeat(TOKEN_BYTES_MAX + 1);
        for token in ["x", "x.y", ".", &second.token, &foreign.token, &unsealed, &long] {
            assert_eq!(find(Some(token)), Some(Unwelcome::WrongToken), "{token:.40}");
        }
        assert_ne!(key.secret, second.secret);
    }

    #[test]
    fn its_policy_takes_away() {
        let ring = ring(1);
        let key = ring.issue(wish(Some(r#"{"Actions":["List*"]}"#)), NOW);
        let permit = ring.find(&key.id, Some(&key.token), NOW).expect("young").permit;
        assert!(permit.allows(Service::BatchCompute, "ListJobs"));
        assert!(!permit.allows(Service::BatchCompute, "CreateJob"));
    }

    #[test]
    fn it_ends_with_the_key_that_asked_for_it() {
        let ring = ring(1);
        let key = ring.issue(Wish { parent: "gone".to_owned(), ..wish(None) }, NOW);
        let error = ring.find(&key.id, Some(&key.token), NOW).err();
        assert_eq!(error, Some(Unwelcome::Unknown));
    }
}
