#!/usr/bin/env python3
"""Holds labels that an audit ranks as likely wrong against another labelling of the same pictures.

    label_errors.py AUDIT_FOLDER MANIFEST.csv OTHER_MANIFEST.csv [SPLIT]     rows are joined by sha256

Of the manifest's rows of the split (default: test), without those of which the audit found the picture in another split too, prints for the first N of
`label_errors.csv`, for all of it, and for the rows that are not in it, how often the other labelling contradicts the label, and how often
it gives the suggested one. The audit is of this manifest alone.
"""

import csv
import sys
from pathlib import Path

audit, manifest, other = map(Path, sys.argv[1:4])
split = sys.argv[4] if len(sys.argv) > 4 else "test"


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


pairs = [pair for pair in rows_of(audit / "pairs.csv") if pair["place"] == "across splits"]
seen = {pair[name] for pair in pairs for name in ["image", "other_image"]}
asked = [row for row in rows_of(manifest) if row["split"] == split and row["image"] not in seen]
says = {row["sha256"]: row["label"] for row in rows_of(other)}
ranked = [row for row in rows_of(audit / "label_errors.csv") if row["split"] == split and row["image"] not in seen]
listed = {row["sha256"] for row in ranked}


def show(name, rows):
    known = [row for row in rows if row["sha256"] in says]
    contradicts = sum(says[row["sha256"]] != row["label"] for row in known)
    line = f"{name:18} {len(rows):5} rows, {len(known):5} in both: contradicted {contradicts / len(known):.3f}"
    if "suggested" in rows[0]:
        agrees = sum(says[row["sha256"]] == row["suggested"] for row in known)
        line += f", as suggested {agrees / len(known):.3f}"
    print(line)


show(f"all of {split}", asked)
for count in [50, 100, 200]:
    show(f"the first {count}", ranked[:count])
show("all that are listed", ranked)
show("not listed", [row for row in asked if row["sha256"] not in listed])
