//! Imported images: the server's end of `gristmill admin image`.
//!
//! The command unpacks an image beside the region, in the region's data directory, and then asks
//! this door to name it: untrusted archives are not opened by the process that keeps the books. What
//! the door does is one transaction of the registry; see `server::images` for what follows.

use super::{account_named, body};
use crate::{
    catalogue::is_system_image,
    door::{Call, Door, Reply},
    images::without_network,
    registrar::causes,
};
use gristmill_model::{AccountId, ClusterId, ImageId, WorkerId};
use gristmill_store::registry::Import;
use gristmill_wire::{
    api::Query,
    error::{ApiError, Code, quote},
    time::WireTime,
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What an import is to be.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ImportBody {
    /// The directory's name in the region's library of images.
    directory: String,
    /// For whom; absent: for every account.
    account: Option<String>,
    /// Of what was imported.
    digest: String,
    /// What it was imported from.
    origin: String,
    /// Whether one of the same id may be replaced.
    #[serde(default)]
    replace: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct CheckBody {
    /// What the check found; empty: nothing.
    fault: String,
}

/// The id of an import: `m-…`, or a system image that is not for one kind of network.
fn id_of(text: &str) -> Result<ImageId, ApiError> {
    let wrong = |why: &str| ApiError::invalid("Image", format!("{} {why}", quote(text)));
    let id: ImageId = text.parse().map_err(|_| wrong("is no image id: `m-` and a name"))?;
    let is_own = text.starts_with("m-");
    if is_own || is_system_image(&id) && without_network(&id) == id && !text.contains("windows") {
        return Ok(id);
    }
    Err(wrong("cannot be imported: only `m-…`, `img-ubuntu` and `img-centos` can"))
}

/// `GET /admin/images`
pub async fn list(door: &Door) -> Result<Reply, ApiError> {
    let imports = door.registrar.ask(gristmill_store::registry::Registry::imports).await?;
    let items: Vec<Value> = imports.iter().map(|import| shown(door, import)).collect();
    Ok(Reply::ok(&json!({ "Items": items })))
}

/// `GET /admin/images/{image}`
pub async fn show(door: &Door, image: &str) -> Result<Reply, ApiError> {
    let import = find(door, image).await?;
    let mut about = shown(door, &import);
    let (machines, clusters) = users(door, &import).await;
    about["Machines"] = json!(machines);
    about["Clusters"] = json!(clusters);
    Ok(Reply::ok(&about))
}

async fn find(door: &Door, image: &str) -> Result<Import, ApiError> {
    let id = id_of(image)?;
    door.registrar.ask(move |registry| registry.import(&id)).await
}

/// `POST /admin/images/{image}`: names an unpacked image.
pub async fn create(door: &Door, call: &Call, image: &str) -> Result<Reply, ApiError> {
    let ImportBody { directory, account, digest, origin, replace } = body(call)?;
    let id = id_of(image)?;
    let account = match account {
        Some(_) if is_system_image(&id) => {
            let why = "a system image is for every account";
            return Err(ApiError::invalid("Account", why));
        }
        Some(account) => Some(account_named(door, &account).await?),
        None => None,
    };
    let (library, name) = (door.images.library().clone(), directory.clone());
    let look = move || library.steady().and_then(|steady| Ok((steady, library.sealed(&name)?)));
    let found = tokio::task::spawn_blocking(look).await.expect("looking does not panic");
    // Nothing is swept away between the look and the name.
    let (_steady, sealed) = found.map_err(|error| {
        let message = format!("{error}{}", causes(&error));
        ApiError::new(Code::ServiceUnavailable, message)
    })?;
    let Some(seal) = sealed.filter(|_| directory.starts_with(&format!("{id}."))) else {
        let why = format!("{} is no unpacked image of this region", quote(&directory));
        return Err(ApiError::invalid("Directory", why));
    };
    let import = Import {
        id,
        account,
        platform: "Linux".to_owned(),
        root: directory,
        digest,
        bytes: seal.bytes,
        origin,
        imported: (door.clock)(),
        checked: None,
        fault: String::new(),
    };
    let noted = import.clone();
    door.registrar.ask(move |registry| registry.put_import(&noted, replace)).await?;
    sweep(door);
    Ok(Reply::json(StatusCode::CREATED, &shown(door, &import)))
}

/// `DELETE /admin/images/{image}[?Force=true]`
pub async fn delete(door: &Door, image: &str, query: &Query<'_>) -> Result<Reply, ApiError> {
    let import = find(door, image).await?;
    let (machines, clusters) = users(door, &import).await;
    let is_forced = query.get("Force") == Some("true");
    let used = match (machines.first(), clusters.first()) {
        _ if is_forced => None,
        (Some(machine), _) => Some(format!("machine {machine} runs from it")),
        (None, Some(cluster)) => Some(format!("cluster {cluster} names it")),
        (None, None) if door.images.library().is_held(&import.root) => {
            Some("a machine that is going still runs from it".to_owned())
        }
        (None, None) => None,
    };
    if let Some(used) = used {
        let message = format!("image `{}` is in use: {used}; --force removes it", import.id);
        return Err(ApiError::new(Code::StateConflict, message));
    }
    door.registrar.ask(move |registry| registry.delete_import(&import.id)).await?;
    sweep(door);
    Ok(Reply::Empty(StatusCode::NO_CONTENT))
}

/// `POST /admin/images/{image}/check`: notes what a check found.
pub async fn note_check(door: &Door, call: &Call, image: &str) -> Result<Reply, ApiError> {
    let CheckBody { fault } = body(call)?;
    let (id, at) = (id_of(image)?, (door.clock)());
    door.registrar.ask(move |registry| registry.note_import_checked(&id, at, &fault)).await?;
    let import = find(door, image).await?;
    Ok(Reply::ok(&shown(door, &import)))
}

/// Takes away what is not needed any more; nobody waits for it.
fn sweep(door: &Door) {
    let images = door.images.clone();
    drop(tokio::task::spawn_blocking(move || images.sweep()));
}

fn shown(door: &Door, import: &Import) -> Value {
    json!({
        "Id": import.id,
        "Account": import.account,
        "Platform": import.platform,
        "Bytes": import.bytes,
        "Digest": import.digest,
        "Origin": import.origin,
        "Directory": door.images.library().directory(&import.root),
        "ImportTime": WireTime(Some(import.imported)),
        "CheckTime": WireTime(import.checked),
        "Fault": import.fault,
        "InUse": door.images.library().is_held(&import.root),
    })
}

/// Machines and clusters of the region that start from an import.
type Users = (Vec<WorkerId>, Vec<ClusterId>);

async fn users(door: &Door, import: &Import) -> Users {
    let (world, images) = (door.mill.published().world(), door.images.clone());
    let directory = images.library().directory(&import.root);
    let work = move || {
        // Thousands of clusters name a few images.
        let mut known: BTreeMap<(AccountId, ImageId), bool> = BTreeMap::new();
        let mut is_it = |account, image: ImageId| {
            *known.entry((account, image)).or_insert_with_key(|(account, image)| {
                images.root_of(*account, Some(image)).ok().flatten().as_ref() == Some(&directory)
            })
        };
        let (mut machines, mut clusters) = (Vec::new(), Vec::new());
        for cluster in world.all_clusters().filter(|cluster| !cluster.deleting) {
            for (name, group) in &cluster.groups {
                let image = cluster.shape_of(name).image;
                if image.is_some_and(|image| is_it(cluster.account, image)) {
                    machines.extend(group.workers.iter().copied());
                    clusters.push(cluster.id);
                }
            }
        }
        clusters.dedup();
        (machines, clusters)
    };
    tokio::task::spawn_blocking(work).await.expect("looking at the world does not panic")
}
