"""Multiply-accumulates of convolutions and linear layers in a part of a detector, by torch's flop counter."""

from torch.utils.flop_counter import FlopCounterMode


class counting:
    """Write the multiply-accumulates of the block into ``parts[name]``."""

    def __init__(self, parts: dict[str, int], name: str):
        self.parts, self.name, self.counter = parts, name, FlopCounterMode(display=False)

    def __enter__(self) -> None:
        self.counter.__enter__()

    def __exit__(self, *error) -> None:
        self.counter.__exit__(*error)
        self.parts[self.name] = self.counter.get_total_flops() // 2
