"""The per-batch data stages: clean, pocket, torsions, tokens.

Each turns the rows of one table into rows of another, one complex at a time. A stage's version must be raised whenever
its code changes what it writes: Snakemake sees settings and versions, not the code of an imported package.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from bindrae.chem.hetero import PREFIX
from bindrae.chem.ligand import mol_from_block, read_hetero_ligand, read_ligand
from bindrae.chem.probes import N_TOKEN_TYPES, build_tokens
from bindrae.config import CleanSettings, PocketSettings, Settings, TokenSettings, TorsionSettings
from bindrae.data import schema
from bindrae.data.runner import Row, run_stage
from bindrae.data.storage import read_table, sha256_file
from bindrae.errors import BindraeError
from bindrae.structure.atoms import read_atoms
from bindrae.structure.pocket import pocket_of
from bindrae.structure.protein import build_residue_table
from bindrae.structure.torsions import residue_torsions

VERSIONS: dict[str, int] = {
    "index": 2,
    "clean": 2,
    "pocket": 2,
    "torsions": 1,
    "tokens": 2,
    "embed": 2,
    "split": 2,
    "shards": 3,
    "quality": 2,
    "train": 6,
    "join": 1,
    "fit": 5,
    "evaluate": 15,
    "predict": 12,
    "report": 5,
}
"""Version of each stage's code, passed to Snakemake as a parameter."""


def clean_complex(entry: Row, settings: CleanSettings) -> Row:
    """Read one complex: the residue table, the ligand and what stands beside it.

    Parameters
    ----------
    entry : dict
        ``id``, ``protein`` (path), ``ligand`` (paths, best first).
    settings : CleanSettings

    Returns
    -------
    dict
        A row of ``schema.CLEAN``.

    Raises
    ------
    RejectedComplex
        With one of ``errors.REJECTION_CODES``.
    """
    protein = Path(entry["protein"])
    atoms = read_atoms(protein)
    limits = settings.max_ligand_atoms, settings.max_ligand_seconds
    if entry["ligand"][0].startswith(PREFIX):
        ligand = read_hetero_ligand(atoms, entry["ligand"][0], protein, *limits)
    else:
        ligand = read_ligand([Path(path) for path in entry["ligand"]], *limits)
    table, context, notes = build_residue_table(atoms, ligand.xyz, settings, str(protein), ligand.element)
    return {
        "id": entry["id"],
        "n_residues": len(table),
        "sequences": table.sequences(),
        "chain": table.chain,
        "number": table.number,
        "insertion": table.insertion,
        "name": table.name,
        "aatype": table.aatype,
        "chain_index": table.chain_index,
        "linked": table.linked,
        "atom14": table.xyz,
        "atom14_mask": table.mask,
        "bfactor": table.bfactor,
        "ligand_xyz": ligand.xyz,
        "ligand_element": ligand.element,
        "ligand_charge": ligand.charge,
        "ligand_bonds": ligand.bonds,
        "ligand_link": context.ligand_link,
        "ligand_block": ligand.molblock(),
        "ligand_smiles": ligand.smiles,
        "ligand_inchikey": ligand.inchikey,
        "ligand_route": ligand.route,
        "context_xyz": context.xyz,
        "context_element": context.element,
        "context_charge": context.charge,
        "context_name": context.residue_name,
        "notes": sorted({**notes, **ligand.notes}.items()),
        "protein_sha256": sha256_file(protein),
        "ligand_sha256": sha256_file(ligand.path),
    }


def pocket_row(row: Row, settings: PocketSettings) -> Row:
    """One row of ``schema.POCKET`` from one of ``schema.CLEAN``."""
    pocket = pocket_of(row["atom14"], row["atom14_mask"], row["linked"], row["ligand_xyz"], settings)
    return {"id": row["id"], **pocket}


def torsions_row(row: Row) -> Row:
    """One row of ``schema.TORSIONS`` from one of ``schema.CLEAN``."""
    angles, defined = residue_torsions(row["atom14"], row["atom14_mask"], row["aatype"], row["linked"])
    return {"id": row["id"], "angles": angles, "defined": defined}


