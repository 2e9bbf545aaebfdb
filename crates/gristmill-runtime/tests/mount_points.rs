//! Places where something else is: whose fault that is, and what a person reads.

mod support;

use gristmill_runtime::{MountKind, Stage};
use std::fs;
use support::as_everyone;

#[test]
fn a_directory_is_not_shown_in_the_place_of_a_file_nor_a_file_in_that_of_a_directory() {
    as_everyone(|agent| {
        let (directory, file) = (agent.top.path().join("directory"), agent.top.path().join("file"));
        fs::create_dir(&directory).expect("made");
        fs::write(&file, "content").expect("written");
        for (source, target, words) in [
            (&directory, "/etc/passwd", "cannot mount `/etc/passwd`: Not a directory"),
            (&directory, "/etc/passwd/below", "cannot mount `/etc/passwd/below`: Not a directory"),
            (&file, "/etc", "cannot mount `/etc`: Is a directory"),
        ] {
            let shown = MountKind::Bind { source: source.clone(), read_only: true };
            let plan = agent.plan(&["true"]).mount(target, shown);
            let outcome = agent.run(plan);
            let failure = outcome.failure();
            assert_eq!(failure.stage, Stage::MountPoint, "{failure:?}");
            assert!(failure.message.starts_with(words), "{failure:?}");
            assert!(failure.is_users());
        }
    });
}
