//! Commands about single machines (`reference/api.md` 5.4, 9.6).
//!
//! A machine that is going cannot be deleted or recreated again; one that is gone is not found.

use super::Draft;
use crate::cluster::Worker;
use gristmill_model::{
    AccountId, Answer, Refusal, WorkerState, input::WorkerPlace, spec::Resource,
};
use std::sync::Arc;

impl Draft<'_> {
    pub(super) fn delete_worker(
        &mut self,
        account: AccountId,
        place: &WorkerPlace,
    ) -> Result<Answer, Refusal> {
        let worker = self.owned_worker(account, place, "delete")?;
        let cluster = self.world.cluster_of(place.cluster);
        if cluster.shape_of(&place.group).resource == Resource::PrePaid {
            let reason = "the machine is prepaid; the operator sets how many there are".to_owned();
            return Err(Refusal::Invalid { member: "DesiredVMCount", reason });
        }
        let desired = cluster.groups[&place.group].desired;
        // First the machine, or the group would choose another one to send away.
        self.send_away(worker.id, "deleted by its owner");
        self.resize_group(place.cluster, &place.group, desired.saturating_sub(1));
        Ok(Answer::Done)
    }

    pub(super) fn recreate_worker(
        &mut self,
        account: AccountId,
        place: &WorkerPlace,
    ) -> Result<Answer, Refusal> {
        let worker = self.owned_worker(account, place, "recreate")?;
        self.send_away(worker.id, "recreated by its owner");
        self.fit_group(place.cluster, &place.group);
        Ok(Answer::Done)
    }

    fn owned_worker(
        &self,
        account: AccountId,
        place: &WorkerPlace,
        action: &'static str,
    ) -> Result<Arc<Worker>, Refusal> {
        let WorkerPlace { cluster: id, group, worker } = place;
        let cluster = self.world.cluster(account, *id).ok_or_else(|| not_found("cluster", id))?;
        if !cluster.groups.contains_key(group) {
            return Err(not_found("group", group));
        }
        let found = self.world.workers.get(worker);
        let found = found.filter(|it| (it.cluster, &it.group) == (*id, group));
        let found = found.ok_or_else(|| not_found("machine", worker))?;
        if found.state == WorkerState::Deleting {
            let (kind, id, state) = ("machine", worker.to_string(), "Deleting");
            return Err(Refusal::Conflict { kind, id, state, action });
        }
        Ok(Arc::clone(found))
    }
}

fn not_found(kind: &'static str, id: &dyn std::fmt::Display) -> Refusal {
    Refusal::NotFound { kind, id: id.to_string() }
}
