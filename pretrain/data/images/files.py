"""Images that are files of their own: below a folder, or named by a list."""

import codecs
import csv
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from pretrain.common.errors import UserError
from pretrain.data.images.decode import is_image_name, readable
from pretrain.data.images.encoded import EncodedImages
from pretrain.data.images.index import Coded, Index, PackedNames, counting, sorted_by_parts, stamp

RUBBISH = ("__MACOSX", "Thumbs.db", "desktop.ini")
EXPECTED = "expected images (.jpg, .png, .webp, .tif …), tar shards or parquet files"
LISTS = (".txt", ".csv", ".tsv", ".lst")
PATH_COLUMNS, LABEL_COLUMNS = ("path", "file", "filename", "file_name", "image"), ("label", "class", "class_name")


class ImageFiles(EncodedImages):
    """Files below ``root`` by their relative ``names`` with labels; an item is (uint8 [C, H, W], label)."""

    def __init__(
        self, root: Path, names: Iterable[str] | PackedNames, labels: Sequence[int], classes: list[str],
        found: str = "", channels: int = 3,
    ):  # fmt: skip
        names = names if isinstance(names, PackedNames) else PackedNames(names)
        super().__init__(names, labels, classes, found, channels)
        self.root = Path(root)

    def name(self, index: int) -> str:
        return str(self.root / self.names[index])

    def encoded(self, index: int) -> bytes:
        return (self.root / self.names[index]).read_bytes()

    def identity(self) -> Iterator[bytes]:
        yield self.names.bytes.tobytes()
        yield self.names.ends.tobytes()
        for index in range(len(self)):
            with readable(self.name(index)):
                found = (self.root / self.names[index]).stat()
            yield b"%d %d\n" % (found.st_size, found.st_mtime_ns)


