//! Images: those of the region and those that accounts registered (`reference/api.md` 10).

use super::not_found;
use crate::{
    catalogue::{SYSTEM_IMAGES, is_system_image},
    door::{Call, Door, Reply},
};
use gristmill_model::{AccountId, ImageId, Timestamp};
use gristmill_store::registry;
use gristmill_wire::{
    api::{
        List, ListQuery, Query,
        image::parse_image,
        list::ImageKind,
        responses::{Created, Image},
    },
    error::{ApiError, Code},
    time::WireTime,
};
use http::StatusCode;

/// System images were always there; clients want a time that can be sorted.
const SYSTEM_IMAGES_SINCE: Timestamp = Timestamp(1_447_200_000_000_000);

fn of_the_region((id, platform): (&str, &str)) -> Image {
    Image {
        id: id.to_owned(),
        name: id.to_owned(),
        r#type: "System".to_owned(),
        description: "the host's own root file system, unless the operator imported another"
            .to_owned(),
        platform: platform.to_owned(),
        creation_time: WireTime(Some(SYSTEM_IMAGES_SINCE)),
        ..Image::default()
    }
}

fn of_an_account(image: registry::Image) -> Image {
    Image {
        id: image.id.to_string(),
        name: image.name,
        r#type: "Self".to_owned(),
        description: image.description,
        ecs_image_id: image.ecs_image.to_string(),
        owner_id: image.account.0,
        platform: image.platform,
        creation_time: WireTime(Some(image.created)),
    }
}

/// `POST /images`. Whether anybody imported the `m-…` is asked by the machine that starts from it.
pub async fn create(door: &Door, call: &Call, query: &Query<'_>) -> Result<Reply, ApiError> {
    let spec = parse_image(&call.body, query)?;
    let created = (door.clock)();
    let (chance, _) = uuid::Uuid::new_v4().as_u64_pair();
    let id = ImageId::registered(created, chance.rotate_left(32));
    let image = registry::Image {
        name: spec.name.map_or_else(|| id.to_string(), |name| name.to_string()),
        id,
        account: call.account,
        description: spec.description,
        ecs_image: spec.ecs_image,
        platform: spec.platform.to_owned(),
        created,
    };
    let made =
        door.registrar.ask(move |registry| registry.create_image(&image, spec.token.as_ref()));
    let created = Created { id: made.await?.to_string() };
    Ok(Reply::json(StatusCode::CREATED, &created))
}

/// `GET /images/{image}`: the region's, or one of the caller's own.
pub async fn get(door: &Door, call: &Call, id: &str) -> Result<Reply, ApiError> {
    if let Some(image) = SYSTEM_IMAGES.into_iter().find(|(known, _)| *known == id) {
        return Ok(Reply::ok(&of_the_region(image)));
    }
    let image = find(door, call.account, id).await?;
    Ok(Reply::ok(&of_an_account(image)))
}

async fn find(door: &Door, account: AccountId, id: &str) -> Result<registry::Image, ApiError> {
    let id: ImageId = id.parse().map_err(|_| not_found("image", id))?;
    door.registrar.ask(move |registry| registry.image(account, &id)).await
}

/// `GET /images`: `Type=System`, else the caller's own.
pub async fn list(door: &Door, call: &Call, query: &Query<'_>) -> Result<Reply, ApiError> {
    let wish = ListQuery::plain(query)?;
    let after: Option<ImageId> = wish.marker.key()?;
    let max = wish.items_max;
    let mut items: Vec<Image> = match ImageKind::of(query) {
        ImageKind::System => {
            let after = after.as_ref().map_or("", ImageId::as_str);
            let behind = SYSTEM_IMAGES.into_iter().filter(|(id, _)| *id > after);
            behind.take(max + 1).map(of_the_region).collect()
        }
        ImageKind::Own => {
            let account = call.account;
            let page = move |registry: &registry::Registry| {
                registry.images(account, after.as_ref(), max + 1)
            };
            door.registrar.ask(page).await?.into_iter().map(of_an_account).collect()
        }
    };
    let is_more = items.len() > max;
    items.truncate(max);
    let last = items.last().filter(|_| is_more).map(|image| image.id.clone());
    Ok(Reply::ok(&List::page(items, last)))
}

/// `DELETE /images/{image}`
pub async fn delete(
    door: &Door,
    call: &Call,
    id: &str,
    done: StatusCode,
) -> Result<Reply, ApiError> {
    let missing = || not_found("image", id);
    let image: ImageId = id.parse().map_err(|_| missing())?;
    if is_system_image(&image) {
        let message = format!("image `{image}` belongs to the region");
        return Err(ApiError::new(Code::Forbidden, message));
    }
    let account = call.account;
    door.registrar.ask(move |registry| registry.delete_image(account, &image)).await?;
    Ok(Reply::Empty(done))
}
