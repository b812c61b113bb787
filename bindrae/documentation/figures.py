"""Figures of the concepts page, each drawn from the functions that it explains.

Figures follow light and dark pages: they are inline SVG whose colours are the page's variables.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bindrae.benchmark.suite import plots
from bindrae.benchmark.suite.page import FOLDER
from bindrae.benchmark.suite.part import read_part
from bindrae.chem import residues as aa
from bindrae.chem.ligand import mol_from_block
from bindrae.chem.probes import CLASS_PRIORITY, build_direction_probes, detect_key_atoms
from bindrae.config import CleanSettings, ModelSettings, PocketSettings, TokenSettings
from bindrae.data.index import find_demo
from bindrae.data.stages import clean_complex, pocket_row
from bindrae.documentation import flat
from bindrae.documentation.peptide import HELIX, Peptide, build
from bindrae.reporting.svg import ACCENT, INK, LINE, MUTED, SECOND, SERIES, figure
from bindrae.structure.pocket import pocket_weights
from bindrae.structure.torsions import CHI1, OMEGA, PHI, PSI, TORSION_NAMES, residue_torsions

DEMO_COMPLEX = "1s3v"
_CLASS_STYLE = {"charged": (SECOND, "s"), "HBD": (ACCENT, "^"), "HBA": (ACCENT, "v"), "aromatic": (INK, "o")}


@dataclass(frozen=True)
class Drawing:
    """A figure of the site.

    Attributes
    ----------
    title, description : str
        For readers who do not see it.
    draw : callable
        Gets the matplotlib figure.
    width, height : float
        Inches.
    """

    title: str
    description: str
    draw: Callable[[Any], None]
    width: float = 6.4
    height: float = 3.2

    def svg(self) -> str:
        """The figure as one inline SVG element."""
        return str(figure(self.draw, self.title, self.description, self.width, self.height))


@cache
def _complex() -> dict[str, Any]:
    """A complex of the demo after the stages clean and pocket."""
    entry = next(found for found in find_demo(None) if found["id"] == DEMO_COMPLEX)
    row = clean_complex(entry, CleanSettings(chains_within_angstrom=8.0))
    return row | pocket_row(row, PocketSettings())


def _pocket_weight(canvas: Any) -> None:
    row, default = _complex(), PocketSettings()
    axes = canvas.subplots()
    nearest = float(row["distance"].min())
    grid = np.linspace(nearest, 12.0, 200)
    alone = np.zeros(len(grid), dtype=bool)
    for sigma, colour in ((1.0, MUTED), (default.sigma_angstrom, ACCENT), (4.0, SECOND)):
        # The curve goes on where the mask ends, so that chain neighbours can be read off it.
        settings = default.model_copy(update={"sigma_angstrom": sigma, "contact_angstrom": grid[-1]})
        weight, _, _ = pocket_weights(grid, alone, settings)
        axes.plot(grid, weight, color=colour, linewidth=1.4, label=f"sigma {sigma:g} A")
    contact = row["contact"]
    beside = row["member"] & ~contact
    outside = ~row["member"] & (row["distance"] < grid[-1])
    for chosen, colour, marker, label in (
        (contact, ACCENT, "o", "contact residues"),
        (beside, INK, "^", "their chain neighbours"),
        (outside, MUTED, "x", "all others"),
    ):
        axes.scatter(row["distance"][chosen], row["w_res"][chosen], s=22, color=colour, marker=marker, label=label,
                     linewidths=0.9, zorder=3)  # fmt: skip
    axes.axvline(default.contact_angstrom, color=LINE, linewidth=1.2)
    axes.set(xlabel="distance to the ligand, A", ylabel="w_res", xlim=(nearest - 0.2, grid[-1]), ylim=(-0.04, 1.06))
    axes.legend(fontsize=8)


def _ligand_probes(canvas: Any) -> None:
    mol = mol_from_block(_complex()["ligand_block"])
    settings = TokenSettings()
    pos, key = mol.GetConformer().GetPositions(), detect_key_atoms(mol)
    probes = {
        i: build_direction_probes(mol, pos, i, settings.max_probes, settings.probe_step_angstrom)
        for i in sorted(set().union(*key.values()))
    }
    points = flat.project(np.concatenate([pos, *probes.values()]), pos)
    atoms, ends = points[: len(pos)], points[len(pos) :]
    owner = [i for i, found in probes.items() for _ in found]
    axes = canvas.subplots()
    flat.molecule(axes, atoms, [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds()])
    for i, end in zip(owner, ends, strict=True):
        axes.plot(*np.array([atoms[i], end]).T, color=LINE, linewidth=1.0, linestyle=":", zorder=0)
    left = set(range(len(pos)))
    for name in CLASS_PRIORITY:  # each atom under the class that ranks it
        colour, marker = _CLASS_STYLE[name]
        flat.dots(axes, atoms[sorted(left & key[name])], colour, name, marker)
        left -= key[name]
    flat.dots(axes, atoms[sorted(left)], MUTED, "other atoms", size=16.0)
    axes.scatter(*ends.T, s=20, facecolors="none", edgecolors=MUTED, linewidths=0.9, label="probes")
    flat.scale_bar(axes, points)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _torsions(canvas: Any) -> None:
    peptide = build("ARA", phi=-150.0, psi=150.0, chi=180.0)
    angles, _ = residue_torsions(peptide.xyz, peptide.mask, peptide.aatype, peptide.linked)
    axes = canvas.subplots()
    middle, atoms = 1, peptide.atoms()
    shown = [a for a in atoms if a[0] == middle or a in ((0, "CA"), (0, "C"), (2, "N"), (2, "CA"))]
    at = {atom: peptide.at(*atom) for atom in shown}
    points = dict(zip(at, flat.project(np.array(list(at.values()))), strict=True))
    ends = [points[i] for i in shown]
    index = {atom: i for i, atom in enumerate(shown)}
    bonds = [(index[a], index[b]) for a, b in peptide.bonds() if a in index and b in index]
    flat.molecule(axes, np.array(ends), bonds, MUTED)
    labels = [name + {0: " (i-1)", 1: "", 2: " (i+1)"}[residue] for residue, name in shown]
    flat.dots(axes, np.array(ends), INK, "", size=14.0)
    flat.names(axes, np.array(ends), labels, offset=11.0)
    kind = aa.RESIDUE_NAMES[peptide.aatype[middle]]
    turned = {
        PHI: ((middle, "N"), (middle, "CA")),
        PSI: ((middle, "CA"), (middle, "C")),
        OMEGA: ((middle, "C"), (middle + 1, "N")),
    }
    for chi in range(int(aa.CHI_MASK[peptide.aatype[middle]].sum())):
        slots = aa.CHI_ATOMS[peptide.aatype[middle], chi, 1:3]
        first, second = (aa.ATOM14_NAMES[aa.TYPE_OF_NAME[kind]][slot] for slot in slots)
        turned[CHI1 + chi] = ((middle, first), (middle, second))
    for torsion, (a, b) in turned.items():
        colour = SECOND if torsion < CHI1 else ACCENT
        axes.plot(*np.array([points[a], points[b]]).T, color=colour, linewidth=3.0, zorder=1)
        text = f"{TORSION_NAMES[torsion]} {np.degrees(angles[middle, torsion]):.0f}"
        flat.beside(axes, points[a], points[b], text, colour)


def _frames(canvas: Any) -> None:
    for axes, title, (phi, psi), shape in zip(
        canvas.subplots(1, 2), ("phi -63, psi -42: a helix", "phi -120, psi 130: a strand"), (HELIX, (-120.0, 130.0)),
        (9, 5), strict=True,
    ):  # fmt: skip
        peptide = build("A" * shape, phi=phi, psi=psi)
        _draw_frames(axes, peptide)
        axes.set_title(title)


def _draw_frames(axes: Any, peptide: Peptide) -> None:
    backbone = [atom for atom in peptide.atoms() if atom[1] in ("N", "CA", "C")]
    xyz = np.array([peptide.at(*atom) for atom in backbone])
    tips = peptide.origin[:, None] + 1.3 * np.swapaxes(peptide.rotation, -1, -2)  # [N, 3 axes, 3]
    everything = flat.project(np.concatenate([xyz, tips.reshape(-1, 3)]), xyz)
    flat.molecule(axes, everything, [(i, i + 1) for i in range(len(xyz) - 1)], LINE)
    origins, tips = everything[1 : len(xyz) : 3], everything[len(xyz) :].reshape(-1, 3, 2)
    for axis, (colour, name) in enumerate(((ACCENT, "x, to C"), (SECOND, "y, from N"), (INK, "z"))):
        for k, (start, tip) in enumerate(zip(origins, tips[:, axis], strict=True)):
            label = name if k == 0 else None
            axes.plot(*np.array([start, tip]).T, color=colour, linewidth=1.6, label=label, zorder=2)
    axes.scatter(*origins.T, s=16, color=INK, zorder=3)
    axes.margins(0.05, 0.15)
    axes.legend(fontsize=7.5, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=3)


def _edge_numbers(canvas: Any) -> None:
    model = ModelSettings()
    n = 2.0 ** np.arange(6, 15)
    axes = canvas.subplots()
    axes.plot(n, n * n * model.c_z, color=SECOND, marker="o", markersize=3.5, label="an edge for each pair")
    axes.plot(n, 2 * n * model.z_rank * model.c_z, color=ACCENT, marker="o", markersize=3.5,
              label=f"two factors of rank {model.z_rank}")  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="residues", ylabel=f"numbers, {model.c_z} channels")
    axes.set_xticks(n[::2], [f"{value:g}" for value in n[::2]])
    axes.yaxis.set_major_formatter("{x:.0e}")
    axes.minorticks_off()
    axes.legend(fontsize=8)


FIGURES: dict[str, Drawing] = {
    "pocket_weight": Drawing(
        "Weight of the pocket mask against distance",
        f"Curves fall from 1 at the nearest residue for three widths sigma. The residues of the demo complex "
        f"{DEMO_COMPLEX} stand on the curve of the default width: contact residues up to the cutoff, their chain "
        "neighbours beyond it; all others have weight 0.",
        _pocket_weight,
    ),
    "ligand_probes": Drawing(
        "A ligand and its direction probes",
        f"The ligand of the demo complex {DEMO_COMPLEX} in projection. Charged, donating, accepting and aromatic atoms "
        "carry one or two probes each, small circles 1.5 angstrom beyond the atom on the lines of its bonds.",
        _ligand_probes,
        height=3.4,
    ),
    "torsions": Drawing(
        "The seven torsions of a residue",
        "An arginine between two neighbours, built by forward kinematics. The bonds that phi, psi and omega turn about "
        "lie in the backbone, omega's being the peptide bond to the next residue; chi1 to chi4 follow the side chain "
        "outward. Each bond bears the angle measured on the built atoms, in degrees.",
        _torsions,
        height=3.6,
    ),
    "fk_frames": Drawing(
        "Backbone frames of a helix and of a strand",
        "Each residue carries a frame with its origin on CA: x points to C, N lies in the xy plane. The same residues "
        "with other phi and psi give a helix, where the frames turn by about 100 degrees a residue, or a strand.",
        _frames,
        height=3.4,
    ),
    "edge_numbers": Drawing(
        "Numbers an edge embedding holds, against the number of residues",
        "On logarithmic axes an embedding of every pair grows with the square of the number of residues, two factors "
        "of low rank grow in proportion to it.",
        _edge_numbers,
    ),
}
"""Figures by name; the site puts each where a page shows the image ``figures/<name>.svg``."""


def recorded(root: Path) -> dict[str, Drawing]:
    """Figures of what ``make bench-attention`` has measured, by the names of its plots; none before that.

    Parameters
    ----------
    root : Path
        The repository.
    """
    path = root / FOLDER / "attention.json"
    if not path.is_file():
        return {}
    return {plot["name"]: _curves(plot) for plot in read_part(path)["plots"]}


def _curves(plot: dict[str, Any]) -> Drawing:
    def draw_on(canvas: Any) -> None:
        axes = canvas.subplots()
        axes.set_prop_cycle(color=list(SERIES))
        plots.draw(axes, plot)

    return Drawing(plot["title"], f"{plot['y']} against {plot['x']}: {', '.join(plot['series'])}.", draw_on)
