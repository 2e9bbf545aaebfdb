//! Honest and hostile archives.

use super::*;
use flate2::{Compression, write::GzEncoder};
use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::PathBuf,
};
use tar::{Builder, EntryType, Header};

fn me() -> Identity {
    Identity { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
}

/// One entry with exactly these bytes as its name, however bad.
fn entry(kind: EntryType, name: &[u8], mode: u32, link: &[u8], content: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(1_000_000_000);
    header.set_size(content.len() as u64);
    header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn file(name: &str, content: &str) -> Vec<u8> {
    entry(EntryType::Regular, name.as_bytes(), 0o644, b"", content.as_bytes())
}

fn symlink(name: &str, to: &str) -> Vec<u8> {
    entry(EntryType::Symlink, name.as_bytes(), 0o777, to.as_bytes(), b"")
}

/// The header of a name or link that does not fit into the entry that follows.
fn long(kind: EntryType, text: &str) -> Vec<u8> {
    entry(kind, b"././@LongLink", 0, b"", text.as_bytes())
}

fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = entries.concat();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

struct Place {
    _top: tempfile::TempDir,
    outside: PathBuf,
    inside: PathBuf,
}

fn place() -> Place {
    let top = tempfile::tempdir().expect("a directory");
    let (outside, inside) = (top.path().join("outside"), top.path().join("inside"));
    fs::create_dir(&outside).expect("made");
    fs::create_dir(&inside).expect("made");
    fs::write(outside.join("secret"), "secret").expect("written");
    Place { _top: top, outside, inside }
}

fn unpack_at(place: &Place, bytes: &[u8]) -> Result<Unpacked, PackageError> {
    unpack(bytes, &place.inside, me(), &PackageLimits::default())
}

#[test]
fn an_ordinary_archive_arrives_whole() {
    let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let long = "d/".repeat(80) + "long-name";
    for (name, mode) in [("run.sh", 0o755), ("data/words 你好.txt", 0o640), (&long, 0o644)] {
        let mut header = Header::new_gnu();
        header.set_mode(mode);
        header.set_size(5);
        builder.append_data(&mut header, name, &b"hello"[..]).expect("in memory");
    }
    let bytes = builder.into_inner().and_then(GzEncoder::finish).expect("in memory");
    let place = place();
    let done = unpack_at(&place, &bytes).expect("unpacked");
    assert_eq!(done, Unpacked { bytes: 15, entries: 3 });
    for (name, mode) in [("run.sh", 0o755), ("data/words 你好.txt", 0o640), (&long, 0o644)] {
        let path = place.inside.join(name);
        assert_eq!(fs::read(&path).expect(name), b"hello");
        assert_eq!(fs::metadata(&path).expect(name).mode() & 0o7777, mode, "{name}");
    }
}

#[test]
fn archives_of_the_system_s_own_tar_are_read_in_all_its_formats() {
    let place = place();
    let source = place.outside.join("source");
    fs::create_dir_all(source.join("sub")).expect("made");
    let long = format!("sub/{}", "n".repeat(180));
    fs::write(source.join(&long), "content").expect("written");
    std::os::unix::fs::symlink("n".repeat(180), source.join("sub/link")).expect("linked");
    fs::hard_link(source.join(&long), source.join("sub/second")).expect("linked");
    for format in ["gnu", "pax"] {
        let bytes = std::process::Command::new("tar")
            .args(["-cz", "--format", format, "-C"])
            .args([&source, Path::new(".")])
            .output()
            .expect("tar is there")
            .stdout;
        let target = place.inside.join(format);
        fs::create_dir(&target).expect("made");
        unpack(&bytes[..], &target, me(), &PackageLimits::default()).expect(format);
        assert_eq!(fs::read(target.join("sub/link")).expect("through the link"), b"content");
        let number = |name: &str| fs::metadata(target.join(name)).expect(name).ino();
        assert_eq!(number(&long), number("sub/second"), "{format}");
    }
}

#[test]
fn hostile_entries_are_refused_by_name_and_nothing_outside_changes() {
    let outside = place().outside.display().to_string();
    let table: &[(&str, Vec<Vec<u8>>)] = &[
        ("leads out", vec![file("../evil", "x")]),
        ("leads out", vec![file("a/../../evil", "x")]),
        ("leads out", vec![file("a/..", "x")]),
        ("absolute", vec![file("/tmp/evil", "x")]),
        ("symbolic link", vec![symlink("a", "../outside"), file("a/evil", "x")]),
        ("symbolic link", vec![symlink("a", &outside), file("a/evil", "x")]),
        ("symbolic link", vec![symlink("a", "b"), symlink("b", ".."), file("a/evil", "x")]),
        (
            "symbolic link",
            vec![
                symlink("a", "../outside"),
                entry(EntryType::Directory, b"a/made", 0o755, b"", b""),
            ],
        ),
        (
            "no file",
            vec![symlink("a", "../outside/secret"), entry(EntryType::Link, b"b", 0o644, b"a", b"")],
        ),
        (
            "symbolic link",
            vec![symlink("a", "../outside"), entry(EntryType::Link, b"b", 0o644, b"a/secret", b"")],
        ),
        ("leads out", vec![entry(EntryType::Link, b"b", 0o644, b"../outside/secret", b"")]),
        ("absolute", vec![entry(EntryType::Link, b"b", 0o644, b"/etc/passwd", b"")]),
        ("no file", vec![entry(EntryType::Link, b"b", 0o644, b"missing", b"")]),
        ("device", vec![entry(EntryType::Char, b"null", 0o666, b"", b"")]),
        ("device", vec![entry(EntryType::Block, b"disk", 0o666, b"", b"")]),
        ("named pipe", vec![entry(EntryType::Fifo, b"pipe", 0o666, b"", b"")]),
        ("through a file", vec![file("a", "x"), file("a/b", "x")]),
        ("where a directory is", vec![file("a/b", "x"), file("a", "x")]),
        ("unknown kind", vec![entry(EntryType::new(b'Z'), b"odd", 0o644, b"", b"")]),
        ("link to nothing", vec![symlink("a", "")]),
        ("too long", vec![long(EntryType::GNULongLink, &"x".repeat(5_000)), symlink("a", "cut")]),
    ];
    for (words, entries) in table {
        let place = place();
        let error = unpack_at(&place, &archive(entries)).expect_err(words);
        assert!(matches!(error, PackageError::Refused { .. }), "{words}: {error:?}");
        assert!(error.to_string().contains(words), "{words}: {error}");
        assert!(error.is_users());
        let names: Vec<_> = fs::read_dir(&place.outside)
            .expect("listed")
            .map(|e| e.expect("listed").file_name())
            .collect();
        assert_eq!(names, ["secret"], "{words}");
        assert_eq!(fs::read(place.outside.join("secret")).expect("read"), b"secret");
    }
}

#[test]
fn links_are_kept_as_they_are_and_replaced_rather_than_written_through() {
    let place = place();
    let bytes = archive(&[symlink("a", "../outside/secret"), file("a", "mine")]);
    unpack_at(&place, &bytes).expect("unpacked");
    assert_eq!(fs::read(place.inside.join("a")).expect("read"), b"mine");
    assert_eq!(fs::read(place.outside.join("secret")).expect("read"), b"secret");

    unpack_at(&place, &archive(&[symlink("b", "/etc/passwd")])).expect("unpacked");
    assert_eq!(fs::read_link(place.inside.join("b")).expect("a link"), Path::new("/etc/passwd"));
}

#[test]
fn special_bits_are_dropped_and_the_owner_may_always_write() {
    let place = place();
    let bytes = archive(&[
        entry(EntryType::Directory, b"d", 0o7000, b"", b""),
        entry(EntryType::Regular, b"d/suid", 0o6755, b"", b"x"),
        entry(EntryType::Regular, b"d/none", 0o000, b"", b"x"),
    ]);
    unpack_at(&place, &bytes).expect("unpacked");
    let mode = |name: &str| {
        fs::metadata(place.inside.join(name)).expect(name).permissions().mode() & 0o7777
    };
    assert_eq!((mode("d"), mode("d/suid"), mode("d/none")), (0o700, 0o755, 0o600));
}

#[test]
fn everything_belongs_to_the_given_owner() {
    if !rustix::process::geteuid().is_root() {
        return; // only root can give files away
    }
    let place = place();
    let owner = Identity { uid: 65_534, gid: 65_533 };
    let bytes = archive(&[file("a/b", "x"), symlink("a/c", "b")]);
    unpack(&bytes[..], &place.inside, owner, &PackageLimits::default()).expect("unpacked");
    for name in ["a", "a/b", "a/c"] {
        let about = fs::symlink_metadata(place.inside.join(name)).expect(name);
        assert_eq!((about.uid(), about.gid()), (owner.uid, owner.gid), "{name}");
    }
}

#[test]
fn bounds_hold() {
    let limits = PackageLimits { bytes_max: 10, entries_max: 3, name_bytes_max: 20 };
    let refusal = |entries: &[Vec<u8>]| {
        unpack(&archive(entries)[..], &place().inside, me(), &limits).expect_err("too much")
    };
    let many: Vec<_> = (0..4).map(|n| file(&format!("f{n}"), "")).collect();
    assert!(matches!(refusal(&many), PackageError::TooMany { entries_max: 3 }));
    let large = [file("a", "123456"), file("b", "123456")];
    assert!(matches!(refusal(&large), PackageError::TooLarge { bytes_max: 10 }));
    let long = [file(&"n".repeat(21), "")];
    assert!(refusal(&long).to_string().contains("too long"));
}

#[test]
fn a_long_name_that_unpacks_to_gigabytes_is_refused_before_it_is_read() {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(8 << 30);
    header.set_cksum();
    let endless = header.as_bytes().chain(io::repeat(b'a'));
    let error =
        unpack(endless, &place().inside, me(), &PackageLimits::default()).expect_err("refused");
    assert!(matches!(error, PackageError::Damaged(_)), "{error:?}");
}

#[test]
fn what_is_no_archive_or_only_half_of_one_says_so() {
    let whole = {
        let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
        let noise: String =
            (0..200_000u32).map(|n| char::from(b'a' + (n.wrapping_mul(n) % 23) as u8)).collect();
        gz.write_all(&archive(&[file("a", &noise)])).expect("in memory");
        gz.finish().expect("in memory")
    };
    let outcome = |bytes: &[u8]| unpack_at(&place(), bytes);
    assert!(outcome(&whole).is_ok());
    assert!(matches!(outcome(&whole[..whole.len() / 2]), Err(PackageError::Damaged(_))));
    assert!(matches!(outcome(b""), Err(PackageError::NotAnArchive(_))));
    assert!(matches!(outcome(b"PK\x03\x04 a zip file"), Err(PackageError::NotAnArchive(_))));
    assert!(matches!(outcome(&[b'x'; 2048]), Err(PackageError::NotAnArchive(_))));
    let cut = &archive(&[file("a", &"x".repeat(2000))])[..1000];
    assert!(matches!(outcome(cut), Err(PackageError::Damaged(_))));
}

#[test]
fn the_checksum_behind_the_archive_is_read_too() {
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    gz.write_all(&archive(&[file("a", "content")])).expect("in memory");
    let whole = gz.finish().expect("in memory");
    let outcome = |bytes: &[u8]| unpack_at(&place(), bytes);
    assert!(outcome(&whole).is_ok());
    let short = &whole[..whole.len() - 8];
    let wrong = [short, &[0; 8]].concat();
    let more = [&whole[..], b"more"].concat();
    for (what, bytes) in [("short", short), ("wrong", &wrong), ("more", &more)] {
        assert!(matches!(outcome(bytes), Err(PackageError::Damaged(_))), "{what}");
    }
    let small = archive(&[file("a", "content")]);
    let endless = (&small[..]).chain(io::repeat(0));
    let limits = PackageLimits { bytes_max: 1 << 20, ..PackageLimits::default() };
    let error = unpack(endless, &place().inside, me(), &limits).expect_err("too much");
    assert!(matches!(error, PackageError::TooLarge { .. }), "{error:?}");
}

#[test]
fn a_refusal_shows_the_start_of_a_long_name() {
    let name = "\n".to_owned() + &"日".repeat(1_000);
    let bytes = archive(&[long(EntryType::GNULongName, &name), file("cut", "x")]);
    let error = unpack_at(&place(), &bytes).expect_err("refused").to_string();
    assert!(error.contains("\u{fffd}日日日"), "{error}");
    assert!(error.contains("日…`, a name that is too long"), "{error}");
    assert!(error.chars().count() < 300, "{error}");
}

#[test]
fn what_is_no_file_is_bounded_too() {
    let comment = |size: usize| entry(EntryType::XGlobalHeader, b"pax", 0, b"", &vec![b'x'; size]);
    let limits = PackageLimits { bytes_max: 10_000, entries_max: 2, name_bytes_max: 100 };
    for (what, entries) in [
        ("many comments", vec![comment(1); 9]),
        ("a long comment", vec![comment(10_001)]),
        ("many entries for the top", vec![entry(EntryType::Directory, b"./", 0o755, b"", b""); 9]),
        ("a long entry for the top", vec![file("./", &"x".repeat(10_001))]),
        ("names of nothing", vec![long(EntryType::GNULongName, "a"); 9]),
    ] {
        let place = place();
        let refused = unpack(&archive(&entries)[..], &place.inside, me(), &limits);
        let refused = refused.expect_err(what);
        assert!(
            matches!(refused, PackageError::TooMany { .. } | PackageError::TooLarge { .. }),
            "{what}: {refused:?}"
        );
    }
    let place = place();
    let few = archive(&[comment(1), comment(1), file("a", "x")]);
    unpack(&few[..], &place.inside, me(), &limits).expect("a few are ordinary");
}
