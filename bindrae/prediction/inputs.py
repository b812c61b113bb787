"""One complex as the model takes it, read without any side-chain atom."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bindrae.chem import residues as aa
from bindrae.chem.hetero import PREFIX
from bindrae.chem.ligand import Ligand, read_hetero_ligand, read_ligand
from bindrae.chem.probes import N_TOKEN_TYPES
from bindrae.config import CleanSettings, PocketSettings, TokenSettings
from bindrae.data.batch import IPABatch, Sample, collate_ipa_batch
from bindrae.data.stages import tokens_row
from bindrae.errors import RejectedComplex
from bindrae.prediction.backbone import OTHER_MOLECULES, backbone_table, context_beside
from bindrae.prediction.source import Finder, Source, place, read_source
from bindrae.structure.atoms import Atoms, read_atoms, text
from bindrae.structure.context import nearest_ligand_distance
from bindrae.structure.names import residue_type
from bindrae.structure.pocket import pocket_of, virtual_cb
from bindrae.structure.table import ResidueTable

_FAR_ANGSTROM = 12.0  # no side chain of a residue whose backbone is farther away reaches the ligand
_TOO_CLOSE_ANGSTROM = 2.2  # a ligand atom this close to N, CA, C or O fits no backbone


@dataclass
class Complex:
    """A protein and its ligand, ready for the model, with what is needed to write the answer."""

    id: str
    protein: Path
    source: Source
    table: ResidueTable  # backbone atoms alone
    ca: np.ndarray  # [N] index of each row's CA in the source
    run: np.ndarray  # [N] run of the source that holds each row
    ligand: Ligand | None
    sample: Sample
    builds: np.ndarray  # [N] bool, a residue of the 20 types, MSE or SEC: its side chain can be built
    kept: dict[int, str]  # rows that stay as in the file, and why
    kept_xyz: np.ndarray  # [N, 14, 3] float32 (A), read where kept
    kept_mask: np.ndarray  # [N, 14] bool
    kept_beyond: list[tuple[int, np.ndarray]]  # atomic number and place (A) of kept atoms that no slot holds
    outside: list[tuple[str, str]]  # amino acids of the file that are no rows: place, why
    copied: set[str] = field(default_factory=set)  # those of them whose side-chain atoms are to be copied
    notes: list[str] = field(default_factory=list)

    def batch(self) -> IPABatch:
        """The complex as a batch of one."""
        return collate_ipa_batch([(self.id, self.sample)])

    def place(self, row: int) -> str:
        """``A:123B`` of a row."""
        return place(*self.source.key(int(self.ca[row])))


def read_complex(identifier: str, protein: Path, ligand: str | Sequence[str] | None) -> Complex:
    """Read a complex; of amino acids N, CA, C and O alone.

    Parameters
    ----------
    identifier : str
        Name in messages and summaries.
    protein : Path
        PDB or mmCIF file, gzipped or not.
    ligand : str, sequence of str, or None
        Path of an SDF or MOL2 file, or ``hetatm:NAME/CHAIN/NUMBER`` for a residue of the protein file; several paths
        are files of the same ligand, of which the best is read. None for a protein alone.

    Raises
    ------
    RejectedComplex
        For files that are missing or cannot be read, a protein without backbone, too large a protein, coordinates
        that are no numbers, and whatever makes a ligand unusable.
    """
    settings = CleanSettings()
    source = read_source(protein)
    _check_finite(source, settings, protein)
    atoms = read_atoms(protein)
    notes: list[str] = []
    molecule = None if ligand is None else _read_molecule(atoms, ligand, protein, settings, notes)
    ligand_xyz = np.zeros((0, 3), np.float32) if molecule is None else molecule.xyz
    table, altlocs, outside = backbone_table(atoms, ligand_xyz, settings, str(protein))
    if len(table) > settings.max_residues:
        raise RejectedComplex(
            "protein_too_large",
            f"{protein} holds {len(table)} residues, more than {settings.max_residues}",
            "predict its chains apart, or leave out those far from the ligand",
        )
    ca = Finder(source).find(table.xyz[:, aa.SLOT_CA], table.name, altlocs)
    context: dict[str, np.ndarray] = {}
    if molecule is not None:
        context = context_beside(atoms, table, altlocs, ligand_xyz, settings)
        notes += _ligand_notes(table, molecule)
    else:
        notes.append("no ligand: side chains are those of the protein alone")
    notes += _rootless_notes(source)
    if _looks_predicted(table):
        notes.append("the B-factors look like the confidence of a predicted model; they are not read")
    n = len(table)
    return Complex(
        id=identifier,
        protein=protein,
        source=source,
        table=table,
        ca=ca,
        run=source.run[ca],
        ligand=molecule,
        sample=_sample(table, molecule, context),
        builds=np.array([can_be_built(name) for name in table.name]),
        kept={},
        kept_xyz=np.zeros((n, aa.N_SLOTS, 3), np.float32),
        kept_mask=np.zeros((n, aa.N_SLOTS), dtype=bool),
        kept_beyond=[],
        outside=outside,
        copied={name for name, why in outside if why in OTHER_MOLECULES},
        notes=notes,
    )


def _read_molecule(
    atoms: Atoms, ligand: str | Sequence[str], protein: Path, settings: CleanSettings, notes: list[str]
) -> Ligand:
    limits = settings.max_ligand_atoms, settings.max_ligand_seconds
    if not isinstance(ligand, str):
        return read_ligand([Path(path) for path in ligand], *limits)
    if ligand.startswith(PREFIX):
        return read_hetero_ligand(atoms, ligand, protein, *limits)
    path = Path(ligand)
    try:
        return read_ligand([path], *limits)
    except RejectedComplex as fault:
        # Datasets give each ligand in both formats, and often one of them is faulty.
        others = [path.with_suffix(ending) for ending in (".mol2", ".sdf") if path.suffix != ending]
        others = [other for other in others if os.path.isfile(other)]
        if fault.code != "ligand_unreadable" or not others:
            raise
        molecule = read_ligand(others, *limits)
        notes.append(f"{fault.message}; {molecule.path.name} beside it was read instead")
        return molecule


def can_be_built(name: str) -> bool:
    """Whether a residue has the atoms of one of the 20 types; MSE and SEC differ in one element."""
    return aa.ALIASES.get(name, name) in aa.TYPE_OF_NAME or name in aa.ATOM_ALIASES


def _check_finite(source: Source, settings: CleanSettings, protein: Path) -> None:
    bad = ~np.isfinite(source.xyz).all(axis=1) & np.isin(source.name, (b"N", b"CA", b"C"))
    for i in np.flatnonzero(bad).tolist():
        if residue_type(text(source.residue_name[i]), settings) is not None:
            raise RejectedComplex(
                "protein_unreadable",
                f"{protein}: {text(source.name[i])} of residue {place(*source.key(i))} has coordinates that are no "
                "finite numbers",
                "mend these coordinates, or take the residue out of the file",
            )


def _rootless_notes(source: Source) -> list[str]:
    """What is said of residues that have side-chain atoms and nothing else, which are not written."""
    bare = np.bincount(
        source.run[np.isin(source.name, [name.encode() for name in aa.BACKBONE])], minlength=len(source.first)
    )
    keys = [source.key(i) for i in source.first.tolist()]
    rooted = {key for key, count in zip(keys, bare.tolist(), strict=True) if count}
    lone = [
        place(*keys[run])
        for run, start in enumerate(source.first.tolist())
        if not source.hetero[start] and keys[run] not in rooted and can_be_built(text(source.residue_name[start]))
    ]
    return [f"residues without any backbone atom are left out: {', '.join(lone[:10])}"] if lone else []


def _ligand_notes(table: ResidueTable, ligand: Ligand) -> list[str]:
    distance = float(nearest_ligand_distance(table.xyz, table.mask, ligand.xyz, 1e6).min())
    if distance > _FAR_ANGSTROM:
        return [
            f"the ligand is {distance:.1f} A from the nearest backbone atom: it touches nothing, and the prediction is "
            "that of the protein alone; protein and ligand must share one coordinate frame"
        ]
    if distance < _TOO_CLOSE_ANGSTROM:
        return [
            f"the ligand comes within {distance:.1f} A of the backbone: the backbone may be that of another state "
            "(apo, or another ligand), or the pose may belong to another frame"
        ]
    return []


def _looks_predicted(table: ResidueTable) -> bool:
    """Whether each residue's N, CA and C share one B-factor while residues differ, all of them in [0, 100]."""
    b = table.bfactor[:, :3]
    flat = np.ptp(b, axis=1) < 1e-3
    return bool(flat.all() and np.ptp(b) > 1.0 and b.min() >= 0 and b.max() <= 100)


