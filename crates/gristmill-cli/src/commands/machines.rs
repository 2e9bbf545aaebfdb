//! `rci dci`: single machines of a cluster.

use super::{End, Outcome, required};
use crate::{caches::Kind, session::Session, words::messages as m};
use clap::ArgMatches;

/// `bcs rci <cluster> <group> <machines>`: other machines in the place of these.
pub(super) async fn recreate(words: &ArgMatches, session: &mut Session) -> Outcome {
    let place = Place::of(words, session)?;
    place.confirm(words, session, true)?;
    let client = session.client()?;
    for machine in &place.machines {
        client.recreate_machine(&place.cluster, &place.group, machine).await?;
        session.say(m::DONE_WITH, &[("what", machine)]);
    }
    Ok(End::Success)
}

/// `bcs dci <cluster> <group> <machines>`: the group is smaller afterwards.
pub(super) async fn delete(words: &ArgMatches, session: &mut Session) -> Outcome {
    let place = Place::of(words, session)?;
    place.confirm(words, session, false)?;
    let client = session.client()?;
    for machine in &place.machines {
        client.delete_machine(&place.cluster, &place.group, machine).await?;
        session.say(m::DONE_WITH, &[("what", machine)]);
    }
    Ok(End::Success)
}

/// Which machines are meant.
struct Place {
    cluster: String,
    group: String,
    machines: Vec<String>,
}

impl Place {
    /// Numbers name clusters and groups, and machines in god mode only, as in the official tool.
    fn of(words: &ArgMatches, session: &Session) -> anyhow::Result<Self> {
        let god = session.settings.is_god();
        Ok(Self {
            cluster: session.caches.resolve(Kind::Clusters, required(words, "cluster"))?,
            group: session.caches.resolve(Kind::Groups, required(words, "group"))?,
            machines: session.caches.resolve_many(
                Kind::Machines,
                required(words, "machines"),
                god,
            )?,
        })
    }

    fn confirm(
        &self,
        words: &ArgMatches,
        session: &mut Session,
        recreate: bool,
    ) -> anyhow::Result<()> {
        let question = if recreate { m::ASK_RECREATE_MACHINE } else { m::ASK_DELETE_MACHINE };
        let named = self.machines.join(", ");
        let values = [("machines", named.as_str()), ("cluster", self.cluster.as_str())];
        session.confirm(words.get_flag("yes"), question, &values)
    }
}
