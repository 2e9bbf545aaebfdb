//! Layers, honest and hostile: what they may do to a tree, and what bounds them.

use super::*;

#[test]
fn layers_add_change_and_remove() {
    let place = Place::new();
    let source = place.layout(&[
        archive(&[
            directory("usr/lib"),
            symlink("lib", "usr/lib"),
            file("usr/lib/old", "1"),
            file("etc/a", "1"),
            file("etc/b", "1"),
            file("gone/x/y", "1"),
            file("full/below", "1"),
            file("was-file", "1"),
            file("was-dir/x", "1"),
            hard_link("etc/twin", "etc/a"),
            hard_link("lib/old", "usr/lib/old"),
        ]),
        archive(&[
            file("lib/new", "2"),
            file("etc/b", "2"),
            file("etc/.wh.a", ""),
            file(".wh.gone", ""),
            file("full/above", "2"),
            file("full/.wh..wh..opq", ""),
            directory("was-file"),
            file("was-dir", "2"),
            file(".wh.never-there", ""),
            file(".wh..wh.plnk", ""),
        ]),
    ]);
    let (root, imported) = place.import(&source).expect("imported");
    let wanted = [
        "etc/",
        "etc/b = 2",
        "etc/twin = 1",
        "full/",
        "full/above = 2",
        "lib -> usr/lib",
        "usr/",
        "usr/lib/",
        "usr/lib/new = 2",
        "usr/lib/old = 1",
        "was-dir = 2",
        "was-file/",
    ];
    assert_eq!(listing(&root), wanted);
    assert!(imported.digest.starts_with("sha256:"));
}

#[test]
fn marks_count_for_the_layers_below_wherever_they_stand() {
    let place = Place::new();
    let source = place.layout(&[
        archive(&[file("d/below", "1"), file("e/below", "1")]),
        archive(&[
            file("d/mine", "2"),
            file("d/.wh..wh..opq", ""),
            file("e/below", "2"),
            file("e/.wh.below", ""),
        ]),
    ]);
    let (root, _) = place.import(&source).expect("imported");
    assert_eq!(listing(&root), ["d/", "d/mine = 2", "e/", "e/below = 2"]);
}

#[test]
fn no_layer_leads_out_of_the_tree() {
    let place = Place::new();
    let outside = place.path("outside").display().to_string();
    let up = format!("{}{outside}", "../".repeat(20));
    // Each as one layer, and with the links in a layer of their own.
    let hostile: &[(&str, Entries, Entries)] = &[
        ("leads out", vec![], vec![file("../evil", "x")]),
        ("leads out", vec![], vec![file("a/../../evil", "x")]),
        ("absolute", vec![], vec![file("/evil", "x")]),
        ("leads out", vec![file("a", "x")], vec![hard_link("b", "../../outside/secret")]),
        ("no file", vec![], vec![hard_link("b", "missing")]),
        ("removes nothing", vec![], vec![file("d/.wh...", "")]),
        ("removes nothing", vec![], vec![file(".wh..", "")]),
        ("leads out", vec![], vec![file("../.wh.outside", "")]),
        ("", vec![symlink("a", &outside)], vec![file("a/evil", "x")]),
        ("", vec![symlink("a", &up)], vec![file("a/evil", "x")]),
        ("", vec![symlink("a", &up)], vec![file("a/.wh.secret", "")]),
        ("", vec![symlink("a", &up)], vec![file("a/.wh..wh..opq", "")]),
        ("", vec![symlink("a", &up)], vec![directory("a/evil")]),
        ("", vec![symlink("a", &up)], vec![directory("a"), file("a/evil", "x")]),
        ("", vec![symlink("a", "b"), symlink("b", "../..")], vec![file("a/outside/evil", "x")]),
        ("no file", vec![symlink("a", &up)], vec![hard_link("b", "a/secret")]),
        ("", vec![symlink("a", &format!("{up}/secret"))], vec![file("a", "x")]),
        ("symbolic link", vec![symlink("a", "a")], vec![file("a/b", "x")]),
    ];
    for (number, (words, below, above)) in hostile.iter().enumerate() {
        for layers in [
            vec![archive(below), archive(above)],
            vec![archive(&[below.clone(), above.clone()].concat())],
        ] {
            let _ = fs::remove_dir_all(place.path("layout"));
            let outcome = place.import(&place.layout(&layers));
            let said = outcome.as_ref().err().map(whole).unwrap_or_default();
            assert_eq!(words.is_empty(), outcome.is_ok(), "{number}: {said}");
            assert!(said.contains(words), "{number}: {said}");
            place.assert_untouched(&format!("{number}"));
        }
    }
}

#[test]
fn special_bits_and_devices_stay_behind() {
    let place = Place::new();
    let path = place.path("root.tar");
    let entries = [
        entry(EntryType::Regular, "suid", 0o6755, "", b"x"),
        entry(EntryType::Regular, "none", 0o000, "", b"x"),
        entry(EntryType::Directory, "tmp", 0o7777, "", b""),
        entry(EntryType::Char, "dev/null", 0o666, "", b""),
        entry(EntryType::Fifo, "run/pipe", 0o666, "", b""),
        file(".wh.kept", "in a plain archive a name is a name"),
    ];
    fs::write(&path, archive(&entries)).expect("written");
    let (root, imported) = place.import(path.to_str().expect("plain")).expect("imported");
    assert_eq!(imported.left_out, 2);
    assert_eq!(imported.digest, Digest::of(&archive(&entries)).to_string());
    let mode =
        |name: &str| fs::metadata(root.join(name)).expect(name).permissions().mode() & 0o7777;
    assert_eq!((mode("suid"), mode("none"), mode("tmp")), (0o755, 0o600, 0o1777));
    assert!(root.join(".wh.kept").exists());
}

