//! Dependencies between tasks (`reference/api.md` 7.1.1): the key runs before every name in its
//! array. Names must exist and there is no cycle.
//!
//! Works on numbers instead of names, without recursion: 100,000 tasks in one chain are ordinary.

use crate::{
    api::read::{Member, ReadWith, Shape, With, skip_array, skip_object},
    error::{ApiError, Code, quote},
};
use gristmill_model::TaskName;
use serde::de::{MapAccess, SeqAccess};
use std::collections::{BTreeMap, BTreeSet};

/// Many names in two buffers: little more memory than their text.
#[derive(Debug, Default, PartialEq)]
struct Names {
    text: String,
    ends: Vec<u32>,
}

impl Names {
    fn push(&mut self, name: &str) {
        self.text.push_str(name);
        let end = u32::try_from(self.text.len()).expect("a body is far below 4 GiB");
        self.ends.push(end);
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.text[start as usize..*end as usize])
    }
}

/// `Dependencies` as sent: tasks, how many successors each has, and the successors one after
/// another.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Edges {
    tasks: Names,
    counts: Vec<u32>,
    successors: Names,
}

impl Shape for Edges {
    const WANTED: &'static str = "an object from names of tasks to arrays of names";
    fn object<'de, A: MapAccess<'de>>(mut map: A) -> Result<Option<Self>, A::Error> {
        let mut edges = Self::default();
        while let Some(task) = map.next_key::<String>()? {
            match map.next_value_seed(With(Successors(&mut edges.successors)))? {
                Member::Given(count) => {
                    edges.tasks.push(&task);
                    edges.counts.push(count);
                }
                Member::Absent => {}
                Member::Wrong => return skip_object(map).map(|()| None),
            }
        }
        Ok(Some(edges))
    }
}

/// Puts the names of one array behind those that are there; answers how many they are.
struct Successors<'a>(&'a mut Names);

impl<'de> ReadWith<'de> for Successors<'_> {
    type Out = u32;
    fn array<A: SeqAccess<'de>>(self, mut array: A) -> Result<Option<u32>, A::Error> {
        let mut count = 0;
        while let Some(name) = array.next_element::<Member<String>>()? {
            match name {
                Member::Given(name) => self.0.push(&name),
                Member::Absent | Member::Wrong => return skip_array(array).map(|()| None),
            }
            count += 1;
        }
        Ok(Some(count))
    }
}

/// The names of the model and the graph over their positions.
struct Graph {
    names: Vec<TaskName>,
    successors: Vec<Vec<u32>>,
}

/// The checked dependencies. `names` are the tasks of the job, sorted.
pub(super) fn dependencies(
    names: Vec<TaskName>,
    edges: Edges,
) -> Result<BTreeMap<TaskName, BTreeSet<TaskName>>, ApiError> {
    let graph = Graph::new(names, &edges)?;
    if let Some(cycle) = graph.cycle() {
        return Err(bad_dag(&cycle));
    }
    Ok(graph.named())
}

impl Graph {
    fn new(names: Vec<TaskName>, edges: &Edges) -> Result<Self, ApiError> {
        let at = |text: &str| {
            let found = names.binary_search_by(|name| name.as_str().cmp(text));
            found.map_err(|_| {
                let reason = format!("has {}, which is not a task of the job", quote(text));
                ApiError::invalid("Dependencies", reason)
            })
        };
        let mut successors = vec![Vec::new(); names.len()];
        let mut next = edges.successors.iter();
        for (task, count) in edges.tasks.iter().zip(&edges.counts) {
            let from = at(task)?;
            for name in next.by_ref().take(*count as usize) {
                successors[from].push(at(name)? as u32);
            }
        }
        for next in &mut successors {
            next.sort_unstable();
            next.dedup();
        }
        Ok(Self { names, successors })
    }

    /// The names along one cycle, if there is one: first come, first gone; what never becomes
    /// free lies on or behind a cycle.
    fn cycle(&self) -> Option<Vec<&TaskName>> {
        let mut waits_for = vec![0_u32; self.names.len()];
        for next in self.successors.iter().flatten() {
            waits_for[*next as usize] += 1;
        }
        let mut free: Vec<_> = (0..self.names.len()).filter(|at| waits_for[*at] == 0).collect();
        let mut gone = vec![false; self.names.len()];
        while let Some(at) = free.pop() {
            gone[at] = true;
            for next in &self.successors[at] {
                let next = *next as usize;
                waits_for[next] -= 1;
                if waits_for[next] == 0 {
                    free.push(next);
                }
            }
        }
        let stuck = gone.iter().position(|gone| !gone)?;
        Some(self.walk_back(stuck, &gone))
    }

    /// Every stuck task has a stuck predecessor: going back as often as there are tasks ends on
    /// a cycle, and once around it gives its names.
    fn walk_back(&self, stuck: usize, gone: &[bool]) -> Vec<&TaskName> {
        let mut before = vec![stuck; self.names.len()];
        for (at, next) in self.successors.iter().enumerate().filter(|(at, _)| !gone[*at]) {
            next.iter().for_each(|next| before[*next as usize] = at);
        }
        let on_cycle = (0..self.names.len()).fold(stuck, |at, _| before[at]);
        let mut cycle = vec![&self.names[on_cycle]];
        let mut at = before[on_cycle];
        while at != on_cycle {
            cycle.push(&self.names[at]);
            at = before[at];
        }
        cycle.reverse();
        cycle
    }

