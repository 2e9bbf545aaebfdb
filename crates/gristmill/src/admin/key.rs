//! `gristmill admin key`.

use super::{Door, json_of};
use clap::Subcommand;
use serde_json::json;

const COLUMNS: [&str; 6] = ["AccessKeyId", "Account", "State", "Policy", "Note", "CreationTime"];

#[derive(Subcommand)]
pub enum Key {
    /// Make an access key; its secret is shown only now
    Create {
        /// Number or name of the account
        account: String,
        /// Limit it to this policy: JSON, or @FILE
        #[arg(long, value_name = "JSON")]
        policy: Option<String>,
        /// Limit it to this action (may be given several times): GetJob, List*, oss:get
        #[arg(long = "action", value_name = "ACTION", conflicts_with = "policy")]
        actions: Vec<String>,
        /// Limit its actions in the object store to this place (may be given several times)
        #[arg(long = "place", value_name = "oss://BUCKET/PREFIX/", requires = "actions")]
        places: Vec<String>,
        /// What it is for
        #[arg(long, default_value = "", hide_default_value = true)]
        note: String,
    },
    /// List access keys
    List {
        /// Only those of this account
        #[arg(long)]
        account: Option<String>,
    },
    /// Refuse an access key from now on
    Disable {
        /// The access key id
        key: String,
    },
    /// Let a disabled access key be used again
    Enable {
        /// The access key id
        key: String,
    },
    /// Delete an access key
    Delete {
        /// The access key id
        key: String,
    },
}

impl Key {
    pub async fn run(self, door: &Door) -> anyhow::Result<()> {
        match self {
            Self::Create { account, policy, actions, places, note } => {
                let mut body = json!({ "Account": account, "Note": note });
                if let Some(policy) = policy {
                    body["Policy"] = json_of(&policy, "--policy")?;
                } else if !actions.is_empty() {
                    body["Policy"] = json!({ "Actions": actions, "Places": places });
                }
                let made = door.post(&["keys"], Some(&body)).await?;
                door.show(&made, &["AccessKeyId", "AccessKeySecret", "Account", "Policy"]);
            }
            Self::List { account } => {
                let query: Vec<(&str, &str)> =
                    account.iter().map(|account| ("Account", account.as_str())).collect();
                door.show(&door.ask("GET", &["keys"], &query, None).await?, &COLUMNS);
            }
            Self::Disable { key } => drop(door.post(&["keys", &key, "disable"], None).await?),
            Self::Enable { key } => drop(door.post(&["keys", &key, "enable"], None).await?),
            Self::Delete { key } => door.delete(&["keys", &key]).await?,
        }
        Ok(())
    }
}
