//! `GET /clusters/{cluster}/groups/{group}/instances/{machine}/bootstrap-log?offset=N`, ours: what the
//! cluster's bootstrap command has said on a machine, both streams in one, from a given offset on.
//!
//! Answers 200 with the bytes, `x-gristmill-next-offset`, and `x-gristmill-eof: true` when nothing will
//! follow from here: the machine is not being set up. Only the cluster's owner reads it. It goes with the machine; that of an attempt that failed stays until the next one.

use super::{clusters, live_log::number};
use crate::{
    door::{Call, Door, Reply},
    shell::Address,
};
use gristmill_model::WorkerState;
use gristmill_wire::{
    api::Query,
    error::{ApiError, Code},
};

/// The most bytes of one answer.
const BYTES_MAX: usize = 1 << 20;

/// Whether this is the path of a bootstrap log.
pub fn address_of<'a>(method: &str, path: &'a str) -> Option<Address<'a>> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match (method, parts.as_slice()) {
        ("GET", ["clusters", cluster, "groups", group, "instances", machine, "bootstrap-log"]) => {
            Some(Address { cluster, group, machine })
        }
        _ => None,
    }
}

/// Reads.
pub async fn read(
    door: &Door,
    call: &Call,
    query: &Query<'_>,
    address: Address<'_>,
) -> Result<Reply, ApiError> {
    let offset = number(query, "offset")?;
    let (machine, state) = {
        let world = door.mill.published().world();
        let worker = clusters::machine(&world, call.account, address)?;
        (worker.id, worker.state)
    };
    let bytes = door
        .provider
        .bootstrap_log(machine, offset, BYTES_MAX)
        .await
        .map_err(|error| ApiError::new(Code::ServiceUnavailable, error.to_string()))?;
    let over = state != WorkerState::Starting && bytes.len() < BYTES_MAX;
    let next = offset + bytes.len() as u64;
    let headers =
        vec![("x-gristmill-next-offset", next.to_string()), ("x-gristmill-eof", over.to_string())];
    Ok(Reply::Bytes(bytes, headers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_log_of_a_machine_is_ours() {
        let path = "/clusters/c/groups/g/instances/i/bootstrap-log";
        let found = address_of("GET", path).expect("ours");
        assert_eq!((found.cluster, found.group, found.machine), ("c", "g", "i"));
        for (method, path) in
            [("POST", path), ("GET", "/clusters/c/groups/g/instances/i"), ("GET", "/bootstrap-log")]
        {
            assert!(address_of(method, path).is_none(), "{method} {path}");
        }
    }
}
