//! A gateway by itself, for clients of other languages to be tried against: a disk store in a
//! directory, one key, a port that is printed.
//!
//! `oss_door [DIRECTORY [PORT]]`; key and secret from `OSS_DOOR_KEY_ID` and `OSS_DOOR_KEY_SECRET`.
//! Without a directory a temporary one is used and removed at the end. Ends when its standard
//! input ends, so that it never outlives the test that started it.

use gristmill_gateway::{AccessKeys, Gateway, Key, Scope, Settings, Unwelcome, serve};
use gristmill_model::{AccountId, Timestamp};
use gristmill_objects::{Clock, disk::DiskStore};
use std::{
    path::PathBuf,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::net::TcpListener;

struct OneKey {
    id: String,
    secret: String,
}

impl AccessKeys for OneKey {
    fn find(&self, access_key_id: &str, _: Option<&str>) -> Result<Key, Unwelcome> {
        let key = (access_key_id == self.id).then(|| Key {
            secret: self.secret.clone(),
            account: AccountId(1),
            scope: Scope::Everything,
        });
        key.ok_or(Unwelcome::Unknown)
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let temporary = tempfile::tempdir()?;
    let directory = arguments.next().map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let port = arguments.next().map_or(Ok(0), |text| text.parse())?;
    let variable = |name, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let key = OneKey {
        id: variable("OSS_DOOR_KEY_ID", "GMEXAMPLEKEYID01"),
        secret: variable("OSS_DOOR_KEY_SECRET", "gmExampleSecret0123456789"),
    };
    let clock: Clock = Arc::new(now);
    let store = Arc::new(DiskStore::open(&directory, clock.clone())?);
    let settings = Settings {
        region: variable("OSS_DOOR_REGION", "cn-hangzhou"),
        regions_accepted: vec![],
        endpoint_names: vec!["oss.test".to_owned()],
        clock,
    };
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("{}", listener.local_addr()?.port());
    let (ended, input_ends) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        ended.send(())
    });
    let input_ends = async {
        let _ = input_ends.await;
    };
    serve(listener, Gateway::new(store, Arc::new(key), settings), input_ends).await?;
    Ok(())
}
