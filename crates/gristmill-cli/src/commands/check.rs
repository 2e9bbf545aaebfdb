//! `bcs ch`: why a job waits, why it failed.
//!
//! The service's own words come first: the job's `Message`, the `Result` of failed instances, and
//! what it says stands in the way of each task. A service that does not say that is looked at: the
//! cluster that the job asks for, the machine type, the account's quota.

use super::{End, Outcome, detail::plain, required};
use crate::{
    caches::Kind,
    client::{Client, Instance, Obstacle, Task},
    dag,
    session::Session,
    table,
    words::{Language, Text, messages as m},
};
use clap::ArgMatches;
use serde_json::Value;

/// Failed instances shown per task; the first ones explain the others.
const FAILURES_SHOWN: usize = 10;

/// `bcs ch <job>`.
pub(super) async fn check(words: &ArgMatches, session: &mut Session) -> Outcome {
    let job = session.caches.resolve(Kind::Jobs, required(words, "job"))?;
    let client = session.client()?;
    let seen = client.get_job(&job).await?;
    let description = client.get_description(&job).await?;
    let tasks = client.list_tasks(&job).await?;
    session.say(m::EXEC, &[("words", &format!("ch {job}"))]);
    let colour = session.out.colour;
    session.out.data(&format!("JobName: {} ({})", seen.name, table::state(&seen.state, colour)))?;
    if !seen.message.is_empty() {
        session.out.data(&format!("  {}", seen.message))?;
    }
    let after: dag::Dependencies =
        serde_json::from_value(description["DAG"]["Dependencies"].clone()).unwrap_or_default();
    let obstacles = if seen.has_ended() { Vec::new() } else { client.obstacles(&job).await? };
    let names: Vec<String> = tasks.iter().map(|task| task.task_name.clone()).collect();
    for name in dag::stages(&names, &after).concat() {
        let task =
            tasks.iter().find(|task| task.task_name == name).expect("the names are these tasks'");
        show_task(&client, &job, task, session).await?;
        let obstacle = obstacles.iter().find(|it| it.task_name == name);
        if let Some(obstacle) = obstacle {
            session.out.data(&format!("   |- {}", say_obstacle(obstacle, session.language)))?;
        } else if task.state == "Waiting" && !seen.has_ended() {
            let described = &description["DAG"]["Tasks"][&name];
            let earlier = waits_for(&name, &after, &tasks);
            for reason in why_waiting(&client, described, &earlier, session).await? {
                session.out.data(&format!("   |- {reason}"))?;
            }
        }
    }
    Ok(End::Success)
}

async fn show_task(
    client: &Client,
    job: &str,
    task: &Task,
    session: &mut Session,
) -> anyhow::Result<()> {
    let (state, counts) = (table::state(&task.state, session.out.colour), task.instance_metrics);
    session.out.data(&format!("|- TaskName: {} ({state}) {}", task.task_name, counts.ratio()))?;
    if counts.failed == 0 {
        return Ok(());
    }
    let (failed, _) = client.instances_page(job, &task.task_name, Some("Failed"), "").await?;
    // A service that does not know the filter answers with all of them.
    let failed: Vec<&Instance> =
        failed.iter().filter(|instance| instance.state == "Failed").collect();
    for instance in failed.iter().take(FAILURES_SHOWN) {
        for line in failure(instance) {
            session.out.data(&format!("   {line}"))?;
        }
    }
    let hidden = counts.failed.saturating_sub(failed.len().min(FAILURES_SHOWN) as u64);
    if hidden > 0 {
        session.say(m::MORE_FAILURES, &[("count", &hidden.to_string()), ("task", &task.task_name)]);
    }
    Ok(())
}

fn failure(instance: &Instance) -> Vec<String> {
    let result = &instance.result;
    let mut lines = vec![format!("|- InstanceId: {} (Failed)", instance.instance_id)];
    let parts = [
        ("ErrorCode", result.error_code.clone()),
        ("ExitCode", result.exit_code.to_string()),
        ("ErrorMessage", result.error_message.clone()),
        ("Detail", result.detail.clone()),
        ("Stderr", instance.stderr_redirect_path.clone()),
    ];
    let shown = parts.into_iter().filter(|(_, value)| !value.is_empty());
    lines.extend(shown.map(|(name, value)| format!("     {name}: {value}")));
    lines
}

