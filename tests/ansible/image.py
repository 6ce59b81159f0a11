"""Writes an OCI layout with one image, of one layer of 1 MB, under the tag 1."""

import gzip
import hashlib
import io
import json
import os
import pathlib
import sys
import tarfile

layout = pathlib.Path(sys.argv[1])
blobs = layout / "blobs" / "sha256"
blobs.mkdir(parents=True, exist_ok=True)


def store(media_type, content):
    digest = hashlib.sha256(content).hexdigest()
    (blobs / digest).write_bytes(content)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


data = os.urandom(1_000_000)
packed = io.BytesIO()
with tarfile.open(fileobj=packed, mode="w") as archive:
    entry = tarfile.TarInfo("data")
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))
raw = packed.getvalue()
layer = store("application/vnd.oci.image.layer.v1.tar+gzip", gzip.compress(raw))
config = {
    "architecture": "amd64",
    "os": "linux",
    "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(raw).hexdigest()}"]},
}
config = store("application/vnd.oci.image.config.v1+json", json.dumps(config).encode())
manifest = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "config": config,
    "layers": [layer],
}
entry = store(manifest["mediaType"], json.dumps(manifest).encode())
entry["annotations"] = {"org.opencontainers.image.ref.name": "1"}
(layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
(layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