def tokens_row(row: Row, settings: TokenSettings) -> Row:
    """One row of ``schema.TOKENS`` from one of ``schema.CLEAN`` joined with its ``w_res_backbone``."""
    if settings.tokens == "none":
        return {
            "id": row["id"],
            "xyz": np.zeros((0, 3), np.float32),
            "types": np.zeros((0, N_TOKEN_TYPES), np.float32),
            "is_context": np.zeros(0, dtype=bool),
        }
    context: dict[str, Any] = {}
    if settings.context:
        context = {f"context_{key}": row[f"context_{key}"] for key in ("xyz", "element", "charge")}
    tokens = build_tokens(
        mol_from_block(row["ligand_block"]),
        row["atom14"][:, 1],
        row["w_res_backbone"],
        settings.max_points,
        max_probes=settings.max_probes if settings.tokens == "atoms_and_probes" else 0,
        step=settings.probe_step_angstrom,
        **context,
    )
    return {"id": row["id"], "xyz": tokens.xyz, "types": tokens.types, "is_context": tokens.is_context}


def check_same_ids(rows: dict[str, list[str]]) -> None:
    """Check that the tables of a batch hold the same complexes in the same order.

    Parameters
    ----------
    rows : dict of str to list of str
        Ids by the name of the table.

    Raises
    ------
    BindraeError
        Naming the tables and the first id that differs.
    """
    (first, wanted), *others = rows.items()
    for name, ids in others:
        if ids != wanted:
            at = next(
                (i for i, (a, b) in enumerate(zip(wanted, ids, strict=False)) if a != b), min(len(ids), len(wanted))
            )
            raise BindraeError(
                f"{first} and {name} hold different complexes, first at row {at}",
                "files of two runs are mixed; rerun both stages",
            )


def run_clean(entries: Path, batch: int, output: Path, settings: CleanSettings, processes: int = 1) -> None:
    """Clean the complexes of one batch; see `clean_complex`."""
    table = read_table(entries)
    table = table.filter(pc.equal(table["batch"], batch))
    run_stage(
        "clean", VERSIONS["clean"], partial(clean_complex, settings=settings), table.to_pylist(), schema.CLEAN, output,
        settings, {}, processes,
    )  # fmt: skip


def run_pocket(clean: Path, output: Path, settings: PocketSettings, processes: int = 1) -> None:
    """Weigh the residues of one batch; see `pocket_row`."""
    columns = ["id", "atom14", "atom14_mask", "linked", "ligand_xyz"]
    _run_from_clean(
        "pocket", clean, columns, partial(pocket_row, settings=settings), schema.POCKET, output, settings, processes
    )


def run_torsions(clean: Path, output: Path, settings: TorsionSettings, processes: int = 1) -> None:
    """Measure the torsions of one batch; see `torsions_row`."""
    columns = ["id", "atom14", "atom14_mask", "aatype", "linked"]
    _run_from_clean("torsions", clean, columns, torsions_row, schema.TORSIONS, output, settings, processes)


def run_tokens(clean: Path, pocket: Path, output: Path, settings: TokenSettings, processes: int = 1) -> None:
    """Make the ligand tokens of one batch; see `tokens_row`."""
    columns = ["id", "atom14", "ligand_block", "context_xyz", "context_element", "context_charge"]
    items = list(schema.iterate_rows(read_table(clean, columns)))
    weights = list(schema.iterate_rows(read_table(pocket, ["id", "w_res_backbone"])))
    check_same_ids({str(clean): [r["id"] for r in items], str(pocket): [r["id"] for r in weights]})
    items = [{**item, **weight} for item, weight in zip(items, weights, strict=True)]
    run_stage(
        "tokens", VERSIONS["tokens"], partial(tokens_row, settings=settings), items, schema.TOKENS, output,
        settings, {"clean": clean, "pocket": pocket}, processes,
    )  # fmt: skip


def _run_from_clean(
    stage: str, clean: Path, columns: list[str], work: Any, out: Any, output: Path, settings: Settings, processes: int
) -> None:
    items = list(schema.iterate_rows(read_table(clean, columns)))
    run_stage(stage, VERSIONS[stage], work, items, out, output, settings, {"clean": clean}, processes)