/// What stands in the way of a task, in the user's language; in the service's words when this
/// program does not know it.
fn say_obstacle(obstacle: &Obstacle, language: Language) -> String {
    let fact = |name: &str| obstacle.facts.get(name).map_or("", String::as_str);
    let text = match obstacle.code.as_str() {
        "Tasks" if fact("Others").is_empty() => m::WHY_TASKS,
        "Tasks" => m::WHY_MANY_TASKS,
        "ClusterDeleted" => m::WHY_CLUSTER_DELETED,
        "ClusterEmpty" => m::WAITS_EMPTY_CLUSTER,
        "MachinesStarting" if fact("Said").is_empty() => m::WHY_STARTING,
        "MachinesStarting" => m::WHY_STARTING_AGAIN,
        "MachineRefused" => m::WHY_REFUSED,
        "Withheld" => m::WHY_WITHHELD,
        "Reclaimed" => m::WHY_RECLAIMED,
        "PrepaidTaken" => m::WHY_PREPAID,
        "MachineQuota" => m::WHY_MACHINES,
        "CoreQuota" => m::WHY_CORES,
        "AttachedFull" => m::WHY_ATTACHED_FULL,
        "Turn" => m::WHY_TURN,
        "Busy" => m::WHY_BUSY,
        "Placing" => m::WHY_PLACING,
        _ => return obstacle.message.clone(),
    };
    let names = ["Tasks", "Cluster", "Machines", "Said", "Why", "Used", "Limit", "Others"];
    let lower = names.map(str::to_ascii_lowercase);
    let values: Vec<_> =
        lower.iter().map(String::as_str).zip(names.iter().map(|name| fact(name))).collect();
    text.fill(language, &values)
}

/// Tasks before this one that have not finished.
fn waits_for(name: &str, after: &dag::Dependencies, tasks: &[Task]) -> Vec<String> {
    let is_before = |task: &&Task| {
        after.get(&task.task_name).is_some_and(|later| later.iter().any(|later| later == name))
    };
    let open = tasks.iter().filter(is_before).filter(|task| task.state != "Finished");
    open.map(|task| task.task_name.clone()).collect()
}

/// What stands in the way of a waiting task, as far as a client can see.
async fn why_waiting(
    client: &Client,
    task: &Value,
    earlier: &[String],
    session: &Session,
) -> anyhow::Result<Vec<String>> {
    let say = |text: Text, values: &[(&str, &str)]| text.fill(session.language, values);
    if !earlier.is_empty() {
        return Ok(vec![say(m::WAITS_FOR_TASKS, &[("tasks", &earlier.join(", "))])]);
    }
    let id = plain(&task["ClusterId"]);
    if id.is_empty() {
        let wanted = plain(&task["AutoCluster"]["InstanceType"]);
        let quotas = client.quotas().await?;
        let spot = plain(&task["AutoCluster"]["ResourceType"]) == "Spot";
        let allowed = if spot {
            quotas.available_spot_instance_type
        } else {
            quotas.available_cluster_instance_type
        };
        if !wanted.is_empty() && !allowed.contains(&wanted) {
            return Ok(vec![say(m::WAITS_TYPE_UNKNOWN, &[("type", &wanted)])]);
        }
        return Ok(vec![say(m::WAITS_FOR_MACHINES, &[])]);
    }
    let cluster = match client.get_cluster(&id).await {
        Ok(cluster) => cluster,
        Err(error) if error.code() == Some("InvalidResource.NotFound") => {
            return Ok(vec![say(m::WAITS_NO_CLUSTER, &[("cluster", &id)])]);
        }
        Err(error) => return Err(error.into()),
    };
    let sum =
        |count: fn(&crate::client::Group) -> u64| cluster.groups.values().map(count).sum::<u64>();
    let values = [("cluster", id.as_str())];
    Ok(vec![match (sum(|group| group.desired), sum(|group| group.actual)) {
        (0, _) => say(m::WAITS_EMPTY_CLUSTER, &values),
        (_, 0) => say(m::WAITS_STARTING_CLUSTER, &values),
        _ => say(m::WAITS_BUSY_CLUSTER, &values),
    }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_obstacle_is_said_in_the_users_language() {
        let read = |text: &str| -> Obstacle { serde_json::from_str(text).expect("an obstacle") };
        let quota = read(
            r#"{"TaskName": "a", "Code": "MachineQuota", "Message": "waits", "Facts": {"Used": "3", "Limit": "4"}}"#,
        );
        assert_eq!(
            say_obstacle(&quota, Language::English),
            "waits for machines: the account uses 3 of the 4 machines it may"
        );
        assert_eq!(
            say_obstacle(&quota, Language::Chinese),
            "正在等待机器：账号已使用 3 台机器，最多 4 台"
        );
        let many = read(
            r#"{"TaskName": "a", "Code": "Tasks", "Message": "waits", "Facts": {"Tasks": "`x`, `y`", "Others": "3"}}"#,
        );
        assert_eq!(
            say_obstacle(&many, Language::Chinese),
            "正在等待任务 `x`, `y` 以及另外 3 个任务"
        );
        let newer = read(r#"{"TaskName": "a", "Code": "Weather", "Message": "waits for rain"}"#);
        assert_eq!(say_obstacle(&newer, Language::Chinese), "waits for rain");
    }
}
