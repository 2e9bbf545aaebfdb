//! Notices in the books: by subject and in order, until they are struck.

mod common;

use common::{batch, open};
use gristmill_model::{
    AccountId, Effect, InstanceNo, JobId, JobState, Notice, Timestamp,
    notice::{Facts, InstanceFacts, ResultFacts, Subject},
};
use gristmill_store::NoticeProgress;

fn notice(job: u128, first: u32) -> Notice {
    Notice {
        account: AccountId(1),
        about: Subject::Job(JobId(job)),
        topic: "topic".into(),
        endpoint: String::new(),
        at: Timestamp(7),
        facts: Facts::Instances(InstanceFacts {
            task: common::task(),
            first: InstanceNo(first),
            count: 3,
            state: JobState::Waiting,
            started: None,
            ended: None,
            retries: 0,
            stdout: None,
            stderr: None,
            result: ResultFacts::default(),
        }),
    }
}

fn effects(notices: &[Notice]) -> Vec<Effect> {
    notices.iter().map(|notice| Effect::Notify(Box::new(notice.clone()))).collect()
}

#[test]
fn notices_wait_by_subject_and_in_order_until_they_are_struck() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(dir.path());
    let (a, b, c) = (notice(1, 0), notice(2, 0), notice(1, 3));
    let mut wishes = effects(&[a.clone(), b.clone()]);
    wishes.insert(1, common::wish(1));
    let committed = store.commit(&batch(&[], &wishes)).expect("committed");
    assert_eq!(committed.effect_ids.len(), 1, "only the machine's effect is in the outbox");
    store.commit(&batch(&[], &effects(std::slice::from_ref(&c)))).expect("committed");

    let (one, two) = (a.about.to_string(), b.about.to_string());
    drop(store);
    let (mut store, recovered) = open(dir.path());
    assert_eq!(recovered.outbox.len(), 1, "a restart does not read notices");
    let readers = store.readers();
    assert_eq!(readers.noticed_subjects("", 10).expect("read"), [one.clone(), two.clone()]);
    assert_eq!(readers.noticed_subjects(&one, 10).expect("read"), std::slice::from_ref(&two));
    assert_eq!(readers.noticed_subjects("", 1).expect("read"), std::slice::from_ref(&one));
    let waiting = readers.notices(&one, 10).expect("read");
    let said: Vec<_> = waiting.iter().map(|waiting| waiting.notice.clone()).collect();
    assert_eq!(said, [a, c]);
    assert_eq!(readers.notices(&one, 1).expect("read").len(), 1);
    assert_eq!(readers.notices_waiting(&one).expect("read"), 2);

    let partly = NoticeProgress::Partly { id: waiting[1].id, delivered: 2 };
    store.notices_delivered(&[NoticeProgress::Done(waiting[0].id), partly]).expect("struck");
    let left = readers.notices(&one, 10).expect("read");
    assert_eq!(
        left.iter().map(|it| (it.id, it.delivered)).collect::<Vec<_>>(),
        [(waiting[1].id, 2)]
    );
    store.notices_delivered(&[NoticeProgress::Done(left[0].id)]).expect("struck");
    store.notices_delivered(&[NoticeProgress::Done(left[0].id)]).expect("twice is harmless");
    assert_eq!(readers.noticed_subjects("", 10).expect("read"), [two]);
}

#[test]
fn the_number_of_a_notice_is_never_used_twice() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(dir.path());
    let mut last = None;
    for _ in 0..3 {
        store.commit(&batch(&[], &effects(&[notice(1, 0)]))).expect("committed");
        let subject = notice(1, 0).about.to_string();
        let id = store.readers().notices(&subject, 1).expect("read")[0].id;
        assert!(Some(id) > last);
        last = Some(id);
        store.notices_delivered(&[NoticeProgress::Done(id)]).expect("struck");
        drop(store);
        store = open(dir.path()).0;
    }
}
