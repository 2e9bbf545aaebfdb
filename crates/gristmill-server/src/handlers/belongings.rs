//! Whether what a description names is the caller's: buckets of mappings and mounts, and images.
//!
//! It is asked before a job or a cluster is taken, so that a person learns of it at once and not
//! from a failed instance. It is no protection by itself: buckets change hands later, and the key
//! of a task opens what its account may use at that moment. A bucket that is not there yet may be
//! named; an instance that needs it says so.
//!
//! A limited key may describe only what it could read and write itself: otherwise its jobs would
//! do for it what it may not.

use crate::{
    catalogue::is_system_image,
    door::{Call, Door},
    task_keys::{mapped, mounted},
};
use gristmill_model::{
    AccountId, ClusterChange, ClusterSpec, ImageId, JobSpec, Placement, TaskSpec,
    change::NewMounts,
    policy::{Grant, OssRights, Reach},
    spec::Mounts,
};
use gristmill_objects::{BucketAcl, BucketInfo, ObjectError};
use gristmill_wire::error::{ApiError, Code};
use std::collections::BTreeMap;
use tracing::error;

/// Checks a job.
pub async fn check_job(door: &Door, call: &Call, spec: &JobSpec) -> Result<(), ApiError> {
    let mut named = Named::by(call);
    for (name, task) in &spec.tasks {
        named.task(task).map_err(|error| error.inside(format!("task {name}")))?;
    }
    named.check(door, call.account).await
}

/// Checks a cluster.
pub async fn check_cluster(door: &Door, call: &Call, spec: &ClusterSpec) -> Result<(), ApiError> {
    let mut named = Named::by(call);
    named.mounts(spec.configs.mounts.as_ref())?;
    named.image(spec.image.as_ref(), "ImageId");
    for group in spec.groups.values() {
        named.image(group.image.as_ref(), "ImageId");
    }
    named.check(door, call.account).await
}

/// Checks a change of a cluster.
pub async fn check_change(
    door: &Door,
    call: &Call,
    change: &ClusterChange,
) -> Result<(), ApiError> {
    let mut named = Named::by(call);
    if let Some(NewMounts::These(mounts)) = &change.mounts {
        named.mounts(Some(mounts))?;
    }
    named.image(change.image.as_ref(), "ImageId");
    for group in change.groups.values() {
        named.image(group.image.as_ref(), "ImageId");
    }
    named.check(door, call.account).await
}

/// What a description names, each thing once: a job of 100,000 tasks uses few buckets.
struct Named {
    reach: Reach,
    /// What is to be done in each bucket.
    buckets: BTreeMap<String, Wanted>,
    /// Images, with the member that named them.
    images: BTreeMap<ImageId, &'static str>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Wanted {
    /// Objects are written.
    write: bool,
    /// A prefix is listed, which only the owner of a bucket may.
    list: bool,
}

impl Named {
    fn by(call: &Call) -> Self {
        let reach = call.caller.permit.reach();
        Self { reach, buckets: BTreeMap::new(), images: BTreeMap::new() }
    }

    fn task(&mut self, task: &TaskSpec) -> Result<(), ApiError> {
        mapped(task).iter().try_for_each(|grant| self.place(grant))?;
        self.mounts(task.mounts.as_ref())?;
        if let Placement::Auto(shape) | Placement::Attach { shape, .. } = &task.placement {
            self.mounts(shape.configs.mounts.as_ref())?;
            match &shape.ecs_image {
                // It wins: the other is not looked at.
                Some(image) => self.image(Some(image), "ECSImageId"),
                None => self.image(shape.image.as_ref(), "ImageId"),
            }
        }
        Ok(())
    }

    fn mounts(&mut self, mounts: Option<&Mounts>) -> Result<(), ApiError> {
        mounted(mounts).iter().try_for_each(|grant| self.place(grant))
    }

    fn place(&mut self, grant: &Grant) -> Result<(), ApiError> {
        let Some(path) = &grant.place else { return Ok(()) };
        let (write, list) = (grant.rights.put, grant.rights.list && path.is_prefix());
        let rights = OssRights { get: grant.rights.get, put: write, list, delete: false };
        if !self.reach.covers(path, rights) {
            let message = format!("{path} is beyond what this access key may use");
            return Err(ApiError::new(Code::Forbidden, message));
        }
        if !self.buckets.contains_key(path.bucket()) {
            self.buckets.insert(path.bucket().to_owned(), Wanted::default());
        }
        let wanted = self.buckets.get_mut(path.bucket()).expect("it was put there");
        wanted.write |= write;
        wanted.list |= list;
        Ok(())
    }

