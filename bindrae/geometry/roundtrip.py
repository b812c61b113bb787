"""True frames and torsions to atoms and back: ``python -m bindrae.geometry.roundtrip results/casf2016/data``.

Prints how far forward kinematics with ideal bonds and angles stays from the crystal, what the proline ring costs, and
the time a residue on one core. ``--openfold PATH`` runs OpenFold's own functions, from a copy at PATH, on the same
residues in the same run.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bindrae.chem import residues as aa
from bindrae.data.layout import DataLayout
from bindrae.data.schema import iterate_rows
from bindrae.data.storage import read_table
from bindrae.geometry.kinematics import angles_to_circle, torsions_to_atoms
from bindrae.geometry.rigid import build_frames_from_3_points

Builder = Callable[[tuple[Tensor, Tensor], Tensor, Tensor], Tensor]
_PRO = aa.TYPE_OF_NAME["PRO"]
_PRO_CD = aa.ATOM14_NAMES[_PRO].index("CD")


def openfold_builder(folder: Path) -> Builder:
    """OpenFold's torsions-to-atom14 from a copy of its repository (or of the `openfold3` package's folder)."""
    sys.path.insert(0, str(folder))
    from openfold.np import residue_constants as rc  # type: ignore[import-not-found]
    from openfold.utils import feats  # type: ignore[import-not-found]
    from openfold.utils.rigid_utils import Rigid, Rotation  # type: ignore[import-not-found]

    frames_table, groups, mask, positions = (
        torch.tensor(x)
        for x in (
            rc.restype_rigid_group_default_frame, rc.restype_atom14_to_rigid_group, rc.restype_atom14_mask,
            rc.restype_atom14_rigid_group_positions,
        )
    )  # fmt: skip

    def build(frames: tuple[Tensor, Tensor], torsions: Tensor, aatype: Tensor) -> Tensor:
        # Its order: pre-omega, phi, psi, chi1-4. Its psi is that of O turned by half, which is ours.
        order = torch.cat([torsions[:, [2, 0, 1]], torsions[:, 3:]], dim=1)
        rigid = Rigid(Rotation(rot_mats=frames[0]), frames[1])
        groups_to_global = feats.torsion_angles_to_frames(rigid, order, aatype, frames_table)
        args = (groups_to_global, aatype, frames_table, groups, mask, positions)
        out: Tensor = feats.frames_and_literature_positions_to_atom14_pos(*args)
        return out

    return build


def own_builder(frames: tuple[Tensor, Tensor], torsions: Tensor, aatype: Tensor) -> Tensor:
    """This package's `torsions_to_atoms`."""
    return torsions_to_atoms(frames, torsions, aatype)[0]


def compare(layout: DataLayout, build: Builder) -> dict[str, float]:
    """Round trip over all complexes of a prepared dataset.

    Residues with an undefined chi, and O where psi is undefined, are left out.

    Returns
    -------
    dict of str to float
        ``heavy`` and ``sidechain`` RMSD (A), ``proline_ring`` (RMSD of the N-CD distance, A), ``us_per_residue``
        (median over complexes), ``residues``.
    """
    sums: dict[str, float] = dict.fromkeys(("heavy", "heavy_n", "sidechain", "sidechain_n", "ring", "ring_n", "n"), 0.0)
    rates = []
    for number in layout.batch_numbers():
        clean = iterate_rows(read_table(layout.batch("clean", number), ["id", "aatype", "atom14", "atom14_mask"]))
        torsions = iterate_rows(read_table(layout.batch("torsions", number)))
        for row, angle in zip(clean, torsions, strict=True):
            x, kind = torch.tensor(row["atom14"]), torch.tensor(row["aatype"]).long()
            known = row["aatype"] != aa.UNKNOWN
            frames = build_frames_from_3_points(x[:, 0], x[:, 1], x[:, 2])
            circle = angles_to_circle(torch.tensor(angle["angles"]))
            start = time.perf_counter()
            built = build(frames, circle, kind.clamp(max=19)).numpy()
            rates.append(1e6 * (time.perf_counter() - start) / len(kind))
            use = row["atom14_mask"] & known[:, None]
            use[:, aa.SLOT_O] &= angle["defined"][:, 1]
            use[(aa.CHI_MASK[row["aatype"]] & ~angle["defined"][:, 3:]).any(1), aa.SLOT_CB + 1 :] = False
            squared = ((built - row["atom14"]) ** 2).sum(-1)
            for name, slots in (("heavy", slice(None)), ("sidechain", slice(aa.SLOT_CB + 1, None))):
                sums[name] += float(squared[:, slots][use[:, slots]].sum())
                sums[f"{name}_n"] += int(use[:, slots].sum())
            ring = np.flatnonzero((row["aatype"] == _PRO) & use[:, _PRO_CD])
            lengths = [np.linalg.norm(p[ring, 0] - p[ring, _PRO_CD], axis=-1) for p in (built, row["atom14"])]
            sums["ring"] += float(((lengths[0] - lengths[1]) ** 2).sum())
            sums["ring_n"] += len(ring)
            sums["n"] += len(kind)

    def rms(name: str) -> float:
        return float(np.sqrt(sums[name] / max(sums[f"{name}_n"], 1)))

    return {
        "heavy": rms("heavy"),
        "sidechain": rms("sidechain"),
        "proline_ring": rms("ring"),
        "us_per_residue": float(np.median(rates)),
        "residues": sums["n"],
    }


def main(arguments: list[str]) -> None:
    """Print the comparison as a Markdown table."""
    torch.set_num_threads(1)
    layout = DataLayout(Path(arguments[0]))
    builders: dict[str, Any] = {"bindrae": own_builder}
    if "--openfold" in arguments:
        builders["openfold"] = openfold_builder(Path(arguments[arguments.index("--openfold") + 1]))
    print("| program | residues | heavy atoms, RMSD A | beyond CB, RMSD A | proline N-CD, A | us a residue |")
    print("|---|---|---|---|---|---|")
    for name, build in builders.items():
        r = compare(layout, build)
        figures = " | ".join(f"{r[key]:.3f}" for key in ("heavy", "sidechain", "proline_ring"))
        print(f"| {name} | {r['residues']:.0f} | {figures} | {r['us_per_residue']:.1f} |")


if __name__ == "__main__":
    main(sys.argv[1:])
