#!/usr/bin/env python3
"""Both ways between timm and Fermata, with the programs themselves.

    pip install torch==2.11.0 timm==1.0.31 safetensors onnx numpy
    learn/oracles/check_export.py target/debug

For each network: a checkpoint written by timm goes through `fermata infer` (libtorch), `fermata export` and `fermata infer` (ONNX Runtime);
a checkpoint written by Fermata loads in timm with strict=True. Prints the largest differences to timm's own forward.
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import timm
import torch
from safetensors.torch import load_file, save_file

CARD = """\
input: {name: input, size: 64, layout: nchw, colour: rgb}
interpolation: area
scaling: [{divide: 255}]
output: {name: logits, kind: logits, classes: [angry, disgust, fear, happy, sad, surprise, neutral]}
licence: none
source: check_export.py
sha256: '%s'
""" % ("0" * 64)


def main():
    programs = pathlib.Path(sys.argv[1])
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        images = np.random.default_rng(1).normal(size=(3, 3, 64, 64)).astype(np.float32)
        np.save(folder / "x.npy", images)
        (folder / "card.yaml").write_text(CARD)

        def fermata(*arguments):
            subprocess.run([programs / "fermata", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)
            return folder / "y.npy"

        def difference(expected, *arguments):
            answer = fermata("infer", *arguments, "--input", folder / "x.npy", "--output", folder / "y.npy")
            return float(np.abs(np.load(answer) - expected).max())

        print(f"torch {torch.__version__}, timm {timm.__version__}, onnx {onnx.__version__}")
        print(f"{'network':24}{'largest logit':>14}{'libtorch':>12}{'ONNX Runtime':>14}{'timm, strict':>14}")
        for name in ["resnet18", "tf_efficientnet_b3", "convnext_tiny", "mobilenetv3_large_100"]:
            model = timm.create_model(name, num_classes=7)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(0.01 * torch.randn_like(parameter))
                for _ in range(3):
                    model(torch.randn(8, 3, 64, 64))
                model.eval()
                expected = model(torch.from_numpy(images)).numpy()
            weights = folder / "timm.safetensors"
            save_file(model.state_dict(), weights)
            by_libtorch = difference(expected, "--arch", name, "--weights", weights)
            fermata("export", "--arch", name, "--weights", weights, "--card", folder / "card.yaml", "--output", folder / name)
            onnx.checker.check_model(folder / name / "model.onnx", full_check=True)
            by_onnx_runtime = difference(expected, "--model", folder / name)

            ours = folder / "fermata.safetensors"
            subprocess.run([programs / "examples/first_weights", name, ours], check=True)
            model.load_state_dict(load_file(ours), strict=True)
            model.eval()
            with torch.no_grad():
                expected = model(torch.from_numpy(images)).numpy()
            back = difference(expected, "--arch", name, "--weights", ours)
            print(f"{name:24}{np.abs(expected).max():14.3f}{by_libtorch:12.1e}{by_onnx_runtime:14.1e}{back:14.1e}")


if __name__ == "__main__":
    main()
