//! Pages for operators and tools: health, metrics, the description of the API.

use crate::{door::Door, measures::MEASURES};
use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use gristmill_model::WorkerState;
use http::header;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::sync::{Arc, OnceLock};

/// Renders `/metrics`.
#[derive(Clone)]
pub struct Pages {
    door: Arc<Door>,
    recorder: PrometheusHandle,
}

/// The recorder is the process's; a second region in one process shares it.
fn recorder() -> PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    let install = || {
        PrometheusBuilder::new()
            .install_recorder()
            .unwrap_or_else(|_| PrometheusBuilder::new().build_recorder().handle())
    };
    RECORDER.get_or_init(install).clone()
}

impl Pages {
    /// Pages about this region.
    pub fn new(door: Arc<Door>) -> Self {
        Self { door, recorder: recorder() }
    }

    /// `GET /metrics`: counters of the process and the present state of the world. No job, bucket
    /// or account is a label.
    pub fn metrics(&self) -> String {
        let world = self.door.mill.published().world();
        let mut workers = [0u32; 4];
        for worker in world.all_workers() {
            let place = match worker.state {
                WorkerState::Pending => 0,
                WorkerState::Starting => 1,
                WorkerState::Running => 2,
                WorkerState::Deleting => 3,
            };
            workers[place] += 1;
        }
        let states = ["pending", "starting", "running", "deleting"];
        for (state, count) in states.into_iter().zip(workers) {
            metrics::gauge!("gristmill_workers", "state" => state).set(count);
        }
        let (mut jobs, mut instances) = ([0u64; 3], [0u64; 2]);
        for job in world.all_jobs() {
            let place = match job.state.name() {
                "Waiting" => 0,
                "Running" => 1,
                _ => 2,
            };
            jobs[place] += 1;
            instances[0] += u64::from(job.instance_counts.waiting);
            instances[1] += u64::from(job.instance_counts.running);
        }
        for (state, count) in ["waiting", "running", "ended"].into_iter().zip(jobs) {
            metrics::gauge!("gristmill_jobs", "state" => state).set(count as f64);
        }
        for (state, count) in ["waiting", "running"].into_iter().zip(instances) {
            metrics::gauge!("gristmill_instances", "state" => state).set(count as f64);
        }
        self.recorder.render() + &MEASURES.render()
    }
}

const OPENAPI: &str = include_str!("../data/openapi.json");

/// `GET /openapi.json`
pub async fn openapi() -> Response<Body> {
    ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], OPENAPI).into_response()
}
