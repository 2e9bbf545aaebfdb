//! How fast the disk store is on this machine: `disk_speed DIRECTORY [MIB]`. One large object in and
//! out, then small objects from 1 and from 64 sides, each durable when it is answered.

use bytes::Bytes;
use futures::StreamExt;
use gristmill_model::{AccountId, Timestamp};
use gristmill_objects::{disk::DiskStore, *};
use std::{path::PathBuf, sync::Arc, time::Instant};

const CHUNK: usize = 256 * 1024;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().ok_or("usage: disk_speed DIRECTORY [MIB]")?);
    let mebibytes: usize = arguments.next().map_or(Ok(256), |text| text.parse())?;
    let store = DiskStore::open(&directory, Arc::new(|| Timestamp(1)))?;
    store.create_bucket("speed", AccountId(1), BucketAcl::Private).await?;
    large(&store, mebibytes).await?;
    for (size, sides, count) in
        [(1_000, 1, 200), (1_000, 64, 20_000), (100_000, 1, 100), (100_000, 64, 2_000)]
    {
        small(&store, size, sides, count).await?;
    }
    Ok(())
}

async fn large(store: &DiskStore, mebibytes: usize) -> Result<(), Box<dyn std::error::Error>> {
    let chunk = Bytes::from(vec![7; CHUNK]);
    let count = mebibytes * 1024 * 1024 / CHUNK;
    let body = futures::stream::iter((0..count).map(move |_| Ok(chunk.clone()))).boxed();
    let start = Instant::now();
    store.put("speed", "large", PutOptions::default(), body).await?;
    let put = start.elapsed();
    let start = Instant::now();
    let mut body = store.get("speed", "large", GetOptions::default()).await?.body;
    let mut read = 0;
    while let Some(block) = body.next().await {
        read += block?.len();
    }
    let get = start.elapsed();
    assert_eq!(read, mebibytes * 1024 * 1024);
    let rate = |time: std::time::Duration| mebibytes as f64 / time.as_secs_f64();
    println!("large object: put {:.0} MiB/s, get {:.0} MiB/s", rate(put), rate(get));
    Ok(())
}

async fn small(
    store: &DiskStore,
    size: usize,
    sides: usize,
    count: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let bytes = Bytes::from(vec![7; size]);
    let start = Instant::now();
    let puts = futures::stream::iter(0..count).map(|n| {
        let body = body_of(bytes.clone());
        async move {
            let key = format!("small/{size}/{sides}/{n:06}");
            store.put("speed", &key, PutOptions::default(), body).await.map(drop)
        }
    });
    let outcomes: Vec<_> = puts.buffer_unordered(sides).collect().await;
    outcomes.into_iter().collect::<Result<Vec<_>, _>>()?;
    let rate = count as f64 / start.elapsed().as_secs_f64();
    println!("{size} bytes from {sides} sides: {rate:.0} puts/s");
    let start = Instant::now();
    for n in 0..count.min(2_000) {
        let key = format!("small/{size}/{sides}/{n:06}");
        collect(store.get("speed", &key, GetOptions::default()).await?.body).await?;
    }
    let rate = count.min(2_000) as f64 / start.elapsed().as_secs_f64();
    println!("{size} bytes, one after the other: {rate:.0} gets/s");
    Ok(())
}
