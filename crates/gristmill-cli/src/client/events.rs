//! The events of a job, a Gristmill extension: `GET /jobs/{job}/events`, server-sent events.
//!
//! A stream begins with the whole present state and then tells what changes: tasks, after them the job,
//! at last `end`. Other services answer 400 or 404; the caller then looks from time to time instead.

use super::{Call, Client, ClientError, Job, Task};

/// The longest event that is read. A job of 100,000 tasks comes as many events.
const EVENT_BYTES_MAX: usize = 4 << 20;

/// One thing that is told.
#[derive(Debug, Clone)]
pub enum JobEvent {
    /// A task as it is now.
    Task(Task),
    /// The job as it is now; the tasks that changed with it came before.
    Job(Job),
    /// The job has ended, or is gone.
    End,
}

/// An open stream.
pub struct JobEvents {
    response: reqwest::Response,
    text: Vec<u8>,
}

impl Client {
    /// Opens the stream of a job's events.
    pub async fn follow_job(&self, job: &str) -> Result<JobEvents, ClientError> {
        let response = self.open(&Call::get(&["jobs", job, "events"]).endless()).await?;
        Ok(JobEvents { response, text: Vec::new() })
    }
}

impl JobEvents {
    /// The next event; `None` when the stream broke.
    pub async fn next(&mut self) -> Option<JobEvent> {
        loop {
            while let Some(end) = self.text.windows(2).position(|two| two == b"\n\n") {
                let event = parse(&String::from_utf8_lossy(&self.text[..end]));
                self.text.drain(..end + 2);
                if event.is_some() {
                    return event;
                }
            }
            let more = self.response.chunk().await.ok()??;
            self.text.extend_from_slice(&more);
            if self.text.len() > EVENT_BYTES_MAX && !self.text.windows(2).any(|two| two == b"\n\n")
            {
                return None;
            }
        }
    }
}

/// Kinds and lines that are not known are passed over, as the format asks.
fn parse(event: &str) -> Option<JobEvent> {
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
    let data = field("data: ")?;
    match field("event: ")? {
        "task" => serde_json::from_str(data).ok().map(JobEvent::Task),
        "job" => serde_json::from_str(data).ok().map(JobEvent::Job),
        "end" => Some(JobEvent::End),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_and_strange_ones_passed_over() {
        let task = parse("id: 1\nevent: task\ndata: {\"TaskName\":\"t\",\"State\":\"Running\"}");
        assert!(matches!(task, Some(JobEvent::Task(task)) if task.task_name == "t"));
        let job = parse("event: job\ndata: {\"Id\":\"job-1\",\"State\":\"Waiting\"}");
        assert!(matches!(job, Some(JobEvent::Job(job)) if job.state == "Waiting"));
        assert!(matches!(parse("event: end\ndata: {}"), Some(JobEvent::End)));
        for strange in
            [": still there", "event: job", "event: new\ndata: {}", "event: job\ndata: ["]
        {
            assert!(parse(strange).is_none(), "{strange}");
        }
    }
}
