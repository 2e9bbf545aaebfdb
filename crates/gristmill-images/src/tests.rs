//! Honest and hostile images, whole and in layers.

use super::*;
use crate::{
    blobs::Blobs,
    digest::Digest,
    manifest::{blob_name, of_layout, of_saved},
};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink as link},
    path::{Path, PathBuf},
};
use tar::{EntryType, Header};

/// A data directory, with something outside of it that nobody may touch.
struct Place {
    top: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let top = tempfile::tempdir().expect("a directory");
        fs::create_dir(top.path().join("outside")).expect("made");
        fs::write(top.path().join("outside/secret"), "secret").expect("written");
        Self { top }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.top.path().join(name)
    }

    fn library(&self) -> Library {
        Library::of(&self.path("data"))
    }

    /// Imports a source; the tree is at the path in the answer.
    fn import(&self, source: &str) -> Result<(PathBuf, Imported), ImageError> {
        let name =
            format!("m-{}", fs::read_dir(self.path("data/images")).map_or(0, Iterator::count));
        let draft = self.library().begin(&name)?;
        let imported = import(&Source::find(source)?, &draft, &Wish::default(), &Silent)?;
        let root = draft.root();
        draft.keep();
        Ok((root, imported))
    }

    /// Writes a layout with these layers and gives its source.
    fn layout(&self, layers: &[Vec<u8>]) -> String {
        let top = self.path("layout");
        write_layout(&top, layers);
        format!("oci:{}", top.display())
    }

    fn assert_untouched(&self, what: &str) {
        let outside = fs::read_dir(self.path("outside")).expect("listed");
        let names: Vec<_> = outside.map(|entry| entry.expect("listed").file_name()).collect();
        assert_eq!(names, ["secret"], "{what}");
        assert_eq!(fs::read(self.path("outside/secret")).expect("read"), b"secret", "{what}");
    }
}

fn entry(kind: EntryType, name: &str, mode: u32, to: &str, content: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(1_000_000_000);
    header.set_size(content.len() as u64);
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.as_mut_bytes()[157..157 + to.len()].copy_from_slice(to.as_bytes());
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn file(name: &str, content: &str) -> Vec<u8> {
    entry(EntryType::Regular, name, 0o644, "", content.as_bytes())
}

fn directory(name: &str) -> Vec<u8> {
    entry(EntryType::Directory, name, 0o755, "", b"")
}

fn symlink(name: &str, to: &str) -> Vec<u8> {
    entry(EntryType::Symlink, name, 0o777, to, b"")
}

fn hard_link(name: &str, to: &str) -> Vec<u8> {
    entry(EntryType::Link, name, 0o644, to, b"")
}

/// Headers with their content.
type Entries = Vec<Vec<u8>>;

fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = entries.concat();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).expect("in memory");
    gzip.finish().expect("in memory")
}

fn put(top: &Path, bytes: &[u8]) -> Digest {
    let digest = Digest::of(bytes);
    fs::write(top.join(blob_name(&digest)), bytes).expect("written");
    digest
}

/// A layout of one image for this host; every second layer is compressed.
fn write_layout(top: &Path, layers: &[Vec<u8>]) {
    fs::create_dir_all(top.join("blobs/sha256")).expect("made");
    let (mut about, mut plain) = (Vec::new(), Vec::new());
    for (number, layer) in layers.iter().enumerate() {
        plain.push(Digest::of(layer));
        let packed = if number % 2 == 1 { gzip(layer) } else { layer.clone() };
        let media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
        let digest = put(top, &packed);
        about.push(json!({"mediaType": media_type, "digest": digest, "size": packed.len()}));
    }
    let config = configuration(&plain, host_architecture());
    let config = put(top, config.to_string().as_bytes());
    let manifest = json!({"config": {"digest": config}, "layers": about}).to_string();
    let manifest = put(top, manifest.as_bytes());
    let index = json!({"manifests": [{"digest": manifest}]});
    fs::write(top.join("index.json"), index.to_string()).expect("written");
    fs::write(top.join("oci-layout"), "{}").expect("written");
}

fn configuration(plain: &[Digest], architecture: &str) -> Value {
    json!({"architecture": architecture, "os": "linux", "rootfs": {"diff_ids": plain}})
}

/// Everything in a tree, with what links say and files hold.
fn listing(root: &Path) -> Vec<String> {
    fn look(top: &Path, at: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(at).expect("listed") {
            let path = entry.expect("listed").path();
            let name = path.strip_prefix(top).expect("inside").display().to_string();
            let about = fs::symlink_metadata(&path).expect("there");
            if about.is_dir() {
                found.push(format!("{name}/"));
                look(top, &path, found);
            } else if about.is_symlink() {
                found.push(format!("{name} -> {}", fs::read_link(&path).expect("read").display()));
            } else {
                found.push(format!("{name} = {}", fs::read_to_string(&path).expect("read")));
            }
        }
    }
    let mut found = Vec::new();
    look(root, root, &mut found);
    found.sort();
    found
}

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

fn whole(error: &ImageError) -> String {
    let mut text = error.to_string();
    let mut at: &dyn std::error::Error = error;
    while let Some(source) = at.source() {
        text.push_str(&format!(": {source}"));
        at = source;
    }
    text
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

/// The parts as one archive, in an order in which nobody would read them.
fn pack(parts: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let entries: Vec<_> = parts
        .iter()
        .map(|(name, bytes)| entry(EntryType::Regular, name, 0o644, "", bytes))
        .collect();
    archive(&entries)
}

#[test]
fn a_container_image_comes_in_one_archive_too() {
    let place = Place::new();
    let top = place.path("layout");
    write_layout(&top, &[archive(&[file("a", "1")]), archive(&[file("b", "2")])]);
    let blobs = fs::read_dir(top.join("blobs/sha256")).expect("listed");
    let mut parts: Vec<(String, Vec<u8>)> = blobs
        .map(|blob| blob.expect("listed").path())
        .map(|path| {
            let name = path.strip_prefix(&top).expect("inside").display().to_string();
            (name, fs::read(&path).expect("read"))
        })
        .collect();
    for name in ["index.json", "oci-layout"] {
        parts.push((name.to_owned(), fs::read(top.join(name)).expect("read")));
    }
    let parts: Vec<_> = parts.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    for (name, bytes) in [("a.tar", pack(&parts)), ("a.tar.gz", gzip(&pack(&parts)))] {
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
    let registry = Registry { credentials: Some(credentials), insecure: false };
    assert!(!format!("{registry:?}").contains("hidden"));
}
