//! Puts the object store's door together: the store on disk, the gateway before it, and the
//! region's keys as the gateway asks for them. The two rooms do not know each other.

use anyhow::Context;
use gristmill_gateway::{AccessKeys, Gateway, Key, Scope, Settings, Unwelcome};
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
    fn find(&self, access_key_id: &str, token: Option<&str>) -> Result<Key, Unwelcome> {
        let admission = self.0.find_for_objects(access_key_id, token).map_err(unwelcome)?;
        let scope = admission.grants.map_or(Scope::Everything, Scope::Grants);
        Ok(Key { secret: admission.secret, account: admission.account, scope })
    }
}

fn unwelcome(why: gristmill_server::Unwelcome) -> Unwelcome {
    use gristmill_server::Unwelcome as U;
    match why {
        // As the hosted service: a temporary id alone is not known.
        U::Unknown | U::MissingToken => Unwelcome::Unknown,
        U::Inactive => Unwelcome::Inactive,
        U::AccountDisabled => Unwelcome::AccountDisabled,
        U::WrongToken => Unwelcome::WrongToken,
        U::Expired => Unwelcome::Expired,
    }
}
