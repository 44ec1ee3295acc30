"""A folder in Hugging Face's layout that holds the universal checkpoint: all widths in one file.

universal.safetensors    the checkpoint, which ``load_universal(folder)`` reads
config.json              its metadata, and the widths that can be used
README.md                the model card: widths, costs, calibration, data, results, hashes
"""

import shutil
from pathlib import Path

from pretrain.common.errors import UserError
from pretrain.common.files import file_hash, read_object, replacing, write_text
from pretrain.slimmable.widths import Plan
from transfer.convert.describe import as_json
from transfer.convert.folder import check_names
from transfer.results import survey
from transfer.source import Source
from transfer.tables import build, render
from transfer.tables.table import MISSING, Cell, Table
from transfer.text import printable

LIBRARY = "us3l"
NAMES = ("universal.safetensors", "config.json", "README.md")


def write(source: Source, output: Path, licence: str, results: Path | None = None) -> list[Path]:
    """The three files, the card last. licence: of the weights, by its name on the hub. results: a folder whose
    result.json files of this checkpoint go into the card; None for that of the checkpoint.

    Errors: UserError, before anything is written, for a checkpoint without a width that can be used, and for a folder
    where files of these names are somebody else's, such as a run's."""
    net = source.net
    paths = [output / name for name in NAMES]
    others = [path for path in paths if not (path.exists() and path.samefile(source.path))]
    check_names("hub", others, own=read_object(paths[1]).get("library_name") == LIBRARY)
    folder = results or source.path.parent
    found = survey(folder)[0] if folder.is_dir() else []
    records = [record for _, record in found if record["checkpoint"] == net.hash]
    page = card(source, licence, records, file_hash(source.path))
    config = {
        **net.metadata, "library_name": LIBRARY, "model_type": f"{LIBRARY}-{source.backbone}",
        "widths": net.calibrated_widths, "weights_sha256": net.hash,
    }  # fmt: skip
    write_text(paths[1], as_json(config, indent=2) + "\n")  # first: it says whose the others are
    with replacing(paths[0]) as partial:
        shutil.copyfile(source.path, partial)
    write_text(paths[2], page)
    return paths


def usable(source: Source) -> list[float]:
    """The widths, and then the plans by stage, that have statistics. Errors: UserError where there are none."""
    net = source.net
    if not (found := [*net.calibrated_widths, *(net.calibrated_plans if net.needs_calibration else [])]):
        raise UserError(
            f"{source.path} has no calibrated width, so that no network can be cut out of it; expected one: "
            f"tools/calibrate.py {source.path} --widths 1"
        )
    return found


def card(source: Source, licence: str, records: list[dict], sha256: str) -> str:
    """The text of README.md. records: results of this checkpoint."""
    net, meta, example = source.net, source.metadata, usable(source)[0]
    data, epochs = meta["data"], meta.get("epochs")
    epochs = f"{epochs:g}" if isinstance(epochs, float) else epochs
    name = printable(str(data["name"]))
    facts = {
        "method": meta["method"], "backbone": said(meta["backbone"]), "data": f"{name}, {data.get('images', MISSING)} "
        f"training images at {data['image_size']} px", "epochs": epochs,
        "batch": meta.get("batch_size"),
        "seed": meta.get("seed"), "mean": meta["mean"], "std": meta["std"], "channel order": meta["channel_order"],
        "teacher": teacher(meta), "weights' sha256": net.hash, "file's sha256": sha256,
    }  # fmt: skip
    given = f'net.width("{example}")' if isinstance(example, Plan) else f"{example:g}"
    lines = [f"| {key} | {printable(str(value))} |" for key, value in facts.items() if value is not None]
    evaluated = render(build("widths", records), "markdown") if records else "No results were found beside it.\n"
    return f"""---
license: {licence}
library_name: {LIBRARY}
tags:
- image-feature-extraction
- self-supervised
- slimmable
---
# {source.backbone} of every width, pretrained by {printable(meta["method"])} on {name}

One universally slimmable backbone (US3L, CVPR 2023): a sub-network of any width from {net.width_range[0]:g} to
{net.width_range[1]:g} can be cut out of one file and used as an ordinary network.

```python
from pretrain import load_universal

net = load_universal("hf://OWNER/NAME")  # or the folder that holds this page
plain = net.extract({given})  # an ordinary module with torchvision's (timm's) names
```

| fact | value |
| --- | --- |
{chr(10).join(lines)}

## Widths
{render(widths_table(source), "markdown")}
## Results
{evaluated}
The images are not part of this folder; their licence is that of the data set. Licence of the weights:
`{licence}`.
"""


def teacher(meta: dict) -> str | None:
    """Whose features the network learnt, where these weights are from, and the licence that may bind; None without."""
    weights = meta.get("teacher_weights")
    if not isinstance(weights, dict):
        return meta.get("teacher")
    source, licence = weights.get("source"), weights.get("licence")
    return f"{meta.get('teacher')}, its weights from {source}; their licence, which may bind: {licence}"


def widths_table(source: Source) -> Table:
    """Rows: the ``usable`` widths. Columns: features, parameters, MACs, megabytes, what they were calibrated on."""
    net, size = source.net, source.metadata["data"]["image_size"]
    columns = ["features", "params (M)", "MACs (M)", "MB", "statistics"]
    table = Table("hub", f"Cost of a width for an image of {size} px.", ["width"], columns)
    for width in usable(source):
        spent, calibration = net.cost(width, size), net.calibration_of(width)
        statistics = f"{calibration['on']}: {calibration['data']}" if calibration else "none needed"
        texts = [
            str(net.backbone.num_features(width)), f"{spent.params / 1e6:.2f}", f"{spent.macs / 1e6:.1f}",
            f"{4e-6 * spent.params:.1f}", printable(statistics),
        ]  # fmt: skip
        table.rows.append(([f"{width:g}"], list(map(Cell, texts))))
    return table


def said(options: dict) -> str:
    """``name resnet18, stem imagenet``."""
    return ", ".join(f"{key} {value}" for key, value in options.items())
