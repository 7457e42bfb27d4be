"""Which partition is the newest, on this machine and on a server: complete ones alone count."""

from pathlib import Path

import pytest

from pocketkube.errors import UserError
from pocketkube.retraining.partitions import Partition, dataset_of, newest_partition
from pocketkube.spec.sections import DatasetSettings
from pocketkube.storage import parse_location, send_folder
from pocketkube.storage.address import S3Address
from tests.storage.gateway import BUCKET, Gateway

NPZ, IMAGES = DatasetSettings(npz="first/faces.npz"), DatasetSettings(image_folder="first")
RECORDS = DatasetSettings(tfrecord="first/train-*", image_size=(8, 8))


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("1")


def newest(folder: Path, dataset: DatasetSettings = NPZ) -> Partition:
    return newest_partition(parse_location(str(folder)), dataset)


def test_a_file_with_the_right_ending_is_a_partition(tmp_path: Path) -> None:
    write(tmp_path, "2026-11-01.npz", "2026-11-02.npz", "2026-11-03.txt", ".2026-11-04.npz", "README")
    found = newest(tmp_path)
    assert found.name == "2026-11-02.npz"
    assert dataset_of(found, NPZ).npz == str(tmp_path / "2026-11-02.npz")


def test_a_file_beside_partitions_of_images_is_none(tmp_path: Path) -> None:
    write(tmp_path, "2026-11-01/_SUCCESS", "2026-11-01/a/1.png", "README.md")
    assert newest(tmp_path, IMAGES).name == "2026-11-01"


def test_a_file_beside_partitions_of_records_is_none(tmp_path: Path) -> None:
    write(tmp_path, "2026-01/_SUCCESS", "2026-01/train-0", "README.md", "z")
    assert newest(tmp_path, RECORDS).name == "2026-01"
    write(tmp_path, "train-7")
    assert newest(tmp_path, RECORDS).name == "train-7"


def test_numbers_in_names_count_as_numbers(tmp_path: Path) -> None:
    write(tmp_path, "week-9.npz", "week-10.npz", "week-010b.npz")
    assert newest(tmp_path).name == "week-010b.npz"
    (tmp_path / "week-010b.npz").unlink()
    assert newest(tmp_path).name == "week-10.npz"


@pytest.mark.parametrize("marker", ["_SUCCESS", "checksums.json"])
def test_a_folder_counts_once_it_is_marked(tmp_path: Path, marker: str) -> None:
    write(tmp_path, f"2026-11-01/{marker}", "2026-11-01/faces.npz", "2026-11-02/faces.npz", "_tmp/x")
    found = newest(tmp_path)
    assert found.name == "2026-11-01"
    assert found.incomplete == ("2026-11-02",)
    assert dataset_of(found, NPZ).npz == str(tmp_path / "2026-11-01" / "faces.npz")
    assert dataset_of(found, IMAGES).image_folder == str(tmp_path / "2026-11-01")
    records = dataset_of(found, RECORDS)
    assert records.tfrecord == str(tmp_path / "2026-11-01" / "train-*")
    # What is done to images stays as it is.
    assert records.image_size == (8, 8)


def test_without_any_it_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no partition .* it needs a file whose name ends in \.npz"):
        newest(tmp_path)
    write(tmp_path, "2026-11-02/faces.npz")
    with pytest.raises(UserError, match="2026-11-02 lacks _SUCCESS"):
        newest(tmp_path)


def test_a_folder_that_is_not_there_is_told_whatever_partitions_are(tmp_path: Path) -> None:
    for dataset, needed in (
        (NPZ, r"a file whose name ends in \.npz, or a folder with _SUCCESS\."),
        (RECORDS, r"a file called train-\*, or a folder with _SUCCESS\."),
        (IMAGES, r"a folder with _SUCCESS\."),
    ):
        said = f"is complete: there is no such folder, or it is empty; it needs {needed}"
        with pytest.raises(UserError, match=said):
            newest(tmp_path / "nosuch", dataset)
    write(tmp_path, "README.md")
    with pytest.raises(UserError, match=r"is complete: it needs a folder with _SUCCESS\."):
        newest(tmp_path, IMAGES)


def test_on_a_server_it_is_the_same(s3: Gateway, tmp_path: Path) -> None:
    write(s3.objects / "data", "2026-11-01.npz", "2026-11-05/faces.npz", "2026-11-05/more/x")
    place = parse_location(f"s3://{BUCKET}/data")
    found = newest_partition(place, NPZ)
    assert (found.name, found.incomplete) == ("2026-11-01.npz", ("2026-11-05",))
    assert dataset_of(found, NPZ).npz == f"s3://{BUCKET}/data/2026-11-01.npz"
    write(tmp_path / "sent", "faces.npz")
    send_folder(tmp_path / "sent", S3Address(BUCKET, "data/2026-11-04"))
    assert newest_partition(place, NPZ).name == "2026-11-04"
    write(s3.objects / "data", "2026-11-05/_SUCCESS")
    found = newest_partition(place, NPZ)
    assert found.is_folder
    assert dataset_of(found, NPZ).npz == f"s3://{BUCKET}/data/2026-11-05/faces.npz"
