"""Archives and compressed data are opened at one place, which bounds what becomes of them."""

import re
from pathlib import Path

import pocketkube

ROOT = Path(pocketkube.__file__).parent
OPENING = re.compile(
    r"zipfile\.ZipFile\((?!\w+, \"w\")|tarfile\.open|gzip\.(open|decompress)|bz2\.|lzma\.open"
    r"|zlib\.decompress|np\.load\((?!.*mmap_mode)|pickle\.loads?\(|Unpickler|Image\.open"
)
# Its own arrays, whose sums are checked, lie in the file as they are.
ELSEWHERE = {"search/prepared.py": 1, "training/checkpoints.py": 1}


def test_nothing_is_unpacked_elsewhere() -> None:
    found: dict[str, int] = {}
    for file in ROOT.rglob("*.py"):
        name = file.relative_to(ROOT).as_posix()
        count = len(OPENING.findall(file.read_text("utf-8")))
        if count and not name.startswith("bounded/"):
            found[name] = count
    assert found == ELSEWHERE
