import subprocess
import sys
from pathlib import Path

import pytest

from pocketkube.errors import UserError
from pocketkube.extension import Registry

# Looks a name up in a fresh process, where packages are found anew.
LOOK_UP = (
    "from pocketkube.extension import Registry; "
    "print(Registry('test.colours', 'colour').get({name!r}, ('red',)))"
)


def add_package(folder: Path, name: str, entry_points: str, code: str = "") -> None:
    """Installs a package as pip would: its module, and what it says of itself."""
    (folder / f"{name}.py").write_text(code)
    info = folder / f"{name}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[test.colours]\n{entry_points}\n")


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def refused(registry: Registry, name: str) -> str:
    with pytest.raises(UserError) as error:
        registry.get(name, ("red",))
    text = str(error.value)
    assert "\n" not in text
    return text


def test_an_entry_point_is_loaded_when_its_name_is_looked_up(packages: Path) -> None:
    add_package(packages, "lazy_one", "blue = lazy_one:BLUE\ngreen = lazy_one:GREEN", "BLUE = 'b'")
    registry = Registry("test.colours", "colour")
    assert registry.names(("red",)) == ("red", "blue", "green")
    assert "lazy_one" not in sys.modules
    assert registry.get("blue") == "b"
    assert registry.origin("blue").who == "the package lazy_one 1.2"


def test_a_decorator_adds_what_it_decorates() -> None:
    registry = Registry("test.colours", "colour")

    @registry.register("blue")
    class Blue:
        pass

    assert registry.get("blue") is Blue
    assert registry.names(("red",)) == ("red", "blue")


def test_a_cell_of_a_notebook_may_run_again() -> None:
    registry = Registry("test.colours", "colour")
    for _ in range(2):
        newest = registry.register("blue")(type("Blue", (), {"__module__": "__main__"}))
    assert registry.get("blue") is newest
    with pytest.raises(UserError, match="The module other adds the colour blue, which the module"):
        registry.register("blue")(type("Blue", (), {"__module__": "other"}))


def test_a_class_may_be_decorated_and_an_entry_point(packages: Path) -> None:
    code = "from tests_registry import registry\n@registry.register('blue')\nclass Blue: pass\n"
    add_package(packages, "both_ways", "blue = both_ways:Blue", code)
    (packages / "tests_registry.py").write_text(
        "from pocketkube.extension import Registry\nregistry = Registry('test.colours', 'colour')\n"
    )
    from tests_registry import registry  # type: ignore[import-not-found]

    assert registry.get("blue").__name__ == "Blue"


def test_an_unknown_name_is_told_what_there_is(packages: Path) -> None:
    add_package(packages, "some_blue", "blue = some_blue:BLUE")
    registry = Registry("test.colours", "colour")
    assert (
        refused(registry, "bleu") == "There is no colour bleu; did you mean blue? Use one of red, blue."
    )


def test_a_broken_package_is_named(packages: Path) -> None:
    points = "gone = broken_one:GONE\nnot = an object\nraising = broken_two:X"
    add_package(packages, "broken_one", points.replace("not = an object\n", ""))
    (packages / "broken_two.py").write_text("raise RuntimeError('no\\nway')")
    registry = Registry("test.colours", "colour")
    assert refused(registry, "gone") == (
        "The colour gone of the package broken_one 1.2 cannot be loaded from broken_one:GONE "
        "(AttributeError: module 'broken_one' has no attribute 'GONE'): repair or uninstall it."
    )
    assert "cannot be loaded from broken_two:X (RuntimeError: no): repair" in refused(
        registry, "raising"
    )


def test_what_is_no_object_is_named(packages: Path) -> None:
    add_package(packages, "strange_one", "odd = an object!")
    text = refused(Registry("test.colours", "colour"), "odd")
    assert text.startswith("The colour odd of the package strange_one 1.2 is 'an object!', which is no")


def test_two_packages_cannot_add_the_same_name(packages: Path) -> None:
    add_package(packages, "first_blue", "blue = first_blue:A", "A = 1")
    add_package(packages, "second_blue", "blue = second_blue:A", "A = 2")
    text = refused(Registry("test.colours", "colour"), "blue")
    assert "the package first_blue 1.2" in text
    assert "the package second_blue 1.2" in text
    assert text.endswith("add the colour blue: uninstall one of them.")


def test_a_package_cannot_take_a_built_in_name(packages: Path) -> None:
    add_package(packages, "new_red", "red = new_red:A", "A = 1")
    text = refused(Registry("test.colours", "colour"), "blue")
    assert text == (
        "There is a colour red already: the package new_red 1.2 has to give its own another name."
    )


def test_what_is_of_another_kind_is_refused(packages: Path) -> None:
    add_package(packages, "wrong_kind", "blue = wrong_kind:A", "A = 1")
    registry = Registry("test.colours", "colour")
    with pytest.raises(UserError, match=r"The colour blue of the package wrong_kind 1\.2 is no str"):
        registry.get("blue", base=str)


def test_no_tensorflow_is_needed_to_look_a_name_up(packages: Path) -> None:
    add_package(packages, "plain_blue", "blue = plain_blue:BLUE", "BLUE = 'b'")
    code = LOOK_UP.format(name="blue") + "; import sys; print({'tensorflow', 'keras'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(packages)!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n")[:2] == ["b", "set()"]
