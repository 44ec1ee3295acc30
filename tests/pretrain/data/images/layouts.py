"""The same images in every layout that is recognised."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from pretrain.data.images.layout import images_at
from pretrain.data.images.packed import write_pack


def photographs(root: Path, classes: int = 3, each: int = 8, size: tuple[int, int] = (40, 32)) -> Path:
    """root/train/<class>/<number>.png of smooth random images."""
    random = np.random.default_rng(0)
    for c in range(classes):
        folder = root / "train" / f"class_{c}"
        folder.mkdir(parents=True)
        for n in range(each):
            small = Image.fromarray(random.integers(0, 256, (4, 5, 3), dtype=np.uint8))
            small.resize(size, Image.Resampling.BICUBIC).save(folder / f"{n}.png")
    return root


def flat(folder: Path, root: Path) -> Path:
    root.mkdir()
    for path in sorted(folder.rglob("*.png")):
        shutil.copy(path, root / f"{path.parent.name}_{path.name}")
    return root


def packed(folder: Path, root: Path) -> Path:
    write_pack(images_at(folder, "train"), root, "train")
    return root


def tars(folder: Path, root: Path, shards: int = 2, label: str = "cls") -> Path:
    """Shards of samples (image and label), dealt out in turn."""
    root.mkdir()
    for shard in range(shards):
        with tarfile.open(root / f"part-{shard:03}.tar", "w") as archive:
            for path in sorted((folder / "train").rglob("*.png"))[shard::shards]:
                key = f"{path.parent.name}_{path.stem}"
                number = path.parent.name.removeprefix("class_")
                add_member(archive, f"{key}.png", path.read_bytes())
                if label == "cls":
                    add_member(archive, f"{key}.cls", number.encode())
                elif label == "json":
                    add_member(archive, f"{key}.json", json.dumps({"label": path.parent.name}).encode())
    return root


def add_member(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def parquet(folder: Path, root: Path, name: str = "train-00000-of-00001.parquet", column: str = "image") -> Path:
    """As Hugging Face's datasets write an image folder: struct of bytes and path, class labels by number."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (root / "data").mkdir(parents=True)
    paths = sorted((folder / "train").rglob("*.png"))
    names = sorted({path.parent.name for path in paths})
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    images = [{"bytes": path.read_bytes(), "path": path.name} for path in paths]
    table = pa.table({column: images, "label": [names.index(path.parent.name) for path in paths]})
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, root / "data" / name, row_group_size=5)
    return root


def listed(folder: Path, root: Path, suffix: str = ".csv") -> Path:
    """A list beside a copy of the images, whose lines are in no order."""
    shutil.copytree(folder, root)
    rows = [(path.relative_to(root), path.parent.name) for path in sorted(root.rglob("*.png"))]
    np.random.default_rng(1).shuffle(rows)
    comma = {".csv": ",", ".tsv": "\t", ".txt": " "}[suffix]
    header = "" if suffix == ".txt" else f"path{comma}label\n"
    (root / f"images{suffix}").write_text(header + "".join(f"{path}{comma}{label}\n" for path, label in rows))
    return root / f"images{suffix}"


LAYOUTS = {"packed": packed, "tars": tars, "parquet": parquet, "listed": listed}
