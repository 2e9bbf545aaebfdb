//! A region: everything below one data directory, put together.
//!
//! Starting: the world is recovered, the object store opened, the listeners bound, the networks of machines
//! that lived on made, and only then work begins: standing effects go to the hands, agents that lived on call again. Stopping:
//! workers end with the region, listeners close, what is in flight is answered, a checkpoint is
//! taken; after a crash workers live on.

use crate::{
    agent_service::AgentService,
    body::Bodies,
    briefing::Briefing,
    catalogue::{Catalogue, CatalogueError},
    config::RegionConfig,
    door::Door,
    doorkeeper::Doorkeeper,
    front::{self, ByHost, Service},
    handlers::{FOLLOWERS_MAX, Waiters},
    hands::Hands,
    images::Images,
    keys::KeyRing,
    launch::Launch,
    listeners::Listeners,
    market,
    messaging::{MessageService, Messaging, MessagingError},
    mill::{Clock, Mill, MillError},
    pages, patience,
    places::Places,
    pressure::Pressure,
    recovery::{Recovery, RecoveryError, recover},
    registrar::Registrar,
    seats::{Seats, SeatsError},
    sessions::Sessions,
    shell::Shells,
    ssh::SshDoor,
    streams::Streams,
    throttle::Throttle,
    vital::vital,
};
use axum::{Router, body::Body, routing::get};
use gristmill_core::{IdMint, Options};
use gristmill_messages::Messages;
use gristmill_model::{AccountId, Effect, Seconds, Timestamp, spec::Limits};
use gristmill_objects::LocalStore;
use gristmill_provider::{LocalProvider, Provider, ProviderError};
use gristmill_store::{
    EffectId, StoreError,
    registry::{Registry, RegistryError},
};
use gristmill_wire::agent::CONNECT_PATH;
use http::Request;
use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tracing::{info, warn};

