//! Whatever a person writes, the parsers answer; and what one writes another reads.

use gristmill_cli::{
    caches::{Caches, Kind},
    environment::Environment,
    grammar::{SUBMIT, tree},
    oss_path::OssPath,
    settings::Settings,
    submit::{Defaults, Options, Written, describe, job_cfg::JobCfg, mapping},
    words::Language,
};
use proptest::prelude::*;

/// Text with the letters that the small languages give a meaning to.
fn text() -> impl Strategy<Value = String> {
    proptest::string::string_regex(
        "([a-c/:,=;>%$@ ()\\[\\]\\n\\\\'\"{}日]|oss://|nas://|->|:::|true|false|img=|%\\()*",
    )
    .expect("the pattern is a constant")
}

fn place(folder: &std::path::Path) -> Environment {
    let mut place = Environment::of_process();
    place.variables.clear();
    place.config_dir = folder.to_owned();
    place
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_breaks_a_parser(text in text()) {
        let _ = mapping::mounts(&text);
        let _ = mapping::outputs(&text);
        let _ = mapping::disks(&text);
        let _ = mapping::cluster(&text);
        let _ = mapping::docker(&text);
        let _ = mapping::pairs(&text);
        let _ = OssPath::parse(&text);
        for later in mapping::dependencies(&text).values() {
            prop_assert!(!later.is_empty());
        }
    }

    #[test]
    fn no_bytes_break_job_cfg(bytes in prop::collection::vec(any::<u8>(), 0..200), text in text()) {
        let _ = JobCfg::parse(&bytes, &["nodes"]);
        let _ = JobCfg::parse(format!("[t]\ncmd={text}\n").as_bytes(), &["nodes"]);
    }

    #[test]
    fn no_option_breaks_a_description(option in 0..SUBMIT.len(), text in text()) {
        let written = Written::default().with("cmd", "x").with(SUBMIT[option].long, &text);
        let options = Options { written, job_cfg: None, defaults: Defaults::default() };
        if let Ok(plan) = describe(&options) {
            prop_assert!(plan.description["DAG"]["Tasks"]["task"].is_object());
        }
    }

    #[test]
    fn no_words_break_the_grammar(words in prop::collection::vec(text(), 0..6)) {
        let _ = tree(Language::Chinese).try_get_matches_from(words);
    }

    #[test]
    fn a_setting_is_read_back_as_it_was_set(value in "[ -~日]{1,20}") {
        prop_assume!(value.trim() == value && !["null", "None", "false", "False", "0"].contains(&value.as_str()));
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::load(&place(folder.path())).unwrap();
        settings.set("accesskeysecret", &value);
        settings.save().unwrap();
        let again = Settings::load(&place(folder.path())).unwrap();
        prop_assert_eq!(again.get("accesskeysecret"), Some(value));
    }

    #[test]
    fn a_number_always_names_a_row(ids in prop::collection::vec("[a-z]{1,5}", 1..5), number in any::<i32>()) {
        let folder = tempfile::tempdir().unwrap();
        let caches = Caches::of(&place(folder.path()));
        caches.remember(Kind::Jobs, ids.clone()).unwrap();
        let meant = caches.resolve(Kind::Jobs, &number.to_string());
        prop_assert!(ids.contains(&meant.expect("there is a list")));
    }
}
