//! The kinds of sources, and which image of several is taken.

use super::*;

#[test]
fn archives_come_plain_and_compressed() {
    let place = Place::new();
    let plain = archive(&[file("etc/os-release", "x")]);
    for (name, bytes) in [
        ("a.tar", plain.clone()),
        ("a.tar.gz", gzip(&plain)),
        ("a.tar.zst", zstd::encode_all(&plain[..], 1).expect("in memory")),
    ] {
        fs::write(place.path(name), bytes).expect("written");
        let (root, _) = place.import(&place.path(name).display().to_string()).expect(name);
        assert_eq!(listing(&root), ["etc/", "etc/os-release = x"], "{name}");
    }
    fs::write(place.path("cut.tar.gz"), &gzip(&plain)[..60]).expect("written");
    let cut = place.import(&place.path("cut.tar.gz").display().to_string());
    assert!(whole(&cut.expect_err("cut")).contains("tar archive"), "a short one is no archive");
    fs::write(place.path("a.xz"), b"\xfd7zXZ\0....").expect("written");
    let xz = place.import(&place.path("a.xz").display().to_string()).expect_err("not understood");
    assert!(whole(&xz).contains("xz is not understood"), "{}", whole(&xz));
}

#[test]
fn a_directory_is_copied_with_its_links_and_without_the_region() {
    let place = Place::new();
    let from = place.path("from");
    fs::create_dir_all(from.join("bin")).expect("made");
    fs::write(from.join("bin/busybox"), "x").expect("written");
    fs::hard_link(from.join("bin/busybox"), from.join("bin/sh")).expect("linked");
    link("/outside/secret", from.join("bin/link")).expect("linked");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        from.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .expect("made");
    let (root, imported) = place.import(&format!("dir:{}", from.display())).expect("imported");
    assert_eq!((imported.left_out, imported.digest.as_str()), (1, ""));
    let wanted = ["bin/", "bin/busybox = x", "bin/link -> /outside/secret", "bin/sh = x"];
    assert_eq!(listing(&root), wanted);
    let number = |name: &str| fs::metadata(root.join(name)).expect(name).ino();
    assert_eq!(number("bin/sh"), number("bin/busybox"));
    // The directory that holds the region, too, can be a source.
    let (root, _) = place.import(&format!("dir:{}", place.top.path().display())).expect("imported");
    assert!(root.join("from/bin/sh").exists() && root.join("data").is_dir());
    assert!(!root.join("data/images").exists());
    let images = place.import(&format!("dir:{}", place.path("data/images").display()));
    assert!(whole(&images.expect_err("it would hold itself")).contains("the images of the region"));
}

#[test]
fn a_container_image_comes_in_one_archive_too() {
    let place = Place::new();
    let top = place.path("layout");
    write_layout(&top, &[archive(&[file("a", "1")]), archive(&[file("b", "2")])]);
    let whole = packed_layout(&top);
    for (name, bytes) in [("a.tar", whole.clone()), ("a.tar.gz", gzip(&whole))] {
        fs::write(place.path(name), bytes).expect("written");
        let (root, _) = place.import(&place.path(name).display().to_string()).expect(name);
        assert_eq!(listing(&root), ["a = 1", "b = 2"], "{name}");
    }
}

#[test]
fn what_docker_saved_before_there_was_a_common_layout_is_read() {
    let place = Place::new();
    let layers = [archive(&[file("a", "1")]), archive(&[file("b", "2"), file(".wh.a", "")])];
    let plain: Vec<_> = layers.iter().map(|layer| Digest::of(layer)).collect();
    let config = configuration(&plain, host_architecture()).to_string().into_bytes();
    let (first, second) = ("1".repeat(64), "2".repeat(64));
    let names = [format!("{first}/layer.tar"), format!("{second}/layer.tar")];
    let list = json!([{"Config": "c.json", "RepoTags": ["my/image:1"], "Layers": names}]);
    let parts = [
        (names[0].as_str(), layers[0].clone()),
        (names[1].as_str(), layers[1].clone()),
        ("c.json", config),
        ("manifest.json", list.to_string().into_bytes()),
    ];
    let path = place.path("saved.tar");
    fs::write(&path, pack(&parts)).expect("written");
    let (root, _) = place.import(&path.display().to_string()).expect("imported");
    assert_eq!(listing(&root), ["b = 2"]);
    let blobs = Blobs::in_archive(&path).expect("listed");
    for (tag, found) in [("my/image:1", true), ("1", true), ("2", false)] {
        assert_eq!(of_saved(&blobs, Some(tag), host_architecture()).is_ok(), found, "{tag}");
    }
}