#[test]
fn bounds_hold_over_all_layers() {
    let place = Place::new();
    let layer = archive(&[file("a", &"x".repeat(5_000))]);
    let source = Source::find(&place.layout(&[layer.clone(), layer])).expect("found");
    let refusal = |limits: ArchiveLimits| {
        let draft = place.library().begin("m-1").expect("begun");
        let wish = Wish { limits, ..Wish::default() };
        whole(&import(&source, &draft, &wish, &Silent).expect_err("too much"))
    };
    let bytes = refusal(ArchiveLimits { bytes_max: 9_000, ..LIMITS });
    assert!(bytes.contains("layer 2 of 2") && bytes.contains("more than 9000 bytes"), "{bytes}");
    let entries = refusal(ArchiveLimits { entries_max: 1, ..LIMITS });
    assert!(entries.contains("more than 1 files"), "{entries}");
    let names = refusal(ArchiveLimits { name_bytes_max: 0, ..LIMITS });
    assert!(names.contains("too long"), "{names}");
    let left = fs::read_dir(place.path("data/images")).expect("listed");
    let left: Vec<_> = left.map(|entry| entry.expect("listed").file_name()).collect();
    assert!(!left.iter().any(|name| name == "m-1"), "{left:?}");
}

/// What is fetched, or unpacked on the way, lies on the same disk as the tree.
#[test]
fn what_lies_beside_the_tree_counts() {
    let place = Place::new();
    let layer = archive(&[file("a", &"x".repeat(5_000))]);
    let top = place.path("layout");
    write_layout(&top, &[layer]);
    let whole_image = packed_layout(&top);
    fs::write(place.path("image.tar.gz"), gzip(&whole_image)).expect("written");
    let source = format!("oci-archive:{}", place.path("image.tar.gz").display());
    let source = Source::find(&source).expect("found");
    let import_within = |bytes_max: usize| {
        let limits = ArchiveLimits { bytes_max: bytes_max as u64, ..LIMITS };
        let draft = place.library().begin("m-1").expect("begun");
        import(&source, &draft, &Wish { limits, ..Wish::default() }, &Silent)
    };
    import_within(whole_image.len() + 6_000).expect("room for both");
    let error = import_within(whole_image.len() + 4_000).expect_err("no room for the tree");
    assert!(whole(&error).contains("unpacks to more than 4000 bytes"), "{}", whole(&error));
}

#[test]
fn deep_trees_are_refused_and_go_away_whole() {
    let place = Place::new();
    // Links make it deeper than one name can say.
    let deep = "d/".repeat(40);
    let entries: Vec<_> = (0..20)
        .flat_map(|number| {
            let (here, before) = (format!("l{number}"), format!("l{}", number.max(1) - 1));
            let to = if number == 0 { deep.clone() } else { format!("{before}/{deep}") };
            let made = if number == 0 { deep.clone() } else { format!("{before}/{deep}") };
            [directory(&made), symlink(&here, &to)]
        })
        .collect();
    let error = place.import(&place.layout(&[archive(&entries)])).expect_err("too deep");
    assert!(whole(&error).contains("too deeply"), "{}", whole(&error));
    assert!(!place.path("data/images/m-0").exists());
    let marked = place.layout(&[archive(&entries), archive(&[file(".wh.d", "")])]);
    let (root, _) = place.import(&marked).expect("a layer removed what was too deep");
    assert!(!root.join("d").exists());
}

#[test]
fn what_does_not_have_its_digest_is_refused() {
    let spoil = |which: &dyn Fn(&Path) -> PathBuf| {
        let place = Place::new();
        let source = place.layout(&[archive(&[file("a", "1")]), archive(&[file("b", "2")])]);
        let path = which(&place.path("layout"));
        let mut bytes = fs::read(&path).expect("read");
        let at = bytes.len() - 1;
        bytes[at] ^= 1;
        fs::write(&path, bytes).expect("written");
        whole(&place.import(&source).expect_err("spoilt"))
    };
    let blob = |digest: Digest| move |top: &Path| top.join(blob_name(&digest));
    let first = spoil(&blob(Digest::of(&archive(&[file("a", "1")]))));
    assert!(first.contains("layer 1 of 2 is not what it was: its digest is sha256:"), "{first}");
    let manifest = spoil(&|top: &Path| {
        let index: Value =
            serde_json::from_slice(&fs::read(top.join("index.json")).expect("read")).expect("JSON");
        let digest = index["manifests"][0]["digest"].as_str().expect("a digest");
        top.join(blob_name(&digest.parse().expect("legal")))
    });
    assert!(manifest.contains("is not what it was"), "{manifest}");
}

#[test]
fn texts_of_an_image_do_not_steer_a_terminal() {
    let place = Place::new();
    let top = place.path("layout");
    write_layout(&top, &[archive(&[file("a", "1")])]);
    fs::write(top.join("index.json"), r#"{"manifests": [{"digest": "\u001b[2J"}]}"#)
        .expect("written");
    let error = place.import(&format!("oci:{}", top.display())).expect_err("no digest");
    assert!(!whole(&error).contains('\u{1b}') && whole(&error).contains("[2J"), "{error}");
}
