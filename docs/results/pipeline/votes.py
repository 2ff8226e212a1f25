#!/usr/bin/env python3
"""FER+'s votes of each picture as the table that `fermata train --votes` takes: python votes.py data/fer/{train,valid,test}/table.csv > votes.csv

Votes for contempt, "unknown" and "no face" are left out; a picture that has no others has one for FER2013's label (four of the training rows).
"""
import csv
import hashlib
import pathlib
import sys

COLUMNS = {"angry": "anger", "disgust": "disgust", "fear": "fear", "happy": "happiness", "sad": "sadness", "surprise": "surprise", "neutral": "neutral"}

writer = csv.writer(sys.stdout, lineterminator="\n")
writer.writerow(["sha256", *COLUMNS])
written = set()
for table in map(pathlib.Path, sys.argv[1:]):
    for row in csv.DictReader(table.open()):
        picture = table.parent / row["image"]
        votes = [int(row[theirs]) for theirs in COLUMNS.values()]
        digest = hashlib.sha256(picture.read_bytes()).hexdigest()
        if not sum(votes):
            votes = [int(label == row["fer2013_label"]) for label in COLUMNS]
        if sum(votes) and digest not in written:
            written.add(digest)
            writer.writerow([digest, *votes])
