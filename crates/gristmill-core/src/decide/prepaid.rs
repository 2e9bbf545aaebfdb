//! Machines that the operator set aside for an account.
//!
//! They go to the groups that ask for them: an automatic cluster and a lane take what their tasks
//! need, a group of the user takes what is left, the oldest cluster first. What is idle there
//! those that follow tasks may have. When there are too many, groups of users give first, what is
//! idle before what is busy, the youngest cluster first.

use super::Draft;
use crate::wants::PrepaidGroup;
use gristmill_model::{AccountId, Answer, Event, catalogue::InstanceTypeName};
use std::collections::BTreeMap;

impl Draft<'_> {
    pub(super) fn set_prepaid(
        &mut self,
        account: AccountId,
        instance_type: &InstanceTypeName,
        machines: u32,
    ) -> Answer {
        if self.world.market.set_aside(account, instance_type) != machines {
            let (instance_type, at) = (instance_type.clone(), self.now);
            self.emit(Event::PrepaidSet { account, instance_type, machines, at });
        }
        Answer::Done
    }

    /// Groups return what they have beyond what is set aside.
    pub(super) fn return_prepaid(&mut self, account: AccountId) {
        for (kind, groups) in self.prepaid_by_kind(account) {
            let taken: u32 = groups.iter().map(|group| group.size).sum();
            let over = taken.saturating_sub(self.world.market.set_aside(account, &kind));
            for (group, less) in what_each_returns(&groups, over) {
                self.resize_group(group.cluster, &group.group, group.size - less);
            }
        }
    }

    /// The first group of a user gets what is left.
    pub(super) fn deal_prepaid(&mut self, account: AccountId) {
        for (kind, groups) in self.prepaid_by_kind(account) {
            let taken: u32 = groups.iter().map(|group| group.size).sum();
            let left = self.world.market.set_aside(account, &kind).saturating_sub(taken);
            if let Some(first) = groups.iter().find(|group| group.greedy)
                && left > 0
            {
                self.resize_group(first.cluster, &first.group, first.size + left);
            }
        }
    }

    /// The groups of prepaid machines; none, when no size changed since they were dealt.
    fn prepaid_by_kind(&self, account: AccountId) -> BTreeMap<InstanceTypeName, Vec<PrepaidGroup>> {
        let mut by_kind: BTreeMap<_, Vec<_>> = BTreeMap::new();
        if self.dealt.contains(&account) {
            for group in self.world.prepaid_groups(account) {
                by_kind.entry(group.kind.clone()).or_default().push(group);
            }
        }
        by_kind
    }
}

/// Who returns how many when there are `over` too many: never 0.
fn what_each_returns(groups: &[PrepaidGroup], mut over: u32) -> Vec<(&PrepaidGroup, u32)> {
    let idle = |it: &PrepaidGroup| if it.greedy { it.size.saturating_sub(it.busy) } else { 0 };
    let of_users = |it: &PrepaidGroup| if it.greedy { it.size } else { 0 };
    let any = |it: &PrepaidGroup| it.size;
    let mut returned: Vec<_> = groups.iter().rev().map(|group| (group, 0)).collect();
    for may_return in [idle, of_users, any] {
        for (group, less) in &mut returned {
            let more = (may_return(group) - *less).min(over);
            (*less, over) = (*less + more, over - more);
        }
    }
    returned.retain(|(_, less)| *less > 0);
    returned
}
