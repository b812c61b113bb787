"""What a prediction costs: ``python -m bindrae.prediction.cost PROTEIN LIGAND --model FILE --residues 5000``.

Runs the command `bindrae predict` as a user would, in a process of its own on one core, and prints its time, imports
included, and its peak memory; with `--residues` on copies of the protein side by side as well.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import gemmi
import numpy as np

from bindrae.errors import exit_on_error
from bindrae.usage import cost_of

_GAP = 8.0  # between the copies of a protein (A)


def polymers(protein: Path) -> list[gemmi.Chain]:
    """The chains of a file without ligands and waters."""
    structure = gemmi.read_structure(str(protein))
    structure.setup_entities()
    structure.remove_ligands_and_waters()
    return [chain for chain in structure[0] if len(chain)]


def tile(protein: Path, residues: int, output: Path) -> int:
    """Write a protein with copies of it on a grid, until it has so many residues; returns how many it has."""
    chains = polymers(protein)
    points = np.array([atom.pos.tolist() for chain in chains for residue in chain for atom in residue])
    step = np.ptp(points, axis=0) + _GAP
    structure, model = gemmi.Structure(), gemmi.Model(1)
    count = 0
    side = int(np.ceil((residues / sum(map(len, chains))) ** (1 / 3)))
    for place in np.ndindex(side, side, side):
        if count >= residues:
            break
        shift = step * place
        for chain in chains:
            copy = chain.clone()
            copy.name = f"{chain.name}{len(model)}"
            for residue in copy:
                for atom in residue:
                    atom.pos = gemmi.Position(*(shift + atom.pos.tolist()).tolist())
            count += len(copy)
            model.add_chain(copy)
    structure.add_model(model)
    structure.setup_entities()
    structure.make_mmcif_document().write_file(str(output))
    return count


def on_one_core() -> None:
    """Hold what this program starts to one core and one thread."""
    os.environ["OMP_NUM_THREADS"] = "1"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bindrae.prediction.cost", description=__doc__)
    parser.add_argument("protein", type=Path)
    parser.add_argument("ligand")
    parser.add_argument("--model", type=Path, help="by default the weights that ship with the package")
    parser.add_argument("--residues", type=int, nargs="*", default=[], help="sizes to tile the protein to")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each row; the fastest counts")
    given = parser.parse_args()
    on_one_core()
    command = [sys.executable, "-m", "bindrae", "predict"]
    model = ["--model", str(given.model)] if given.model else []
    with tempfile.TemporaryDirectory() as folder:
        inputs = {sum(map(len, polymers(given.protein))): given.protein}
        for residues in given.residues:
            path = Path(folder) / f"{residues}.cif"
            inputs[tile(given.protein, residues, path)] = path
        print("| residues | refinement | s on the clock | CPU s | peak MB |\n|---|---|---|---|---|")
        for residues, path in inputs.items():
            for refine in ("--no-refine", "--refine"):
                output = ["-o", f"{folder}/out.cif", refine]
                arguments = [str(path), given.ligand, *output, *model]
                best = min((cost_of(command + arguments) for _ in range(given.repeats)), key=lambda cost: cost.wall)
                refined = "yes" if refine == "--refine" else "no"
                cells = f"{best.wall:.2f} | {best.cpu:.2f} | {best.peak_mb:,.0f}"
                print(f"| {residues:,} | {refined} | {cells} |", flush=True)


if __name__ == "__main__":
    with exit_on_error():
        main()
