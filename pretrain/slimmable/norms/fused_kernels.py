"""The arithmetic of ``fused.py`` as Triton kernels.

A tensor is seen as rows of C channels side by side, each part of the batch ``rows`` of them, one part after the other.
What is summed over a part is summed in ``splits`` pieces first, each by one program, and then joined in their order:
the same bits every time.
"""

import triton
import triton.language as tl


@triton.jit
def piece(rows, splits, split):
    """(first row, row after the last) of a piece of a part."""
    size = (rows + splits - 1) // splits
    begin = split * size
    return begin, tl.minimum(begin + size, rows)


@triton.jit
def joined(count, mean, square, n, other_mean, other_square):
    """Count, mean and sum of squared distances from it, of two sets together (Chan, Golub and LeVeque, 1979)."""
    total = count + n
    distance = other_mean - mean
    share = tl.where(total > 0, n / tl.maximum(total, 1.0), 0.0)
    return total, mean + distance * share, square + other_square + distance * distance * count * share


@triton.jit
def moments_of_pieces(x, means, squares, rows, channels, splits, BLOCK_ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """x: [parts * rows, channels]. means, squares: float32 [parts * splits, channels]."""
    program = tl.program_id(0)
    part, split = program // splits, program % splits
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    count, mean, square = 0.0, tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
    begin, end = piece(rows, splits, split)
    for start in range(begin, end, BLOCK_ROWS):
        row = start + tl.arange(0, BLOCK_ROWS)
        there = (row < end)[:, None] & (c < channels)[None, :]
        place = (part * rows + row).to(tl.int64)[:, None] * channels + c[None, :]
        tile = tl.load(x + place, mask=there, other=0.0).to(tl.float32)
        n = tl.minimum(end - start, BLOCK_ROWS).to(tl.float32)
        tile_mean = tl.sum(tile, axis=0) / n
        distance = tl.where(there, tile - tile_mean[None, :], 0.0)
        count, mean, square = joined(count, mean, square, n, tile_mean, tl.sum(distance * distance, axis=0))
    tl.store(means + program * channels + c, mean, mask=c < channels)
    tl.store(squares + program * channels + c, square, mask=c < channels)


@triton.jit
def moments_of_parts(means, squares, mean_out, inverse_out, rows, channels, splits, eps, BLOCK: tl.constexpr):
    """The pieces joined: mean and 1 / deviation, float32 [parts, channels]."""
    part = tl.program_id(0)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    there = c < channels
    count, mean, square = 0.0, tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
    for split in range(splits):
        begin, end = piece(rows, splits, split)
        place = (part * splits + split) * channels + c
        other_mean = tl.load(means + place, mask=there, other=0.0)
        other_square = tl.load(squares + place, mask=there, other=0.0)
        n = tl.maximum(end - begin, 0).to(tl.float32)
        count, mean, square = joined(count, mean, square, n, other_mean, other_square)
    tl.store(mean_out + part * channels + c, mean, mask=there)
    tl.store(inverse_out + part * channels + c, 1.0 / tl.sqrt(square / rows + eps), mask=there)


@triton.jit
def normalise(
    x, y, weight, bias, means, inverses, rows, channels, tiles,
    AFFINE: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """y = (x - mean) / deviation * weight + bias. tiles: of ``BLOCK_ROWS`` rows in a part."""
    part, tile = tl.program_id(0) // tiles, tl.program_id(0) % tiles
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    here = c < channels
    mean = tl.load(means + part * channels + c, mask=here, other=0.0)
    scale = tl.load(inverses + part * channels + c, mask=here, other=0.0)
    shift = tl.zeros([BLOCK], tl.float32)
    if AFFINE:
        scale *= tl.load(weight + c, mask=here, other=0.0).to(tl.float32)
        shift += tl.load(bias + c, mask=here, other=0.0).to(tl.float32)
    row = tile * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    there = (row < rows)[:, None] & here[None, :]
    place = (part * rows + row).to(tl.int64)[:, None] * channels + c[None, :]
    value = tl.load(x + place, mask=there, other=0.0).to(tl.float32)
    result = (value - mean[None, :]) * scale[None, :] + shift[None, :]
    tl.store(y + place, result.to(y.dtype.element_ty), mask=there)


@triton.jit
def gradient_sums_of_pieces(
    grad, x, means, sums, rows, channels, splits, pieces, BLOCK_ROWS: tl.constexpr, BLOCK: tl.constexpr
):
    """Sums of dy and of dy (x - mean), float32 [2, parts * splits, channels]. pieces: parts * splits."""
    program = tl.program_id(0)
    part, split = program // splits, program % splits
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    here = c < channels
    mean = tl.load(means + part * channels + c, mask=here, other=0.0)
    summed, centred = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
    begin, end = piece(rows, splits, split)
    for start in range(begin, end, BLOCK_ROWS):
        row = start + tl.arange(0, BLOCK_ROWS)
        there = (row < end)[:, None] & here[None, :]
        place = (part * rows + row).to(tl.int64)[:, None] * channels + c[None, :]
        dy = tl.load(grad + place, mask=there, other=0.0).to(tl.float32)
        value = tl.load(x + place, mask=there, other=0.0).to(tl.float32)
        summed += tl.sum(dy, axis=0)
        centred += tl.sum(dy * (value - mean[None, :]), axis=0)
    tl.store(sums + program * channels + c, summed, mask=here)
    tl.store(sums + (pieces + program) * channels + c, centred, mask=here)


@triton.jit
def gradient_sums_of_parts(
    sums, inverses, totals, affine, channels, splits, parts, pieces, BLOCK: tl.constexpr
):  # fmt: skip
    """The pieces joined, float32 [2, parts, channels], and over all parts the gradients of bias and weight,
    float32 [2, channels]."""
    c = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    here = c < channels
    bias, weight = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
    for part in range(parts):
        summed, centred = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
        for split in range(splits):
            place = (part * splits + split) * channels + c
            summed += tl.load(sums + place, mask=here, other=0.0)
            centred += tl.load(sums + pieces * channels + place, mask=here, other=0.0)
        tl.store(totals + part * channels + c, summed, mask=here)
        tl.store(totals + (parts + part) * channels + c, centred, mask=here)
        bias += summed
        weight += centred * tl.load(inverses + part * channels + c, mask=here, other=0.0)
    tl.store(affine + c, weight, mask=here)
    tl.store(affine + channels + c, bias, mask=here)


@triton.jit
def input_gradient(
    grad, x, dx, weight, means, inverses, totals, rows, channels, tiles, parts,
    AFFINE: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """dx = (dy - mean of dy - (x - mean) / variance * mean of dy (x - mean)) / deviation * weight."""
    part, tile = tl.program_id(0) // tiles, tl.program_id(0) % tiles
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    here = c < channels
    mean = tl.load(means + part * channels + c, mask=here, other=0.0)
    inverse = tl.load(inverses + part * channels + c, mask=here, other=0.0)
    summed = tl.load(totals + part * channels + c, mask=here, other=0.0) / rows
    centred = tl.load(totals + (parts + part) * channels + c, mask=here, other=0.0) / rows
    scale = inverse
    if AFFINE:
        scale *= tl.load(weight + c, mask=here, other=0.0).to(tl.float32)
    row = tile * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    there = (row < rows)[:, None] & here[None, :]
    place = (part * rows + row).to(tl.int64)[:, None] * channels + c[None, :]
    dy = tl.load(grad + place, mask=there, other=0.0).to(tl.float32)
    distance = tl.load(x + place, mask=there, other=0.0).to(tl.float32) - mean[None, :]
    result = (dy - summed[None, :] - distance * (inverse * inverse * centred)[None, :]) * scale[None, :]
    tl.store(dx + place, result.to(dx.dtype.element_ty), mask=there)
