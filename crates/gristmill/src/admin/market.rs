//! `gristmill admin spot-price`, `prepaid` and `quota`.

use super::Door;
use anyhow::{Context, ensure};
use clap::Subcommand;
use serde_json::{Map, Value, json};

const PRICES: [&str; 2] = ["InstanceType", "Price"];
const PREPAID: [&str; 3] = ["AccountId", "InstanceType", "Count"];
const QUOTAS: [&str; 3] = ["Name", "Limit", "Used"];

#[derive(Subcommand)]
pub enum SpotPrice {
    /// Set the price of a type
    Set {
        /// The instance type
        instance_type: String,
        /// The price; three decimals count
        price: f64,
    },
    /// Remove the price of a type: it passes no limit
    Remove {
        /// The instance type
        instance_type: String,
    },
    /// Show all prices
    List,
}

impl SpotPrice {
    pub async fn run(self, door: &Door) -> anyhow::Result<()> {
        match self {
            Self::Set { instance_type, price } => {
                let body = json!({ "Price": price });
                door.show(
                    &door.post(&["spot-prices", &instance_type], Some(&body)).await?,
                    &PRICES,
                );
            }
            Self::Remove { instance_type } => {
                door.delete(&["spot-prices", &instance_type]).await?;
            }
            Self::List => door.show(&door.get(&["spot-prices"]).await?, &PRICES),
        }
        Ok(())
    }
}

#[derive(Subcommand)]
pub enum Prepaid {
    /// Set more machines aside
    Add {
        /// Number or name of the account
        account: String,
        /// The instance type
        instance_type: String,
        /// How many
        count: u32,
    },
    /// Take machines back
    Remove {
        /// Number or name of the account
        account: String,
        /// The instance type
        instance_type: String,
        /// How many
        count: u32,
    },
    /// Show the machines set aside for an account
    List {
        /// Number or name of the account
        account: String,
    },
}

impl Prepaid {
    pub async fn run(self, door: &Door) -> anyhow::Result<()> {
        match self {
            Self::Add { account, instance_type, count } => {
                change(door, &account, &instance_type, i64::from(count)).await
            }
            Self::Remove { account, instance_type, count } => {
                change(door, &account, &instance_type, -i64::from(count)).await
            }
            Self::List { account } => {
                door.show(&door.get(&["prepaid", &account]).await?, &PREPAID);
                Ok(())
            }
        }
    }
}

/// The server is told how many there are to be in all, so that asking twice is harmless.
async fn change(door: &Door, account: &str, kind: &str, by: i64) -> anyhow::Result<()> {
    let present = door.get(&["prepaid", account]).await?;
    let items = present["Items"].as_array().context("the server sent no list")?;
    let mine = items.iter().find(|item| item["InstanceType"] == kind);
    let count = mine.and_then(|item| item["Count"].as_i64()).unwrap_or(0);
    let wanted = count + by;
    ensure!(wanted >= 0, "{count} machines of type {kind} are set aside");
    let body = json!({ "Count": wanted });
    door.show(&door.post(&["prepaid", account, kind], Some(&body)).await?, &PREPAID);
    Ok(())
}

#[derive(Subcommand)]
pub enum Quota {
    /// Bound an account; what is not given is as the settings say
    Set {
        /// Number or name of the account
        account: String,
        /// Machines of all clusters, prepaid ones aside
        #[arg(long)]
        machines: Option<u64>,
        /// Cores of these machines
        #[arg(long)]
        cores: Option<u64>,
        /// Jobs that are not deleted
        #[arg(long)]
        jobs: Option<u64>,
        /// Instances of jobs that have not ended
        #[arg(long)]
        instances: Option<u64>,
    },
    /// Show what an account may use and does use
    Show {
        /// Number or name of the account
        account: String,
    },
}

impl Quota {
    pub async fn run(self, door: &Door) -> anyhow::Result<()> {
        let answer = match self {
            Self::Set { account, machines, cores, jobs, instances } => {
                let members = [
                    ("Machines", machines),
                    ("Cores", cores),
                    ("Jobs", jobs),
                    ("Instances", instances),
                ];
                let given = members
                    .into_iter()
                    .filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?))));
                let body = Value::Object(given.collect::<Map<_, _>>());
                door.post(&["quotas", &account], Some(&body)).await?
            }
            Self::Show { account } => door.get(&["quotas", &account]).await?,
        };
        door.show(&answer, &QUOTAS);
        Ok(())
    }
}
