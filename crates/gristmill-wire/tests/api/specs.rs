//! Arbitrary specifications in the form in which they come out of a body.

use gristmill_model::{
    ClusterId, GroupName, GroupSpec, ImageId, JobName, JobSpec, OssPath, Placement, Seconds,
    TaskName, TaskSpec,
    catalogue::InstanceTypeName,
    spec::{
        AutoCluster, ClusterSpec, Configs, DataDisk, Disk, Docker, Input, MountEntry, Mounts,
        Notification, Output, Program, Resource,
    },
};
use proptest::{collection, option, prelude::*, sample};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    str::FromStr,
};

fn name<T: FromStr<Err: Debug> + Debug>() -> impl Strategy<Value = T> {
    "[a-zA-Z_-][a-zA-Z0-9_-]{0,20}".prop_map(|text| text.parse().expect("legal"))
}

fn texts() -> impl Strategy<Value = BTreeMap<String, String>> {
    collection::btree_map("[A-Z_]{1,8}", "[^\\x00]{0,12}", 0..3)
}

fn oss_path() -> impl Strategy<Value = OssPath> {
    "oss://[a-z0-9]{3,8}/([a-zé]{1,5}/){0,2}[a-z. ]{0,6}"
        .prop_map(|text| text.parse().expect("legal"))
}

fn object() -> impl Strategy<Value = OssPath> {
    "oss://[a-z0-9]{3,8}/[a-z]{1,9}".prop_map(|text| text.parse().expect("legal"))
}

/// Three families of local paths, so that inputs, mounts and outputs never meet.
fn local(family: &'static str) -> impl Strategy<Value = String> {
    "[a-zé]{1,6}(/[a-z]{1,4})?/?".prop_map(move |text| format!("/{family}/{text}"))
}

/// One path per place: the slash at the end does not make two of one.
fn by_place<V>(pairs: BTreeMap<String, V>) -> Vec<(String, V)> {
    let mut seen = BTreeSet::new();
    pairs
        .into_iter()
        .filter(|(path, _)| seen.insert(path.trim_end_matches('/').to_owned()))
        .collect()
}

fn outputs() -> impl Strategy<Value = Vec<Output>> {
    collection::btree_map(local("out"), oss_path(), 0..3).prop_map(|pairs| {
        pairs.into_iter().map(|(local, destination)| Output { local, destination }).collect()
    })
}

fn inputs() -> impl Strategy<Value = Vec<Input>> {
    collection::btree_map(local("in"), oss_path(), 0..3).prop_map(|pairs| {
        let mut sources = BTreeSet::new();
        let mut inputs: Vec<_> = by_place(pairs)
            .into_iter()
            .map(|(local, source)| Input { source, local })
            .filter(|input| sources.insert(input.source.clone()))
            .collect();
        inputs.sort_by(|a, b| a.source.cmp(&b.source));
        inputs
    })
}

fn locale() -> impl Strategy<Value = String> {
    sample::select(vec!["GBK", "UTF-8", "zh_CN.gb18030", "windows-1252"]).prop_map(str::to_owned)
}

fn entries() -> impl Strategy<Value = Vec<MountEntry>> {
    let source = prop_oneof![
        oss_path().prop_map(|path| path.to_string()),
        Just("nas://host.example:/share".to_owned())
    ];
    collection::btree_map(local("mnt"), (source, any::<bool>()), 0..3).prop_map(|pairs| {
        by_place(pairs)
            .into_iter()
            .map(|(destination, (source, write_support))| MountEntry {
                source,
                destination,
                write_support,
            })
            .collect()
    })
}

