"""Cores are told by /proc/cpuinfo as real machines have it, and others than asked for are refused."""

import os
import shutil
from pathlib import Path

import pytest

from pocketkube.benchmarking.environment import Environment, doubts, shown_place
from pocketkube.benchmarking.processor import CoreKind, Processor, processor
from pocketkube.benchmarking.required_node import asked_cores, kept_on
from pocketkube.errors import UserError
from pocketkube.spec.sections import BenchmarkPods

CPUINFO = Path(__file__).parent / "cpuinfo"
ALL = range(16)


def machine(root: Path, name: str) -> Processor:
    (root / "proc").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(CPUINFO / f"{name}.txt", root / "proc/cpuinfo")
    return processor(root, ALL)


@pytest.mark.parametrize(
    ("file", "name", "kinds"),
    [
        (
            "raspberry_pi_5",
            "Raspberry Pi 5 Model B Rev 1.0, Arm Cortex-A76",
            ["2 x Arm Cortex-A76 (0xd0b)"],
        ),
        (
            "rk3588",
            "Arm Cortex-A55 and Arm Cortex-A76",
            ["4 x Arm Cortex-A55 (0xd05)", "4 x Arm Cortex-A76 (0xd0b)"],
        ),
        ("neoverse_v1", "Arm Neoverse-V1", ["2 x Arm Neoverse-V1 (0xd40)"]),
        ("altra", "Arm Neoverse-N1", ["2 x Arm Neoverse-N1 (0xd0c)"]),
        (
            "apple_m1",
            "Apple Icestorm (M1) and Apple Firestorm (M1)",
            ["4 x Apple Icestorm (M1) (0x022)", "4 x Apple Firestorm (M1) (0x023)"],
        ),
        (
            "snapdragon_855",
            "Qualcomm Technologies, Inc SM8150, Qualcomm Kryo 4xx Silver and Qualcomm Kryo 4xx Gold",
            ["4 x Qualcomm Kryo 4xx Silver (0x805)", "4 x Qualcomm Kryo 4xx Gold (0x804)"],
        ),
        # A kernel's "ARMv8 Processor" says nothing.
        ("qemu_cortex_a53", "Arm Cortex-A53", ["2 x Arm Cortex-A53 (0xd03)"]),
        # What stands once is of both cores.
        ("tegra3", "grouper, Arm Cortex-A9", ["2 x Arm Cortex-A9 (0xc09)"]),
        (
            "xeon",
            "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz",
            ["2 x Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz"],
        ),
    ],
)
def test_machines_are_told_by_their_names(tmp_path: Path, file: str, name: str, kinds: list) -> None:
    found = machine(tmp_path, file)
    assert found.name == name
    assert list(map(str, found.kinds)) == kinds


def test_features_are_those_that_all_cores_have(tmp_path: Path) -> None:
    pi = machine(tmp_path, "raspberry_pi_5")
    assert all(map(pi.has, ("asimddp", "dotprod", "fp16", "fphp")))
    assert not any(map(pi.has, ("i8mm", "sve")))
    assert machine(tmp_path, "neoverse_v1").has("i8mm")
    assert machine(tmp_path, "tegra3").has("neon")
    assert machine(tmp_path, "xeon").has("avx512_vnni")
    # A little core that lacks what the big one has.
    text = (CPUINFO / "rk3588.txt").read_text().replace(" asimddp", "", 1)
    (tmp_path / "proc/cpuinfo").write_text(text)
    assert not processor(tmp_path, ALL).has("asimddp")
    assert processor(tmp_path, {4, 5}).has("asimddp")


def test_an_unknown_core_is_told_by_its_numbers(tmp_path: Path) -> None:
    text = (CPUINFO / "altra.txt").read_text().replace("0xd0c", "0xfff")
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(text)
    assert str(processor(tmp_path, ALL).kinds[0]) == "2 x CPU part 0xfff of Arm"


def test_governor_and_highest_clock_are_told_where_they_are_visible(tmp_path: Path) -> None:
    for number in range(4, 8):
        clock = tmp_path / f"sys/devices/system/cpu/cpu{number}/cpufreq"
        clock.mkdir(parents=True)
        (clock / "scaling_governor").write_text("schedutil\n")
        (clock / "cpuinfo_max_freq").write_text("2400000\n")
    little, big = machine(tmp_path, "rk3588").kinds
    assert (little.governor, little.max_mhz) == (None, None)
    assert (big.governor, big.max_mhz, big.count) == ("schedutil", 2400.0, 4)


