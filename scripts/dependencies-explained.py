#!/usr/bin/env python3
"""Fails if a dependency of the workspace has no line in ARCHITECTURE.md ("Dependencies, and why these")."""

import re
import sys
import tomllib
from pathlib import Path

HEADING = "## Dependencies, and why these"

root = Path(__file__).resolve().parent.parent
names = tomllib.loads((root / "Cargo.toml").read_text())["workspace"]["dependencies"]
_, found, section = (root / "ARCHITECTURE.md").read_text().partition(HEADING)
if not found:
    sys.exit(f"error: ARCHITECTURE.md has no part \"{HEADING}\": this check no longer checks anything")
rows = [line.split("|")[1] for line in section.split("\n## ")[0].splitlines() if line.startswith("|")]
explained = set(re.findall(r"[\w-]+", " ".join(rows)))
missing = [name for name in names if not name.startswith("fermata-") and name not in explained]
if missing:
    sys.exit(f"error: ARCHITECTURE.md does not say why there are: {', '.join(missing)}")
print("dependencies: ARCHITECTURE.md has a reason for each")
