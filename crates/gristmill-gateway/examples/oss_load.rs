//! Load on a running gateway: `oss_load URL COUNT SIDES SIZE` puts and then gets that many small
//! objects, with Signature V1, key and secret as `oss_door` has them.

use futures::StreamExt;
use gristmill_model::Timestamp;
use gristmill_objects::{
    GetOptions, ObjectStore, PutOptions, body_of, collect,
    remote::{RemoteStore, Signer, Unsigned},
};
use gristmill_wire::{
    oss::sign::{KeyPair, Request, sign_v1},
    time::http_date,
};
use std::{
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

struct V1;

impl Signer for V1 {
    fn sign(&self, request: &Unsigned<'_>) -> Vec<(String, String)> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let date = http_date(Timestamp(since.as_micros() as i64));
        let own = |(name, value): &(String, String)| (name.clone(), value.clone().into_bytes());
        let mut headers: Vec<_> = request.headers.iter().map(own).collect();
        headers.push(("date".into(), date.clone().into_bytes()));
        let query: Vec<_> =
            request.query.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let Unsigned { method, bucket, key, .. } = *request;
        let signed = Request { method, bucket, key, query: &query, headers: &headers };
        let pair = KeyPair { id: "GMEXAMPLEKEYID01", secret: "gmExampleSecret0123456789" };
        vec![("date".into(), date), ("authorization".into(), sign_v1(&signed, pair))]
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, count, sides, size] = &arguments[..] else {
        return Err("usage: oss_load URL COUNT SIDES SIZE".into());
    };
    let (count, sides, size): (usize, usize, usize) =
        (count.parse()?, sides.parse()?, size.parse()?);
    let store = RemoteStore::new(url, Arc::new(V1))?;
    store.create_bucket("load").await?;
    let start = Instant::now();
    let put = async |n| {
        let options = PutOptions { length: Some(size as u64), ..PutOptions::default() };
        store.put("load", &format!("key/{n:06}"), options, body_of(vec![7; size])).await.map(drop)
    };
    let outcomes: Vec<_> =
        futures::stream::iter(0..count).map(put).buffer_unordered(sides).collect().await;
    outcomes.into_iter().collect::<Result<Vec<_>, _>>()?;
    println!("{:.0} puts/s", count as f64 / start.elapsed().as_secs_f64());
    let start = Instant::now();
    let get = async |n| {
        let got = store.get("load", &format!("key/{n:06}"), GetOptions::default()).await;
        collect(got.map_err(std::io::Error::other)?.body).await.map(drop)
    };
    let outcomes: Vec<_> =
        futures::stream::iter(0..count).map(get).buffer_unordered(sides).collect().await;
    outcomes.into_iter().collect::<Result<Vec<_>, _>>()?;
    println!("{:.0} gets/s", count as f64 / start.elapsed().as_secs_f64());
    Ok(())
}