def _sample(table: ResidueTable, ligand: Ligand | None, context: dict[str, np.ndarray]) -> Sample:
    """What a shard holds of a complex, with nothing where a shard has the truth."""
    n = len(table)
    tokens: dict[str, Any] = {
        "xyz": np.zeros((0, 3), np.float32),
        "types": np.zeros((0, N_TOKEN_TYPES), np.float32),
        "is_context": np.zeros(0, dtype=bool),
    }
    ligand_xyz, element = np.zeros((0, 3), np.float32), np.zeros(0, np.int16)
    if ligand is not None:
        ligand_xyz, element = ligand.xyz, ligand.element
        pocket = pocket_of(table.xyz, table.mask, table.linked, ligand_xyz, PocketSettings())
        row = {"id": "", "ligand_block": ligand.molblock(), "atom14": table.xyz, **context}
        tokens = tokens_row(row | {"w_res_backbone": pocket["w_res_backbone"]}, TokenSettings())
    arrays = {
        "aatype": table.aatype,
        "chain_index": table.chain_index,
        "linked": table.linked,
        "atom14": table.xyz,
        "atom14_mask": table.mask,
        "bfactor": np.zeros((n, aa.N_SLOTS), np.float32),
        "torsion_angles": np.zeros((n, 7), np.float32),
        "torsion_mask": np.zeros((n, 7), dtype=bool),
        "w_res": np.zeros(n, np.float32),
        "contact": np.zeros(n, dtype=bool),
        "lig_points": tokens["xyz"],
        "lig_types": tokens["types"],
        "lig_context": tokens["is_context"],
        "ligand_xyz": ligand_xyz,
        "ligand_element": element,
        "plm": np.zeros((n, 0), np.float32),
        "residue_index": np.arange(n),
    }
    return {name: torch.as_tensor(np.ascontiguousarray(array)) for name, array in arrays.items()}


def near_ligand(complex_: Complex, radius: float) -> np.ndarray:
    """[N] bool, residues whose backbone or ideal CB comes within `radius` (A) of the ligand's heavy atoms."""
    if complex_.ligand is None:
        return np.zeros(len(complex_.table), dtype=bool)
    xyz, mask = complex_.table.xyz, complex_.table.mask
    points = np.concatenate([xyz[:, : aa.SLOT_CB], virtual_cb(xyz)[:, None]], axis=1)
    there = np.concatenate([mask[:, : aa.SLOT_CB], np.ones((len(mask), 1), dtype=bool)], axis=1)
    return np.asarray(nearest_ligand_distance(points, there, complex_.ligand.xyz, radius) <= radius)
