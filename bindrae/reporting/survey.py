"""What the data quality report counts over the accepted complexes, one batch after the other."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bindrae.chem.residues import N_CHI, N_TYPES, RESIDUE_NAMES
from bindrae.data.layout import DataLayout
from bindrae.data.stages import check_same_ids
from bindrae.data.storage import read_table, rejected_path
from bindrae.errors import BindraeError
from bindrae.reporting.backbone import Backbone
from bindrae.reporting.tally import Histogram, Tally

STAGES = ("clean", "pocket", "torsions", "tokens")
HASHES = ("protein_sha256", "ligand_sha256")
_CLEAN_COLUMNS = [
    "id", "sequences", "aatype", "ligand_element", "ligand_route", "ligand_inchikey", "context_element", "notes",
    *HASHES,
]  # fmt: skip
CHI_EDGES = np.arange(-180, 181, 5)
FIRST_CHI = 3  # after phi, psi, omega
# Files without B-factors hold 0 in their column, or partial charges.
SMALLEST_BFACTOR = 1.0
HIGH_BFACTOR = 40.0


class Survey:
    """Everything that is counted over the accepted complexes, batch by batch.

    Parameters
    ----------
    split : pyarrow.Table
        Columns ``id`` and ``split``.
    """

    def __init__(self, split: pa.Table) -> None:
        self._ids, self._sides = split["id"], split["split"]
        self.tallies = {
            "protein_length": Tally("Protein length", "residues", 50, 2000),
            "pocket_size": Tally("Pocket size", "contact residues", 2, 80),
            "tokens": Tally("Ligand tokens", "tokens", 4, 128),
            "ligand_atoms": Tally("Ligand size", "heavy atoms", 4, 120),
            "chains": Tally("Protein chains", "chains", 1, 12),
            "context_atoms": Tally("Metals, cofactors, further ligands", "heavy atoms", 4, 120),
            "missing_heavy_atoms": Tally("Missing heavy atoms", "atoms", 5, 200),
            "twisted_peptides": Tally("Peptide bonds neither cis nor trans", "bonds", 1, 20),
        }
        self.bfactors = Histogram("B-factors", "Å²", np.arange(0.0, 151.0, 5.0))
        self.notes: dict[str, dict[str, int]] = {}
        self.routes: Counter[str] = Counter()
        self.sides: dict[str, Counter[str]] = {}
        self.types = np.zeros((2 + N_CHI, N_TYPES), dtype=np.int64)  # residues, pocket residues, defined chi1-4
        self.chi = np.zeros((N_CHI, N_TYPES, len(CHI_EDGES) - 1), dtype=np.int64)
        self.backbone = Backbone()
        self.flags: Counter[str] = Counter()
        self.fingerprint = 0

    def add(self, layout: DataLayout, number: int) -> list[str]:
        """Count one batch.

        Returns
        -------
        list of str
            Its accepted complexes.

        Raises
        ------
        BindraeError
            When the tables of the batch do not belong together.
        """
        paths = {stage: layout.batch(stage, number) for stage in STAGES}
        clean = read_table(paths["clean"], _CLEAN_COLUMNS)
        tables = {
            "clean": clean,
            "pocket": read_table(paths["pocket"], ["id", "contact"]),
            "torsions": read_table(paths["torsions"], ["id", "angles", "defined"]),
            "tokens": read_table(paths["tokens"], ["id", "xyz"]),
        }
        later = [read_table(rejected_path(paths[stage]), ["id"])["id"] for stage in STAGES[1:]]
        rejected = pa.concat_arrays(
            [chunk for column in later for chunk in column.chunks] or [pa.array([], pa.string())]
        )
        if len(rejected):
            tables = {name: t.filter(pc.invert(pc.is_in(t["id"], rejected))) for name, t in tables.items()}
        check_same_ids({str(paths[name]): table["id"].to_pylist() for name, table in tables.items()})

        clean, ids = tables["clean"], tables["clean"]["id"].to_pylist()
        aatype, lengths = _flat(clean, "aatype")
        contact, contact_lengths = _flat(tables["pocket"], "contact")
        defined, defined_lengths = _flat(tables["torsions"], "defined")
        if not (np.array_equal(lengths, contact_lengths) and np.array_equal(lengths * 7, defined_lengths)):
            raise BindraeError(
                f"{paths['clean']} and the tables made from it hold different residues",
                "files of two runs are mixed; rerun pocket and torsions",
            )
        contact = contact.astype(bool)
        pocket = _per_complex(contact, lengths)
        angles, defined = _flat(tables["torsions"], "angles")[0].reshape(-1, 7), defined.reshape(-1, 7).astype(bool)
        self._add_residues(aatype, contact, angles[:, FIRST_CHI:], defined[:, FIRST_CHI:])
        values = {
            "protein_length": lengths,
            "pocket_size": pocket,
            "tokens": _flat(tables["tokens"], "xyz")[1] // 3,
            "ligand_atoms": _flat(clean, "ligand_element")[1],
            "chains": pc.list_value_length(clean["sequences"]).to_numpy().astype(np.int64),
            "context_atoms": _flat(clean, "context_element")[1],
            "twisted_peptides": _per_complex(self.backbone.add(aatype, angles, defined), lengths),
        }
        for name, value in values.items():
            self.tallies[name].add(ids, value)
        self._add_texts(clean, ids)
        self._add_sides(clean["id"], lengths, pocket)
        self._add_bfactors(paths["clean"], ids)
        return list(ids)

    def _add_residues(self, aatype: np.ndarray, contact: np.ndarray, angles: np.ndarray, defined: np.ndarray) -> None:
        chosen = [np.ones_like(contact), contact, *defined.T]
        self.types += [np.bincount(aatype[which], minlength=N_TYPES) for which in chosen]
        width, n_bins = CHI_EDGES[1] - CHI_EDGES[0], len(CHI_EDGES) - 1
        for k in range(N_CHI):
            degrees = np.degrees(angles[defined[:, k], k].astype(np.float64))
            bins = np.clip(np.floor((degrees + 180.0) / width).astype(int), 0, n_bins - 1)
            flat = aatype[defined[:, k]].astype(int) * n_bins + bins
            self.chi[k] += np.bincount(flat, minlength=N_TYPES * n_bins).reshape(N_TYPES, n_bins)

    def _add_texts(self, clean: pa.Table, ids: list[str]) -> None:
        missing = []
        for row in clean["notes"].to_pylist():
            notes = dict(row or ())
            missing.append(notes.get("missing_heavy_atoms", 0))
            for key, count in notes.items():
                entry = self.notes.setdefault(key, {"total": 0, "complexes": 0})
                entry["total"] += count
                entry["complexes"] += 1
        self.tallies["missing_heavy_atoms"].add(ids, np.array(missing, dtype=np.int64))
        self.routes.update(clean["ligand_route"].to_pylist())
        self.flags["ligands_without_inchikey"] += sum(not key for key in clean["ligand_inchikey"].to_pylist())
        for line in zip(ids, *(clean[name].to_pylist() for name in HASHES), strict=True):
            digest = hashlib.sha256("\t".join(map(str, line)).encode()).digest()
            self.fingerprint ^= int.from_bytes(digest, "big")  # the same whatever the order of the complexes

    def _add_sides(self, ids: pa.ChunkedArray, lengths: np.ndarray, pocket: np.ndarray) -> None:
        places = pc.index_in(ids, self._ids)
        sides = pc.fill_null(pc.take(self._sides, places), "none").to_pylist()
        for side, residues, in_pocket in zip(sides, lengths.tolist(), pocket.tolist(), strict=True):
            counts = self.sides.setdefault(side, Counter())
            counts.update(complexes=1, residues=residues, pocket_residues=in_pocket)

    def _add_bfactors(self, path: Path, ids: list[str]) -> None:
        table = read_table(path, ["id", "atom14_mask", "bfactor"])
        table = table.filter(pc.is_in(table["id"], pa.array(ids, pa.string())))
        values, lengths = _flat(table, "bfactor")
        mask = _flat(table, "atom14_mask")[0].astype(bool)
        start = np.cumsum(lengths) - lengths
        largest = np.maximum.reduceat(np.where(mask, values, 0.0), start) if len(values) else np.zeros(0)
        known = largest >= SMALLEST_BFACTOR
        self.flags["complexes_without_bfactors"] += int((~known).sum())
        used = values[mask & np.repeat(known, lengths)]
        self.flags["atoms_above_40"] += int((used > HIGH_BFACTOR).sum())
        self.bfactors.add(used)

    def summary(self) -> dict[str, Any]:
        """The numbers as they stand in quality.json."""
        names = (*RESIDUE_NAMES, "UNK")
        keys = ("residues", "pocket", *(f"chi{k + 1}" for k in range(N_CHI)))
        chi = {f"chi{k + 1}": self.chi[k] for k in range(N_CHI)}
        return {
            "notes": dict(sorted(self.notes.items())),
            "ligand_routes": dict(self.routes.most_common()),
            "flags": dict(self.flags),
            "distributions": {
                **{name: tally.summary() for name, tally in self.tallies.items()},
                "bfactors": self.bfactors.summary(),
            },
            "chi": {
                "edges": CHI_EDGES.tolist(),
                **{name: counts.sum(axis=0).tolist() for name, counts in chi.items()},
                "by_type": {
                    residue: {name: counts[i].tolist() for name, counts in chi.items()}
                    for i, residue in enumerate(names)
                    if self.types[2, i]
                },
            },
            "backbone": self.backbone.summary(),
            "residue_types": {
                name: dict(zip(keys, self.types[:, i].tolist(), strict=True)) for i, name in enumerate(names)
            },
            "outliers": {name: tally.extremes() for name, tally in self.tallies.items()},
        }


def _per_complex(flags: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """How many of each complex's residues are flagged."""
    owner = np.repeat(np.arange(len(lengths)), lengths)
    return np.bincount(owner[flags], minlength=len(lengths))


def _flat(table: pa.Table, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The entries of a list column in a row, and how many each complex has."""
    column = table[name]
    return pc.list_flatten(column).to_numpy(), pc.list_value_length(column).to_numpy().astype(np.int64)
