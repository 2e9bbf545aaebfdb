//! Draws the states of a job from the one function that knows them, for the documentation.

use gristmill_model::{JobState, state::JobEvent};
use std::fmt::Write;

const STATES: [JobState; 5] =
    [JobState::Waiting, JobState::Running, JobState::Finished, JobState::Failed, JobState::Stopped];

const EVENTS: [JobEvent; 5] = [
    JobEvent::InstanceStarted,
    JobEvent::Completed,
    JobEvent::InstanceFailed,
    JobEvent::Stop,
    JobEvent::Start,
];

/// One line per legal transition: from, event, to.
pub fn job_states() -> String {
    let mut text = String::new();
    for from in STATES {
        for event in EVENTS {
            if let Ok(to) = from.next(event) {
                let (from, event) = (from.name(), format!("{event:?}"));
                writeln!(text, "{from:<9}--{event:-<16}-> {to}").expect("text grows");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_reached_and_drawn() {
        let text = job_states();
        assert_eq!(text.lines().next(), Some("Waiting  --InstanceStarted--> Running"));
        for state in STATES {
            assert!(text.lines().any(|line| line.ends_with(state.name())), "{state}");
        }
    }
}