#[test]
fn the_image_for_this_host_is_chosen() {
    let place = Place::new();
    let top = place.path("layout");
    write_layout(&top, &[archive(&[file("a", "1")])]);
    let index = fs::read_to_string(top.join("index.json")).expect("read");
    let mut index: Value = serde_json::from_str(&index).expect("JSON");
    let here = json!({"os": "linux", "architecture": host_architecture()});
    let other = json!({"os": "linux", "architecture": "other"});
    let mut foreign = index["manifests"][0].clone();
    index["manifests"][0]["platform"] = here.clone();
    index["manifests"][0]["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
    foreign["platform"] = other;
    foreign["digest"] = json!(Digest::of(b"never looked at"));
    let chosen = |manifests: Value, tag: Option<&str>| {
        fs::write(top.join("index.json"), json!({ "manifests": manifests }).to_string())
            .expect("written");
        let found = of_layout(&Blobs::Folder(top.clone()), tag, host_architecture());
        found.map(|image| image.layers.len()).map_err(|error| error.to_string())
    };
    let own = &index["manifests"][0];
    assert_eq!(chosen(json!([foreign, own]), None), Ok(1));
    assert_eq!(chosen(json!([foreign, own]), Some("latest")), Ok(1));
    let none = chosen(json!([foreign]), None).expect_err("foreign");
    assert!(none.contains(&format!("no image for linux/{}", host_architecture())), "{none}");
    let unknown = chosen(json!([own]), Some("1.0")).expect_err("unknown");
    assert!(unknown.contains("no image of this name"), "{unknown}");
    let several = chosen(json!([own, own]), None).expect_err("several");
    assert!(several.contains("name one by its tag"), "{several}");
    // An index may lie in the index.
    let inner = put(&top, json!({"manifests": [own]}).to_string().as_bytes());
    assert_eq!(chosen(json!([{"digest": inner}]), None), Ok(1));
}

#[test]
fn an_image_for_other_processors_is_refused() {
    let place = Place::new();
    let top = place.path("layout");
    write_layout(&top, &[archive(&[file("a", "1")])]);
    let found = of_layout(&Blobs::Folder(top), None, "other").expect_err("not for it").to_string();
    assert!(found.contains("this host runs linux/other"), "{found}");
}

#[test]
fn sources_are_told_apart() {
    let place = Place::new();
    let shown = |text: &str| Source::find(text).map(|source| source.to_string());
    for (text, wanted) in [
        ("docker://host/name:1", "docker://host/name:1"),
        ("host:5000/name:1", "docker://host:5000/name:1"),
        ("oci:/x/y:latest", "oci:/x/y:latest"),
        ("docker-archive:/x/y", "docker-archive:/x/y"),
    ] {
        assert_eq!(shown(text).expect(text), wanted);
    }
    let missing = shown("/no/such/file").expect_err("not there").to_string();
    assert_eq!(missing, "could not find `/no/such/file`");
    let path = place.path("a:b");
    fs::create_dir(&path).expect("made");
    let path = path.display().to_string();
    assert_eq!(shown(&path).expect("a directory"), format!("dir:{path}"));
}

#[test]
fn a_password_is_not_shown() {
    let credentials = Credentials { user: "me".to_owned(), password: "hidden".to_owned() };
    let registry = Registry { credentials: Some(credentials), ..Registry::default() };
    assert!(!format!("{registry:?}").contains("hidden"));
}
