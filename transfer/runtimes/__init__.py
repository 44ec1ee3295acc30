"""Programs that run an exported backbone: a module and a line in ``RUNTIMES`` for each.

A module has ``load(path, threads, device)``, which gives a function of images, a float32 array [B, 3, S, S], that
returns features [B, channels]; path: the main file of the format that ``RUNTIMES`` names. threads: 0 lets it choose.
"""

RUNTIMES = {
    "torch": "safetensors", "onnxruntime": "onnx", "openvino": "openvino", "executorch": "executorch", "ncnn": "ncnn",
}  # fmt: skip
