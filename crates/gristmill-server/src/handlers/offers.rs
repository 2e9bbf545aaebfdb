//! What the region offers: system images, instance types, disks (`reference/api.md` 10 and 12).

use super::not_found;
use crate::{
    catalogue::SYSTEM_IMAGES,
    door::{Door, Reply},
};
use gristmill_model::Timestamp;
use gristmill_wire::{
    api::{
        List, ListQuery, Query,
        responses::{AvailableResource, Image, Quotas},
    },
    error::ApiError,
    time::WireTime,
};

/// System images were always there; clients want a time that can be sorted.
const SYSTEM_IMAGES_SINCE: Timestamp = Timestamp(1_447_200_000_000_000);

fn image((id, platform): (&str, &str)) -> Image {
    Image {
        id: id.to_owned(),
        name: id.to_owned(),
        r#type: "System".to_owned(),
        description: "the host's own root file system, seen read-only".to_owned(),
        platform: platform.to_owned(),
        creation_time: WireTime(Some(SYSTEM_IMAGES_SINCE)),
        ..Image::default()
    }
}

/// `GET /images/{image}`
pub fn get_image(_door: &Door, id: &str) -> Result<Reply, ApiError> {
    let found = SYSTEM_IMAGES.into_iter().find(|(known, _)| *known == id);
    found.map(|found| Reply::ok(&image(found))).ok_or_else(|| not_found("image", id))
}

/// `GET /images`: `Type=System`, else the caller's own, of which there are none yet.
pub fn list_images(_door: &Door, query: &Query<'_>) -> Result<Reply, ApiError> {
    let wish = ListQuery::plain(query)?;
    let after: Option<String> = wish.marker.key()?;
    let system = query.get("Type") == Some("System");
    let all = SYSTEM_IMAGES.into_iter().filter(|_| system);
    let mut rest = all.filter(|(id, _)| after.as_deref().is_none_or(|after| *id > after));
    let items: Vec<Image> = rest.by_ref().take(wish.items_max).map(image).collect();
    let last = items.last().filter(|_| rest.next().is_some()).map(|image| image.id.clone());
    Ok(Reply::ok(&List::page(items, last)))
}

/// `GET /quotas`
pub fn quotas(door: &Door) -> Reply {
    Reply::ok(&Quotas::of(&door.catalogue.types))
}

/// `GET /available`
pub fn available(door: &Door) -> Reply {
    Reply::ok(&AvailableResource::of(&door.catalogue.types))
}
