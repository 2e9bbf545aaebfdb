//! `gristmill admin credentials`.

use super::{Door, json_of, plain};
use clap::Args;
use serde_json::json;

/// Make a temporary access key.
#[derive(Args)]
pub struct Credentials {
    /// Number or name of the account it speaks for
    #[arg(long)]
    account: Option<String>,
    /// How long it lives: 900 to 43200
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    seconds: u32,
    /// Limit it to this policy: JSON, or @FILE
    #[arg(long, value_name = "JSON")]
    policy: Option<String>,
}

impl Credentials {
    pub async fn run(self, door: &Door) -> anyhow::Result<()> {
        let mut body = json!({ "DurationSeconds": self.seconds });
        if let Some(account) = self.account {
            body["Account"] = account.into();
        }
        if let Some(policy) = self.policy {
            body["Policy"] = json_of(&policy, "--policy")?;
        }
        let asked = door.client.ask("POST", &["sts", "credentials"], &[], Some(&body)).await;
        let made = &asked.map_err(plain)?["Credentials"];
        door.show(made, &["AccessKeyId", "AccessKeySecret", "Expiration"]);
        if !door.json {
            println!("{}", made["SecurityToken"].as_str().unwrap_or_default());
        }
        Ok(())
    }
}
