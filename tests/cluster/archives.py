"""Image archives that are made here, without a builder: a root with one program in it."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

from tests.cluster.binaries import binary

PAUSE = "localhost/pause:1"


def pause_archive(folder: Path, arch: str) -> Path:
    """Writes the archive of the image that holds a pod's namespaces.

    Args:
        folder: Where to.
        arch: What it runs on.
    """
    layer = _tar({"pause": binary("pause", arch).read_bytes()}, mode=0o755)
    config = {
        "architecture": arch,
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [PAUSE], "Layers": ["layer.tar"]}]
    content = {"layer.tar": layer, "config.json": json.dumps(config).encode()}
    path = folder / "pause.tar"
    path.write_bytes(_tar({**content, "manifest.json": json.dumps(manifest).encode()}, mode=0o644))
    return path


def _tar(files: dict[str, bytes], mode: int) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return written.getvalue()
