//! The tasks of a job in the order they run, and a picture of it.
//!
//! [`stages`] puts every task one stage after the last of those it waits for. A cycle cannot be
//! ordered: its tasks come last, in one stage, so that a broken description can still be shown.

use std::collections::{BTreeMap, BTreeSet};
use unicode_width::UnicodeWidthStr;

/// Task -> those that run after it, as in `DAG.Dependencies`.
pub type Dependencies = BTreeMap<String, Vec<String>>;

/// Tasks by stage; names keep the order of `names` within a stage.
pub fn stages(names: &[String], after: &Dependencies) -> Vec<Vec<String>> {
    let before = before(after);
    let mut placed: BTreeSet<&str> = BTreeSet::new();
    let mut rest: Vec<&String> = names.iter().collect();
    let mut stages = Vec::new();
    while !rest.is_empty() {
        let is_ready = |name: &str| {
            before.get(name).is_none_or(|earlier| {
                earlier
                    .iter()
                    .all(|name| placed.contains(name) || !names.iter().any(|known| known == name))
            })
        };
        let (ready, waiting): (Vec<_>, Vec<_>) =
            rest.iter().copied().partition(|name| is_ready(name));
        let stage = if ready.is_empty() {
            std::mem::take(&mut rest)
        } else {
            rest = waiting;
            ready
        };
        placed.extend(stage.iter().map(|name| name.as_str()));
        stages.push(stage.into_iter().cloned().collect());
    }
    stages
}

fn before(after: &Dependencies) -> BTreeMap<&str, Vec<&str>> {
    let mut before: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (earlier, later) in after {
        for name in later {
            before.entry(name).or_default().push(earlier);
        }
    }
    before
}

/// Lines that show the job: one arrow line for a chain, else a line per task with what it
/// waits for.
pub fn picture(names: &[String], after: &Dependencies) -> Vec<String> {
    let stages = stages(names, after);
    if stages.iter().all(|stage| stage.len() == 1) && is_chain(&stages, after) {
        let line = stages.iter().enumerate().map(|(at, stage)| format!("{}.{}", at + 1, stage[0]));
        return vec![line.collect::<Vec<_>>().join(" --> ")];
    }
    let before = before(after);
    let width = names.iter().map(|name| name.width()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for (at, stage) in stages.iter().enumerate() {
        for name in stage {
            let padding = " ".repeat(width - name.width());
            let waits = before
                .get(name.as_str())
                .map(|earlier| format!("{padding} <-- {}", earlier.join(", ")));
            lines.push(format!("{}.{name}{}", at + 1, waits.unwrap_or_default()));
        }
    }
    lines
}

fn is_chain(stages: &[Vec<String>], after: &Dependencies) -> bool {
    let steps =
        stages.windows(2).all(|pair| after.get(&pair[0][0]).is_some_and(|later| *later == pair[1]));
    steps && after.values().all(|later| later.len() <= 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::submit::mapping::dependencies;

    fn show(names: &str, deps: &str) -> String {
        let names: Vec<String> = names.split(' ').map(str::to_owned).collect();
        picture(&names, &dependencies(deps)).join("\n")
    }

    #[test]
    fn a_chain_is_one_line() {
        assert_eq!(
            show("merge split count", "split->count;count->merge"),
            "1.split --> 2.count --> 3.merge"
        );
        assert_eq!(show("only", ""), "1.only");
    }

    #[test]
    fn branches_say_what_they_wait_for() {
        insta::assert_snapshot!(show("split 计数 count2 merge", "split->计数,count2->merge"), @r"
        1.split
        2.计数   <-- split
        2.count2 <-- split
        3.merge  <-- count2, 计数
        ");
        assert_eq!(show("a b", ""), "1.a\n1.b");
    }

    #[test]
    fn a_cycle_is_shown_and_ends() {
        insta::assert_snapshot!(show("a b c", "a->b;b->c;c->b"), @r"
        1.a
        2.b <-- a, c
        2.c <-- b
        ");
    }
}
