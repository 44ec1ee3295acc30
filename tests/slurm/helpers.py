"""An entry of a grid that many tests share."""

from slurm.folder import Entry


def entry(name: str, needs: tuple = (), kind: str = "transfer", **changes) -> Entry:
    """A transfer of nothing, changed by ``changes``."""
    values = dict(
        name=name, kind=kind, hash="a" * 64, folder=f"/runs/{name}", command=("tools/transfer.py", "coco"), needs=needs,
        collect=(), nodes=1, gpus=0, tasks=1, flops=1.0, hours=None, disk=1.0,
        facts={"data": "coco", "framework": "detectron2"},
    )  # fmt: skip
    return Entry(**{**values, **changes})
