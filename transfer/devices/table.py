"""Latencies as a table: a row for each width and runtime."""

from transfer.devices.latency import Latency, Timing
from transfer.devices.variants import is_int8, runtime_of
from transfer.runtimes import RUNTIMES
from transfer.tables.table import MISSING, Cell, Table


def latency_table(name: str, found: list[Latency], where: dict) -> Table:
    """Columns: parameters, MACs, top-1 where it is known, the time of each batch, bytes of the files, peak memory."""
    batches = where["batches"]
    title = (
        f"Latency of {name}: images of {where['image_size']} px, {where['processor']}, {where['threads']} "
        f"thread{'s' if where['threads'] > 1 else ''}, load {where['load']} on {where['cores']} cores; median (p10 to "
        f"p90) of {where['repeats']} interleaved passes after {where['warm_up']}. Peak memory: of a process that runs "
        f"this file alone, batch {batches[0]}."
    )
    known = any(value is not None for row in found for value in row.top1.values())
    columns = ["params (M)", "MACs (M)", *(["top-1 (%)"] if known else [])]
    columns += [f"batch {batch} (ms)" for batch in batches] + ["MB", "peak MB"]
    table = Table("latency", title, ["width", "runtime"], columns)
    for row in found:
        for variant in sorted([*row.timings, *row.refusals], key=place):
            cells = [Cell(f"{row.params / 1e6:.2f}"), Cell(f"{row.macs / 1e6:.1f}")]
            cells += [number(row.top1.get(variant))] if known else []
            if variant in row.refusals:
                cells += [Cell(row.refusals[variant]), *[Cell()] * (len(batches) + 1)]
            else:
                cells += [time_cell(row.timings[variant][batch]) for batch in batches]
                cells += [Cell(f"{row.sizes[variant] / 1e6:.2f}"), number(row.memory[variant], 1e6, 0)]
            table.rows.append(([f"{row.width:g}", variant], cells))
    return table


def place(variant: str) -> tuple[int, bool]:
    """Runtimes in their usual order, each with its eight-bit file below it."""
    return list(RUNTIMES).index(runtime_of(variant)), is_int8(variant)


def time_cell(found: Timing) -> Cell:
    return Cell(f"{found.median:.2f} ({found.p10:.2f} to {found.p90:.2f})")


def number(value: float | None, unit: float = 1, digits: int = 2) -> Cell:
    return Cell(MISSING if value is None else f"{value / unit:.{digits}f}")
