//! The operations on apps (`reference/api.md` 11).

use super::{Call, Client, ClientError};
use serde::Deserialize;
use serde_json::Value;

/// Which apps are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One's own.
    Private,
    /// Those that the operator published.
    Public,
}

impl Scope {
    /// As the service and the tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Private => "Private",
            Self::Public => "Public",
        }
    }

    /// The scope and the bare name of an app as the user writes it: `:name` is a public one.
    pub fn of(written: &str) -> (Self, &str) {
        match written.strip_prefix(':') {
            Some(name) => (Self::Public, name),
            None => (Self::Private, written),
        }
    }
}

impl Client {
    /// `GET /apps`, all pages of a scope.
    pub async fn list_apps(&self, scope: Scope) -> Result<Vec<Value>, ClientError> {
        self.all(Call::get(&["apps"]).query("Scope", scope.name())).await
    }

    /// `GET /apps/{app}`: the public side.
    pub async fn get_app(&self, scope: Scope, name: &str) -> Result<Value, ClientError> {
        self.read(Call::get(&["apps", name]).query("Scope", scope.name())).await
    }

    /// `GET /apps/{app}?Detail=True`; an empty revision is the newest.
    pub async fn get_app_detail(&self, name: &str, revision: &str) -> Result<Value, ClientError> {
        let call = Call::get(&["apps", name]).query("Detail", "True");
        self.read(call.query("Qualifier", revision)).await
    }

    /// `GET /apps/{app}?Revisions=True`, ascending.
    pub async fn get_app_revisions(&self, name: &str) -> Result<Vec<Value>, ClientError> {
        self.read(Call::get(&["apps", name]).query("Revisions", "True")).await
    }

    /// `POST /apps`: makes an app, and returns its name.
    pub async fn create_app(&self, description: &Value) -> Result<String, ClientError> {
        #[derive(Deserialize)]
        struct Made {
            #[serde(rename = "Name")]
            name: String,
        }
        let token = (self.fresh_id)().replace('-', "");
        let call = Call::to("POST", &["apps"]).query("IdempotentToken", &token).body(description);
        Ok(self.read::<Made>(call.repeatable()).await?.name)
    }

    /// `PUT /apps/{app}`: adds a revision.
    pub async fn modify_app(&self, name: &str, description: &Value) -> Result<(), ClientError> {
        self.send(Call::to("PUT", &["apps", name]).body(description)).await.map(drop)
    }

    /// `DELETE /apps/{app}`; an empty revision is the whole app.
    pub async fn delete_app(&self, name: &str, revision: &str) -> Result<(), ClientError> {
        let call = Call::to("DELETE", &["apps", name]).query("Qualifier", revision);
        self.send(call).await.map(drop)
    }
}