    fn image(&mut self, image: Option<&ImageId>, member: &'static str) {
        let others = image.filter(|image| !is_system_image(image));
        if let Some(image) = others.filter(|image| !self.images.contains_key(image)) {
            self.images.insert(image.clone(), member);
        }
    }

    async fn check(self, door: &Door, account: AccountId) -> Result<(), ApiError> {
        for (bucket, wanted) in &self.buckets {
            match door.objects.bucket(bucket).await {
                Ok(info) if may(account, &info, *wanted) => {}
                Ok(_) => {
                    let message = format!("bucket `{bucket}` belongs to another account");
                    return Err(ApiError::new(Code::Forbidden, message));
                }
                Err(ObjectError::NoSuchBucket { .. }) => {}
                Err(failed) => {
                    error!(bucket, error = %failed, "a bucket could not be looked up");
                    let message = format!("bucket `{bucket}` could not be looked up");
                    return Err(ApiError::new(Code::ServiceUnavailable, message));
                }
            }
        }
        check_images(door, account, self.images).await
    }
}

/// Strangers read and write single objects where the bucket is open to them, and never list.
fn may(account: AccountId, bucket: &BucketInfo, wanted: Wanted) -> bool {
    let is_open = match (wanted, bucket.acl) {
        (Wanted { list: true, .. }, _) | (_, BucketAcl::Private) => false,
        (Wanted { write, .. }, BucketAcl::PublicRead) => !write,
        (_, BucketAcl::PublicReadWrite) => true,
    };
    bucket.owner == account || is_open
}

/// An image of the account, or one that was imported for it.
async fn check_images(
    door: &Door,
    account: AccountId,
    images: BTreeMap<ImageId, &'static str>,
) -> Result<(), ApiError> {
    if images.is_empty() {
        return Ok(());
    }
    let missing = door.registrar.ask(move |registry| {
        for (image, member) in images {
            let is_there = match image.as_str().starts_with("m-") {
                true => registry.import_for(account, &image)?.is_some(),
                false => registry.has_image(account, &image)?,
            };
            if !is_there {
                return Ok(Some((image, member)));
            }
        }
        Ok(None)
    });
    match missing.await? {
        None => Ok(()),
        Some((image, member)) => {
            Err(ApiError::invalid(member, format!("`{image}` is not here, see GET /images")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_model::Timestamp;

    #[test]
    fn strangers_use_what_is_open_and_never_list() {
        let (ours, theirs) = (AccountId(1), AccountId(2));
        let bucket = |acl| BucketInfo {
            name: "bucket".to_owned(),
            owner: theirs,
            created: Timestamp(0),
            acl,
        };
        let read = Wanted { write: false, list: false };
        let (write, list) = (Wanted { write: true, ..read }, Wanted { list: true, ..read });
        for (acl, rights) in [
            (BucketAcl::Private, [false, false, false]),
            (BucketAcl::PublicRead, [true, false, false]),
            (BucketAcl::PublicReadWrite, [true, true, false]),
        ] {
            let stranger = [read, write, list].map(|wanted| may(ours, &bucket(acl), wanted));
            assert_eq!(stranger, rights, "{acl:?}");
            assert!([read, write, list].iter().all(|wanted| may(theirs, &bucket(acl), *wanted)));
        }
    }

    #[test]
    fn a_limited_key_names_only_what_it_reaches() {
        let mut named = Named {
            reach: Reach {
                rights: OssRights { get: true, put: true, list: false, delete: false },
                places: Some(vec!["oss://bucket/own/".parse().expect("legal")]),
            },
            buckets: BTreeMap::new(),
            images: BTreeMap::new(),
        };
        let mut place = |path: &str, rights| {
            let grant = Grant { place: path.parse().ok(), rights };
            named.place(&grant).map_err(|error| error.to_string())
        };
        assert_eq!(place("oss://bucket/own/object", OssRights::READ), Ok(()));
        assert_eq!(place("oss://bucket/own/dir/", OssRights::WRITE), Ok(()));
        let beyond =
            |path| Err(format!("Forbidden: {path} is beyond what this access key may use"));
        assert_eq!(place("oss://bucket/own/", OssRights::READ), beyond("oss://bucket/own/"));
        assert_eq!(place("oss://bucket/x", OssRights::READ), beyond("oss://bucket/x"));
    }
}