/// How long requests and workers may take to end when the region stops.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// Longest wait before a host without room is asked again: asking costs nothing here, and room
/// comes whenever a task ends.
const ASK_AGAIN_MAX: Seconds = Seconds(5);

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
    /// Accounts, keys, images.
    #[error("could not open the registry")]
    Registry(#[source] StoreError),
    /// Accounts and keys.
    #[error("could not read the keys of the registry")]
    Keys(#[source] RegistryError),
    /// The provider of machines.
    #[error("could not prepare this host for machines")]
    Provider(#[from] ProviderError),
    /// The networks and addresses of machines.
    #[error(transparent)]
    Seats(#[from] SeatsError),
    /// The prices and limits of the settings file.
    #[error("could not set the spot prices and limits")]
    Market(#[source] MillError),
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
    /// The message service.
    #[error("could not start the message service")]
    Messaging(#[from] MessagingError),
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
    machines: Machines,
    /// Ends what asks for machines.
    halt: watch::Sender<bool>,
    /// Ends the listeners.
    stop: watch::Sender<bool>,
    messages: Messages,
    tasks: JoinSet<()>,
    /// Where the API listens.
    pub api: SocketAddr,
    /// Where the object store listens.
    pub oss: SocketAddr,
    /// Where the message service listens.
    pub mns: SocketAddr,
}

impl Region {
    /// Starts a region. `program` is what machines are started with; `objects` is the object store;
    /// `oss` and `mns` make the doors of it and of the message service, which belong to a room
    /// beside this one.
    pub async fn start(
        config: RegionConfig,
        secrets: RegionSecrets,
        clock: Clock,
        program: PathBuf,
        objects: Arc<dyn LocalStore>,
        oss: impl FnOnce(Doorkeeper) -> Service,
        mns: impl FnOnce(Doorkeeper, MessageService) -> Service,
    ) -> Result<Self, RegionError> {
        let catalogue = catalogue(&config)?;
        let account = AccountId(config.root_account);
        let listeners = Listeners::bind(&config).await?;
        let (api, oss_address) = (listeners.api_address(), listeners.oss_address());
        let mns_address = listeners.mns_address();
        let provider = provider(&config)?;
        let options = options(&config, &catalogue, provider.as_ref());
        let mut recovered = recover(&config.data_dir, options)?;
        let registry = Registry::open(&config.data_dir).map_err(RegionError::Registry)?;
        let images = Arc::new(Images::new(registry.clone(), &config.data_dir));
        images.sweep();
        let standing = standing(&mut recovered);
        let readers = recovered.store.readers();
        let messaging = Messaging::open(&config, &clock, push_seed(&secrets))?;
        let id_seed = secrets.id_seed;
        let keys = key_ring(secrets, account, &registry, clock()).map_err(RegionError::Keys)?;
        let keys = Arc::new(keys);
        let (to_hands, effects) = mpsc::unbounded_channel();
        let (to_notifier, news) = mpsc::unbounded_channel();
        let mint = IdMint::new(id_seed);
        let recovered = (recovered, config.history.clone());
        let mill = Mill::start(recovered, mint, clock.clone(), to_hands, to_notifier);
        let privileged = nix::unistd::geteuid().is_root();
        let seats = seats(&config, &listeners, privileged)?;
        let briefing = briefing(&config, oss_address, &seats);
        let beat = config.patience.worker_beat.into();
        let (streams, told) = (Streams::new(objects.clone()), briefing.clone());
        let sessions = Sessions::new(mill.clone(), keys.clone(), told, streams, beat);
        let sessions = Arc::new(sessions);
        let launch = launch(&config, program, api, (catalogue.clone(), briefing), privileged);
        let owned = (seats.clone(), images.clone());
        let hands = Hands::new(mill.clone(), provider.clone(), launch, keys.clone(), owned);
        let doorkeeper = Doorkeeper::new(keys.clone(), mill.published().clone(), clock.clone());
        market::apply(&mill, &config.spot).await.map_err(RegionError::Market)?;
        let (halt, halting) = watch::channel(false);
        let pressure = Pressure::new(config.overload.memory_bytes_max);
        let bodies_bytes_max = pressure.bodies_bytes_max(config.overload.bodies_bytes_max);
        let door = Arc::new(Door {
            mill: mill.clone(),
            registrar: Registrar::new(registry),
            images,
            readers: readers.clone(),
            sessions: sessions.clone(),
            provider: provider.clone(),
            shells: Shells::new(sessions.clone(), config.shell.clone()),
            keys,
            objects,
            catalogue,
            config: config.clone(),
            clock: clock.clone(),
            followers: Places::new(FOLLOWERS_MAX),
            halting: halting.clone(),
            bodies: Bodies::new(bodies_bytes_max, config.overload.wait_max.into()),
            throttle: Throttle::new(config.throttle.clone()),
            pressure,
            waiters: Waiters::new(config.sync.clone()),
            stuck: messaging.board.clone(),
        });
        let (stop, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        keep_time(&mut tasks, &config, (&mill, &sessions), &clock, &halting);
        messaging.start(
            &mut tasks,
            &config,
            mns_address,
            (mill.clone(), readers, clock.clone()),
            news,
            halting.clone(),
        );
        let ssh =
            SshDoor { mill: mill.clone(), keys: door.keys.clone(), shells: door.shells.clone() };
        let services = ByHost {
            batchcompute: router(door, sessions.clone()),
            oss: oss(doorkeeper.clone()),
            mns: mns(doorkeeper, messaging.service()),
        };
        // Before anybody is answered, so that what runs then has the networks of these settings.
        seats.serve(services.clone(), stopping.clone(), &mill.published().world());
        listeners.serve(&mut tasks, &services, ssh, &stopping);
        let every = config.patience.observe_every.into();
        tasks.spawn(vital("hands", hands.clone().work(standing, effects, halting.clone())));
        tasks.spawn(vital("eyes", hands.observe(every, sessions.hang_ups(), halting)));
        info!(region = config.region, %api, oss = %oss_address, mns = %mns_address, data = %config.data_dir.display(), "region is up");
        let messages = messaging.messages;
        let (oss, mns) = (oss_address, mns_address);
        let machines = Machines { provider, seats, sessions, kept: config.local.keep_on_stop };
        Ok(Self { mill, machines, halt, stop, messages, tasks, api, oss, mns })
    }

    /// Ends the workers, while they can still bring their logs home, or hangs up on those that live on;
    /// answers what is in flight and takes a checkpoint.
    pub async fn stop(mut self) {
        self.halt.send_replace(true);
        self.machines.end().await;
        self.messages.dismiss().await;
        self.stop.send_replace(true);
        self.machines.hang_up();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_PATIENCE, ended).await.is_err() {
            warn!("some requests did not end in time");
        }
        self.tasks.shutdown().await;
        self.machines.leave();
        self.mill.stop().await;
        info!("region is down");
    }
}

/// What the machines of a region hang on.
struct Machines {
    provider: Arc<dyn Provider>,
    seats: Arc<Seats>,
    sessions: Arc<Sessions>,
    /// Whether they live on when the region stops.
    kept: bool,
}

impl Machines {
    async fn end(&self) {
        if !self.kept {
            end_workers(&self.provider).await;
        }
    }

    /// Those that live on call again.
    fn hang_up(&self) {
        self.sessions.hang_up();
    }

    /// Lets go of the networks of those that have ended.
    fn leave(&self) {
        if !self.kept {
            self.seats.close();
        }
    }
}

/// Watches for machines that are silent, and for what only time brings.
fn keep_time(
    tasks: &mut JoinSet<()>,
    config: &RegionConfig,
    (mill, sessions): (&Mill, &Arc<Sessions>),
    clock: &Clock,
    halting: &watch::Receiver<bool>,
) {
    let patience = config.patience.clone();
    let watch = patience::watch_workers(mill.clone(), sessions.clone(), patience, halting.clone());
    tasks.spawn(vital("patience", watch));
    tasks.spawn(vital("clock", patience::tick(mill.clone(), clock.clone(), halting.clone())));
}

/// What machines of this host are started with.
fn launch(
    config: &RegionConfig,
    program: PathBuf,
    api: SocketAddr,
    (catalogue, briefing): (Catalogue, Briefing),
    privileged: bool,
) -> Launch {
    Launch {
        program: config.local.agent.clone().unwrap_or(program),
        server: format!("http://{api}"),
        masked: vec![config.data_dir.clone()],
        config: config.clone(),
        catalogue,
        processors: processors(),
        privileged,
        briefing,
    }
}

/// What machines are told of the region.
fn briefing(config: &RegionConfig, oss_address: SocketAddr, seats: &Seats) -> Briefing {
    Briefing {
        region: config.region.clone(),
        oss_endpoint: format!("http://{oss_address}"),
        oss_host: oss_address.to_string(),
        daemon_idle_max: config.daemons.idle_max,
        oss_port_apart: seats.are_apart().then(|| oss_address.port()),
    }
}

/// What the rules go by.
fn options(config: &RegionConfig, catalogue: &Catalogue, provider: &dyn Provider) -> Options {
    Options {
        limits: within_reach(&config.limits, provider),
        ask_again_max: ASK_AGAIN_MAX,
        slots_per_worker: config.local.slots,
        worker_start_max: config.patience.worker_start_max,
        finished_kept: config.history.live,
        finished_kept_max: config.history.live_max,
        bootstrap_max: config.patience.bootstrap_max,
        default_type: Some(catalogue.default.clone()),
        cores: catalogue.types.iter().map(|it| (it.name.clone(), it.cpu_cores)).collect(),
        spot_notice: config.spot.notice,
        attached_idle: config.attached.idle,
        ..Options::default()
    }
}

/// What should hold at the start: what an earlier process left in the outbox, then what the world
/// says.
fn standing(recovered: &mut Recovery) -> Vec<(Option<EffectId>, Effect)> {
    let outbox = std::mem::take(&mut recovered.outbox);
    let outbox = outbox.into_iter().map(|(id, effect)| (Some(id), effect));
    let world = recovered.world.standing_effects().into_iter().map(|effect| (None, effect));
    outbox.chain(world).collect()
}

/// The places of machines; their networks have doors on the ports of the host's.
fn seats(
    config: &RegionConfig,
    listeners: &Listeners,
    privileged: bool,
) -> Result<Arc<Seats>, RegionError> {
    Ok(Arc::new(Seats::open(&config.data_dir, &config.local, privileged, listeners.doors())?))
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

/// The root key, and the keys of the registry.
fn key_ring(
    secrets: RegionSecrets,
    account: AccountId,
    registry: &Registry,
    now: Timestamp,
) -> Result<KeyRing, RegistryError> {
    let root = (secrets.root_key_id, secrets.root_key_secret);
    let keys = KeyRing::new(secrets.region_secret, root, account);
    registry.ensure_root_account(account, now)?;
    keys.read(registry)?;
    Ok(keys)
}

/// Where the key of signed pushes comes from, once it is made.
fn push_seed(secrets: &RegionSecrets) -> [u8; 32] {
    use hmac::{Hmac, KeyInit, Mac};
    let mac = Hmac::<sha2::Sha256>::new_from_slice(&secrets.region_secret);
    let mut mac = mac.expect("HMAC takes keys of any length");
    mac.update(b"key of signed pushes");
    mac.update(&secrets.id_seed);
    mac.finalize().into_bytes().into()
}

/// An automatic cluster larger than what the provider can run would only use up the quota.
fn within_reach(limits: &Limits, provider: &dyn Provider) -> Limits {
    let reach = provider.capabilities().workers_max.unwrap_or(u32::MAX);
    let auto_cluster_machines_max = limits.auto_cluster_machines_max.min(reach);
    Limits { auto_cluster_machines_max, ..limits.clone() }
}

fn processors() -> u32 {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    u32::try_from(processors).unwrap_or(u32::MAX)
}

fn provider(config: &RegionConfig) -> Result<Arc<dyn Provider>, RegionError> {
    let logging = ["GRISTMILL_LOG", "GRISTMILL_LOG_FORMAT"];
    let env =
        logging.into_iter().filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
    let faults = gristmill_faults::environment().into_iter();
    let faults = faults.filter_map(|(name, dir)| Some((name.to_owned(), dir.to_str()?.to_owned())));
    let options = gristmill_provider::LocalConfig {
        directory: config.data_dir.join("workers"),
        workers_max: config.local.workers_max(processors()),
        stop_grace: STOP_PATIENCE,
        env: env.chain(faults).collect(),
    };
    Ok(Arc::new(LocalProvider::open(options)?))
}

/// Ends every machine this host has.
async fn end_workers(provider: &Arc<dyn Provider>) {
    let workers = match provider.list().await {
        Ok(workers) => workers,
        Err(error) => {
            return warn!(%error, "the machines of this host cannot be listed; they live on");
        }
    };
    let ending = workers.into_iter().map(|(worker, generation)| async move {
        if let Err(error) = provider.remove(worker, generation).await {
            warn!(%worker, %error, "a machine lives on");
        }
    });
    futures::future::join_all(ending).await;
}

fn router(door: Arc<Door>, sessions: Arc<Sessions>) -> Service {
    let pages = pages::Pages::new(door.clone());
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(move || async move { pages.metrics() }))
        .route("/openapi.json", get(pages::openapi))
        .route_service(CONNECT_PATH, AgentService(sessions))
        .fallback(move |request: Request<Body>| {
            let door = door.clone();
            async move { door.answer(request).await }
        });
    front::of_router(router)
}
