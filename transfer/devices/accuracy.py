"""Latencies beside the accuracy of the same files."""

from collections.abc import Callable, Sequence
from pathlib import Path

from transfer.convert.int8 import Int8
from transfer.devices.latency import Latency, measure
from transfer.devices.variants import is_int8
from transfer.source import Source
from transfer.validation import Validation, features_by_torch, validation_images


def judged(
    source: Source, widths: Sequence[float], variants: Sequence[str], batches: Sequence[int], settings: dict,
    device: str = "cpu", data: Path | None = None, say: Callable[[str], None] = print,
) -> tuple[list[Latency], Validation]:  # fmt: skip
    """``measure`` with each file's kNN accuracy on validation images, and these.

    Files of float32 compute torch's features, which the converter checked: their accuracy is counted once for a width,
    by torch. Eight-bit files are calibrated on the bank and judged by their own runtime.
    Errors: UserError for images, or for a width's statistics, that are not there.
    """
    source.check_widths(list(widths))
    seen = validation_images(source, settings["image_size"], data)
    say(f"accuracy: kNN of {len(seen.queries)} images of {seen.name} among {len(seen.bank)} others")
    plain = {width: source.net.extract(width) for width in widths}
    int8 = Int8(seen, None, say)
    found = measure(plain, source.metadata, variants, batches, **settings, device=device, int8=int8)
    for row in found:
        exact = seen.top1(*features_by_torch(plain[row.width], seen))
        row.top1 |= {variant: exact for variant in row.timings if not is_int8(variant)}
    return found, seen
