//! Puts the object store's door together: the store on disk, the gateway before it, and the
//! region's keys as the gateway asks for them. The two rooms do not know each other.

use anyhow::Context;
use gristmill_gateway::{AccessKeys, Gateway, Grant, Granted, Key, Scope, Settings};
use gristmill_model::AccountId;
use gristmill_objects::{BucketAcl, LocalStore, ObjectError, disk::DiskStore};
use gristmill_server::{Clock, Doorkeeper, RegionConfig, front};
use std::sync::Arc;

/// The bucket that is there from the beginning.
pub const DEFAULT_BUCKET: &str = "gristmill";

/// Opens the store of a region and makes its first bucket.
pub async fn open_store(config: &RegionConfig, clock: Clock) -> anyhow::Result<Arc<DiskStore>> {
    let directory = config.data_dir.join("objects");
    let opened = tokio::task::spawn_blocking(move || DiskStore::open(&directory, clock)).await?;
    let store = opened.context("could not open the object store")?;
    let owner = AccountId(config.root_account);
    // Made again it would lose the ACL its owner gave it.
    if let Err(ObjectError::NoSuchBucket { .. }) = store.bucket(DEFAULT_BUCKET).await {
        store
            .create_bucket(DEFAULT_BUCKET, owner, BucketAcl::Private)
            .await
            .with_context(|| format!("could not make the bucket `{DEFAULT_BUCKET}`"))?;
    }
    Ok(Arc::new(store))
}

/// The door before this store.
pub fn door(
    config: &RegionConfig,
    store: Arc<DiskStore>,
    clock: Clock,
    doorkeeper: Doorkeeper,
) -> front::Service {
    let settings = Settings {
        region: config.region.clone(),
        regions_accepted: Vec::new(),
        endpoint_names: config.oss_hosts.clone(),
        clock,
    };
    let gateway = Gateway::new(store, Arc::new(RegionKeys(doorkeeper)), settings);
    front::of_function(move |request| {
        let gateway = gateway.clone();
        async move { gateway.handle(request).await }
    })
}

struct RegionKeys(Doorkeeper);

impl AccessKeys for RegionKeys {
    fn find(&self, access_key_id: &str) -> Option<Key> {
        let admission = self.0.find(access_key_id)?;
        let scope = match admission.grants {
            None => Scope::Everything,
            Some(grants) => Scope::Grants(grants.iter().map(grant).collect()),
        };
        let (secret, account) = (admission.secret, admission.account);
        Some(Key { secret, account, security_token: None, scope })
    }
}

fn grant(grant: &gristmill_server::Grant) -> Grant {
    let key = grant.path.key().to_owned();
    let what = if grant.path.is_prefix() { Granted::Prefix(key) } else { Granted::Key(key) };
    Grant { bucket: grant.path.bucket().to_owned(), what, read: !grant.write, write: grant.write }
}
