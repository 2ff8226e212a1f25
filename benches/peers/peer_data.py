"""The data on which the peers of jobs are measured: pictures that look like photographs to decoders and hashes, their manifests, cards, and Python's
networks under Fermata's names. The timed code is in softlabels.py and trainings.py."""

import hashlib
import pathlib

LABELS = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
CLASSES = len(LABELS)
MEAN, STD = 0.5, 0.25


def pictures(folder, rows, side, kind, validation=0):
    """Writes pictures and their manifest, whose last rows are for validation; returns the manifest's path."""
    import numpy as np
    from PIL import Image

    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["image,label,source,split,group,sha256,width,height"]
    for row in range(rows + validation):
        random = np.random.default_rng(row)
        smooth = Image.fromarray(random.integers(0, 256, (9, 9, 3), dtype=np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
        noisy = np.asarray(smooth, dtype=np.int16) + random.integers(-12, 13, (side, side, 3))
        path = folder / f"{row}.{kind}"
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, **({"quality": 90} if kind == "jpg" else {}))
        split = "train" if row < rows else "validation"
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        lines.append(f"{path.name},{LABELS[row % CLASSES]},peer,{split},{row},{digest},{side},{side}")
    manifest = folder / "manifest.csv"
    manifest.write_text("\n".join(lines) + "\n")
    return manifest


def rows_of(manifest, split=None):
    """Returns [(path, class)] of a manifest's rows."""
    import csv

    manifest = pathlib.Path(manifest)
    rows = csv.DictReader(manifest.open())
    return [(manifest.parent / row["image"], LABELS.index(row["label"])) for row in rows if split in (None, row["split"])]


def channels_of(name):
    return 1 if name.endswith("_c1") else 3


def card(name, size, sha256="", weights=True):
    """Returns a card for a network with inputs of this size, including the weights' hash if given."""
    colour = "gray" if channels_of(name) == 1 else "rgb"
    return f"""\
{f"architecture: {name}" if weights else ""}
input: {{name: input, size: {size}, layout: nchw, colour: {colour}}}
interpolation: area
scaling: [{{divide: 255}}, {{normalise: {{mean: {MEAN}, std: {STD}}}}}]
output: {{name: logits, kind: logits, classes: [{", ".join(LABELS)}]}}
licence: none
source: drawn at random for a benchmark
{f"sha256: {sha256}" if sha256 else ""}
"""


def network(name):
    """Returns a network in Python's torch: timm's, or the small one of ResNet-18's blocks, with Fermata's tensor names."""
    import timm
    import torch
    from timm.models.resnet import BasicBlock

    torch.manual_seed(0)
    if not name.startswith("small_resnet18_"):
        return timm.create_model(name, num_classes=CLASSES)
    width, stride, channels = (int(part[1:]) for part in name.removeprefix("small_resnet18_").split("_"))

    def layer(index):
        inputs, outputs = width << max(index - 1, 0), width << index
        step = 1 if index == 0 else 2
        projection = None
        if step != 1 or inputs != outputs:
            projection = torch.nn.Sequential(torch.nn.Conv2d(inputs, outputs, 1, step, bias=False), torch.nn.BatchNorm2d(outputs))
        return torch.nn.Sequential(BasicBlock(inputs, outputs, step, projection), BasicBlock(outputs, outputs))

    class SmallResNet18(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = torch.nn.Conv2d(channels, width, 3, stride, 1, bias=False)
            self.bn1 = torch.nn.BatchNorm2d(width)
            self.layer1, self.layer2, self.layer3, self.layer4 = (layer(index) for index in range(4))
            self.fc = torch.nn.Linear(8 * width, CLASSES)

        def forward_features(self, images):
            images = torch.relu(self.bn1(self.conv1(images)))
            return self.layer4(self.layer3(self.layer2(self.layer1(images))))

        def forward(self, images, dropout=0.0):
            embedding = self.forward_features(images).mean((2, 3))
            return self.fc(torch.nn.functional.dropout(embedding, dropout, self.training))

    return SmallResNet18()


def augmentation(size):
    """Returns Fermata's default augmentation as torchvision transforms: flip, shift, scale, rotation, brightness, partial erasing."""
    from torchvision import transforms

    return (
        [transforms.RandomHorizontalFlip(), transforms.RandomAffine(15, (0.0625, 0.0625), (0.9, 1.1)), transforms.ColorJitter(0.2)],
        [transforms.RandomErasing(0.25)],
    )


def dataset(rows, name, size, views=1, varied_first=False):
    """Returns a dataset for a DataLoader: inputs [V, C, H, W] and the class of each row. View 0 is the unchanged picture unless `varied_first`."""
    import torch
    from PIL import Image
    from torchvision import transforms
    from torchvision.transforms import functional

    picture_steps, input_steps = map(transforms.Compose, augmentation(size))
    mode = "L" if channels_of(name) == 1 else "RGB"

    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return len(rows)

        def __getitem__(self, place):
            path, label = rows[place]
            picture = Image.open(path).convert(mode)
            made = []
            for view in range(views):
                is_varied = varied_first or view > 0
                view_of = picture_steps(picture) if is_varied else picture
                small = view_of if view_of.size == (size, size) else view_of.resize((size, size), Image.Resampling.BOX)
                values = (functional.to_tensor(small) - MEAN) / STD
                made.append(input_steps(values) if is_varied else values)
            return torch.stack(made), label

    return Rows()