    fn named(&self) -> BTreeMap<TaskName, BTreeSet<TaskName>> {
        let name = |at: u32| self.names[at as usize].clone();
        self.successors
            .iter()
            .zip(&self.names)
            .filter(|(next, _)| !next.is_empty())
            .map(|(next, task)| (task.clone(), next.iter().map(|at| name(*at)).collect()))
            .collect()
    }
}

/// The most names of a cycle that the message shows.
const SHOWN_MAX: usize = 10;

fn bad_dag(cycle: &[&TaskName]) -> ApiError {
    let mut shown: Vec<_> = cycle.iter().take(SHOWN_MAX).map(|name| name.as_str()).collect();
    if shown.len() < cycle.len() {
        shown.push("…");
    }
    shown.push(cycle[0].as_str());
    let message = format!("DAG.Dependencies has a cycle: {}", shown.join(" -> "));
    ApiError::new(Code::BadDag, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Edges {
        fn add(&mut self, task: &str, next: &[&str]) {
            self.tasks.push(task);
            self.counts.push(next.len() as u32);
            next.iter().for_each(|name| self.successors.push(name));
        }
    }

    fn check(tasks: &str, edges: &str) -> Result<String, String> {
        let names = tasks.split(' ').map(|name| name.parse().expect("legal")).collect();
        let mut read = Edges::default();
        for edge in edges.split(", ").filter(|edge| !edge.is_empty()) {
            let (from, to) = edge.split_once(" -> ").expect("an edge");
            read.add(from, &to.split(' ').collect::<Vec<_>>());
        }
        dependencies(names, read)
            .map(|map| format!("{map:?}"))
            .map_err(|error| format!("{}: {}", error.code, error.message))
    }

    #[test]
    fn the_key_runs_before_its_values() {
        assert_eq!(
            check("count merge split", "split -> count count, count -> merge").as_deref(),
            Ok(r#"{"count": {"merge"}, "split": {"count"}}"#)
        );
        assert_eq!(check("a b", "").as_deref(), Ok("{}"));
    }

    #[test]
    fn a_cycle_is_named() {
        let wanted = "BadDAG: DAG.Dependencies has a cycle: ";
        for (edges, cycle) in [
            ("a -> a", "a -> a"),
            ("a -> b, b -> a, b -> c", "b -> a -> b"),
            ("a -> b, b -> c, c -> d, d -> b", "d -> b -> c -> d"),
            ("a -> b c, b -> d, c -> d, d -> e, e -> c", "c -> d -> e -> c"),
        ] {
            let message = check("a b c d e", edges).expect_err("a cycle");
            let around = message.strip_prefix(wanted).expect("the code of a cycle");
            let mut turned: Vec<_> = around.split(" -> ").skip(1).collect();
            let mut expected: Vec<_> = cycle.split(" -> ").skip(1).collect();
            let start = |names: &[&str]| {
                names.iter().enumerate().min_by_key(|(_, name)| **name).map_or(0, |(at, _)| at)
            };
            let (a, b) = (start(&turned), start(&expected));
            turned.rotate_left(a);
            expected.rotate_left(b);
            assert_eq!(turned, expected, "{edges}: {message}");
        }
    }

    #[test]
    fn a_diamond_is_no_cycle() {
        assert!(check("a b c d", "a -> b c, b -> d, c -> d").is_ok());
    }

    #[test]
    fn unknown_names_are_refused() {
        for edges in ["a -> x", "x -> a", "a -> b x"] {
            let message = check("a b", edges).expect_err("unknown");
            assert!(message.starts_with("InvalidDependencies: Dependencies has `x`"), "{message}");
        }
    }

    #[test]
    fn what_is_read_is_what_was_sent() {
        let read = |text: &str| serde_json::from_str::<Member<Edges>>(text).expect("JSON");
        let mut edges = Edges::default();
        edges.add("split", &["count", "日志", ""]);
        edges.add("a", &[]);
        edges.add("count", &["merge"]);
        let text = r#"{"split":["count","日志",""],"a":[],"b":null,"count":["merge"]}"#;
        assert_eq!(read(text), Member::Given(edges));
        for wrong in ["[]", r#"{"a":"b"}"#, r#"{"a":[1],"b":["c"]}"#, r#"{"a":[null]}"#] {
            assert_eq!(read(wrong), Member::Wrong, "{wrong}");
        }
    }

    #[test]
    fn a_chain_of_100_000_tasks_and_its_cycle_are_judged_without_recursion() {
        let count = 100_000;
        let names: Vec<TaskName> =
            (0..count).map(|at| format!("t{at:06}").parse().expect("legal")).collect();
        let edges = |pairs: &[(usize, usize)]| {
            let mut edges = Edges::default();
            names.windows(2).for_each(|pair| edges.add(pair[0].as_str(), &[pair[1].as_str()]));
            for (from, to) in pairs {
                edges.add(names[*from].as_str(), &[names[*to].as_str()]);
            }
            edges
        };
        let chain = dependencies(names.clone(), edges(&[]));
        assert_eq!(chain.map(|map| map.len()), Ok(count - 1));
        let cycle = dependencies(names.clone(), edges(&[(count - 1, 0)])).expect_err("a cycle");
        assert_eq!(cycle.code, Code::BadDag);
        assert!(cycle.message.len() < 300, "{}", cycle.message);
    }
}
