//! Idempotency tokens (`reference/api.md` 4.4): a create that was answered once is answered the
//! same way again.
//!
//! The same account, kind, token and body within [`TOKEN_KEPT`]: what was made is named again and
//! nothing is made, also when it was deleted since. Another body is refused. The token is noted in
//! the transaction that makes the thing, so there is never one without the other. Old tokens go in
//! the transactions that note new ones.

use super::error::{RegistryError, Undone};
use gristmill_model::{AccountId, Seconds, Timestamp, input};
use rusqlite::{OptionalExtension, Transaction, params};

/// How long a token is remembered.
pub const TOKEN_KEPT: Seconds = Seconds(24 * 3600);

/// Rows that are cleared at most when a token is noted: more than come in, so old ones run out.
const CLEARED_ROWS_MAX: u32 = 100;

/// The token of one create request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'a> {
    /// The text and the digest of the body; `None`: the client sent no token.
    pub sent: Option<&'a input::Token>,
    /// Whose request it is.
    pub account: AccountId,
    /// What is made: `image`, `app`.
    pub kind: &'static str,
    /// When.
    pub at: Timestamp,
}

impl Token<'_> {
    /// What was made the first time, or what `make` makes now.
    pub(super) fn once(
        &self,
        transaction: &Transaction<'_>,
        make: impl FnOnce() -> Result<String, Undone>,
    ) -> Result<String, Undone> {
        let Some(token) = self.sent else { return make() };
        if let Some((digest, made)) = self.seen(transaction, &token.text)? {
            return match digest == token.body {
                true => Ok(made),
                false => Err(RegistryError::TokenMismatch.into()),
            };
        }
        let made = make()?;
        let account = self.account.0.cast_signed();
        transaction
            .prepare_cached("INSERT OR REPLACE INTO token VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
            .execute(params![account, self.kind, token.text, token.body, made, self.at.0])?;
        self.clear(transaction)?;
        Ok(made)
    }

    fn seen(
        &self,
        transaction: &Transaction<'_>,
        text: &str,
    ) -> rusqlite::Result<Option<(String, String)>> {
        transaction
            .prepare_cached(
                "SELECT digest, made FROM token
                 WHERE account = ?1 AND kind = ?2 AND token = ?3 AND at > ?4",
            )?
            .query_row(
                params![self.account.0.cast_signed(), self.kind, text, self.oldest().0],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
    }

    fn clear(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        transaction
            .prepare_cached(
                "DELETE FROM token WHERE (account, kind, token) IN
                     (SELECT account, kind, token FROM token WHERE at <= ?1 LIMIT ?2)",
            )?
            .execute(params![self.oldest().0, CLEARED_ROWS_MAX])
            .map(drop)
    }

    /// Tokens from then and before are forgotten.
    fn oldest(&self) -> Timestamp {
        Timestamp(self.at.0.saturating_sub(i64::from(TOKEN_KEPT.0) * 1_000_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    const DAY: i64 = 24 * 3600 * 1_000_000;

    fn sent(text: &str, body: &str) -> input::Token {
        input::Token { text: text.to_owned(), body: body.to_owned() }
    }

    /// Account, kind, token, body, when, what would be made; and the answer.
    type Ask = (u64, &'static str, &'static str, &'static str, i64, &'static str);

    fn ask(registry: &Registry, ask: Ask) -> Result<String, String> {
        let (account, kind, text, body, at, made) = ask;
        let sent = sent(text, body);
        let sent = (!text.is_empty()).then_some(&sent);
        let token = Token { sent, account: AccountId(account), kind, at: Timestamp(at) };
        registry
            .write("make something", |transaction| token.once(transaction, || Ok(made.to_owned())))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_create_is_answered_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let registry = Registry::open(dir.path()).expect("opens");
        let mismatch = Err("the token was used before with another body".to_owned());
        let made = |what: &str| Ok(what.to_owned());
        for (asked, wanted) in [
            ((1, "image", "t", "a", 0, "img-1"), made("img-1")),
            ((1, "image", "t", "a", 5, "img-2"), made("img-1")),
            ((1, "image", "t", "b", 5, "img-2"), mismatch.clone()),
            ((1, "app", "t", "b", 5, "app"), made("app")),
            ((2, "image", "t", "b", 5, "img-3"), made("img-3")),
            ((1, "image", "u", "a", 5, "img-4"), made("img-4")),
            ((1, "image", "", "a", 5, "img-5"), made("img-5")),
            ((1, "image", "", "a", 5, "img-6"), made("img-6")),
            ((1, "image", "t", "b", DAY - 1, "img-7"), mismatch),
            ((1, "image", "t", "b", DAY, "img-7"), made("img-7")),
        ] {
            assert_eq!(ask(&registry, asked), wanted, "{asked:?}");
        }
    }

    #[test]
    fn old_tokens_are_cleared_by_new_ones_and_a_failed_create_leaves_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let registry = Registry::open(dir.path()).expect("opens");
        let count = || {
            let sql = "SELECT count(*) FROM token";
            registry.read("tokens", |c| c.query_row(sql, [], |row| row.get::<_, i64>(0)))
        };
        for text in ["a", "b", "c"] {
            ask(&registry, (1, "image", text, "x", 0, "img")).expect("made");
        }
        ask(&registry, (1, "image", "d", "x", DAY, "img")).expect("made");
        assert_eq!(count().expect("read"), 1);
        let sent = sent("e", "x");
        let token =
            Token { sent: Some(&sent), account: AccountId(1), kind: "app", at: Timestamp(DAY) };
        let taken = registry.write("make something", |transaction| {
            let taken = RegistryError::Taken { kind: "app", name: "a".to_owned() };
            token.once(transaction, || Err(taken.into()))
        });
        assert_eq!(taken.expect_err("refused").to_string(), "app `a` exists already");
        assert_eq!(count().expect("read"), 1);
    }
}
