//! What may stand in the way of a task: for programs a code and facts, for people words.

use gristmill_model::{ClusterId, TaskName};
use std::fmt;

/// Beyond this place in a queue nobody counts.
pub(super) const PLACE_MAX: usize = 1_000;

/// What stands in the way of a task that has instances waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// Tasks that have to end first.
    Tasks {
        /// Which; of many the first.
        names: Vec<TaskName>,
        /// How many more.
        others: u32,
    },
    /// Its cluster is gone or going.
    ClusterDeleted(ClusterId),
    /// Its cluster is to have no machines.
    ClusterEmpty(ClusterId),
    /// Machines that were asked for.
    MachinesStarting {
        /// Of which cluster.
        cluster: ClusterId,
        /// How many.
        machines: u32,
        /// What the last one that could not be made said; may be empty.
        said: String,
    },
    /// The provider does not make a machine: no room, no image, anything else.
    MachineRefused {
        /// Of which cluster.
        cluster: ClusterId,
        /// Why, in the provider's words.
        said: String,
    },
    /// A group gets no machines: the price of spot machines, or none are set aside.
    Withheld {
        /// Of which cluster.
        cluster: ClusterId,
        /// Why, in words.
        why: String,
    },
    /// Its machines are told to go.
    Reclaimed {
        /// Of which cluster.
        cluster: ClusterId,
        /// Why, in words.
        why: String,
    },
    /// All machines that the operator set aside are taken.
    PrepaidTaken,
    /// The account has as many machines as it may.
    MachineQuota {
        /// How many it has.
        used: u64,
        /// How many it may have.
        limit: u64,
    },
    /// The account has no cores left for such a machine.
    CoreQuota {
        /// How many it has.
        used: u64,
        /// How many it may have.
        limit: u64,
    },
    /// The cluster has as many machines as attached tasks may have.
    AttachedFull {
        /// Which cluster.
        cluster: ClusterId,
        /// How many they may have.
        limit: u32,
    },
    /// Other tasks come first.
    Turn {
        /// On which cluster.
        cluster: ClusterId,
        /// How many; `u32::MAX`: more than anybody counts.
        others: u32,
    },
    /// It is next, and all machines are busy.
    Busy(ClusterId),
    /// Nothing: it is about to be placed.
    Placing,
}

impl Obstacle {
    /// A name for programs. Stable.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Tasks { .. } => "Tasks",
            Self::ClusterDeleted(_) => "ClusterDeleted",
            Self::ClusterEmpty(_) => "ClusterEmpty",
            Self::MachinesStarting { .. } => "MachinesStarting",
            Self::MachineRefused { .. } => "MachineRefused",
            Self::Withheld { .. } => "Withheld",
            Self::Reclaimed { .. } => "Reclaimed",
            Self::PrepaidTaken => "PrepaidTaken",
            Self::MachineQuota { .. } => "MachineQuota",
            Self::CoreQuota { .. } => "CoreQuota",
            Self::AttachedFull { .. } => "AttachedFull",
            Self::Turn { .. } => "Turn",
            Self::Busy(_) => "Busy",
            Self::Placing => "Placing",
        }
    }

    /// What it is about, by name. Stable.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let on = |cluster: &ClusterId| ("Cluster", cluster.to_string());
        match self {
            Self::Tasks { names, others: 0 } => vec![("Tasks", listed(names))],
            Self::Tasks { names, others } => {
                vec![("Tasks", listed(names)), ("Others", others.to_string())]
            }
            Self::ClusterDeleted(cluster) | Self::ClusterEmpty(cluster) | Self::Busy(cluster) => {
                vec![on(cluster)]
            }
            Self::MachinesStarting { cluster, machines, said } => {
                vec![on(cluster), ("Machines", machines.to_string()), ("Said", said.clone())]
            }
            Self::MachineRefused { cluster, said } => vec![on(cluster), ("Said", said.clone())],
            Self::Withheld { cluster, why } | Self::Reclaimed { cluster, why } => {
                vec![on(cluster), ("Why", why.clone())]
            }
            Self::MachineQuota { used, limit } | Self::CoreQuota { used, limit } => {
                vec![("Used", used.to_string()), ("Limit", limit.to_string())]
            }
            Self::AttachedFull { cluster, limit } => {
                vec![on(cluster), ("Limit", limit.to_string())]
            }
            Self::Turn { cluster, others } => vec![on(cluster), ("Others", counted(*others))],
            Self::PrepaidTaken | Self::Placing => Vec::new(),
        }
    }
}

impl fmt::Display for Obstacle {
    /// What follows after "task `name` ".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tasks { names, others: 0 } => write!(f, "waits for {}", listed(names)),
            Self::Tasks { names, others } => {
                write!(f, "waits for {} and {}", listed(names), count(*others, "other task"))
            }
            Self::ClusterDeleted(id) => write!(f, "waits for cluster {id}, which was deleted"),
            Self::ClusterEmpty(id) => {
                write!(
                    f,
                    "waits for cluster {id}, which is to have no machines: its DesiredVMCount is 0"
                )
            }
            Self::MachinesStarting { cluster, machines, said } => {
                write!(f, "waits for cluster {cluster}: {} starting", count(*machines, "machine"))?;
                if said.is_empty() { Ok(()) } else { write!(f, "; the last said: {said}") }
            }
            Self::MachineRefused { cluster, said } => {
                write!(f, "waits for a machine of cluster {cluster}; the provider says: {said}")
            }
            Self::Withheld { cluster, why } => {
                write!(f, "waits for machines of cluster {cluster}: {why}")
            }
            Self::Reclaimed { cluster, why } => {
                write!(f, "waits: the machines of cluster {cluster} are reclaimed: {why}")
            }
            Self::PrepaidTaken => f.write_str(
                "waits for machines: all that the operator set aside for the account are taken",
            ),
            Self::MachineQuota { used, limit } => {
                write!(f, "waits for machines: the account uses {used} of the {limit} it may")
            }
            Self::CoreQuota { used, limit } => {
                write!(f, "waits for machines: the account uses {used} of the {limit} cores it may")
            }
            Self::AttachedFull { cluster, limit } => write!(
                f,
                "waits for machines of cluster {cluster}: it has the {limit} that attached tasks may have"
            ),
            Self::Turn { cluster, others: u32::MAX } => {
                write!(f, "waits behind {PLACE_MAX} or more tasks on cluster {cluster}")
            }
            Self::Turn { cluster, others } => {
                write!(f, "waits behind {} on cluster {cluster}", count(*others, "other task"))
            }
            Self::Busy(id) => write!(f, "is next for a machine of cluster {id}; all are busy"),
            Self::Placing => f.write_str("is about to be placed"),
        }
    }
}

/// `1 machine`, `2 machines`.
pub(super) fn count(number: u32, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

fn counted(others: u32) -> String {
    if others == u32::MAX { format!("{PLACE_MAX}+") } else { others.to_string() }
}

/// `` `a`, `b` ``.
fn listed(names: &[TaskName]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
