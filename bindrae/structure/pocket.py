"""The soft pocket mask: which residues make the pocket, and how much."""

from __future__ import annotations

import numpy as np

from bindrae.chem import residues as aa
from bindrae.config import PocketSettings
from bindrae.structure.context import atom_ligand_distance
from bindrae.structure.vectors import components, cross

# Ideal CB from N, CA, C (the coefficients of ProteinMPNN, Dauparas et al., Science 378, 49, 2022).
_CB_COEFFICIENTS = (-0.58273431, 0.56802827, -0.54067466)


def virtual_cb(xyz: np.ndarray) -> np.ndarray:
    """CB where an ideal residue has it, from the backbone alone.

    Parameters
    ----------
    xyz : numpy.ndarray
        [N, 14, 3] or [N, >=3, 3] with N, CA, C first (A).

    Returns
    -------
    numpy.ndarray
        [N, 3].
    """
    b = xyz[:, aa.SLOT_CA] - xyz[:, aa.SLOT_N]
    c = xyz[:, aa.SLOT_C] - xyz[:, aa.SLOT_CA]
    a = np.stack(cross(components(b), components(c)), axis=-1)
    ka, kb, kc = _CB_COEFFICIENTS
    return (ka * a + kb * b + kc * c + xyz[:, aa.SLOT_CA]).astype(xyz.dtype)


def pocket_weights(
    distance: np.ndarray, linked: np.ndarray, settings: PocketSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights of the soft mask from each residue's distance to the ligand.

    Contact residues and their neighbours along the chain get ``exp(-d^2 / 2 sigma^2)``, scaled so that the largest
    is 1; all others get 0.

    Parameters
    ----------
    distance : numpy.ndarray
        [N] smallest distance to a ligand heavy atom (A); infinity for far residues.
    linked : numpy.ndarray
        [N] peptide bond to the next residue.
    settings : PocketSettings

    Returns
    -------
    w_res : numpy.ndarray
        [N] float32 in [0, 1].
    contact : numpy.ndarray
        [N] bool, the pocket proper.
    member : numpy.ndarray
        [N] bool, pocket and its chain neighbours.
    """
    contact = distance <= settings.contact_angstrom
    member = contact.copy()
    for _ in range(settings.hops):
        grown = member.copy()
        grown[1:] |= member[:-1] & linked[:-1]
        grown[:-1] |= member[1:] & linked[:-1]
        member = grown
    w_res = np.zeros(len(distance), dtype=np.float32)
    # Relative to the nearest residue: the same ratios, and no underflow when all residues are far.
    d2 = np.square(distance[member].astype(np.float64))
    if len(d2):
        w_res[member] = np.exp(-0.5 * (d2 - d2.min()) / settings.sigma_angstrom**2)
    return w_res, contact, member


def pocket_of(
    xyz: np.ndarray, mask: np.ndarray, linked: np.ndarray, ligand_xyz: np.ndarray, settings: PocketSettings
) -> dict[str, np.ndarray]:
    """The pocket of a complex, seen with all heavy atoms and seen from the backbone alone.

    Parameters
    ----------
    xyz, mask : numpy.ndarray
        [N, 14, 3] and [N, 14] heavy atoms (A).
    linked : numpy.ndarray
        [N] peptide bond to the next residue.
    ligand_xyz : numpy.ndarray
        [M, 3] heavy atoms of the ligand (A).
    settings : PocketSettings

    Returns
    -------
    dict of str to numpy.ndarray
        ``w_res``, ``distance``, ``contact``, ``member``: for losses and metrics. ``w_res_backbone``: from N, CA, C, O
        and virtual CB, the only one that may reach the network.
    """
    # A neighbour h places along the chain is at most 3.8 A times h away, plus the reach of its side chain.
    reach = settings.contact_angstrom + 10.0 * (settings.hops + 1)
    points = np.concatenate([xyz, virtual_cb(xyz)[:, None]], axis=1)  # one slot more than the residue has
    there = np.concatenate([mask, np.ones((len(mask), 1), dtype=bool)], axis=1)
    by_atom = atom_ligand_distance(points, there, ligand_xyz, reach)
    distance = by_atom[:, : aa.N_SLOTS].min(axis=1)
    w_res, contact, member = pocket_weights(distance, linked, settings)
    bare_distance = by_atom[:, [*range(aa.SLOT_CB), aa.N_SLOTS]].min(axis=1)
    # Without side chains the contact shell lies farther out: the same ratio of weights, a cutoff that side chains span.
    loose = settings.model_copy(update={"contact_angstrom": settings.contact_angstrom + 3.0})
    w_backbone, _, _ = pocket_weights(bare_distance, linked, loose)
    return {
        "w_res": w_res,
        "w_res_backbone": w_backbone,
        "distance": distance,
        "contact": contact,
        "member": member,
    }
