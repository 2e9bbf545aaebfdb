//! `gristmill admin account`.

use super::Door;
use clap::Subcommand;
use serde_json::json;

const COLUMNS: [&str; 4] = ["Id", "Name", "State", "CreationTime"];
const DETAILS: [&str; 8] =
    ["Id", "Name", "State", "CreationTime", "Keys", "Jobs", "Clusters", "Buckets"];

#[derive(Subcommand)]
pub enum Account {
    /// Make an account
    Create {
        /// Its name: letters, digits, _ - . @
        name: String,
    },
    /// List all accounts
    List,
    /// Show an account and how much it has
    Show {
        /// Number or name of the account
        account: String,
    },
    /// Refuse all keys of an account from now on; what it has stays
    Disable {
        /// Number or name of the account
        account: String,
    },
    /// Let a disabled account be used again
    Enable {
        /// Number or name of the account
        account: String,
    },
    /// Delete a disabled account that has no jobs, clusters and buckets
    Delete {
        /// Number or name of the account
        account: String,
    },
}

impl Account {
    pub async fn run(self, door: &Door) -> anyhow::Result<()> {
        match self {
            Self::Create { name } => {
                let made = door.post(&["accounts"], Some(&json!({ "Name": name }))).await?;
                door.show(&made, &COLUMNS);
            }
            Self::List => door.show(&door.get(&["accounts"]).await?, &COLUMNS),
            Self::Show { account } => {
                door.show(&door.get(&["accounts", &account]).await?, &DETAILS);
            }
            Self::Disable { account } => {
                door.show(&door.post(&["accounts", &account, "disable"], None).await?, &DETAILS);
            }
            Self::Enable { account } => {
                door.show(&door.post(&["accounts", &account, "enable"], None).await?, &DETAILS);
            }
            Self::Delete { account } => door.delete(&["accounts", &account]).await?,
        }
        Ok(())
    }
}