fn extra() -> impl Strategy<Value = BTreeMap<String, Value>> {
    let members = [
        ("NAS", json!({"AccessGroup": ["g"], "FileSystem": []})),
        ("OSS", json!({"AccessKeyId": "id"})),
        ("RefreshStrategy", json!("s")),
        ("RefreshTopicName", json!("t")),
        ("RefreshTimeOut", json!(7)),
        ("NasMetaCache", json!(true)),
    ];
    sample::subsequence(members.to_vec(), 0..=6)
        .prop_map(|members| members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
}

fn mounts() -> impl Strategy<Value = Option<Mounts>> {
    let sizes = (1..u32::MAX, 1..u64::MAX >> 1);
    let mounts = (entries(), locale(), any::<bool>(), any::<bool>(), sizes, extra());
    // The sizes differ from the defaults, so that these are never "no mounts".
    option::of(mounts.prop_map(|(entries, locale, lock, cache, (block, total), extra)| Mounts {
        entries,
        locale,
        lock,
        cache,
        cache_block_size: block,
        cache_total_size: if total == 536_870_912 { 1 } else { total },
        extra,
    }))
}

fn resource() -> impl Strategy<Value = Resource> {
    prop_oneof![
        Just(Resource::OnDemand),
        Just(Resource::PrePaid),
        Just(Resource::Spot { price_limit_milli: None }),
        (1..=u32::MAX).prop_map(|milli| Resource::Spot { price_limit_milli: Some(milli) }),
    ]
}

fn configs() -> impl Strategy<Value = Configs> {
    let kind = sample::select(vec!["cloud_efficiency", "cloud_ssd", "ephemeral"]);
    let networks = sample::select(vec![
        None,
        Some(json!({"Classic": {"AllowIpAddress": ["10.0.0.1"]}})),
        Some(json!({"Classic": {}, "VPC": {"CidrBlock": "10.0.0.0/12", "VpcId": "vpc-1"}})),
    ]);
    let system = option::of(40..=500_u32);
    let data = option::of((5..=32_768_u32, local("disk")));
    (kind, system, data, networks, mounts()).prop_map(|(kind, system, data, networks, mounts)| {
        let disk = |size_gb| Disk { size_gb, kind: kind.to_owned() };
        let data = data.map(|(size, mount_point)| DataDisk { disk: disk(size), mount_point });
        Configs { system_disk: system.map(disk), data_disk: data, networks, mounts }
    })
}

fn image() -> impl Strategy<Value = ImageId> {
    "(img|m)-[a-z0-9]{1,9}".prop_map(|text| text.parse().expect("legal"))
}

fn instance_type() -> impl Strategy<Value = InstanceTypeName> {
    "ecs\\.[a-z0-9.]{1,9}".prop_map(InstanceTypeName)
}

fn auto_cluster() -> impl Strategy<Value = AutoCluster> {
    let images = (image(), option::of(image()), option::of(instance_type()));
    (images, resource(), configs(), texts(), any::<bool>(), "[a-z]{0,4}").prop_map(
        |((image, ecs_image, instance_type), resource, configs, user_data, reserve, isv)| {
            AutoCluster {
                image: Some(image),
                ecs_image,
                instance_type,
                resource,
                configs,
                user_data,
                reserve_on_fail: reserve,
                dependency_isv_service: isv,
            }
        },
    )
}

fn cluster_id() -> impl Strategy<Value = ClusterId> {
    (0..ClusterId::LIMIT).prop_map(ClusterId)
}

fn placement() -> impl Strategy<Value = Placement> {
    prop_oneof![
        cluster_id().prop_map(Placement::Fixed),
        auto_cluster().prop_map(Placement::Auto),
        (cluster_id(), auto_cluster())
            .prop_map(|(cluster, shape)| Placement::Attach { cluster, shape }),
    ]
}

fn program() -> impl Strategy<Value = Program> {
    let docker = option::of(("[a-z:/.]{1,12}", "[a-z]{0,4}"));
    ("[a-z][^\\x00]{0,30}", option::of(object()), texts(), docker).prop_map(
        |(command_line, package, env, docker)| Program {
            command_line,
            package,
            env,
            docker: docker.map(|(image, run_mode)| Docker { image, run_mode }),
        },
    )
}

fn task() -> impl Strategy<Value = TaskSpec> {
    let numbers = (1..=1_000_000_u32, 0..=100_u32, 1..=2_592_000_u32);
    let paths = (inputs(), outputs(), outputs(), mounts());
    let flags = (any::<bool>(), any::<bool>(), locale());
    let config = sample::select(vec![None, Some(json!({"Chain": [{"Role": "r", "UserId": 1}]}))]);
    let redirects = (option::of(oss_path()), option::of(oss_path()));
    (program(), numbers, placement(), paths, flags, redirects, config).prop_map(
        |(
            program,
            numbers,
            placement,
            (inputs, outputs, logs, mounts),
            flags,
            redirects,
            config,
        )| {
            TaskSpec {
                program,
                instance_count: numbers.0,
                retry_count_max: numbers.1,
                timeout: Seconds(numbers.2),
                placement,
                inputs,
                outputs,
                logs,
                write_support: flags.0,
                mounts,
                locale: flags.2,
                lock: flags.1,
                stdout: redirects.0,
                stderr: redirects.1,
                credential_config: config,
            }
        },
    )
}

fn notification(events: &'static [&'static str]) -> impl Strategy<Value = Option<Notification>> {
    let events = collection::btree_set(sample::select(events), 0..3);
    let topic = ("[a-z]{1,5}", "[a-z.]{0,9}", events, "[a-z]{0,3}", "[a-z]{0,3}");
    option::of(topic.prop_map(|(topic, endpoint, events, user_data, user_template)| Notification {
        topic,
        endpoint,
        events: events.into_iter().map(str::to_owned).collect(),
        user_data,
        user_template,
    }))
}

