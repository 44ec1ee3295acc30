"""The photographs nearest to some of them, by width, as one HTML page that needs nothing else."""

import base64
import html
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision.transforms.v2 import functional as V

from pretrain.common.files import write_text
from pretrain.data.images.encoded import EncodedImages
from transfer.embedding.features import Embeddings

SHOWN = 8  # neighbours of a query
SIDE = 128  # px of a thumbnail's longer side
STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; margin: 1rem auto; max-width: 76rem; padding: 0 1rem }
section { border-top: 1px solid #8886; padding: .5rem 0 1rem }
.row { display: flex; flex-wrap: wrap; gap: .5rem; align-items: flex-start }
figure { margin: 0; width: 7.5rem }
img { width: 100%; height: 7.5rem; object-fit: contain; background: #8882 }
figcaption { font-size: .75rem; overflow-wrap: anywhere; line-height: 1.3 }
.query img { outline: 3px solid #2a6fdb }
"""


def nearest_images(vectors: np.ndarray, query: int, count: int = SHOWN) -> list[tuple[int, float]]:
    """(row, cosine similarity) of the rows nearest to row ``query``, without itself. vectors: float32 [N, D]."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    similarity = unit @ unit[query]
    order = np.argsort(-similarity, kind="stable")
    return [(int(row), float(similarity[row])) for row in order if row != query][:count]


def write_page(found: Embeddings, images: EncodedImages, queries: int, path: Path, title: str) -> Path:
    """A page of ``queries`` photographs, evenly spread over all, with their neighbours at each width."""
    rows = np.unique(np.linspace(0, len(found.paths) - 1, min(queries, len(found.paths))).astype(int)).tolist()
    sections = [_section(found, images, row) for row in rows]
    text = f"{len(found.paths):,} photographs, cosine similarity of features"
    return write_text(path, (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; img-src data:; "
        "style-src 'unsafe-inline'\">"
        f"<title>{html.escape(title)}</title><style>{STYLE}</style>"
        f"<h1>{html.escape(title)}</h1><p>{text}</p>{''.join(sections)}</html>\n"
    ))  # fmt: skip


def _section(found: Embeddings, images: EncodedImages, query: int) -> str:
    asked = f'<div class="row query">{_figure(found, images, query, "asked for")}</div>'
    parts = [asked]
    for width, vectors in found.vectors.items():
        near = nearest_images(vectors, query)
        figures = "".join(_figure(found, images, row, f"{similarity:.3f}") for row, similarity in near)
        parts.append(f"<h3>width {width:g}</h3><div class=row>{figures}</div>")
    return f"<section><h2>{html.escape(found.paths[query])}</h2>{''.join(parts)}</section>"


def _figure(found: Embeddings, images: EncodedImages, row: int, text: str) -> str:
    name = html.escape(found.paths[row], quote=True)
    picture = thumbnail(images, int(found.indices[row]))
    return f'<figure><img src="{picture}" alt="{name}"><figcaption>{text}<br>{name}</figcaption></figure>'


def thumbnail(images: EncodedImages, index: int) -> str:
    """A data URL; of other images than RGB their first channel."""
    pixels, _ = images[index]
    image: Image.Image = V.to_pil_image(pixels if len(pixels) == 3 else pixels[:1])
    image.thumbnail((SIDE, SIDE))
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
