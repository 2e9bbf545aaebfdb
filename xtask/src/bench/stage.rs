//! What measurements have in common: the programs, the machine they run on, one thread for everything that
//! is measured from, and rounds that are shown as they end.

use super::{Common, machine::Machine, processor, sums::Spread};
use crate::house::House;
use anyhow::{Result, ensure};
use serde::Serialize;
use std::path::{Path, PathBuf};
use tokio::{runtime::Runtime, task::LocalSet};

/// Where a measurement takes place.
pub struct Stage {
    /// The directory of the programs.
    pub programs: PathBuf,
    /// What the figures were measured on.
    pub machine: Machine,
    runtime: Runtime,
}

impl Stage {
    /// Builds what is needed, looks at the machine, and becomes the parent of what loses its own, so that its
    /// processor time is counted.
    pub fn set(common: &Common, house: &House) -> Result<Self> {
        let programs = common.programs(house)?;
        let machine = Machine::look(house);
        processor::adopt_orphans()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { programs, machine, runtime })
    }

    /// Waits for one thing, which may have tasks of this thread.
    pub fn play<T>(&self, act: impl Future<Output = Result<T>>) -> Result<T> {
        self.runtime.block_on(LocalSet::new().run_until(act))
    }

    /// Measures so often, and shows each round when it is over.
    pub fn rounds<R>(
        &self,
        count: u32,
        round: impl AsyncFn(&Path) -> Result<R>,
        show: impl Fn(&R),
    ) -> Result<Rounds<R>> {
        ensure!(count > 0, "there must be a round");
        let each = (0..count).map(|_| {
            let round = self.play(round(&self.programs))?;
            show(&round);
            Ok(round)
        });
        each.collect::<Result<_>>().map(Rounds)
    }
}

/// Rounds of one measurement, at least one.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Rounds<R>(Vec<R>);

impl<R> Rounds<R> {
    /// One of their figures.
    pub fn over(&self, figure: impl Fn(&R) -> f64) -> Spread {
        Spread::of(self.0.iter().map(figure)).expect("there is a round")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_summed_over_all_rounds() {
        let rounds = Rounds(vec![(1, "a"), (5, "b"), (3, "c")]);
        let spread = rounds.over(|(number, _)| f64::from(*number));
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 3.0, 5.0));
        assert_eq!(serde_json::to_string(&rounds).expect("legal"), r#"[[1,"a"],[5,"b"],[3,"c"]]"#);
    }
}
