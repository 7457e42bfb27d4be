"""Archives and compressed data are opened at one place, which bounds what becomes of them."""

import re
from pathlib import Path

import pocketkube

ROOT = Path(pocketkube.__file__).parent
OPENING = re.compile(
    r"zipfile\.ZipFile\((?!\w+, \"w\")|tarfile\.open|gzip\.(open|decompress)|bz2\.|lzma\.open"
    r"|zlib\.decompress|np\.load\((?!.*mmap_mode)|pickle\.loads?\(|Unpickler|Image\.open"
    r"|h5py\.File\(|decode_(image|png|jpeg|gif|bmp|and_crop_jpeg)\(|saving\.load_model\(\w|load_weights\(\w|load_assets"
    r"|extractall|unpack_archive"
)
# Each file is looked at by `bounded` before.
LOOKED_AT = {
    "bundle.py": 1,
    "data/decoding.py": 2,
    "older_keras/hdf5.py": 1,
    "older_keras/load.py": 1,
}
# Their own arrays, as a run has written them for itself; `testing` saves a layer and loads it again.
OWN = {"search/prepared.py": 1, "testing/layers.py": 1, "training/checkpoints.py": 1}


def test_nothing_is_unpacked_elsewhere() -> None:
    found: dict[str, int] = {}
    for file in ROOT.rglob("*.py"):
        name = file.relative_to(ROOT).as_posix()
        count = len(OPENING.findall(file.read_text("utf-8")))
        if count and not name.startswith("bounded/"):
            found[name] = count
    assert found == LOOKED_AT | OWN
