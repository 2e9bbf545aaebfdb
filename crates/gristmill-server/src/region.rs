//! A region: everything below one data directory, put together.
//!
//! Starting: the world is recovered, the object store opened, the listeners bound, and only then
//! work begins: standing effects go to the hands, agents that lived on call again. Stopping:
//! listeners close, what is in flight is answered, a checkpoint is taken, and workers end with the
//! region; after a crash they live on.

use crate::{
    agent_service::AgentService,
    briefing::Briefing,
    catalogue::{Catalogue, CatalogueError},
    config::RegionConfig,
    door::Door,
    front::{self, ByHost, Service},
    hands::Hands,
    keys::{AccountKey, KeyRing},
    launch::Launch,
    mill::{Clock, Mill},
    object_keys::ObjectKeys,
    pages, patience,
    recovery::{RecoveryError, recover},
    sessions::Sessions,
};
use axum::{Router, body::Body, routing::get};
use gristmill_core::{IdMint, Options};
use gristmill_gateway::{Gateway, GatewayOptions};
use gristmill_model::AccountId;
use gristmill_objects::disk::DiskStore;
use gristmill_provider::{LocalOptions, LocalProvider, Provider};
use gristmill_wire::agent::CONNECT_PATH;
use http::Request;
use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpListener, sync::{mpsc, watch}, task::JoinSet};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

/// The bucket that is there from the beginning.
pub const DEFAULT_BUCKET: &str = "gristmill";
/// How long requests and workers may take to end when the region stops.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// What a region must not print.
pub struct RegionSecrets {
    /// The root key's id.
    pub root_key_id: String,
    /// Its secret.
    pub root_key_secret: String,
    /// Keys of tasks and tokens of workers are derived from it.
    pub region_secret: [u8; 32],
    /// Where ids come from; new at every start.
    pub id_seed: [u8; 32],
}

/// Why a region does not start.
#[derive(Debug, thiserror::Error)]
pub enum RegionError {
    /// The control plane's books.
    #[error("could not recover the region")]
    Recover(#[from] RecoveryError),
    /// The object store's files.
    #[error("could not open the object store")]
    Objects(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The provider of machines.
    #[error("could not prepare this host for machines")]
    Provider(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A port.
    #[error("could not listen on {address} for {what}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Of which service.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The self-made certificate.
    #[error("could not make a certificate")]
    Certificate(#[source] io::Error),
    /// The catalogue of instance types.
    #[error("could not use the instance types of {}", file.display())]
    Catalogue {
        /// Which file.
        file: PathBuf,
        /// Why not.
        source: CatalogueError,
    },
    /// The catalogue's file.
    #[error("could not read {}", file.display())]
    CatalogueFile {
        /// Which file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A running region.
pub struct Region {
    mill: Mill,
    provider: Arc<dyn Provider>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    /// Where the API listens.
    pub api: SocketAddr,
    /// Where the object store listens.
    pub oss: SocketAddr,
}

impl Region {
    /// Starts a region. `program` is what machines are started with.
    pub async fn start(
        config: RegionConfig,
        secrets: RegionSecrets,
        clock: Clock,
        program: PathBuf,
    ) -> Result<Self, RegionError> {
        let catalogue = catalogue(&config)?;
        let account = AccountId(config.root_account);
        let objects = open_objects(&config.data_dir, account).await?;
        let listeners = Listeners::bind(&config).await?;
        let (api, oss) = (listeners.api_address(), listeners.oss_address());
        let options = Options {
            limits: config.limits.clone(),
            slots_per_worker: config.local.slots,
            worker_start_max: config.patience.worker_start_max,
            ..Options::default()
        };
        let mut recovered = recover(&config.data_dir, options)?;
        let standing = recovered.world.standing_effects().into_iter().map(|effect| (None, effect));
        let outbox = std::mem::take(&mut recovered.outbox);
        let standing = outbox.into_iter().map(|(id, effect)| (Some(id), effect)).chain(standing).collect();
        let readers = recovered.store.readers();
        let keys = Arc::new(key_ring(&secrets, account));
        let (to_hands, effects) = mpsc::unbounded_channel();
        let mill = Mill::start(recovered, IdMint::new(secrets.id_seed), clock.clone(), to_hands);
        let briefing = Briefing {
            region: config.region.clone(),
            oss_endpoint: format!("http://{oss}"),
            oss_host: oss.to_string(),
        };
        let beat = config.patience.worker_beat.into();
        let sessions = Arc::new(Sessions::new(mill.clone(), keys.clone(), briefing, beat));
        let provider = provider(&config)?;
        let launch = Launch {
            program,
            server: format!("http://{api}"),
            masked: vec![config.data_dir.clone()],
            config: config.clone(),
            catalogue: catalogue.clone(),
            privileged: nix::unistd::geteuid().is_root(),
        };
        let hands = Hands::new(mill.clone(), provider.clone(), launch, keys.clone());
        let gateway = gateway(&config, objects, clock.clone(), ObjectKeys::new(keys.clone(), mill.published().clone()));
        let door = Arc::new(Door {
            mill: mill.clone(),
            readers,
            sessions: sessions.clone(),
            keys,
            catalogue,
            config: config.clone(),
            clock: clock.clone(),
        });
        let (stop, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(hands.clone().work(standing, effects, stopping.clone()));
        tasks.spawn(hands.observe(config.patience.observe_every.into(), stopping.clone()));
        tasks.spawn(patience::watch_workers(mill.clone(), sessions.clone(), config.patience.clone(), stopping.clone()));
        tasks.spawn(patience::tick(mill.clone(), clock, stopping.clone()));
        listeners.serve(&mut tasks, router(door, sessions), gateway, &stopping);
        info!(region = config.region, %api, %oss, data = %config.data_dir.display(), "region is up");
        Ok(Self { mill, provider, stop, tasks, api, oss })
    }

    /// Answers what is in flight, takes a checkpoint, ends the workers.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_PATIENCE, ended).await.is_err() {
            warn!("some requests did not end in time");
        }
        self.tasks.shutdown().await;
        self.mill.stop().await;
        self.provider.end_all().await;
        info!("region is down");
    }
}

fn catalogue(config: &RegionConfig) -> Result<Catalogue, RegionError> {
    let Some(file) = config.instance_types.clone() else { return Ok(Catalogue::built_in()) };
    match std::fs::read_to_string(&file) {
        Ok(text) => {
            Catalogue::parse(&text).map_err(|source| RegionError::Catalogue { file, source })
        }
        Err(source) => Err(RegionError::CatalogueFile { file, source }),
    }
}

fn key_ring(secrets: &RegionSecrets, account: AccountId) -> KeyRing {
    let key = AccountKey { secret: secrets.root_key_secret.clone(), account };
    KeyRing::new(secrets.region_secret, BTreeMap::from([(secrets.root_key_id.clone(), key)]))
}

async fn open_objects(data_dir: &Path, account: AccountId) -> Result<Arc<DiskStore>, RegionError> {
    todo!()
}

fn provider(config: &RegionConfig) -> Result<Arc<dyn Provider>, RegionError> {
    todo!()
}

fn router(door: Arc<Door>, sessions: Arc<Sessions>) -> Service {
    let pages = pages::Pages::new(door.clone());
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(move || async move { pages.metrics() }))
        .route("/openapi.json", get(pages::openapi))
        .route_service(CONNECT_PATH, AgentService(sessions))
        .fallback(move |request: Request<Body>| door.clone().answer(request));
    front::of_router(router)
}
