//! The message service in a region: the room `messages` with its database, the notifier that tells
//! topics of jobs and clusters, and the rules for calls to the outside.
//!
//! ```text
//! mill ──news──▶ notifier ──▶ messages (own topics) ──▶ queues
//!                    └──────▶ outside  (other services)
//! messages ──▶ pusher ──▶ outside (subscribers)
//! ```
//!
//! Start at [`Messaging::open`]; `notifier` is the scheduler, `delivery` what it does, `pusher`
//! carries what subscriptions get.

pub mod board;
pub mod config;
mod delivery;
mod lines;
mod notifier;
mod outside;
mod own;
mod pusher;
mod reach;
mod seal;
mod striker;

use crate::{
    config::RegionConfig,
    mill::{Clock, Mill, News},
    vital::vital,
};
use board::Board;
use delivery::Delivery;
use gristmill_messages::{Format, Messages, Notification, OpenError};
use gristmill_store::Readers;
use gristmill_wire::mns::push::{self, Form, Told};
use notifier::Notifier;
use outside::Outside;
use own::OwnEndpoints;
use pusher::Pusher;
use reach::Reach;
use seal::Seal;
pub use seal::{CERTIFICATE_FILE, KEY_FILE};
use std::{net::SocketAddr, sync::Arc};
use striker::Striker;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

/// The database of the message service, below the data directory.
pub const DATABASE: &str = "messages.db";
/// Where the certificate of signed pushes is, at the message service's port.
const CERTIFICATE_PATH: &str = "/certificates/push.pem";

/// Why the message service does not start.
#[derive(Debug, thiserror::Error)]
pub enum MessagingError {
    /// Its database.
    #[error("could not open the messages")]
    Open(#[from] OpenError),
    /// The rules for calls to the outside.
    #[error("`outbound.allow` has `{entry}`, which is neither a network nor a host name")]
    Allow {
        /// The entry.
        entry: String,
    },
}

/// What the door of the message service needs.
pub struct MessageService {
    /// Topics and queues.
    pub messages: Messages,
    /// The path of the certificate of signed pushes.
    pub certificate_path: &'static str,
    /// The certificate, PEM, once there is one.
    pub certificate: Arc<dyn Fn() -> Option<String> + Send + Sync>,
}

/// The message service of a region.
pub struct Messaging {
    /// Topics and queues.
    pub messages: Messages,
    /// What cannot be delivered now.
    pub board: Board,
    outside: Outside,
    seal: Seal,
}

impl Messaging {
    /// Opens the database and reads the rules.
    pub fn open(
        config: &RegionConfig,
        clock: &Clock,
        seed: [u8; 32],
    ) -> Result<Self, MessagingError> {
        let reach = Reach::of(&config.outbound).map_err(|entry| MessagingError::Allow { entry })?;
        let path = config.data_dir.join(DATABASE);
        let messages = Messages::open(&path, clock.clone(), Arc::new(rendered))?;
        let (outside, seal) = (Outside::new(reach), Seal::new(&config.data_dir, seed));
        Ok(Self { messages, board: Board::default(), outside, seal })
    }

    /// What the door needs.
    pub fn service(&self) -> MessageService {
        let messages = self.messages.clone();
        let seal = self.seal.clone();
        let certificate = Arc::new(move || seal.certificate());
        MessageService { messages, certificate_path: CERTIFICATE_PATH, certificate }
    }

    /// Starts what works by itself. `listen` is where the service is reached.
    pub fn start(
        &self,
        tasks: &mut JoinSet<()>,
        config: &RegionConfig,
        listen: SocketAddr,
        (mill, readers, clock): (Mill, Readers, Clock),
        news: mpsc::UnboundedReceiver<News>,
        halting: watch::Receiver<bool>,
    ) {
        let base = match config.outbound.certificate_base.trim_end_matches('/') {
            "" => format!("http://{listen}"),
            base => base.to_owned(),
        };
        let pusher = Pusher {
            messages: self.messages.clone(),
            outside: self.outside.clone(),
            seal: self.seal.clone(),
            certificate_url: format!("{base}{CERTIFICATE_PATH}"),
            timeout: config.outbound.push_timeout.into(),
            clock: clock.clone(),
        };
        tasks.spawn(vital("pusher", pusher.work(halting.clone())));
        let settings = &config.notifications;
        let own = OwnEndpoints::new(&config.region, listen, &settings.own_hosts);
        let delivery = Delivery::new(
            readers,
            Striker::start(mill),
            self.messages.clone(),
            self.outside.clone(),
            own,
            settings.clone(),
            clock,
        );
        let pause_max = settings.retry_pause_max.into();
        let notifier = Notifier::new(delivery, self.board.clone(), pause_max);
        tasks.spawn(vital("notifier", notifier.work(news, halting)));
    }
}

fn form(format: Format) -> Form {
    match format {
        Format::Xml => Form::Xml,
        Format::Json => Form::Json,
        Format::Simplified => Form::Simplified,
    }
}

/// What a queue gets of a publication.
fn rendered(format: Format, notification: &Notification) -> String {
    let owner = notification.owner.to_string();
    push::body(form(format), &told(&owner, notification))
}

fn told<'a>(owner: &'a str, notification: &'a Notification) -> Told<'a> {
    Told {
        owner,
        topic: &notification.topic,
        subscription: &notification.subscription,
        message_id: &notification.message_id,
        message: &notification.body,
        tag: notification.tag.as_deref(),
        published: notification.published,
    }
}
