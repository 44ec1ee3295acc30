"""``metrics.jsonl`` (one line an interval) and TensorBoard events of a run."""

from pathlib import Path

from pretrain.common.files import append_line, cut_lines


class MetricsLog:
    """Appends lines to ``folder/metrics.jsonl`` and the same scalars to TensorBoard.

    iteration: where the run (re)starts; lines beyond it belong to work that a crash has undone and are cut off, in one
    step: a run that is killed meanwhile has lost no line.
    """

    def __init__(self, folder: Path, iteration: int):
        from torch.utils.tensorboard import SummaryWriter

        self.path = folder / "metrics.jsonl"
        kept = cut_lines(self.path, lambda line: line.get("iteration", iteration + 1) <= iteration)
        self.seconds = kept[-1].get("seconds", 0.0) if kept else 0.0
        self.writer = SummaryWriter(str(folder), purge_step=iteration + 1)

    def write(self, line: dict) -> None:
        """line: ``iteration``, ``seconds`` and named numbers."""
        append_line(self.path, line)
        for name, value in line.items():
            if name != "iteration":
                self.writer.add_scalar(f"pretrain/{name}", value, line["iteration"])

    def close(self) -> None:
        self.writer.close()
