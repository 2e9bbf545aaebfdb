//! The smallest valid specifications: what is made of them in tests and in the simulation names only what
//! matters there. Names are taken as they come; one that is not valid panics.

use crate::{
    ClusterSpec, GroupSpec, JobSpec, Placement, Seconds, TaskSpec,
    spec::{AutoCluster, Configs, Program, Resource},
};
use std::collections::BTreeMap;

/// A job without tasks.
pub fn a_job(name: &str) -> JobSpec {
    JobSpec {
        name: name.parse().expect("a job name"),
        description: String::new(),
        priority: 0,
        fail_on_instance_fail: true,
        auto_release: false,
        notification: None,
        tasks: BTreeMap::new(),
        dependencies: BTreeMap::new(),
        app: None,
    }
}

/// The smallest valid task.
pub fn a_task(instance_count: u32, placement: &Placement) -> TaskSpec {
    TaskSpec {
        program: Program {
            command_line: "true".to_owned(),
            package: None,
            env: BTreeMap::new(),
            docker: None,
        },
        instance_count,
        retry_count_max: 0,
        timeout: Seconds(60),
        placement: placement.clone(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        logs: Vec::new(),
        write_support: false,
        mounts: None,
        locale: "GBK".to_owned(),
        lock: false,
        stdout: None,
        stderr: None,
        credential_config: None,
    }
}

/// What machines of an automatic cluster look like when nobody cares.
pub fn a_shape(reserve_on_fail: bool) -> AutoCluster {
    AutoCluster {
        image: None,
        ecs_image: None,
        instance_type: None,
        resource: Resource::OnDemand,
        configs: Configs::default(),
        user_data: BTreeMap::new(),
        reserve_on_fail,
        dependency_isv_service: String::new(),
    }
}

/// A cluster without groups.
pub fn a_cluster() -> ClusterSpec {
    ClusterSpec {
        name: "c".parse().expect("a name"),
        description: String::new(),
        image: None,
        instance_type: None,
        groups: BTreeMap::new(),
        user_data: BTreeMap::new(),
        env: BTreeMap::new(),
        bootstrap: String::new(),
        configs: Configs::default(),
        notification: None,
        extra: BTreeMap::new(),
    }
}

/// A group of so many machines.
pub fn a_group(desired: u32) -> GroupSpec {
    GroupSpec {
        desired,
        instance_type: None,
        image: None,
        resource: Resource::OnDemand,
        host_name_prefix: String::new(),
        mode: String::new(),
    }
}
