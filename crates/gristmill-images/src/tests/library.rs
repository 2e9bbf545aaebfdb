//! Sealed trees, and who may take a directory away.

use super::*;

#[test]
fn a_sealed_tree_that_is_changed_is_found_out() {
    let place = Place::new();
    let (root, imported) = place
        .import(&place.layout(&[archive(&[file("etc/a", "12"), symlink("b", "etc/a")])]))
        .expect("imported");
    let library = place.library();
    assert_eq!((imported.seal.files, imported.seal.bytes), (3, 2));
    assert_eq!(library.sealed("m-0").expect("read"), Some(imported.seal));
    assert!(library.check("m-0", &Silent).is_ok());
    let changes: [&dyn Fn(); 4] = [
        &|| fs::write(root.join("etc/a"), "21").expect("written"),
        &|| {
            fs::set_permissions(root.join("etc/a"), PermissionsExt::from_mode(0o600))
                .expect("changed")
        },
        &|| fs::write(root.join("etc/c"), "").expect("written"),
        &|| fs::remove_file(root.join("b")).expect("removed"),
    ];
    for change in changes {
        change();
        let said = library.check("m-0", &Silent).expect_err("changed").to_string();
        assert!(said.starts_with("image `m-0` is not what it was"), "{said}");
    }
    assert_eq!(library.sealed("../data/images/m-0").expect("refused"), None);
    assert_eq!(library.sealed(".lock").expect("refused"), None);
}

/// No book names anything.
fn nothing() -> Result<BTreeSet<String>, ImageError> {
    Ok(BTreeSet::new())
}

#[test]
fn what_is_named_while_nothing_is_swept_stays() {
    let place = Place::new();
    let library = place.library();
    place.import(&place.layout(&[archive(&[file("a", "1")])])).expect("imported");
    let steady = library.steady().expect("steady");
    let sweeper = {
        let library = library.clone();
        std::thread::spawn(move || library.sweep(|| Ok::<_, ImageError>(["m-0".to_owned()].into())))
    };
    // The sweeper waits, so the name is there before it looks for names.
    assert!(library.sealed("m-0").expect("read").is_some());
    drop(steady);
    let gone = sweeper.join().expect("no panic").expect("swept");
    assert_eq!(gone, Vec::<String>::new());
    assert!(library.sealed("m-0").expect("read").is_some());
}

#[test]
fn a_directory_belongs_to_its_maker_until_it_is_named() {
    let place = Place::new();
    let library = place.library();
    let draft = library.begin("m-1.a").expect("begun");
    assert!(library.is_held("m-1.a"));
    assert!(library.begin("m-1.a").is_err(), "the name is taken");
    assert_eq!(library.sweep(nothing).expect("swept"), Vec::<String>::new());
    assert!(Hold::take(&library.directory("m-1.b")).is_err(), "never there");
    drop(draft);
    assert!(!library.directory("m-1.a").exists());
    // As after a crash: nobody holds it, no book names it.
    fs::create_dir_all(library.directory("m-1.c/root/deep")).expect("made");
    fs::create_dir_all(library.directory(".sweepings/7/left")).expect("made");
    assert_eq!(library.sweep(nothing).expect("swept"), ["m-1.c"]);
    assert_eq!(fs::read_dir(library.directory(".sweepings")).expect("there").count(), 0);
}
