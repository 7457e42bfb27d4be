"""How a command ends: in one line, whatever it meets; and what it prints cannot steer a terminal."""

import os
import re
import subprocess
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from rich.table import Table

from pocketkube.cli import main
from pocketkube.cli.ending import plain_ending, show
from pocketkube.errors import UserError
from pocketkube.files.output_folder import telling_of_earlier
from pocketkube.files.whole import replaced_folder
from tests.cli.test_bad_input import refused, save_net

COMMAND = [sys.executable, "-m", "pocketkube"]


@pytest.fixture(autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where tracebacks are kept."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_an_interruption_says_whose_the_results_in_its_folder_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "result.json").write_text("{}")
    names = ("result.json", "report.html")
    with pytest.raises(SystemExit), plain_ending(), telling_of_earlier(tmp_path, names):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == (
        "pocketkube: interrupted; the same command goes on from here. "
        f"In {tmp_path}, result.json is still of an earlier run.\n"
    )


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = f'pocketkube() {{ "{sys.executable}" -m pocketkube "$@"; }}; set -o pipefail'
    return subprocess.run(
        ["bash", "-c", f"{command}; {line}"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )


def ended(error: BaseException, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code and the last line of a command that meets an error."""
    with pytest.raises(SystemExit) as ending, plain_ending():
        raise error
    return int(str(ending.value.code)), capsys.readouterr().err


def test_a_reader_that_leaves_and_a_full_disk_are_no_faults(tmp_path: Path) -> None:
    done = shell("pocketkube spec --schema | head -1; pocketkube spec --help | true", tmp_path)
    assert (done.stdout, done.stderr) == ("{\n", "")
    if Path("/dev/full").exists():
        full = shell("pocketkube spec --explain > /dev/full", tmp_path)
        assert full.returncode == 1
        assert full.stderr.startswith("pocketkube: No space left on the disk")
        assert full.stderr.count("\n") == 1
    assert shell("pocketkube spec --explain >&-", tmp_path).stderr == ""


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_lead_nowhere(tmp_path: Path, closed: str) -> None:
    """Nothing that is opened later, as a model's file, is taken for one of them."""
    (tmp_path / "task.py").write_text(
        "import os\n"
        "from pathlib import Path\n"
        "from rich.table import Table\n"
        "from pocketkube.cli.ending import plain_ending, show\n"
        "from pocketkube.console.progress import progress, working\n"
        "from pocketkube.console.quiet import captured_stderr\n"
        "with plain_ending(), working('convert'), progress('train', 1), captured_stderr() as caught:\n"
        "    with open('model', 'w') as file:\n"
        "        os.write(1, b'printed'), os.write(2, b'told'), show(Table('a'))\n"
        "        Path('caught').write_text(f'{caught.text} {file.fileno() > 2}')\n"
    )
    done = shell(f'"{sys.executable}" task.py {closed}', tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "caught").read_text() == "told True"
    assert (tmp_path / "model").read_text() == ""


def test_a_limit_of_a_files_size(tmp_path: Path) -> None:
    result = Path(__file__).parents[1] / "old_files" / "result.json"
    # Python leaves what it compiles cut off where a file may not become larger, and reads it again.
    limited = "export PYTHONDONTWRITEBYTECODE=1; ulimit -f 4"
    done = shell(f"{limited}; pocketkube report {result} -o r.html", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "pocketkube: A file became larger than it may be while writing r.html"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MemoryError(), 1, "Memory ran out: use a smaller network"),
        (np.exceptions.TooHardError("x"), 1, "a fault of PocketKube"),
        (
            OSError(28, "No space left on device", "/a/b"),
            1,
            "No space left on the disk while writing /a/b",
        ),
        (OSError(27, "File too large"), 1, "ulimit -f"),
        (OSError(24, "Too many open files"), 1, "ulimit -n"),
        (OSError(5, "Input/output error"), 1, "the disk, or what stands for one, fails"),
        (PermissionError(13, "Permission denied", "/a"), 2, "/a: permission denied"),
        (IsADirectoryError(21, "Is a directory", "/a"), 2, "/a: it is a folder and no file"),
        (OSError(36, "File name too long", "/a"), 2, "/a: the name is too long"),
        (KeyError("lost"), 1, "KeyError: 'lost'"),
    ],
)
def test_an_error_has_a_line_and_a_code(error, code, said, capsys) -> None:
    found, line = ended(error, capsys)
    assert found == code
    assert said in line
    assert line.startswith("pocketkube: ")
    assert line.count("\n") == 1


def test_memory_that_runs_out_is_told_from_behind_other_errors(capsys) -> None:
    try:
        try:
            np.zeros(2**57)
        except MemoryError as error:
            raise ValueError("net.keras cannot be loaded") from error
    except ValueError as error:
        code, line = ended(error, capsys)
    assert code == 1
    assert "Memory ran out (Unable to allocate 1.00 EiB for an array" in line
    assert "Its traceback is in /" in line


def test_what_only_speaks_of_memory_is_a_fault_as_others_are(capsys) -> None:
    for error in (
        ImportError("libfoo.so: failed to map segment from shared object"),
        RuntimeError("Thread tf creation via pthread_create() failed."),
        KeyError("the class MemoryError is not here"),
        ValueError("a layer named 'OOM when allocating'"),
    ):
        assert "a fault of PocketKube" in ended(error, capsys)[1]
    for error in (RuntimeError("std::bad_alloc"), ImportError("x: cannot open: MemoryError")):
        assert "Memory ran out" in ended(error, capsys)[1]


def test_a_mistake_made_while_memory_is_short_is_told_itself(capsys) -> None:
    mistake = KeyError("fallback")
    mistake.__context__ = MemoryError()
    assert "KeyError: 'fallback'" in ended(mistake, capsys)[1]


def test_a_users_line_keeps_its_words_where_memory_ran_out(capsys) -> None:
    from pocketkube.plain_errors import out_of_memory

    starved = out_of_memory("Unable to allocate 1 EiB")
    sent = UserError(f"{starved} The output is complete, and kept in /tmp/a.")
    loaded = UserError("net.keras cannot be loaded.")
    for error, cause, said in (
        (sent, starved, str(sent)),
        (starved.saying(f"stages: {starved}"), starved, f"stages: {starved}"),
        (loaded, MemoryError(), f"Memory ran out: {loaded}"),
    ):
        error.__cause__ = cause
        assert ended(error, capsys) == (1, f"pocketkube: {said}\n")


def test_a_path_that_nobody_named_may_be_a_fault(capsys, tmp_path: Path) -> None:
    from pocketkube.kube.kfp.cause import cause_in_log

    with pytest.raises(FileNotFoundError) as lost, replaced_folder(tmp_path / "out"):
        (tmp_path / "ours" / "a.json").read_text()
    code, line = ended(lost.value, capsys)
    assert code == 2
    assert "ours/a.json: there is no such file or folder. If you have not named that path" in line
    (kept,) = re.findall(r"its traceback is in (\S+)\.$", line)
    assert "FileNotFoundError" in Path(kept).read_text("utf-8")
    told = cause_in_log(line)
    assert told is not None
    assert not told.is_users


def test_no_secret_of_a_uri_is_told_or_kept(capsys, temporary: Path) -> None:
    error = KeyError("https://me:hidden@host:9000/a?X-Amz-Signature=hidden and url: /a?b=hidden (x)")
    _, line = ended(error, capsys)
    (kept,) = temporary.iterdir()
    for text in (line, kept.read_text("utf-8").splitlines()[-2]):
        assert "hidden" not in text
        assert "host:9000/a?" in text


def test_an_unforeseen_traceback_is_in_the_file_that_the_line_names(
    capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, line = ended(KeyError("lost\x1b[31m"), capsys)
    (named,) = re.findall(r"Its traceback is in (\S+);", line)
    text = Path(named).read_text("utf-8")
    assert "Traceback (most recent call last)" in text
    assert "test_ending.py" in text
    assert "\x1b" not in line
    # A pod's files end with it.
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    _, said = ended(KeyError("lost"), capsys)
    assert said.splitlines()[0] == "Traceback (most recent call last):"
    assert "Its traceback is above;" in said.splitlines()[-1]
    assert said.splitlines()[-1].startswith("pocketkube: a fault of PocketKube")


def test_a_component_ends_in_one_line_too(capsys) -> None:
    from pocketkube.stages.component import ending_in_one_line

    for error, said in ((MemoryError(), "Memory ran out"), (KeyError("\x1b"), "KeyError: '\\x1b'")):
        with pytest.raises(SystemExit) as ending, ending_in_one_line():
            raise error
        assert str(ending.value.code).startswith("pocketkube: ")
        assert said in str(ending.value.code)
    assert capsys.readouterr().err == ""


def test_text_from_files_cannot_steer_the_terminal(tmp_path: Path, capsys) -> None:
    odd = "a\x1b[31m\u202e\x9b[red]:smile:"
    image = keras.Input((8, 8, 1))
    net = keras.Model(image, layers.Dense(3, name="b")(layers.Flatten()(layers.Conv2D(4, 3)(image))))
    net.layers[1].name = odd
    main(["profile", str(save_net(tmp_path / "net.keras", net))])
    shown = capsys.readouterr().out
    assert r"a\x1b[31m\u202e\x9b[red]:smile:" in shown
    assert not set(shown) & set("\x1b\u202e\x9b")
    file = tmp_path / f"{odd}.yaml"
    file.write_text('model: lenet\n"\\e[2J": 1\nstages: []\n')
    line = refused("spec", file)
    assert r"\x1b[2J: is not a known key" in line
    assert not set(line) & set("\x1b\u202e\x9b")


def test_text_that_the_terminals_encoding_lacks_is_written_out(tmp_path: Path) -> None:
    done = shell("PYTHONIOENCODING=ascii pocketkube spec né.yaml", tmp_path)
    assert done.stderr.startswith(r"pocketkube: n\xe9.yaml: there is no such file")


@pytest.mark.parametrize(
    ("encoding", "shown"), [("ascii", r"| \xe9\u6f22 "), ("latin-1", r"| é\u6f22 ")]
)
def test_tables_too(encoding: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = BytesIO()
    monkeypatch.setattr("sys.stdout", TextIOWrapper(raw, encoding))
    table = Table("layer")
    table.add_row("é漢")
    with plain_ending():
        show(table)
    assert shown in raw.getvalue().decode(encoding)


def test_bars_of_libraries_go_back_to_where_their_line_begins(capsys) -> None:
    with plain_ending():
        sys.stderr.write("\r 10%")
        sys.stderr.write("\r 20%\r\n")
        print("a layer's\rname")
    assert capsys.readouterr() == ("a layer's\\x0dname\n", "\r 10%\r 20%\r\n")


def test_colours_of_our_own_reach_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    table = Table("layer")
    table.add_row("conv\x1b[2J")
    with plain_ending():
        show(table)
    shown = capsys.readouterr().out
    assert "\x1b[1mlayer" in shown
    assert r"conv\x1b[2J" in shown


def with_names(*names: str) -> keras.Model:
    image = keras.Input((8, 8, 1), name="the image")
    first, second = (layers.Conv2D(16, 3, name=name) for name in names)
    pooled = layers.GlobalAveragePooling2D()(second(first(image)))
    return keras.Model(image, layers.Dense(3, name="end")(pooled), name="net")


@pytest.mark.parametrize("name", ["a b", "é", "a;b", "<x>", "a\\b", "a:b"])
def test_names_that_tensorflow_does_not_take(name: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.zeros((8, 8, 8, 1), np.float32), y=np.arange(8) % 3)
    net = save_net(tmp_path / "net.keras", with_names(name, "second"))
    for words in (
        ("export", net, "-o", tmp_path / "net.tflite"),
        ("compare", net, net, "--data", tmp_path / "data.npz"),
    ):
        line = refused(*words)
        assert f"net: TensorFlow cannot compute with '{name}': names of layers" in line
        assert "name=" in line
    # What computes nothing takes them.
    main(["prune", str(net), "--speedup", "1.5", "-o", str(tmp_path / "small.keras")])


def test_names_that_a_saved_graph_alone_does_not_take(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.zeros((8, 8, 8, 1), np.float32), y=np.arange(8) % 3)
    net = save_net(tmp_path / "net.keras", with_names("_a", "a>b.c-d"))
    assert "cannot compute with '_a'" in refused("export", net, "-o", tmp_path / "net.tflite")
    main(["compare", str(net), str(net), "--data", str(tmp_path / "data.npz")])


def test_a_data_set_that_is_none_and_numbers_beyond_all(tmp_path: Path) -> None:
    net, small = save_net(tmp_path / "net.keras"), tmp_path / "small.keras"
    prune = ("prune", net, "--speedup", 2, "-o", small)
    assert "--dataset: builtin: 'nosuch' is not known" in refused(*prune, "--dataset", "nosuch")
    assert "--round-to: must be at most" in refused(*prune, "--round-to", 10**30)
    assert "--threads: must be at most 1024" in refused("benchmark", net, "--threads", 10**9)
    assert "--runs: must be at least 5" in refused("benchmark", net, "--runs", 1)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("folder.keras", "it is a folder and no file"),
        ("file/small.keras", "file/small.keras: "),
        ("x" * 300 + ".keras", "the name is too long"),
        ("/proc/small.keras", "Cannot write /proc/small.keras"),
        ("loop/small.keras", "loop/small.keras: "),
    ],
)
def test_an_output_that_cannot_be(output: str, said: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_net(Path("net.keras"))
    Path("folder.keras").mkdir()
    Path("file").write_text("")
    Path("loop").symlink_to("loop")
    there = sorted(tmp_path.rglob("*"))
    line = refused("prune", "net.keras", "--speedup", "1.2", "--round-to", "1", "-o", output)
    assert "Cannot write" in line
    assert said in line
    assert sorted(tmp_path.rglob("*")) == there


@pytest.mark.parametrize("content", ["{}", "[1", "[]", '{"schema_version": 1, "name": 5}', "[" * 10**5])
def test_a_report_of_what_is_no_result(content: str, tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    file.write_text(content)
    assert "result.json is " in refused("report", file)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ("width: 1.0e+9", "width: must be at most 1e+06"),
        ("dataset: {builtin: digits, image_size: [100000, 100000]}", "must be at most 65536"),
        ("seed: 99999999999999999999999", "seed: must be at most 9007199254740992"),
        ("model: ~nosuchuser/net.keras", "~nosuchuser/net.keras"),
    ],
)
def test_specs_that_ask_for_what_cannot_be(changes: str, said: str, tmp_path: Path) -> None:
    fields = {
        "model": "lenet",
        "dataset": "digits",
        "target": "{speedup: 2}",
        "stages": "[prune_channels]",
    }
    key, _, value = changes.partition(": ")
    file = tmp_path / "spec.yaml"
    file.write_text("".join(f"{name}: {each}\n" for name, each in (fields | {key: value}).items()))
    assert said in refused("run", file, "-o", tmp_path / "out")
    assert not (tmp_path / "out" / "result.json").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux alone")
def test_memory_that_runs_out_while_tensorflow_computes(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(
        "model: resnet20\nwidth: 1.0e+4\ndataset: digits\ntarget: {speedup: 2}\n"
        "stages: [prune_channels]\n"
    )
    done = subprocess.run(
        ["prlimit", f"--as={6 * 2**30}", *COMMAND, "run", str(file), "-o", str(tmp_path / "out")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1].startswith("pocketkube: Memory ran out")
    assert "Traceback" not in done.stderr
