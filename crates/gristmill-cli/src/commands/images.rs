//! `i ci di`: images, the region's and one's own.

use super::{End, Outcome, required, text};
use crate::{caches::Kind, moment, session::Session, table, words::messages as m};
use clap::ArgMatches;
use serde_json::json;
use std::collections::BTreeSet;

/// `bcs i [image]`.
pub(super) async fn images(words: &ArgMatches, session: &mut Session) -> Outcome {
    match text(words, "image") {
        Some(written) => {
            let id = session.caches.resolve(Kind::Images, written)?;
            show(&id, words, session).await
        }
        None => list(words, session).await,
    }
}

async fn list(words: &ArgMatches, session: &mut Session) -> Outcome {
    let client = session.client()?;
    if words.get_flag("show_json") {
        let answer = client.list_raw(&["images"]).await?;
        session.out.data(&serde_json::to_string_pretty(&answer)?)?;
        return Ok(End::Success);
    }
    // A service may list its own images in both answers.
    let mut seen = BTreeSet::new();
    let mut images = client.list_images().await?;
    images.retain(|image| seen.insert(image.id.clone()));
    let rows: Vec<Vec<String>> = images
        .iter()
        .map(|image| {
            let created = moment::local(image.creation_time, &(session.env.zone)());
            vec![
                image.id.clone(),
                image.name.clone(),
                image.platform.clone(),
                image.kind.clone(),
                created,
            ]
        })
        .collect();
    let header = ["Id", "Name", "Platform", "Type", "CreationTime"];
    let table = table::numbered(&header, &rows, session.out.colour);
    session.out.data(&table)?;
    session.caches.remember(Kind::Images, images.into_iter().map(|image| image.id).collect())?;
    Ok(End::Success)
}

async fn show(id: &str, words: &ArgMatches, session: &mut Session) -> Outcome {
    let client = session.client()?;
    if words.get_flag("show_json") || words.get_flag("description") {
        let answer = client.get_raw(&["images", id]).await?;
        session.out.data(&serde_json::to_string_pretty(&answer)?)?;
        return Ok(End::Success);
    }
    let image = client.get_image(id).await?;
    session.say(m::EXEC, &[("words", &format!("i {id}"))]);
    let created = moment::local(image.creation_time, &(session.env.zone)());
    for (name, value) in [
        ("Id", &image.id),
        ("Name", &image.name),
        ("Platform", &image.platform),
        ("Type", &image.kind),
        ("EcsImageId", &image.ecs_image_id),
        ("Created", &created),
        ("Description", &image.description),
    ] {
        session.out.data(&format!("{name}: {value}"))?;
    }
    Ok(End::Success)
}

/// `bcs ci <name> <ecsImageId>`.
pub(super) async fn create(words: &ArgMatches, session: &mut Session) -> Outcome {
    let ecs_image = required(words, "ecsImageId");
    if !ecs_image.starts_with("m-") {
        return Err(m::INVALID_ECS_IMAGE.complain([("id", &ecs_image)]).into());
    }
    let written = text(words, "platform").unwrap_or("Linux");
    let platform = ["Linux", "Windows"].into_iter().find(|name| name.eq_ignore_ascii_case(written));
    let platform = platform.ok_or_else(|| m::INVALID_PLATFORM.complain([("text", &written)]))?;
    let body = json!({
        "Name": required(words, "name"),
        "EcsImageId": ecs_image,
        "Platform": platform,
        "Description": text(words, "description").unwrap_or(""),
    });
    if words.get_flag("show_json") {
        session.out.data(&serde_json::to_string_pretty(&body)?)?;
        return Ok(End::Success);
    }
    let id = session.client()?.create_image(&body).await?;
    session.say(m::IMAGE_CREATED, &[("image", &id)]);
    session.out.data(&id)?;
    Ok(End::Success)
}

/// `bcs di <ids>`.
pub(super) async fn delete(words: &ArgMatches, session: &mut Session) -> Outcome {
    let god = session.settings.is_god();
    let ids = session.caches.resolve_many(Kind::Images, required(words, "images"), god)?;
    let named = ids.join(", ");
    session.confirm(words.get_flag("yes"), m::ASK_DELETE_IMAGE, &[("images", &named)])?;
    let client = session.client()?;
    for id in &ids {
        client.delete_image(id).await?;
        session.say(m::DONE_WITH, &[("what", id)]);
    }
    Ok(End::Success)
}
