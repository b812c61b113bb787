#!/usr/bin/env bash
# Snakemake runs this inside the new environment, from the folder of the clone.
set -euo pipefail
python -m pip install --constraint constraints.txt ".[demo,esm]"