def test_a_machine_that_tells_nothing_has_a_core_all_the_same(tmp_path: Path) -> None:
    assert [kind.count for kind in processor(tmp_path).kinds] == [1]


@pytest.mark.parametrize(
    ("file", "asked", "cores"),
    [
        ("raspberry_pi_5", {"arch": "arm64", "cpu_part": "0xd0b", "features": ("asimddp", "fp16")}, 2),
        ("raspberry_pi_5", {}, 2),
        # Of big and little cores, those that are asked for.
        ("rk3588", {"arch": "arm64", "cpu_part": "0xd0b"}, 4),
        ("neoverse_v1", {"features": ("i8mm", "sve")}, 2),
    ],
)
def test_what_is_asked_for_is_measured_on(tmp_path: Path, file: str, asked: dict, cores: int) -> None:
    found = asked_cores(BenchmarkPods(**asked), machine(tmp_path, file), "aarch64", None)
    assert len(found) == cores
    if file == "rk3588":
        assert found == [4, 5, 6, 7]


@pytest.mark.parametrize(
    ("file", "uname", "asked", "line"),
    [
        (
            "xeon",
            "x86_64",
            {"arch": "arm64"},
            "cluster.benchmark asks for arm64, but node-7 is amd64 with 2 x Intel(R) Xeon(R) Platinum "
            "8481C CPU @ 2.70GHz: nothing was measured.",
        ),
        (
            "qemu_cortex_a53",
            "aarch64",
            {"arch": "arm64", "cpu_part": "0xd0b", "features": ("asimddp",)},
            "cluster.benchmark asks for arm64, CPU part 0xd0b (Arm Cortex-A76), asimddp, but node-7 is "
            "arm64 with 2 x Arm Cortex-A53 (0xd03), without asimddp: nothing was measured.",
        ),
        (
            "altra",
            "aarch64",
            {"features": ("asimddp", "sve")},
            "cluster.benchmark asks for asimddp, sve, but node-7 is arm64 with 2 x Arm Neoverse-N1 "
            "(0xd0c), without sve: nothing was measured.",
        ),
        (
            "xeon",
            "x86_64",
            {"cpu_part": "0xd40"},
            "cluster.benchmark asks for CPU part 0xd40 (Arm Neoverse-V1), but node-7 is amd64 with 2 x "
            "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz: nothing was measured.",
        ),
    ],
)
def test_another_node_is_refused_in_one_line(
    tmp_path: Path, file: str, uname: str, asked: dict, line: str
) -> None:
    with pytest.raises(UserError) as refused:
        asked_cores(BenchmarkPods(**asked), machine(tmp_path, file), uname, "node-7")
    assert str(refused.value) == line


def test_runs_are_kept_on_the_cores_that_are_asked_for() -> None:
    before = os.sched_getaffinity(0)
    first = min(before)
    with kept_on([first]):
        assert os.sched_getaffinity(0) == {first}
    assert os.sched_getaffinity(0) == before


def place(**changes: object) -> Environment:
    kind = CoreKind("Arm Cortex-A76", "0x41", "0xd0b", 4, None, None)
    facts = {
        "cpu": "Arm Cortex-A76",
        "cpu_features": (),
        "cores": 4,
        "machine": "aarch64",
        "emulated_on": None,
        "python": "3.11",
        "packages": {},
        "when": "",
        "core_kinds": (kind,),
    }
    return Environment(**{**facts, **changes})  # type: ignore[arg-type]


def test_emulation_and_cores_of_several_kinds_are_doubts() -> None:
    assert doubts(place()) == ()
    assert shown_place(place(node="pi-3")) == "Arm Cortex-A76, 4 cores, aarch64, on pi-3"
    emulated = place(emulated_on="x86_64")
    assert doubts(emulated) == (
        "The machine was an emulated aarch64 (on x86_64): its times say nothing of a real one.",
    )
    assert "emulated aarch64 (on x86_64)" in shown_place(emulated)
    little = CoreKind("Arm Cortex-A55", "0x41", "0xd05", 4, None, None)
    (said,) = doubts(place(core_kinds=(little, *place().core_kinds)))
    assert "(4 x Arm Cortex-A55 (0xd05), 4 x Arm Cortex-A76 (0xd0b))" in said
