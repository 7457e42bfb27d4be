"""A folder of images, in a folder for each class where there are labels."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf

from pocketkube.bounded.images import ImageHeader, image_header
from pocketkube.bounded.limits import Unreadable
from pocketkube.data.dataset import Dataset, Examples, Labels, Skipped, skipped_of
from pocketkube.data.decoding import Form, Window, image_in
from pocketkube.data.in_memory import examples_of_arrays
from pocketkube.data.reading import reason_of
from pocketkube.data.splits import Split, hold_out, looks_like_a_split, split_of_folder
from pocketkube.errors import UserError
from pocketkube.files.below import files_below
from pocketkube.spec.sections import DatasetSettings

# What ends the names of images.
_ENDINGS = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif")
# And of those of formats that are not decoded: they are left out, and who has such is told so.
_NOT_DECODED = (".webp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jxl", ".jp2")
# What archives made on a Mac leave beside their folders, and file systems on each disk.
_LEFT_BY_OTHERS = ("__MACOSX", "lost+found")
# Up to here all images are decoded at once, which also finds every broken one at the start.
_IN_MEMORY_BYTES = 1 << 30


class _BadImage(UserError):
    """A file's content is no image that can be used, whoever reads it."""


@dataclass(frozen=True)
class _Files:
    """Images of a split.

    Attributes:
        paths: Where they are.
        labels: Their classes' numbers; all 0 where there are no classes.
        not_decoded: Files beside them of formats that are not decoded.
    """

    paths: np.ndarray
    labels: np.ndarray
    not_decoded: tuple[str, ...] = ()

    def take(self, rows: np.ndarray) -> "_Files":
        return _Files(self.paths[rows], self.labels[rows])


