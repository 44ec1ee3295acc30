"""Time the models that lie beside this file, on this machine. It needs Python, numpy and the runtime alone.

    python time_models.py [--threads 1] [--repeats 30]

Writes times.csv beside itself: width, median, 10th and 90th percentile in milliseconds of one image, what ran it.
"""

import argparse
import csv
import json
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent


def load_onnxruntime(path, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["features"], {"images": images})[0]


def load_openvino(path, threads):
    import openvino

    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(path, "CPU", options)
    return lambda images: compiled(images)[0]


def load_ncnn(path, threads):
    import ncnn

    network = ncnn.Net()
    network.opt.num_threads = threads
    network.load_param(str(path))
    network.load_model(str(path.with_suffix(".bin")))

    def run(images):
        extractor = network.create_extractor()
        extractor.input("in0", ncnn.Mat(np.ascontiguousarray(images[0])))
        return extractor.extract("out0")[1]

    return run


LOADERS = {"onnxruntime": load_onnxruntime, "openvino": load_openvino, "ncnn": load_ncnn}


def harmless(text):
    """The text of a table's cell: behind an apostrophe where a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=30)
    arguments = parser.parse_args()
    plan = json.loads((HERE / "models.json").read_text())
    load = LOADERS[plan["runtime"]]
    runs = {width: load(HERE / file, arguments.threads) for width, file in plan["files"].items()}
    images = np.random.default_rng(0).standard_normal(plan["shape"]).astype(np.float32)
    seconds = {width: [] for width in runs}
    for repetition in range(5 + arguments.repeats):  # the first five warm up; the models take turns
        for width, run in runs.items():
            start = time.perf_counter()
            run(images)
            if repetition >= 5:
                seconds[width].append(time.perf_counter() - start)
    with open(HERE / "times.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["width", "median", "p10", "p90", "runtime", "image_size", "network"])
        for width, found in seconds.items():
            row = [f"{1e3 * np.percentile(found, percent):.4f}" for percent in (50, 10, 90)]
            told = plan["variant"], plan["image_size"], plan["network"]
            writer.writerow([harmless(str(cell)) for cell in (width, *row, *told)])
            print(f"width {width}: {row[0]} ms ({row[1]} to {row[2]})", flush=True)
    print(HERE / "times.csv")


if __name__ == "__main__":
    main()
