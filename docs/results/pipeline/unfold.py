#!/usr/bin/env python3
"""Puts batch normalisation back into an export of small_resnet18 in which it was folded, so that it can be trained further.

    unfold.py models/expression/model.onnx data/fer2013/manifest.csv w32.safetensors

Wants numpy, onnx, onnxruntime, pillow and safetensors. Each convolution gets a normalisation with the statistics of 2,048 training pictures
(48 px, gray, as card_gray48.yaml scales them), so that it says the same as before. Its weights are scaled to a norm of 1 for each output
channel, which the normalisation undoes: what a step of the optimiser changes depends on their size. What the export says of its training goes
with them.
"""

import csv
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
from PIL import Image
from safetensors.numpy import save_file

PROVENANCE = "fermata"  # where a file says what it comes from
EPSILON = 1e-5
PICTURES = 2048
MEAN, DEVIATION = 0.5072, 0.2542


def pictures(manifest):
    folder = pathlib.Path(manifest).parent
    with open(manifest, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    chosen = rows[:: max(1, len(rows) // PICTURES)][:PICTURES]
    read = [np.asarray(Image.open(folder / row["image"]).convert("L"), np.float32) for row in chosen]
    return (np.stack(read)[:, None] / 255 - MEAN) / DEVIATION


def normalisation_of(convolution):
    if "downsample" in convolution:
        return convolution.removesuffix("0") + "1"
    return convolution.replace("conv", "bn")


def main(model_path, manifest, out):
    model = onnx.load(model_path)
    values = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    for node in convolutions:
        model.graph.output.append(onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = [node.output[0] for node in convolutions]
    sums = {}
    batches = np.array_split(pictures(manifest), PICTURES // 64)
    for batch in batches:
        for name, value in zip(outputs, session.run(outputs, {session.get_inputs()[0].name: batch})):
            value = value.astype(np.float64)
            part = np.stack([np.ones(value.shape[1]) * value[:, 0].size, value.sum((0, 2, 3)), (value**2).sum((0, 2, 3))])
            sums[name] = sums.get(name, 0) + part
    tensors = {"fc.weight": values["fc.weight"], "fc.bias": values["fc.bias"]}
    for node in convolutions:
        name = node.input[1].removesuffix(".weight")
        norm = normalisation_of(name)
        count, total, squares = sums[node.output[0]]
        mean, variance = total / count, squares / count - (total / count) ** 2
        weight = values[f"{name}.weight"].astype(np.float64)
        size = np.sqrt((weight**2).sum((1, 2, 3)))
        size[size == 0] = 1
        tensors[f"{name}.weight"] = weight / size[:, None, None, None]
        tensors[f"{norm}.weight"] = np.sqrt(variance + EPSILON * size**2)
        tensors[f"{norm}.bias"] = mean
        tensors[f"{norm}.running_mean"] = (mean - values[f"{name}.bias"]) / size
        tensors[f"{norm}.running_var"] = variance / size**2
    said = {entry.key: entry.value for entry in model.metadata_props if entry.key == PROVENANCE}
    save_file({name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()}, out, said)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
