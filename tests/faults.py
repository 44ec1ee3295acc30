"""Planted faults: does a test notice when the code computes something else?

Each fault changes one place in a copy of the repository; the tests that should see it must then fail.

    python -m tests.faults             plant each and say which were noticed; exit code 1 if one was not
    python -m tests.faults sign ema    those whose names begin so
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Fault(NamedTuple):
    """In ``file``, ``right`` becomes ``wrong``; ``tests`` should notice."""

    name: str
    file: str
    right: str
    wrong: str
    tests: str


OBJECTIVES, UNIVERSAL = "tests/pretrain/objectives/", "tests/pretrain/universal/test_network.py"
FULL = "tests/pretrain/test_schedules_in_full.py"
FAULTS = [
    Fault(
        "sign of the cosine", "pretrain/objectives/losses.py",
        "return -(unit(student) * unit(target))", "return (unit(student) * unit(target))",
        OBJECTIVES + "test_losses.py",
    ),
    Fault(
        "self-mask of InfoNCE", "pretrain/objectives/losses.py",
        "masked_fill(torch.eye(rows, dtype=torch.bool, device=z.device), -torch.inf)",
        "masked_fill(torch.eye(rows, dtype=torch.bool, device=z.device), 0.0)", OBJECTIVES + "test_losses.py",
    ),
    Fault(
        "views not swapped", "pretrain/objectives/losses.py",
        "(loss(student[0], target[1]) + loss(student[1], target[0])) / 2",
        "(loss(student[0], target[0]) + loss(student[1], target[1])) / 2", OBJECTIVES + "test_losses.py",
    ),
    Fault(
        "gradient into the targets", "pretrain/objectives/us3l.py",
        "momentum if self.settings.momentum_sub else z.detach()", "momentum if self.settings.momentum_sub else z",
        OBJECTIVES + "test_us3l.py",
    ),
    Fault(
        "momentum encoder at the drawn width", "pretrain/objectives/us3l.py",
        "self.momentum_encoder(x, self.width_max, statistics)", "self.momentum_encoder(x, width, statistics)",
        OBJECTIVES + "test_us3l.py",
    ),
    Fault(
        "scale of MoCo v3's loss", "pretrain/objectives/mocov3.py",
        "return 2 * temperature * F.cross_entropy", "return temperature * F.cross_entropy",
        OBJECTIVES + "test_mocov3.py",
    ),
    Fault(
        "side of the momentum", "pretrain/objectives/momentum.py",
        "online, 1 - momentum)", "online, momentum)", OBJECTIVES + "test_us3l.py",
    ),
    Fault(
        "end of the momentum ignored", "pretrain/objectives/momentum.py",
        "return end - (end - start) *", "return start - 0 * (end - start) *", f"{FULL} -k vits",
    ),
    Fault(
        "momentum encoder never updated", "pretrain/trainer.py",
        "        self.model.update_momentum(progress)\n        self.optimizer.zero_grad()",
        "        self.optimizer.zero_grad()", f"{FULL} -k case",
    ),
    Fault(
        "momentum encoder updated after the step", "pretrain/trainer.py",
        "            self._update(self.model.unused(widths, base=True))\n",
        "            self._update(self.model.unused(widths, base=True))\n"
        "            self.model.update_momentum(progress)\n", f"{FULL} -k case",
    ),
    Fault(
        "unused heads regularised", "pretrain/trainer.py",
        "            parameter.grad = None", "            pass", f"{FULL} -k vits",
    ),
    Fault(
        "index of the group", "pretrain/optim.py",
        "max=groups - 1).double()", "max=groups).double()", "tests/pretrain/test_optim.py",
    ),
    Fault(
        "order of the groups", "pretrain/optim.py",
        "return weight_decay * (1 - alpha * group)", "return weight_decay * (1 - alpha * (groups - 1 - group))",
        "tests/pretrain/test_optim.py",
    ),
    Fault(
        "boundary of the stages", "pretrain/sampling.py",
        "return STAGES * iteration // iterations", "return STAGES * (iteration + 1) // (iterations + 1)",
        "tests/pretrain/test_sampling.py",
    ),
    Fault(
        "seed of the order ignored", "pretrain/data/order.py",
        'generator("order", seed, epoch)', 'generator("order", 0, epoch)', "tests/pretrain/data/test_order.py",
    ),
    Fault(
        "rounding of the channels", "pretrain/slimmable/widths.py",
        "int(exact + divisor / 2) // divisor", "int(exact) // divisor", "tests/pretrain/slimmable/test_widths.py",
    ),
    Fault(
        "extraction from the end", "pretrain/slimmable/backbone.py",
        "return tensor[tuple(slice(size) for size in shape)]",
        "return tensor[tuple(slice(full - size, full) for full, size in zip(tensor.shape, shape))]",
        "tests/pretrain/slimmable/test_backbones.py -k bit_for_bit",
    ),
    Fault(
        "variance of the calibration", "pretrain/slimmable/calibrate.py",
        "(squares / count - mean.square())", "(squares / (count - 1) - mean.square())",
        "tests/pretrain/slimmable/test_calibrate.py",
    ),
    Fault(
        "statistics cut out of the largest width's", "pretrain/universal/network.py",
        "return self.statistics[self.backbone.channels(width).key] if",
        "return {name: tuple(t[: len(own[0])] for t in self.statistics[self.backbone.channels(1.0).key][name])\n"
        "                for name, own in self.statistics[self.backbone.channels(width).key].items()} if", UNIVERSAL,
    ),
    Fault(
        "multiply-accumulates counted twice", "pretrain/plain/cost.py",
        "counter.get_total_flops() // 2)", "counter.get_total_flops())",
        "tests/pretrain/slimmable/test_backbones.py -k count_by_hand",
    ),
    Fault(
        "order of COCO's classes", "transfer/detection/data/coco.py",
        "        return tuple(found)\n", "        return tuple(found[::-1])\n",
        "tests/transfer/detection/mmdet/test_evaluation.py",
    ),
    Fault(
        "columns of AP exchanged", "transfer/tables/paper.py",
        '"AP_bb": "box/AP", "AP50_bb": "box/AP50"', '"AP_bb": "box/AP50", "AP50_bb": "box/AP"',
        "tests/transfer/tables/test_paper.py",
    ),
    Fault(
        "another threshold for AP75", "transfer/detection/evaluation/voc.py",
        "float(means[5])", "float(means[4])", "tests/transfer/detection/evaluation",
    ),
    Fault(
        "BGR for detectron2", "transfer/convert/detectron2.py",
        'cfg.INPUT.FORMAT = "RGB"', 'cfg.INPUT.FORMAT = "BGR"', "tests/transfer/test_convert.py -k yaml_says",
    ),
    Fault(
        "order of the mean's channels", "transfer/convert/detectron2.py",
        'for m in metadata["mean"]]', 'for m in metadata["mean"][::-1]]',
        "tests/transfer/test_convert.py -k trains_all_layers",
    ),
    Fault(
        "temperature of the neighbours", "transfer/recognition/protocols.py",
        "k, settings.temperature)", "k, 10 * settings.temperature)", "tests/transfer/recognition/test_protocols.py",
    ),
]  # fmt: skip


def planted(fault: Fault, copy: Path) -> bool:
    """Whether the tests fail with the fault in ``copy``, which is left as it was."""
    path = copy / fault.file
    right = path.read_text()
    path.write_text(right.replace(fault.right, fault.wrong))
    try:
        return run(fault.tests, copy) == 1  # pytest's code for failed tests; others are no answer
    finally:
        path.write_text(right)


def run(tests: str, folder: Path) -> int:
    """pytest's exit code for ``tests``, a path and options."""
    path, *options = tests.split(" ", 2)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", path, *options]
    return subprocess.run(command, cwd=folder, capture_output=True).returncode


def main(names: list[str]) -> int:
    chosen = [fault for fault in FAULTS if not names or fault.name.startswith(tuple(names))]
    noticed = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "runs", "datasets", "__pycache__"))
        for fault in chosen:
            found = planted(fault, copy)
            noticed += found
            print(f"{'noticed' if found else 'SURVIVED'}  {fault.name}  ({fault.file}; {fault.tests})", flush=True)
    print(f"{noticed} of {len(chosen)} planted faults were noticed")
    return int(noticed < len(chosen))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