class Walk:
    """Relative paths of the images below a folder, sorted by their parts, so that every machine agrees.

    Links to folders outside are followed once; what is there already by another path is not read twice.
    ignored: what else lay there, by kind. stamps: of every folder. Errors: UserError names a link that makes a loop.
    """

    def __init__(self, root: Path):
        self.root, self.real = root, os.path.realpath(root)
        self.ignored: Counter[str] = Counter()
        self.stamps: list[tuple[str, int, int]] = []
        self.followed: set[str] = set()
        self.folders: list[str] = []  # of the first level

    def __iter__(self) -> Iterator[str]:
        return self._below(str(self.root), "", (self.real,))

    def _below(self, folder: str, relative: str, above: tuple[str, ...]) -> Iterator[str]:
        try:
            self.stamps.append(stamp(folder))
            special: dict[str, tuple[bool, bool]] = {}  # all but regular files, of which there may be a million
            with os.scandir(folder) as entries:
                found = sorted(e.name for e in entries if not self._hidden(e.name) and _noted(e, special))
        except OSError as error:
            raise UserError(f"cannot read the folder {folder}: {error.strerror}") from None
        for name in found:
            path, (is_folder, is_link) = f"{folder}/{name}", special.get(name, (False, False))
            if is_folder:
                real = os.path.realpath(path) if is_link else f"{above[-1]}/{name}"
                if self._is_known(path, real, is_link, above):
                    continue
                if not relative:
                    self.folders.append(name)
                yield from self._below(path, f"{relative}{name}/", (*above, real))
            elif not is_image_name(name):
                self.ignored[kind_of(name)] += 1
            elif is_link and not os.path.isfile(path):
                self.ignored["broken links"] += 1
            else:
                yield f"{relative}{name}"

    def _hidden(self, name: str) -> bool:
        hidden = is_hidden(name)
        self.ignored["hidden"] += hidden
        return hidden

    def _is_known(self, path: str, real: str, is_link: bool, above: tuple[str, ...]) -> bool:
        """Whether the images of a folder come without this link, or came by another one already."""
        if real in above:
            raise UserError(f"the link {path} leads back to {real}: a loop; expected folders without one")
        if self._is_met(real):
            known = is_link
        else:
            known = real in self.followed
            self.followed.add(real)
        self.ignored["links to what is there already"] += known
        return known

    def _is_met(self, real: str) -> bool:
        """Whether a folder lies below the root and none above it is hidden."""
        own = real.startswith(f"{self.real}/")
        return own and not any(is_hidden(part) for part in real[len(self.real) + 1 :].split("/"))


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is neither an image nor a class."""
    return name.startswith(".") or name in RUBBISH


def kind_of(name: str) -> str:
    """What an ignored file is counted as: its suffix, short and in one line."""
    return " ".join(Path(name).suffix.lower().split())[:20] or "without a suffix"


def _noted(entry: os.DirEntry, special: dict[str, tuple[bool, bool]]) -> bool:
    """Note of a folder or link which of both it is; True."""
    try:
        is_folder = entry.is_dir()
    except OSError:  # a link that leads to itself
        is_folder = False
    if is_folder or entry.is_symlink():
        special[entry.name] = is_folder, entry.is_symlink()
    return True


def index_folder(folder: Path, empty: str = "no images") -> Index:
    """``folder/<class>/**`` with labels where every image lies in a sub-folder, else images without labels.

    Errors: UserError for a folder without images, which begins with ``empty``.
    """
    walk, counts = Walk(folder), {}
    names = PackedNames(_counted(walk, counts, folder))
    if not len(names):
        raise UserError(f"{empty} below {folder}{ignored_text(walk.ignored, ': ')}; {EXPECTED}")
    if "" in counts:
        labels, classes = np.zeros(len(names), np.int64), []
        text = f"{len(names):,} images without labels"
    else:  # one sub-folder after the other, so that a class is a run of names
        labels, classes = np.repeat(np.arange(len(counts)), list(counts.values())), list(counts)
        text = f"{len(names):,} images in {len(classes):,} folder{'s' * (len(classes) > 1)}"
        if bare := [name for name in walk.folders if name not in counts]:
            more = " …" if len(bare) > 5 else ""
            text += f"; {len(bare):,} without images: {', '.join(bare[:5])}{more}"
    return Index(names, labels, classes, f"{text}{ignored_text(walk.ignored)}", walk.stamps)


def _counted(names: Iterable[str], counts: dict[str, int], where: Path) -> Iterator[str]:
    """The names, while ``counts`` comes to hold how many lie in each sub-folder."""
    with counting(str(where)) as count:
        for number, name in enumerate(names, 1):
            top, slash, _ = name.partition("/")
            top = top if slash else ""
            counts[top] = counts.get(top, 0) + 1
            if number % 10_000 == 0:
                count(10_000)
            yield name


def ignored_text(ignored: Counter[str], before: str = "; ") -> str:
    """``; 12 files ignored: 10 .txt, 2 hidden``, nothing where nothing was."""
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in ignored.most_common() if count)
    return f"{before}{sum(ignored.values()):,} ignored: {kinds}" if kinds else ""


def index_list(path: Path) -> Index:
    """The images that a text file (a path a line, and maybe a label) or a table (.csv, .tsv with a header) names.

    Paths count from the list's folder. Errors: UserError names the first path that is missing or leaves that folder.
    """
    ignored: Counter[str] = Counter()
    missing, labels = [], Coded()

    def kept() -> Iterator[str]:
        with open(path, newline="", encoding=_encoding(path), errors="surrogateescape") as file:
            for name, label in _rows(file, path):
                if not os.path.isabs(name) and os.path.normpath(name).split(os.sep)[0] == os.pardir:
                    raise UserError(f"{path} names {name}, which leaves its folder; expected paths below {path.parent}")
                if not is_image_name(name):
                    ignored[kind_of(name)] += 1
                elif not os.path.isfile(path.parent / name):
                    missing.append(name)
                else:
                    labels.add(label)
                    yield name

    try:
        names = PackedNames(kept())
    except UserError:
        raise
    except (OSError, UnicodeError, csv.Error) as error:
        raise UserError(f"cannot read the list {path}: {error}") from None
    if missing:
        raise UserError(
            f"{path} names {len(missing):,} {'file that does' if len(missing) == 1 else 'files that do'} not exist, "
            f"first {missing[0][:200]}; expected paths relative to {path.parent}"
        )
    if not len(names):
        raise UserError(f"no images in the list {path}{ignored_text(ignored, ': ')}; expected a path a line")
    numbers, classes = numbered(labels.codes, labels.values)
    order = sorted_by_parts(names, numbers)
    text = f"{of_classes(len(names), classes)} in the list {path.name}{ignored_text(ignored)}"
    return Index(names.reordered(order), numbers[order], classes, text, [stamp(path)])


def _encoding(path: Path) -> str:
    """UTF-8, perhaps with the mark that spreadsheets put first; UTF-16 where its mark says so."""
    with open(path, "rb") as file:
        return "utf-16" if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def _rows(file: Iterable[str], path: Path) -> Iterator[tuple[str, str | None]]:
    if path.suffix.lower() in (".txt", ".lst"):
        for line in file:
            if line := line.strip():
                yield name_and_label(line)
        return
    table = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    columns = {name.strip().lower(): name for name in table.fieldnames or () if name}
    path_column = next((columns[name] for name in PATH_COLUMNS if name in columns), None)
    label_column = next((columns[name] for name in LABEL_COLUMNS if name in columns), None)
    if path_column is None:
        raise UserError(f"{path} has no column of paths; expected a header with one of {', '.join(PATH_COLUMNS)}")
    for row in table:
        yield (row[path_column] or "").strip(), (row[label_column] or "").strip() if label_column else None


def name_and_label(line: str) -> tuple[str, str | None]:
    """A line of a list: the name of an image, and the label behind it, which may be of several words as the name may.

    >>> name_and_label("my photo.jpg golden retriever")
    ('my photo.jpg', 'golden retriever')
    """
    if is_image_name(line):
        return line, None
    for blank in reversed(list(re.finditer(r"\s+", line))):
        if is_image_name(name := line[: blank.start()]):
            return name, line[blank.end() :]
    return line, None


def numbered(codes: np.ndarray, texts: list[str | None], names: bool = False) -> tuple[np.ndarray, list[str]]:
    """int64 [N] and class names, of labels ``texts[code]``. Whole numbers below a million stay what they are, unless
    they are ``names``, as those of folders are; no classes where a label is missing."""
    if any(text is None or text == "" for text in texts):
        return np.zeros(len(codes), np.int64), []
    if not names and all(text.isascii() and text.isdigit() and len(text) < 7 for text in texts):
        numbers = np.array([int(text) for text in texts], np.int64)
        return numbers[codes], [str(number) for number in range(int(numbers.max()) + 1)]
    classes = sorted(set(texts))
    number = {name: i for i, name in enumerate(classes)}
    return np.array([number[text] for text in texts], np.int64)[codes], classes


def of_classes(count: int, classes: list[str]) -> str:
    """``1,281,167 images of 1,000 classes``."""
    kinds = f"of {len(classes):,} {'class' if len(classes) == 1 else 'classes'}" if classes else "without labels"
    return f"{count:,} images {kinds}"