/// Edges from the earlier to the later name: never a cycle.
fn dependencies(
    tasks: &BTreeMap<TaskName, TaskSpec>,
    seed: u64,
) -> BTreeMap<TaskName, BTreeSet<TaskName>> {
    let names: Vec<_> = tasks.keys().cloned().collect();
    let mut edges: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    let mut bits = seed;
    for (at, from) in names.iter().enumerate() {
        for to in &names[at + 1..] {
            if bits & 1 == 1 {
                edges.entry(from.clone()).or_default().insert(to.clone());
            }
            bits = bits.rotate_right(1);
        }
    }
    edges
}

/// A job as it comes out of a body.
pub fn job() -> impl Strategy<Value = JobSpec> {
    let events = &["OnJobFailed", "OnTaskRunning", "OnInstanceFinished", "OnPriorityChange"];
    let tasks = collection::btree_map(name::<TaskName>(), task(), 1..4);
    let words = (name::<JobName>(), "\\PC{0,40}");
    (words, 0..=1000_u16, any::<(bool, bool)>(), notification(events), tasks, any::<u64>())
        .prop_map(|((name, description), priority, flags, notification, tasks, seed)| {
            let dependencies = dependencies(&tasks, seed);
            JobSpec {
                name,
                description,
                priority,
                fail_on_instance_fail: flags.0,
                auto_release: flags.1,
                notification,
                tasks,
                dependencies,
                app: None,
            }
        })
}

fn group() -> impl Strategy<Value = GroupSpec> {
    let images = (option::of(instance_type()), option::of(image()));
    (0..=65_536_u32, images, resource(), "[a-z]{0,6}", "[a-z]{0,3}").prop_map(
        |(desired, (instance_type, image), resource, host_name_prefix, mode)| GroupSpec {
            desired: if resource == Resource::PrePaid { 0 } else { desired },
            instance_type,
            image,
            resource,
            host_name_prefix,
            mode,
        },
    )
}

/// A cluster as it comes out of a body.
pub fn cluster() -> impl Strategy<Value = ClusterSpec> {
    let members = [
        ("ScheduleType", json!("Push")),
        ("PasswordInherit", json!(true)),
        ("DependencyIsvService", json!("isv")),
    ];
    let extra = sample::subsequence(members.to_vec(), 0..=3);
    let words = (name::<JobName>(), "\\PC{0,40}", "[a-z ]{0,9}");
    let shape = (image(), option::of(instance_type()), configs());
    let groups = collection::btree_map(name::<GroupName>(), group(), 1..3);
    let events = &["OnClusterDeleted", "OnInstanceActive"];
    (words, shape, groups, (texts(), texts()), notification(events), extra).prop_map(
        |((name, description, bootstrap), shape, groups, (user_data, env), notification, extra)| {
            ClusterSpec {
                name,
                description,
                image: Some(shape.0),
                instance_type: shape.1,
                groups,
                user_data,
                env,
                bootstrap,
                configs: shape.2,
                notification,
                extra: extra.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
            }
        },
    )
}
