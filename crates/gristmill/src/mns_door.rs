//! Puts the message service's door together: the gateway's door, the room behind it, and the
//! region's keys as the door asks for them. The rooms do not know each other.

use gristmill_gateway::mns::{MnsDoor, MnsKey, MnsKeys, MnsRefusal, MnsSettings};
use gristmill_model::policy::Service;
use gristmill_server::{Clock, Doorkeeper, MessageService, RegionConfig, Unwelcome, front};
use std::sync::Arc;

/// The door of a region's message service.
pub fn door(
    config: &RegionConfig,
    clock: Clock,
    doorkeeper: Doorkeeper,
    service: MessageService,
) -> front::Service {
    let settings = MnsSettings {
        region: config.region.clone(),
        skew_micros_max: i64::from(config.patience.clock_skew_max.0) * 1_000_000,
        clock,
        certificate_path: service.certificate_path.to_owned(),
        certificate: service.certificate,
    };
    let door = MnsDoor::new(service.messages, Arc::new(RegionKeys(doorkeeper)), settings);
    front::of_function(move |request| {
        let door = door.clone();
        async move { door.handle(request).await }
    })
}

struct RegionKeys(Doorkeeper);

impl MnsKeys for RegionKeys {
    fn find(&self, access_key_id: &str, token: Option<&str>) -> Result<MnsKey, MnsRefusal> {
        let admission = self.0.find(access_key_id, token).map_err(refusal)?;
        let (secret, account, permit) = (admission.secret, admission.account, admission.permit);
        let may = Box::new(move |operation: &str| permit.allows(Service::Mns, operation));
        Ok(MnsKey { secret, account, may })
    }
}

fn refusal(why: Unwelcome) -> MnsRefusal {
    match why {
        Unwelcome::Unknown
        | Unwelcome::MissingToken
        | Unwelcome::Inactive
        | Unwelcome::AccountDisabled => MnsRefusal::Unknown,
        Unwelcome::WrongToken | Unwelcome::Expired => MnsRefusal::Token,
    }
}
