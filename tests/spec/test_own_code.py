"""Which .py files a spec names: what is read, and what is refused, with its line."""

from pathlib import Path

import pytest

from pocketkube.errors import UserError
from pocketkube.spec import document_of, load_spec, parse_spec, with_imports, yaml_of
from pocketkube.spec.sections import Import
from pocketkube.spec.sections.imports import LARGEST_PACKED, packed

SPEC = "model: net.keras\ndataset: digits\nstages: [fine_tune]\nimports: "
SOURCE = "A = '{{ $(HOME) $$ }}'\n# \N{SNOWMAN}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {
        "my_layers": SOURCE,
        "more/other": "B = 2\n",
        "broken": "def x(:\n",
        "json": "",
        "keras": "",
        "user": "if True:\n    from my_layers import A\n",
        "an-odd": "",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.py").write_text(text)
    (tmp_path / "bytes.py").write_bytes(b"\xff\xfe\x00")
    return tmp_path


def written(folder: Path, imports: str) -> Path:
    (folder / "spec.yaml").write_text(SPEC + imports)
    return folder / "spec.yaml"


@pytest.mark.parametrize(
    ("imports", "names"),
    [
        ("[my_layers]", ["my_layers"]),
        ("[./my_layers.py]", ["my_layers"]),
        ("[more/other.py, numpy.linalg]", ["other", "numpy.linalg"]),
        ("[my_layers, user]", ["my_layers", "user"]),
        ("[{name: mine, source: 'A = 1'}]", ["mine"]),
        ("[my_layers, {name: mine, source: 'A = 1'}, more/other.py]", ["my_layers", "mine", "other"]),
    ],
)
def test_a_spec_holds_the_text_of_the_files_that_it_names(
    folder: Path, imports: str, names: list[str]
) -> None:
    spec = load_spec(written(folder, imports))
    assert [each.name for each in spec.imports] == names
    texts = {"my_layers": SOURCE, "other": "B = 2\n", "numpy.linalg": "", "mine": "A = 1"}
    for each in spec.imports:
        assert each.source == texts.get(each.name, each.source)
    # Read again from anywhere, without the files.
    elsewhere = folder / "more" / "spec.yaml"
    elsewhere.write_text(yaml_of(document_of(spec)))
    assert load_spec(elsewhere) == parse_spec(document_of(spec)) == spec


@pytest.mark.parametrize(
    ("imports", "said"),
    [
        ("[no_such.py]", "there is no file "),
        ("[broken]", "broken.py is no Python: line 1: invalid syntax"),
        ("[json.py]", "json is the name of a module of Python's own: rename the file"),
        ("[keras.py]", "keras.py has the name of an installed module, "),
        ("[an-odd.py]", "an-odd.py is no module's name: rename the file, as to my_layers.py"),
        ("[a b]", "'a b' is no module's name, as my_layers is"),
        ("[user]", "user.py imports my_layers.py, which is beside it: name my_layers before user"),
        ("[my_layers, my_layers.py]", "my_layers is named twice; name it once"),
        ("['s3://bucket/x.py']", "s3://bucket/x.py is an address: name a .py file beside the spec"),
        ("[more/other]", "more/other is no .py file, and no module's name"),
        ("my_layers", "must be a list, as in [a, b]; received 'my_layers'"),
    ],
)
def test_what_is_no_module_is_refused_with_its_line(folder: Path, imports: str, said: str) -> None:
    with pytest.raises(UserError) as refused:
        load_spec(written(folder, imports))
    assert str(refused.value).startswith(f"spec.yaml line 4: imports: {said}")


@pytest.mark.parametrize("name", ["my_layers.py", "../my_layers.py", "/tmp/my_layers.py"])
def test_a_spec_that_comes_from_elsewhere_opens_no_file(folder: Path, name: str) -> None:
    document = {"model": "lenet", "dataset": "digits", "stages": [], "imports": [name]}
    with pytest.raises(
        UserError, match=r"is a file, which is read where a spec's own file or --import"
    ):
        parse_spec(document)


def test_more_than_can_be_handed_on_is_refused(folder: Path) -> None:
    lines = (f"A{number} = {hash(str(number))}" for number in range(8000))
    (folder / "large.py").write_text("\n".join(lines))
    with pytest.raises(UserError, match=f"of which {LARGEST_PACKED:,} can be handed on; install them"):
        load_spec(written(folder, "[large]"))


def test_what_is_packed_is_opened_only_so_far() -> None:
    document = {"model": "lenet", "dataset": "digits", "stages": []}
    bomb = {"name": "mine", "source": "#" * 2**21}
    with pytest.raises(UserError, match="packed is no text that was compressed here"):
        parse_spec({**document, "imports": [bomb]})
    with pytest.raises(UserError, match="packed is no text that was compressed here"):
        parse_spec({**document, "imports": [{"name": "mine", "packed": "nonsense"}]})


def test_what_is_no_text_is_no_python(folder: Path) -> None:
    with pytest.raises(
        UserError, match=r"spec.yaml line 4: imports: \S+bytes.py is no Python: it is no"
    ):
        load_spec(written(folder, "[bytes]"))


def test_a_command_lines_module_comes_in_the_place_of_the_specs(folder: Path) -> None:
    spec = load_spec(written(folder, "[my_layers, user]"))
    other = Import(name="my_layers", packed=packed("A = 3"))
    more = with_imports(spec, [other, Import(name="numpy")])
    assert [each.name for each in more.imports] == ["my_layers", "user", "numpy"]
    assert more.imports[0].source == "A = 3"


def test_a_mark_of_the_byte_order_is_no_text(folder: Path) -> None:
    (folder / "marked.py").write_text("A = 1\n", "utf-8-sig")
    assert load_spec(written(folder, "[marked]")).imports[0].source == "A = 1\n"
