"""COCO's instance annotations as one model: every field with its type, every error with its image and its value.

https://cocodataset.org/#format-data. What a data set may leave out: ``iscrowd`` (0) and the ids of annotations, which
nothing but messages uses.
"""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Discriminator, Tag, TypeAdapter, ValidationError, with_config
from pydantic import Field as Constraint
from typing_extensions import NotRequired, TypedDict

from pretrain.common.errors import UserError

STRICT = ConfigDict(strict=True)
SIDE = 1_000_000  # pixels
Id = Annotated[int, Constraint(ge=-(2**62), le=2**62)]
Number = Annotated[float, Constraint(allow_inf_nan=False, ge=-1e9, le=1e9)]
Side = Annotated[int, Constraint(ge=1, le=SIDE)]
Name = Annotated[str, Constraint(min_length=1)]


def kind_of_mask(value: Any) -> str | None:
    return {list: "polygons", dict: "rle"}.get(type(value))


@with_config(STRICT)
class Rle(TypedDict):
    """A mask as run lengths by columns, of 0 first: numbers, or COCO's compressed string. size: [height, width]."""

    size: Annotated[list[Side], Constraint(min_length=2, max_length=2)]
    counts: str | list[Annotated[int, Constraint(ge=0, le=SIDE**2)]]


Mask = Annotated[
    Annotated[list[list[Number]], Tag("polygons")] | Annotated[Rle, Tag("rle")], Discriminator(kind_of_mask)
]


@with_config(STRICT)
class Image(TypedDict):
    id: Id
    file_name: Name
    width: Side
    height: Side


@with_config(STRICT)
class Category(TypedDict):
    id: Id
    name: Name


@with_config(STRICT)
class Annotation(TypedDict):
    """bbox: [x, y, width, height] in pixels. area: square pixels. id: of any kind."""

    id: NotRequired[Any]
    image_id: Id
    category_id: Id
    bbox: Annotated[list[Number], Constraint(min_length=4, max_length=4)]
    area: Annotated[float, Constraint(allow_inf_nan=False, ge=0)]
    iscrowd: NotRequired[bool | Annotated[int, Constraint(ge=0, le=1)]]
    segmentation: NotRequired[Mask | None]


@with_config(STRICT)
class Instances(TypedDict):
    images: Annotated[list[Image], Constraint(min_length=1)]
    annotations: Annotated[list[Annotation], Constraint(min_length=1)]
    categories: Annotated[list[Category], Constraint(min_length=1)]


def read_instances(path: Path) -> tuple[Instances, bytes]:
    """The content of an annotation file and its bytes. Errors: UserError for the first that does not fit."""
    try:
        text = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise UserError(f"no such file: {path} ({error.strerror}); expected COCO's instance annotations") from None
    try:
        return TypeAdapter(Instances).validate_json(text), text
    except ValidationError as error:
        raise UserError(one_line(path, text, error)) from None


def one_line(path: Path, text: bytes, error: ValidationError) -> str:
    """The first error with the file, the annotation, its image and the value."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return f"{path} is no valid JSON: {first['msg'].removeprefix('Invalid JSON: ')}"
    where = [part for part in first["loc"] if part not in ("polygons", "rle", "str", "bool", "int")]
    where = [part for part in where if not (isinstance(part, str) and "[" in part)]
    if len(where) < 2 or not isinstance(where[1], int):
        section = where[0] if where else "images"
        return f"{path} has no '{section}'; expected COCO's instance annotations"
    entry = json.loads(text)[where[0]][where[1]]
    name = entry_name(where[0], where[1], entry)
    field = ".".join(map(str, where[2:]))
    if first["type"] == "missing":
        return f"{path}: {name} has no '{field}'"
    expected = first["msg"].replace("Input should", "should")
    return f"{path}: {name}: {field or 'it'} is {shown(first['input'])}, but {expected[:1].lower()}{expected[1:]}"


def entry_name(section: str, index: int, entry: Any) -> str:
    """``annotation 7 of image 3``, or by its place where it says no id."""
    kind = {"images": "image", "annotations": "annotation", "categories": "category"}[section]
    if not isinstance(entry, dict):
        return f"entry {index} of '{section}'"
    name = f"{kind} {shown(entry['id'])}" if "id" in entry else f"entry {index} of '{section}'"
    return f"{name} of image {shown(entry['image_id'])}" if "image_id" in entry else name


def shown(value: Any) -> str:
    """A value in at most 80 characters."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."
