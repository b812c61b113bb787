"""Leakage between the sides: the check that none is left, and the report of how near the sides come."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from rdkit import Chem, DataStructs, rdBase
from rdkit.Chem import rdFingerprintGenerator

from bindrae.data.clusters import Pairs
from bindrae.data.mmseqs import Alignments
from bindrae.errors import BindraeError

BENCHMARK = "benchmark"
# Held-out side, then the side that it must be strange to.
COMPARED = (("test", "train"), ("val", "train"), ("test", "val"), (BENCHMARK, "train"), (BENCHMARK, "val"))
MORGAN_RADIUS, MORGAN_BITS = 2, 2048
# Ligands of a held-out side that are compared, those with the smallest hash; all of a usual dataset.
MAX_LIGANDS = 2_000
TANIMOTO_EDGES = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True, slots=True)
class Member:
    """One complex as the leakage check sees it: its id, side, chains (indices) and ligand."""

    id: str
    side: str
    chains: Sequence[int]
    smiles: str


class Sides:
    """Which side holds which chain.

    Parameters
    ----------
    members : list of Member
        Excluded complexes may be among them; they are on no side.
    n_chains : int
    """

    def __init__(self, members: Sequence[Member], n_chains: int) -> None:
        self.members = members
        self.names = {name for pair in COMPARED for name in pair} & {m.side for m in members}
        self._owner = {name: np.full(n_chains, -1, dtype=np.int64) for name in self.names}
        for i, member in enumerate(members):
            if member.side in self.names:
                for chain in member.chains:
                    if self._owner[member.side][chain] < 0:
                        self._owner[member.side][chain] = i

    @property
    def compared(self) -> list[tuple[str, str]]:
        """Pairs of sides that both have complexes."""
        return [(a, b) for a, b in COMPARED if a in self.names and b in self.names]

    def between(self, held_out: str, other: str, pairs: Pairs) -> np.ndarray:
        """Mask of the pairs of chains that lie across two sides, either way round."""
        a, b = self._owner[held_out] >= 0, self._owner[other] >= 0
        x, y = pairs[:, 0], pairs[:, 1]
        return np.asarray((a[x] & b[y]) | (a[y] & b[x]))

    def ids(self, held_out: str, other: str, pair: Sequence[int]) -> tuple[str, str]:
        """A complex of each side that holds the chains of a pair."""
        a, b = self._owner[held_out], self._owner[other]
        x, y = (pair[0], pair[1]) if a[pair[0]] >= 0 and b[pair[1]] >= 0 else (pair[1], pair[0])
        return self.members[a[x]].id, self.members[b[y]].id


def check_no_kin_across(sides: Sides, rules: Mapping[str, Pairs]) -> None:
    """Check that no pair of similar chains lies across two sides.

    Parameters
    ----------
    sides : Sides
    rules : mapping of str to numpy.ndarray
        Pairs of chains by what they have in common, in words.

    Raises
    ------
    BindraeError
        Naming the first pair of complexes, their sides and the rule.
    """
    for held_out, other in sides.compared:
        for rule, pairs in rules.items():
            across = np.flatnonzero(sides.between(held_out, other, pairs))
            if len(across):
                a, b = sides.ids(held_out, other, pairs[across[0]])
                raise BindraeError(
                    f"leakage: {a} ({held_out}) and {b} ({other}) have {rule}, "
                    f"and {len(across) - 1} further pairs of chains between these sides",
                    "this is a fault of the split, not of the data: please report it with split.parquet",
                )


def sequence_leakage(sides: Sides, hits: Alignments, coverage: float) -> dict[str, dict[str, Any]]:
    """The closest chains of each two sides.

    Parameters
    ----------
    sides : Sides
    hits : Alignments
    coverage : float
        Share of the shorter chain that an alignment must span to count as one of the chains, not of a motif.

    Returns
    -------
    dict of str to dict
        By the names of the sides: ``identity`` (highest over alignments of that coverage; None without one) with the
        complexes, and ``local_identity`` with ``local_length`` over all significant alignments.
    """
    pairs = np.column_stack([hits.first, hits.second])
    report = {}
    for held_out, other in sides.compared:
        across = sides.between(held_out, other, pairs)
        entry: dict[str, Any] = {"significant_alignments": int(across.sum())}
        for prefix, mask in (("", across & (hits.coverage_shorter >= coverage)), ("local_", across)):
            rows = np.flatnonzero(mask)
            best = rows[np.lexsort((rows, -hits.length[rows], -hits.identity[rows]))[0]] if len(rows) else None
            names = sides.ids(held_out, other, pairs[best]) if best is not None else (None, None)
            entry |= {
                f"{prefix}identity": None if best is None else float(hits.identity[best]),
                f"{prefix}length": None if best is None else int(hits.length[best]),
                f"{prefix}{held_out}": names[0],
                f"{prefix}{other}": names[1],
            }
        report[f"{held_out}-{other}"] = entry
    return report


def _fingerprints(smiles: Sequence[str]) -> dict[str, Any]:
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=MORGAN_RADIUS, fpSize=MORGAN_BITS)
    with rdBase.BlockLogs():
        mols = {text: Chem.MolFromSmiles(text) if text else None for text in smiles}
    return {text: generator.GetFingerprint(mol) for text, mol in mols.items() if mol is not None}


def ligand_leakage(sides: Sides) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, int]]]:
    """How similar the ligands of a held-out side are to those of the other: Tanimoto of Morgan fingerprints.

    Each distinct ligand of the held-out side is compared with all of the other, one at a time, so that memory does
    not grow with the number of pairs.

    Returns
    -------
    summary : dict of str to dict
        By the names of the sides: highest and median of the nearest neighbours' similarity, the pair that has the
        highest, distinct ligands compared, and those left out because RDKit cannot read their SMILES.
    distribution : dict of str to dict
        Held-out ligands by the similarity of their nearest neighbour, and those whose very SMILES is on both sides.
    """
    smiles: dict[str, dict[str, str]] = {side: {} for side in sides.names}
    for member in sides.members:
        if member.side in sides.names:
            smiles[member.side].setdefault(member.smiles, member.id)
    prints = _fingerprints(sorted({text for texts in smiles.values() for text in texts}))
    summary: dict[str, dict[str, Any]] = {}
    distribution: dict[str, dict[str, int]] = {}
    for held_out, other in sides.compared:
        others = [text for text in sorted(smiles[other]) if text in prints]
        chosen = sorted((t for t in smiles[held_out] if t in prints), key=_hash)[:MAX_LIGANDS]
        if not others or not chosen:
            continue
        targets = [prints[text] for text in others]
        nearest = np.empty(len(chosen))
        best: tuple[float, str, str] = (-1.0, "", "")
        for k, text in enumerate(chosen):
            similarity = np.asarray(DataStructs.BulkTanimotoSimilarity(prints[text], targets))
            at = int(similarity.argmax())
            nearest[k] = similarity[at]
            best = max(best, (float(similarity[at]), smiles[held_out][text], smiles[other][others[at]]))
        name = f"{held_out}-{other}"
        summary[name] = {
            "highest": round(best[0], 4),
            held_out: best[1],
            other: best[2],
            "median": round(float(np.median(nearest)), 4),
            "ligands_compared": len(chosen),
            "unreadable": sum(t not in prints for side in (held_out, other) for t in smiles[side]),
        }
        counts = np.histogram(nearest, bins=TANIMOTO_EDGES)[0]
        labels = [f"{low:g}-{high:g}" for low, high in pairwise(TANIMOTO_EDGES)]
        same = sum(text in smiles[other] for text in chosen)
        distribution[name] = {**dict(zip(labels, counts.tolist(), strict=True)), "same_smiles": same}
    return summary, distribution


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
