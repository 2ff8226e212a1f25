#!/usr/bin/env python3
"""Drops the validation and test rows of which a training row of the sources shows the same picture.

`fermata manifest make` removes such training rows from its own manifest (reason `other_split`), but a model that was
trained on the sources as they came has learnt from them.

    without_twins.py MANIFEST_FOLDER OUT_FOLDER     both beside each other: paths of images stay as they are
"""

import csv
import json
import sys
from pathlib import Path

source, out = map(Path, sys.argv[1:])
removed = json.loads((source / "clean_report.json").read_text())["removed"]
kept_for = {row["because_of"] for row in removed if row["reason"] == "other_split"}
rows = list(csv.reader((source / "manifest.csv").open()))
twins = {row[4] for row in rows if row[0] in kept_for}
out.mkdir()
with (out / "manifest.csv").open("w", newline="") as file:
    csv.writer(file, lineterminator="\n").writerows(row for row in rows if row[4] not in twins)
