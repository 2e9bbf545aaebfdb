//! Why a registry does not give what it was asked for, as far as a person can do something about it.
//!
//! Texts of a registry are a stranger's: they are cut and made printable, and addresses, which may hold
//! keys after a redirection, are left out.

use gristmill_runtime::package::archive::shown;
use oci_client::errors::OciDistributionError;
use std::{error::Error, io, iter};

/// Why a registry does not give something.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It wants to know who asks.
    #[error("it gives it to nobody whom it does not know, and no user was named")]
    Stranger,
    /// The user may not have it.
    #[error(
        "it does not give it to user `{user}`: the password is wrong, or the user may not have it"
    )]
    User {
        /// Who asked.
        user: String,
    },
    /// Its certificate cannot be trusted.
    #[error("its certificate cannot be trusted: {why}")]
    Certificate {
        /// What is wrong with it.
        why: String,
    },
    /// It was asked without encryption.
    #[error("it speaks TLS only")]
    Encrypted,
    /// It was not reached, or broke off.
    #[error("it was not reached: {why}")]
    Unreachable {
        /// What the network says.
        why: String,
    },
    /// Another answer.
    #[error("it says: {answer}")]
    Answer {
        /// Its words.
        answer: String,
        /// Whether another time it may say something else.
        may_pass: bool,
    },
}

impl Refusal {
    /// What an error means for this user.
    pub(crate) fn of(error: OciDistributionError, user: Option<&str>) -> Self {
        use OciDistributionError as E;
        match error {
            E::UnauthorizedError { .. } | E::AuthenticationFailure(_) => match user {
                Some(user) => Self::User { user: user.to_owned() },
                None => Self::Stranger,
            },
            E::RequestError(error) => of_request(&error.without_url()),
            E::IoError(error) => of_request(&error),
            E::RegistryError { envelope, .. } => Self::answer(&envelope.to_string(), false),
            E::ServerError { code: 400, message, .. } if message.contains("HTTPS") => {
                Self::Encrypted
            }
            E::ServerError { code, message, .. } => {
                Self::answer(&format!("{code} {message}"), code >= 500 || code == 429)
            }
            other => Self::answer(&other.to_string(), false),
        }
    }

    fn answer(text: &str, may_pass: bool) -> Self {
        Self::Answer { answer: shown(text.trim().as_bytes()), may_pass }
    }

    /// Whether asking again later can help.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Stranger | Self::User { .. } | Self::Certificate { .. } | Self::Encrypted => {
                false
            }
            Self::Unreachable { .. } => true,
            Self::Answer { may_pass, .. } => *may_pass,
        }
    }
}

fn of_request(error: &(dyn Error + 'static)) -> Refusal {
    let chain = || iter::successors(Some(error), |error| (*error).source());
    if let Some(why) = chain().find_map(wrong_certificate) {
        return Refusal::Certificate { why };
    }
    // The last of the chain is what the network said, those before it who passed it on.
    let why = chain().last().map_or_else(String::new, ToString::to_string);
    Refusal::Unreachable { why: shown(why.as_bytes()) }
}

/// An error of the system may hold another one, which is not its source.
fn wrong_certificate(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        return wrong_certificate(inner);
    }
    match error.downcast_ref() {
        Some(rustls::Error::InvalidCertificate(why)) => Some(match why {
            rustls::CertificateError::UnknownIssuer => {
                "it is by no authority that this host knows".to_owned()
            }
            rustls::CertificateError::BadSignature => {
                "it says it is by an authority that did not sign it".to_owned()
            }
            other => other.to_string(),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_says_is_cut_and_printable() {
        let message = format!("\u{1b}[31m{}", "x".repeat(1_000));
        let error = OciDistributionError::ServerError { code: 503, url: "u?key=k".into(), message };
        let refusal = Refusal::of(error, None);
        let said = refusal.to_string();
        assert!(said.starts_with("it says: 503 \u{fffd}[31mxxx"), "{said}");
        assert!(said.len() < 300 && !said.contains("key="), "{said}");
        assert!(refusal.may_pass());
    }

    #[test]
    fn who_may_not_have_it_is_told_from_who_did_not_say_who_it_is() {
        let refused = || OciDistributionError::UnauthorizedError { url: "u".into() };
        assert!(matches!(Refusal::of(refused(), None), Refusal::Stranger));
        let user = Refusal::of(refused(), Some("me"));
        assert!(user.to_string().contains("user `me`") && !user.may_pass(), "{user}");
    }

    #[test]
    fn a_certificate_by_nobody_is_found_behind_other_errors() {
        let tls = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let error = OciDistributionError::IoError(io::Error::other(io::Error::other(tls)));
        let said = Refusal::of(error, None).to_string();
        assert!(said.contains("no authority that this host knows"), "{said}");
        let error = OciDistributionError::IoError(io::ErrorKind::ConnectionReset.into());
        assert!(Refusal::of(error, None).may_pass());
    }
}
