"""What becomes of each block of the documentation: every one has its class here, by document and first line.

A new block fails the test until it is entered. Classes:

- ``RUN``: its commands are carried out in a folder that holds the demo's complexes.
- ``CHECKED``: too slow or too large; each command is parsed by its program, a dry run of Snakemake or ``make -n``.
- ``SLOW``: as ``CHECKED``, and carried out on a small prepared dataset by a test that is marked slow.
- ``NEWCOMER``: as ``CHECKED``, and carried out from a fresh clone by test_newcomer.py (marked slow).
- ``NOT_RUN``: needs what a test has not got, said beside it; bash still parses it.
- ``PYTHON``: run by Python in the same folder.
- ``TEXT``: no commands, but what is named beside it. ``YAML`` is checked against the settings.
"""

from __future__ import annotations

RUN, CHECKED, SLOW, NEWCOMER, PYTHON, YAML = "run", "checked", "slow", "newcomer", "python", "yaml"
NOT_RUN = "not run: "
TEXT = "text: "

CLASSES: dict[str, dict[str, str]] = {
    "README.md": {
        "PDB/mmCIF + SDF/MOL2 -> clean -> pocket, torsions, ligand tokens, embeddings -> split -> shards": TEXT
        + "a diagram",
        "make demo": CHECKED,
        "source .venv/bin/activate": CHECKED,
        "bindrae predict protein.pdb ligand.sdf -o holo.pdb": RUN,
        "bindrae score predicted.pdb crystal.pdb --ligand ligand.sdf --json scores.json": RUN,
        "bindrae train --help": CHECKED,
        "snakemake pocket": CHECKED,
        "snakemake --config 'pocket={sigma_angstrom: 3}'": CHECKED,
        "snakemake --unlock": CHECKED,
        "export BINDRAE_SLURM_PARTITION=cpu BINDRAE_SLURM_GPU_PARTITION=gpu BINDRAE_SLURM_ACCOUNT=mylab": CHECKED,
    },
    "config/README.md": {
        "snakemake --configfile config/casf2016.yaml --config root=/where/CASF-2016 run=second 'training={lr: 3e-4}'": (
            CHECKED
        ),
        "root: kinases.txt": YAML,
        "1iep STI": TEXT + "a list of PDB ids",
        "snakemake clean --configfile config/casf2016.yaml --config root=/where/CASF-2016": CHECKED,
        "embed:": YAML,
        "export BINDRAE_SLURM_PARTITION=cpu": NOT_RUN + "sets variables for other commands",
    },
    "docs/api.md": {"from pathlib import Path": PYTHON},
    "docs/architecture.md": {
        "N, CA, C of each residue residue types language model (optional) ligand: atoms, probes, cofactors": TEXT
        + "a diagram",
    },
    "docs/benchmarks.md": {"make demo": CHECKED},
    "docs/cluster.md": {
        "export BINDRAE_SLURM_PARTITION=cpu": CHECKED,
        'squeue --me --format "%.10i %.9T %.10M %.40k %R"': NOT_RUN + "asks a running Slurm",
        "python tests/workflow/plan_at_scale.py --complexes 500000 --batches 500": CHECKED,
        "python -m bindrae.data.forecast results/casf2016/data --complexes 500000 --batches 500 --cores 32": SLOW,
    },
    "docs/newcomer.md": {
        "git clone https://where.it/is/bindrae.git bindrae": NEWCOMER,
        "ls results/demo/data/quality.html results/demo/runs/default/report.html": NEWCOMER,
        "ls results/demo/runs/default/predicted/*/*.pdb": NEWCOMER,
        "source .venv/bin/activate": NEWCOMER,
        "python -m bindrae.data.demo_files mycomplexes": NEWCOMER,
        "bindrae predict protein.pdb ligand.sdf -o holo.pdb --json holo.json": NEWCOMER,
        "bindrae score holo.pdb protein.pdb --ligand ligand.sdf": NEWCOMER,
        "mycomplexes/": TEXT + "a tree of files",
        "cat > mine.yaml <<'END'": NEWCOMER,
        "snakemake --configfile mine.yaml --dry-run": NEWCOMER,
        "ls results/mine/data/quality.html results/mine/runs/default/report.html": NEWCOMER,
        "snakemake --configfile mine.yaml --config 'pocket={sigma_angstrom: 3}' --dry-run": NEWCOMER,
        "export BINDRAE_SLURM_PARTITION=cpu BINDRAE_SLURM_GPU_PARTITION=gpu BINDRAE_SLURM_ACCOUNT=mylab": NEWCOMER,
    },
    "docs/off_crystal.md": {
        "python -m bindrae.evaluation.noise results/mydata/data model.safetensors --noise 0.25,0.5 "
        "--output noise.json": SLOW,
        "python -m bindrae.evaluation.cross_pairs PAIRS.csv COMPLEXES model.safetensors \\": CHECKED,
    },
    "docs/own_complexes.md": {
        "snakemake quality --configfile mine.yaml": CHECKED,
        "import pandas as pd": PYTHON,
    },
    "docs/peers.md": {
        'make bench-peers ARGS="/where/CASF-2016 --data results/casf2016/data --model model.safetensors"': CHECKED,
        'make bench-peers ARGS="/where/CASF-2016 --data results/casf2016/data --noise 0.05"': CHECKED,
    },
    "docs/prediction.md": {
        "bindrae predict protein.pdb ligand.sdf -o holo.pdb": RUN,
        "from pathlib import Path": PYTHON,
        "bindrae fit --data results/mydata/data --model results/mydata/runs/default/model.safetensors \\": SLOW,
        "python -m bindrae.prediction.tune results/mydata/data model.safetensors --weights 10,20,40 --polish 30,200": (
            SLOW
        ),
        "python -m bindrae.prediction.cost protein.pdb ligand.sdf --model model.safetensors --residues 5000": CHECKED,
    },
    "docs/progress.md": {"for seed in 0 1 2; do snakemake --configfile config/casf2016.yaml \\": CHECKED},
    "docs/report.md": {
        "bindrae report --data results/<dataset>/data --run results/<dataset>/runs/<run>": CHECKED,
        "bindrae score --dir PREDICTIONS CRYSTALS --clusters results/<dataset>/data/split.parquet \\": CHECKED,
        "python -m bindrae.reporting.peers CASF-2016 FASPR=faspr.json ProMod3=promod3.json": CHECKED,
    },
    "docs/training.md": {
        "snakemake --configfile config/casf2016.yaml --config root=/where/CASF-2016": CHECKED,
        "bindrae train --data results/mydata/data --run results/mydata/runs/tuned --init shipped --lr 3e-4 "
        "--max-epochs 5 \\": CHECKED,
        "snakemake --configfile mine.yaml --config 'refinement={fit: true}'": CHECKED,
        "torchrun --standalone --nproc-per-node 4 --no-python -- bindrae train --data ... --run ... --accumulate 4": (
            CHECKED
        ),
        "snakemake ablation --configfile config/casf2016.yaml --config root=/where/CASF-2016": CHECKED,
        "snakemake ensemble --configfile config/casf2016.yaml --config root=/where/CASF-2016": CHECKED,
        "bindrae join results/mydata/runs/a/model.safetensors results/mydata/runs/b/model.safetensors "
        "-o joined.safetensors": CHECKED,
    },
    "docs/tutorial_casf2016.md": {
        "snakemake quality --configfile config/casf2016.yaml --config root=/where/CASF-2016": CHECKED,
        'make bench-preprocess ARGS="--root /where/CASF-2016"': CHECKED,
        "bindrae predict /where/CASF-2016/coreset -o predicted": CHECKED,
        "snakemake --configfile config/casf2016.yaml --config root=/where/CASF-2016": CHECKED,
        "tail -f results/casf2016/runs/default/metrics.jsonl": NOT_RUN + "never ends",
        "snakemake --configfile config/casf2016.yaml --config root=/where/CASF-2016 dataset=wide "
        "'pocket={sigma_angstrom: 3}'": CHECKED,
        "snakemake ablation --configfile config/casf2016.yaml --config root=/where/CASF-2016": CHECKED,
    },
}
