"""``metrics.jsonl`` (one line an interval) and TensorBoard events of a run."""

import json
from pathlib import Path


class MetricsLog:
    """Appends lines to ``folder/metrics.jsonl`` and the same scalars to TensorBoard.

    iteration: where the run (re)starts; lines beyond it belong to work that a crash has undone and are cut off.
    """

    def __init__(self, folder: Path, iteration: int):
        from torch.utils.tensorboard import SummaryWriter

        self.path = folder / "metrics.jsonl"
        kept = [line for line in _lines(self.path) if line["iteration"] <= iteration]
        self.seconds = kept[-1]["seconds"] if kept else 0.0
        self.path.write_text("".join(json.dumps(line) + "\n" for line in kept))
        self.writer = SummaryWriter(str(folder), purge_step=iteration + 1)

    def write(self, line: dict) -> None:
        """line: ``iteration``, ``seconds`` and named numbers."""
        with open(self.path, "a") as file:
            file.write(json.dumps(line) + "\n")
        for name, value in line.items():
            if name != "iteration":
                self.writer.add_scalar(f"pretrain/{name}", value, line["iteration"])

    def close(self) -> None:
        self.writer.close()


def _lines(path: Path) -> list[dict]:
    """Whole lines of the log; a last one that a crash cut short is left out."""
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text().splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines
