"""What the page shows of pockets: drawings for the viewer, and the same in words and rows."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import Any

import gemmi
import numpy as np
import pandas as pd
from markupsafe import Markup

from bindrae.chem import residues as aa
from bindrae.evaluation.pockets import Pocket
from bindrae.reporting.error_tables import place_of
from bindrae.reporting.html import DASH, counted, number
from bindrae.reporting.quality_page import Rows

# How the viewer draws: crystal, right and wrong prediction, ligand, probes, context.
CRYSTAL, RIGHT, WRONG, LIGAND, PROBE, CONTEXT = range(6)
_PER_ANGSTROM = 100
# Labels beyond these would cover the picture.
MAX_LABELS = 12


def viewer_script() -> tuple[Markup, str]:
    """The viewer's code, and the value by which the page's content security policy admits it and nothing else."""
    code = files("bindrae.reporting").joinpath("templates", "viewer.js").read_text()
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    return Markup(code), f"sha256-{digest}"


def pocket_view(pocket: Pocket) -> dict[str, Any]:
    """One pocket as the template shows it.

    Returns
    -------
    dict
        ``id``, ``why``, ``irmsd``; ``drawing`` for the viewer (integers of 0.01 A about the ligand's centre), ``words``
        that tell what is drawn, and ``rows`` of the residues that are wrong.
    """
    return {
        "id": pocket.id,
        "why": pocket.why,
        "irmsd": pocket.irmsd,
        "drawing": _Drawing(pocket).data(),
        "words": _words(pocket),
        "rows": _rows(pocket),
    }


class _Drawing:
    """Points with what joins them, gathered part by part."""

    def __init__(self, pocket: Pocket) -> None:
        self.pocket = pocket
        self.points: list[np.ndarray] = []
        self.bonds: list[int] = []
        self.dots: list[int] = []
        self.labels: list[tuple[int, str]] = []
        self.letters: list[tuple[int, str]] = []

    def data(self) -> dict[str, Any]:
        """All parts, as the viewer reads them."""
        self._crystal()
        self._prediction()
        self._ligand()
        for xyz, kind in ((self.pocket.probes, PROBE), (self.pocket.context, CONTEXT)):
            for point in xyz:
                self.dots += [self._add(point), kind]
        centre = self.pocket.ligand.mean(0) if len(self.pocket.ligand) else np.mean(self.points, axis=0)
        scaled = np.rint((np.array(self.points) - centre) * _PER_ANGSTROM).astype(int)
        return {
            "points": scaled.ravel().tolist(),
            "bonds": self.bonds,
            "dots": self.dots,
            "labels": self.labels,
            "letters": self.letters,
        }

    def _add(self, point: np.ndarray) -> int:
        self.points.append(np.asarray(point, dtype=np.float64))
        return len(self.points) - 1

    def _crystal(self) -> None:
        p, placed = self.pocket, {}
        for i, kind in enumerate(p.kind):
            for slot in np.flatnonzero(p.true_mask[i]):
                placed[i, int(slot)] = self._add(p.true[i, slot])
            for a, b in aa.BONDS[kind]:
                if (i, a) in placed and (i, b) in placed:
                    self.bonds += [placed[i, a], placed[i, b], CRYSTAL]
        for i, j in p.linked:
            if (i, aa.SLOT_C) in placed and (j, aa.SLOT_N) in placed:
                self.bonds += [placed[i, aa.SLOT_C], placed[j, aa.SLOT_N], CRYSTAL]

    def _prediction(self) -> None:
        p = self.pocket
        wrong, ends = {i for i in range(len(p.kind)) if _is_wrong(p, i)}, {}
        for i, kind in enumerate(p.kind):
            mask = p.pred_mask[i].copy()
            if not mask.any():
                continue
            mask[aa.SLOT_CA] = p.true_mask[i, aa.SLOT_CA]  # the side chain starts at the backbone that was given
            xyz = p.pred[i].copy()
            xyz[aa.SLOT_CA] = p.true[i, aa.SLOT_CA]
            placed = {int(slot): self._add(xyz[slot]) for slot in np.flatnonzero(mask)}
            for a, b in aa.BONDS[kind]:
                if a in placed and b in placed:
                    self.bonds += [placed[a], placed[b], WRONG if i in wrong else RIGHT]
            if i in wrong:
                ends[i] = max(placed.values())
        # The viewer leaves out names that would cover one before them: the worst come first.
        by_rmsd = sorted(ends, key=lambda i: -_finite(p.residues["sidechain_rmsd"].iloc[i]))
        self.labels = [(ends[i], place_and_type(_plain(p.residues.iloc[i]))) for i in by_rmsd[:MAX_LABELS]]

    def _ligand(self) -> None:
        p = self.pocket
        placed = [self._add(point) for point in p.ligand]
        for a, b in p.bonds:
            self.bonds += [placed[a], placed[b], LIGAND]
        for index, z in zip(placed, p.element.tolist(), strict=True):
            self.dots += [index, LIGAND]
            if z not in (1, 6):
                self.letters.append((index, gemmi.Element(int(z)).name))


def place_and_type(residue: dict[str, Any]) -> str:
    """A residue as labels and rows name it: ``A:45 LEU``."""
    return f"{place_of(residue)} {residue['type']}"


def _plain(row: pd.Series) -> dict[str, Any]:
    return {str(name): value for name, value in row.items()}


def _is_wrong(pocket: Pocket, i: int) -> bool:
    residue = pocket.residues.iloc[i]
    return bool(residue["chi1_n"] and not residue["all_chi_hit20"])


def _finite(value: float) -> float:
    return float(value) if np.isfinite(value) else -1.0


def _words(pocket: Pocket) -> str:
    r = pocket.residues
    with_chi = r[r["chi1_n"] > 0]
    parts = [
        f"Crystal and prediction of {counted(len(r), 'pocket residue')} around a ligand of "
        f"{counted(len(pocket.ligand), 'heavy atom')}",
        f"with {counted(len(pocket.probes), 'direction probe')}"
        + (f" and {counted(len(pocket.context), 'atom')} of other molecules" if len(pocket.context) else ""),
    ]
    if pocket.n_left_out:
        parts.append(f"{counted(pocket.n_left_out, 'residue')} farther from the ligand are not drawn")
    right = int(with_chi["all_chi_hit20"].sum())
    return "; ".join(parts) + f". Every χ is within 20° in {right} of {len(with_chi)} side chains."


def _rows(pocket: Pocket) -> Rows:
    """Residues that are wrong, the largest side-chain RMSD first."""
    wrong = pocket.residues[[_is_wrong(pocket, i) for i in range(len(pocket.residues))]]
    wrong = wrong.sort_values(["sidechain_rmsd", "row"], ascending=[False, True], na_position="last")
    return [
        [
            place_and_type(_plain(r)),
            number(r["chi1_error"], 0),
            number(r["sidechain_rmsd"], 2),
            number(100 * r["confidence"], 0) if np.isfinite(r["confidence"]) else DASH,
            number(r["ligand_distance"], 1),
        ]
        for r in (row for _, row in wrong.iterrows())
    ]