def load(folder: Path, settings: DatasetSettings) -> Dataset:
    """Loads the images; classes are numbered in the alphabetical order of their folders.

    A folder that has `train` (or `training_set` and the like, and perhaps such of validation and test)
    with the classes' folders in them is split so; what is missing is held out of `train`. Images are
    resized to `image_size`, which may be left out where all are of one size; they have one channel
    where all are grey.

    Images that lie in the folder itself, or in `train` itself, have no labels, nor do those of folders
    in folders where `settings.labels` is False.

    Raises:
        UserError: If there is one class alone, a class without images, an image that
            cannot be decoded (named), splits without `train` or without images, folders of classes that
            are called as splits are in other layouts, or sizes differ and `image_size` is not given.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder.")
    parts, classes = _parts(folder, labels=settings.labels)
    not_decoded = [path for part in parts.values() for path in part.not_decoded]
    skipped = None
    if settings.on_bad_example == "skip":
        whole = parts["train"]
        parts, skipped = _without_bad(folder, parts, settings)
        _refuse_emptied(folder, whole, parts["train"], classes)
    paths = [str(path) for part in parts.values() for path in part.paths]
    skipped = _with_not_decoded(skipped, not_decoded, len(paths))
    form = _form(folder, paths, settings)
    train = parts["train"]
    if "test" not in parts:
        rows, held = hold_out(train.labels, settings.test_fraction)
        parts["test"], train = train.take(held), train.take(rows)
    if settings.max_train is not None:
        train = train.take(_first_of_each(train.labels, settings.max_train))
    if "validation" not in parts:
        rows, held = hold_out(train.labels, settings.validation_fraction)
        parts["validation"], train = train.take(held), train.take(rows)
    for name, part in (parts | {"train": train}).items():
        if not len(part.paths):
            raise UserError(f"{folder}: too few images; none are left for the {name} set.")
    total = len(train.paths) + len(parts["validation"].paths) + len(parts["test"].paths)
    fits = total * form.size[0] * form.size[1] * form.channels * 4 <= _IN_MEMORY_BYTES
    labels = (Labels(len(classes), shape=(), whole=(0, len(classes) - 1)),) if classes else ()
    splits = [
        _examples(part, form, labels, fits) for part in (train, parts["validation"], parts["test"])
    ]
    shape = (*form.size, form.channels)
    return Dataset(str(folder), (shape,), labels, *splits, skipped=skipped, class_names=tuple(classes))


def _parts(folder: Path, *, labels: bool) -> tuple[dict[Split, _Files], list[str]]:
    """The files by split, and the classes' names; none where images lie in no class's folder."""
    roots = _roots(folder, labels=labels)
    classes = _subfolders(roots["train"]) if labels else []
    if not classes:
        parts = {name: _images(root, required=name == "train") for name, root in roots.items()}
        _refuse_empty_splits(parts, roots)
        return parts, []
    if len(classes) < 2:
        raise UserError(
            f"{folder}: needs a folder of images for each of at least two classes. Received: "
            f"{classes[0]}; for images without labels say dataset.labels: false."
        )
    _refuse_folders_of_classes(roots["train"], classes)
    parts = {}
    for name, root in roots.items():
        if unknown := set(_subfolders(root)) - set(classes):
            raise UserError(
                f"{root}: has the class {min(unknown)}, which {roots['train']} does not have."
            )
        of_each = [_images(root / class_name, required=name == "train") for class_name in classes]
        parts[name] = _Files(
            np.concatenate([files.paths for files in of_each]),
            np.repeat(np.arange(len(classes), dtype=np.int32), [len(x.paths) for x in of_each]),
            tuple(path for files in of_each for path in files.not_decoded),
        )
    _refuse_empty_splits(parts, roots)
    return parts, classes


def _refuse_empty_splits(parts: Mapping[Split, _Files], roots: Mapping[Split, Path]) -> None:
    """Says when a folder is there for a split, and no image that counts in it."""
    for name, root in roots.items():
        if len(parts[name].paths):
            continue
        without = len(_images(root, required=False).paths)
        has = f"{without} images in no class's folder" if without else "no image"
        mend = "put them into folders of their classes" if without else "put some into it"
        raise UserError(
            f"{root}: has {has}: {mend}, or take the folder out, and a {name} set is held out of train."
        )


def _roots(folder: Path, *, labels: bool) -> dict[Split, Path]:
    """The folder of each split that there is.

    Args:
        folder: Where they are.
        labels: Whether folders are classes where they are no splits. Else the images of all folders are
            to train on, where none of these is called train.
    """
    names = _subfolders(folder)
    called = {name: split for name in names if (split := split_of_folder(name))}
    if not labels and "train" not in called.values():
        return {"train": folder}
    found: dict[Split, Path] = {}
    for name, split in called.items():
        if split in found:
            raise UserError(f"{folder}: has both {found[split].name} and {name}; keep one of them.")
        found[split] = folder / name
    splits, others = list(called), [name for name in names if name not in called]
    if len(splits) == 1 and others:
        # A class that is called train, as a vehicle is: unless the classes are in it once more.
        if labels and (again := set(_subfolders(folder / splits[0])) & set(others)):
            raise UserError(
                f"{folder}: has {min(again)} beside {splits[0]}, which is a split, and in it, too: put "
                f"what is beside it into a folder called {'test' if 'train' in found else 'train'}."
            )
        return {"train": folder}
    if len(splits) > 1 and "train" not in found:
        raise UserError(
            f"{folder}: has {' and '.join(splits)}, which are splits, but no train: call the folder of "
            "the images to train on train, or give the folder of one split."
        )
    if "train" not in found:
        return {"train": folder}
    if others:
        raise UserError(
            f"{folder}: has {' and '.join(splits)}, which are splits, and {others[0]} beside them: "
            "take it out, or give the folder of one split."
        )
    return found


def _refuse_folders_of_classes(folder: Path, names: Sequence[str]) -> None:
    """Says when what stands in the place of classes may be splits, whose folders are the classes."""
    if not any(map(looks_like_a_split, names)):
        return
    inner = _subfolders(folder / names[0])
    alike = all(_subfolders(folder / name) == inner for name in names)
    if len(inner) > 1 and alike and not any(_own_images(folder / name) for name in names):
        raise UserError(
            f"{folder}: {_some(names)} all hold folders called {_some(inner)}, no image themselves: "
            "if these are the classes, call the folders that they are in train, validation and test; "
            "else put the images of each class right into its folder."
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")


def _subfolders(folder: Path) -> list[str]:
    return sorted(
        p.name
        for p in folder.iterdir()
        if p.is_dir() and not p.name.startswith(".") and p.name not in _LEFT_BY_OTHERS
    )


def _own_images(folder: Path) -> bool:
    """Whether any image lies in a folder itself."""
    return any(path.suffix.lower() in _ENDINGS and _is_file(path) for path in folder.iterdir())


def _is_file(path: Path) -> bool:
    # Copies that editors and archives leave have names as ._photo.png.
    return not path.name.startswith(".") and path.is_file()


def _images(folder: Path, *, required: bool) -> _Files:
    """All images below a folder, links to folders included, without classes.

    Raises:
        UserError: If there is none, but it is required, or there are such that are not decoded, or a
            folder cannot be read.
    """

    def is_hidden(path: Path) -> bool:
        # What lies in .ipynb_checkpoints is no image either.
        parts = path.relative_to(folder).parts
        return any(part.startswith(".") or part in _LEFT_BY_OTHERS for part in parts)

    def refuse(error: OSError) -> None:
        place = Path(error.filename)
        if place.exists() and not is_hidden(place):
            raise UserError(f"{place}: cannot be read ({error.strerror}).") from error

    found = sorted(
        path
        for path in files_below(folder, refuse)
        if path.suffix.lower() in _ENDINGS + _NOT_DECODED and _is_file(path) and not is_hidden(path)
    )
    paths = [str(path) for path in found if path.suffix.lower() in _ENDINGS]
    not_decoded = tuple(str(path) for path in found if path.suffix.lower() in _NOT_DECODED)
    if not_decoded and not paths:
        raise UserError(
            f"{folder}: has no image that is decoded, but {len(not_decoded)} that end in "
            f"{_endings(not_decoded)}: convert them to PNG or JPEG."
        )
    if required and not paths:
        raise UserError(f"{folder}: has no image, as .png or .jpg.")
    return _Files(np.array(paths, str), np.zeros(len(paths), np.int32), not_decoded)


def _endings(paths: Sequence[str]) -> str:
    return ", ".join(sorted({Path(path).suffix.lower() for path in paths}))


def _with_not_decoded(skipped: Skipped | None, paths: Sequence[str], images: int) -> Skipped | None:
    """What is left out, with files of formats that are not decoded, which always are.

    Args:
        skipped: What else is left out.
        paths: Those files.
        images: How many images there are, without any of these.
    """
    if not paths:
        return skipped
    others = skipped.count if skipped else 0
    first = (
        f"{paths[0]}: files that end in {_endings(paths)} are not decoded, {len(paths)} in all: "
        "convert them to PNG or JPEG."
    )
    return Skipped(others + len(paths), others + len(paths) + images, first)


def _first_of_each(labels: np.ndarray, count: int) -> np.ndarray:
    """The first `count` examples, taken in turns from the classes: files are sorted by class."""
    turn = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        mine = labels == label
        turn[mine] = np.arange(mine.sum())
    return np.sort(np.argsort(turn, kind="stable")[:count])


def _without_bad(
    folder: Path, parts: Mapping[Split, _Files], settings: DatasetSettings
) -> tuple[dict[Split, _Files], Skipped | None]:
    """The images that can be used, and what is left out.

    The first image that can be decoded says the size of all, where `image_size` does not. All have
    three channels if one has that is not left out.
    """
    paths = [path for part in parts.values() for path in part.paths.tolist()]
    size = None
    if settings.image_size is None:
        good = (path for path in paths if not _why_bad(path, None, 0))
        size = next((_header(path).size for path in good), None)
    with ThreadPoolExecutor() as pool:
        headers = dict(zip(paths, pool.map(_header_if_any, paths), strict=True))
        known = {path: header for path, header in headers.items() if header}

        def look(of: list[str], channels: int) -> dict[str, str]:
            why = partial(_why_bad, size=size, channels=channels)
            return dict(zip(of, pool.map(why, of), strict=True))

        reasons = look([path for path, header in known.items() if not header.is_grey], 3)
        rest = [path for path in paths if path not in reasons]
        channels = _channels([header for path, header in known.items() if not reasons.get(path)])
        reasons |= look(rest, channels)
    skipped = skipped_of(str(folder), [reasons[path] for path in paths if reasons[path]], len(paths))
    kept = {
        name: part.take(np.flatnonzero([not reasons[path] for path in part.paths.tolist()]))
        for name, part in parts.items()
    }
    return kept, skipped


def _refuse_emptied(folder: Path, train: _Files, left: _Files, classes: Sequence[str]) -> None:
    """Says when no image of a class is left to train on.

    Args:
        folder: Where the images are.
        train: Those for training.
        left: Those of them that can be used.
        classes: The names of the classes; none where there are no labels.
    """
    emptied = np.setdiff1d(train.labels, left.labels)
    if classes and len(emptied):
        raise UserError(
            f"{folder}: none of the {np.sum(train.labels == emptied[0])} training images of the class "
            f"{classes[emptied[0]]} can be used, so it cannot be learned: replace them, or remove the "
            "class's folder."
        )


def _why_bad(path: str, size: tuple[int, int] | None, channels: int) -> str:
    """A sentence on an image that cannot be used; empty where it can.

    Args:
        path: The image's file.
        size: Height and width that it has to have; None for any.
        channels: How many it is decoded to; 0 for as many as it has.

    Raises:
        UserError: If the file cannot be read, which says nothing of what is in it.
    """
    try:
        found = _header(path).size
        if size is None or found == size:
            _decoded(path, Form(found, channels, (0.0, 255.0)))
            return ""
    except _BadImage as error:
        return str(error)
    return (
        f"{path}: is an image of {found[0]} x {found[1]} pixels, others are of {size[0]} x {size[1]}: "
        "set the dataset's image_size."
    )


def _channels(headers: Sequence[ImageHeader]) -> int:
    """One where all are grey, and any is of a format that is decoded to one; else three."""
    is_one = all(each.is_grey for each in headers) and any(each.to_one_channel for each in headers)
    return 1 if is_one else 3


def _form(folder: Path, paths: Sequence[str], settings: DatasetSettings) -> Form:
    """Reads the headers of all images."""
    with ThreadPoolExecutor() as pool:
        headers = list(pool.map(_header, paths))
    sizes = {each.size for each in headers}
    if settings.image_size is None and len(sizes) > 1:
        told = ", ".join(f"{h} x {w}" for h, w in sorted(sizes)[:3])
        raise UserError(f"{folder}: images differ in size ({told} …): set the dataset's image_size.")
    size = settings.image_size or sizes.pop()
    return Form(size, _channels(headers), settings.value_range, settings.central_crop)


def _header_if_any(path: str) -> ImageHeader | None:
    try:
        return _header(path)
    except _BadImage:
        return None


def _header(path: str) -> ImageHeader:
    try:
        return image_header(Path(path))
    except Unreadable as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.strerror:
            raise UserError(f"{path}: cannot be read ({cause.strerror}).") from error
        raise _BadImage(f"{path}: is not a readable image: {error}.") from error


def _examples(files: _Files, form: Form, labels: tuple[Labels, ...], fits: bool) -> Examples:
    if fits:
        with ThreadPoolExecutor() as pool:
            images = list(pool.map(lambda path: _decoded(path, form), files.paths.tolist()))
        return examples_of_arrays((np.stack(images),), (files.labels,) if labels else (), labels)

    def decode(path: tf.Tensor, *label: tf.Tensor, window: Window | None = None) -> tuple:
        image = image_in(tf.io.read_file(path), form, window)
        return (tf.ensure_shape(image, (*form.size, form.channels)),), label

    def explain() -> str | None:
        reasons = (_why_bad(path, None, form.channels) for path in files.paths.tolist())
        return next(filter(None, reasons), None)

    def open_files() -> tf.data.Dataset:
        known = (files.paths, files.labels) if labels else (files.paths,)
        return tf.data.Dataset.from_tensor_slices(known)

    count = len(files.labels)
    # Paths are small, and in the order of the classes: all are shuffled.
    return Examples(
        count,
        open_files,
        None,
        labels,
        decode=decode,
        decodes_windows=True,
        explain=explain,
        shuffled_among=count,
    )


def _decoded(path: str, form: Form) -> np.ndarray:
    with tf.device("CPU:0"):
        try:
            return image_in(tf.io.read_file(path), form).numpy()
        except tf.errors.InvalidArgumentError as error:
            if form.channels == 1 and not _header(path).to_one_channel:
                raise _BadImage(
                    f"{path}: is of a format that is only decoded to three channels, and others have "
                    "one: store it as PNG."
                ) from error
            raise _BadImage(f"{path}: the image is broken and cannot be decoded.") from error
        except tf.errors.OpError as error:
            raise UserError(f"{path}: cannot be read ({reason_of(error)}).") from error
