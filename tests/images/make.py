"""Images for the examples: the smallest tree with a shell, and container images of it in every layout."""

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile

NAME = "an image of our own\n"
LINKS = ("sh", "cat", "ls", "echo", "id", "mkdir", "sleep", "touch", "wc", "true", "false", "env")


def busybox():
    """A program that needs nothing else."""
    for path in ("/bin/busybox", "/usr/bin/busybox"):
        if os.path.exists(path) and b"statically" in subprocess.run(["file", "-b", os.path.realpath(path)], capture_output=True).stdout:
            return path
        if os.path.exists(path) and subprocess.run(["ldd", path], capture_output=True).returncode != 0:
            return path
    return None


def libraries(program):
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    words = [word for line in said.splitlines() for word in line.split() if word.startswith("/")]
    return sorted(set(words))


def make_tree(top):
    """The smallest root with a shell: busybox, or the host's programs with their libraries."""
    os.makedirs(os.path.join(top, "bin"))
    os.makedirs(os.path.join(top, "etc"))
    with open(os.path.join(top, "etc/image-name"), "w") as file:
        file.write(NAME)
    static = busybox()
    if static:
        shutil.copy(static, os.path.join(top, "bin/busybox"))
        for name in LINKS:
            os.symlink("busybox", os.path.join(top, "bin", name))
        return
    for name in LINKS:
        program = os.path.realpath(shutil.which(name))
        shutil.copy(program, os.path.join(top, "bin", name))
        for library in libraries(program):
            target = top + library
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy(os.path.realpath(library), target)


def packed(tree, mode="w"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        archive.add(tree, ".")
    return out.getvalue()


def layer(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, text in files.items():
            about = tarfile.TarInfo(name)
            about.size = len(text)
            archive.addfile(about, io.BytesIO(text.encode()))
    return out.getvalue()


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def container_image(layers):
    """Blobs of a container image by digest, and its manifest."""
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    config = json.dumps({
        "architecture": architecture, "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [digest(plain) for plain in layers]},
    }).encode()
    blobs = {digest(config): config}
    described = []
    for plain in layers:
        data = gzip.compress(plain, 1)
        blobs[digest(data)] = data
        described.append({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest(data), "size": len(data)})
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(config), "size": len(config)},
        "layers": described,
    }).encode()
    return blobs, manifest


def write_layout(top, blobs, manifest):
    os.makedirs(os.path.join(top, "blobs/sha256"))
    for name, data in {**blobs, digest(manifest): manifest}.items():
        with open(os.path.join(top, "blobs/sha256", name.split(":")[1]), "wb") as file:
            file.write(data)
    index = {"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(manifest), "size": len(manifest),
        "annotations": {"org.opencontainers.image.ref.name": "1.0"},
    }]}
    for name, about in (("index.json", index), ("oci-layout", {"imageLayoutVersion": "1.0.0"})):
        with open(os.path.join(top, name), "w") as file:
            json.dump(about, file)
