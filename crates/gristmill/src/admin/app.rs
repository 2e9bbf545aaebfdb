//! `gristmill admin app`.

use super::Door;
use clap::{Args, Subcommand};

const COLUMNS: [&str; 5] = ["Name", "Account", "Public", "Revision", "CreationTime"];

#[derive(Subcommand)]
pub enum App {
    /// List published apps, or those of an account
    List {
        /// Only those of this account, published or not
        #[arg(long, value_name = "ACCOUNT")]
        account: Option<String>,
    },
    /// Let everybody see and call an app
    Publish(Which),
    /// Leave a published app to its account alone again
    Withdraw(Which),
}

/// One app of one account.
#[derive(Args)]
pub struct Which {
    /// Name of the app
    app: String,
    /// Number or name of the account it belongs to
    #[arg(long, value_name = "ACCOUNT")]
    account: String,
}

impl App {
    pub async fn run(self, door: &Door) -> anyhow::Result<()> {
        let answer = match self {
            Self::List { account } => {
                let query: Vec<_> = account.iter().map(|it| ("Account", it.as_str())).collect();
                door.ask("GET", &["apps"], &query, None).await?
            }
            Self::Publish(which) => which.change(door, "publish").await?,
            Self::Withdraw(which) => which.change(door, "withdraw").await?,
        };
        door.show(&answer, &COLUMNS);
        Ok(())
    }
}

impl Which {
    async fn change(&self, door: &Door, verb: &str) -> anyhow::Result<serde_json::Value> {
        let query = [("Account", self.account.as_str())];
        door.ask("POST", &["apps", &self.app, verb], &query, None).await
    }
}
