"""Packages that want more than they may: each is uploaded and run as a job of its own task, and
must fail by name without leaving anything outside."""

import gzip
import io
import os
import tarfile
import uuid

from bench import a_task, files_below
from doomed import complaint

PREFIX = "packages"


def entry(name, kind=tarfile.REGTYPE, data=b"", link="", size=None, **pax):
    about = tarfile.TarInfo(name)
    about.type, about.linkname, about.mode = kind, link, 0o6777
    about.size = len(data) if size is None else size
    about.pax_headers = {key.replace("__", "."): value for key, value in pax.items()}
    form = tarfile.PAX_FORMAT if pax else tarfile.GNU_FORMAT
    head = about.tobuf(form, "utf-8", "surrogateescape")
    return head + data + b"\0" * (-len(data) % tarfile.BLOCKSIZE)


def archive(*entries):
    return gzip.compress(b"".join(entries) + b"\0" * 1024)


def tricks(outside, mark):
    """Name, package, words of the message. Files that must never appear have `mark` in their
    name; `outside` is a directory of ours."""
    evil = f"evil-{mark}"
    link = lambda name, to: entry(name, tarfile.SYMTYPE, link=to)
    hard = lambda name, to: entry(name, tarfile.LNKTYPE, link=to)
    noise = os.urandom(100_000)
    return {
        "parent": (archive(entry(f"../{evil}", data=b"x")), f"../{evil}"),
        "parents": (archive(entry(f"a/../../../../{evil}", data=b"x")), "leads out"),
        "absolute": (archive(entry(f"{outside}/{evil}", data=b"x")), f"{outside}/{evil}"),
        "link_out": (archive(link("way", outside), entry(f"way/{evil}", data=b"x")), f"way/{evil}"),
        "link_up": (archive(link("way", "../../.."), entry(f"way/{evil}", data=b"x")), f"way/{evil}"),
        "link_twice": (archive(link("a", "b"), link("b", outside), entry(f"a/{evil}", data=b"x")), f"a/{evil}"),
        "directory_through_link": (archive(link("way", outside), entry(f"way/{evil}", tarfile.DIRTYPE)), f"way/{evil}"),
        "hard_link_out": (archive(hard("way", f"{outside}/secret")), "absolute path"),
        "hard_link_up": (archive(hard("way", "../../secret")), "leads out"),
        "hard_link_through_link": (archive(link("way", outside), hard("got", "way/secret")), "symbolic link"),
        "device": (archive(entry("null", tarfile.CHRTYPE)), "`null`, a device"),
        "disk": (archive(entry("disk", tarfile.BLKTYPE)), "`disk`, a device"),
        "fifo": (archive(entry("pipe", tarfile.FIFOTYPE)), "`pipe`, a named pipe"),
        "file_as_directory": (archive(entry("a", data=b"x"), entry("a/b", data=b"x")), "`a/b`"),
        "long_name": (archive(entry("n" * 300, data=b"x")), "too long"),
        "long_path": (archive(entry("n/" * 3000 + "n", data=b"x")), "too long"),
        "pax_parent": (archive(entry("good", data=b"x", path=f"../{evil}")), f"../{evil}"),
        "sparse_bomb": (archive(sparse("bomb", 10 << 30)), "`bomb`, a sparse file"),
        "pax_sparse_bomb": (archive(entry("bomb", data=b"x", GNU__sparse__major="1", GNU__sparse__realsize=str(10 << 30))), "a sparse file"),
        "large_bomb": (archive(entry("bomb", size=17 << 30)), "more than"),
        "pax_large_bomb": (archive(pax_size(17 << 30)), "more than"),
        "cut_short": (archive(entry("noise", data=noise))[:50_000], "damaged or cut short"),
        "no_trailer": (archive(entry("noise", data=noise))[:-8], "damaged or cut short"),
        "wrong_sum": (archive(entry("noise", data=noise))[:-8] + b"\0" * 8, "damaged or cut short"),
        "zip": (b"PK\x03\x04" + bytes(600), "neither a tar.gz nor a tar"),
        "empty": (b"", "neither a tar.gz nor a tar"),
        "script": (b"#!/bin/sh\nexit 0\n", "neither a tar.gz nor a tar"),
        "bad_checksum": (gzip.compress(b"a" * 100 + bytes(924)), "neither a tar.gz nor a tar"),
    }


def sparse(name, size):
    """A file of `size` bytes with nothing in it, as GNU tar writes it with `-S`."""
    head = bytearray(entry(name, tarfile.GNUTYPE_SPARSE))
    number = lambda value, digits=11: b"%0*o\0" % (digits, value)
    head[386:410] = number(size) + number(0)  # one piece of no bytes, at the end
    head[483:495] = number(size)
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head[:512])
    return bytes(head)


def pax_size(size):
    """An entry whose size is in an extension header only."""
    record = f"size={size}\n"
    record = f"{len(record) + 3} {record}".encode()
    return entry("PaxHeaders/bomb", tarfile.XHDTYPE, record) + entry("bomb")


def run(standing, directory):
    """Runs every trick; yields its name and what was wrong, or `None`."""
    region, mark = standing.region, uuid.uuid4().hex
    outside = os.path.join(directory, "outside")
    os.mkdir(outside)
    with open(os.path.join(outside, "secret"), "w") as file:
        file.write("secret")
    os.chmod(outside, 0o777)
    all_tricks = tricks(outside, mark)
    for name, (package, _) in all_tricks.items():
        region.put_object("standing", f"{PREFIX}/{name}", package)
    words = {**{name: words for name, (_, words) in all_tricks.items()}, "none": f"{PREFIX}/none"}
    with standing.machines(2) as cluster:
        package = lambda name: a_task(cluster, Command__PackagePath=f"oss://standing/{PREFIX}/{name}")
        ended = standing.ended({name: package(name) for name in words})
        for name, instance in ended:
            yield name, complaint(instance, "PackageError", words[name])
    yield "nothing outside", escaped(region, outside, directory, mark)
    for name in all_tricks:
        region.oss_call("DELETE", "standing", f"{PREFIX}/{name}")


def escaped(region, outside, directory, mark):
    """What the tricks left behind."""
    found = files_below(outside) - {os.path.join(outside, "secret")}
    found |= {path for path in files_below(directory) if mark in os.path.basename(path)}
    places = ["/", "/tmp", os.path.dirname(directory), os.getcwd()]
    found |= {os.path.join(place, name) for place in places for name in os.listdir(place) if mark in name}
    with open(os.path.join(outside, "secret")) as file:
        changed = file.read() != "secret"
    return f"left behind: {found}, changed: {changed}" if found or changed else None
