"""One complex whose backbone was disturbed: what the network makes of it, measured against the crystal."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from bindrae.chem import residues as aa
from bindrae.data.batch import IPABatch, Sample, collate_ipa_batch
from bindrae.evaluation.metrics import ACCURACY_DEG, kabsch_align, measured_chi_errors
from bindrae.evaluation.predictors import Atoms
from bindrae.geometry.rigid import add_rigid_noise, apply, build_frames_from_3_points, invert_apply
from bindrae.model.stage1 import Stage1Output
from bindrae.prediction.networks import RefinementNetworks
from bindrae.prediction.refine import Refined, Scene, refine_chis
from bindrae.prediction.rotamers import HeadInputs, propose_rotamers
from bindrae.structure.torsions import residue_torsions

ROTATION_DEG_PER_ANGSTROM = 20.0
"""Largest turn for each angstrom of noise: training's widest noise turns by up to 10 degrees at 0.5 A."""
Network = Callable[[IPABatch], tuple[Stage1Output, HeadInputs]]
"""The network's answer for a batch of one complex, as `run_model` gives it."""
_FRAME_ATOMS = aa.SLOT_C + 1  # N, CA, C


def noise_generator(seed: int, identifier: str) -> torch.Generator:
    """The draws of one complex: the same whatever else is measured, and whatever the level of noise."""
    words = np.random.SeedSequence((seed, zlib.crc32(identifier.encode()))).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(words[0] >> np.uint64(1)))


def disturb(sample: Sample, noise: float, generator: torch.Generator) -> Sample:
    """A complex with each residue moved as a rigid body, by itself; the ligand stays.

    Peptide bonds stay as they are known to be (``linked``), and so does the choice of tokens, as in training.

    Parameters
    ----------
    sample : dict of str to Tensor
        One complex, as `ShardDataset` gives it.
    noise : float
        Standard deviation of each component of the shift (A). The turn about a random axis is uniform between 0 and
        `ROTATION_DEG_PER_ANGSTROM` times this.
    generator : torch.Generator

    Returns
    -------
    dict of str to Tensor
        With other ``atom14``; without noise the sample itself.
    """
    if noise == 0.0:
        return sample
    xyz = sample["atom14"]
    frames = build_frames_from_3_points(*xyz[:, :_FRAME_ATOMS].unbind(1))
    moved = add_rigid_noise(*frames, ROTATION_DEG_PER_ANGSTROM * noise, noise, True, generator)
    carried = apply(moved, invert_apply(frames, xyz))
    return sample | {"atom14": torch.where(sample["atom14_mask"].unsqueeze(-1), carried, 0.0)}


@dataclass
class Answer:
    """Refined side chains on the backbone that was given, and on the one that the network moved."""

    on_input: Atoms
    on_predicted: Atoms


def answer(network: Network, identifier: str, sample: Sample, networks: RefinementNetworks | None = None) -> Answer:
    """What ``bindrae predict`` gives with ``--backbone input`` and with ``--backbone predicted``.

    Parameters
    ----------
    network : callable
    identifier : str
    sample : dict of str to Tensor
        One complex; of ``atom14`` N, CA, C and O are read.
    networks : RefinementNetworks, optional
        Of the refinement.
    """
    batch = collate_ipa_batch([(identifier, sample)])
    output, inputs = network(batch)
    circle = output.torsions.circle[0]
    given = Scene.of_sample(sample, batch, circle)
    moved = replace(given, frames=(output.frames[0][0], output.frames[1][0]), backbone=None)
    rotamers = propose_rotamers(output, inputs, given.movable)
    return Answer(*(_atoms(refine_chis(scene, circle, rotamers, networks=networks)) for scene in (given, moved)))


def _atoms(refined: Refined) -> Atoms:
    return refined.xyz.numpy(), refined.mask.numpy()


def chi1_error(truth: Sample, atoms: Atoms) -> np.ndarray:
    """Error of chi1 of each residue, 180 degrees where the prediction lacks it.

    Parameters
    ----------
    truth : dict of str to Tensor
        One complex of N residues.
    atoms : (xyz, mask)
        [N, 14, 3] (A) and [N, 14], on any backbone.

    Returns
    -------
    numpy.ndarray
        [N] degrees; NaN where the truth has no chi1.
    """
    kind, linked = truth["aatype"].numpy().astype(np.int64), truth["linked"].numpy()
    angles, found = residue_torsions(*atoms, kind, linked)
    error = measured_chi_errors(angles, found, truth["torsion_angles"][:, 3:].numpy(), kind)[:, 0]
    return np.where(truth["torsion_mask"][:, 3].numpy(), error, np.nan)


def score_trial(truth: Sample, given: Sample, found: Answer) -> pd.DataFrame:
    """A row for each residue: how far its backbone is from the crystal before and after, and whether chi1 is right.

    Parameters
    ----------
    truth, given : dict of str to Tensor
        The complex as it is and as it was disturbed.
    found : Answer

    Returns
    -------
    pandas.DataFrame
        ``contact``; ``atoms``, 3 (N, CA, C); sums over these atoms of the squared distance to the crystal (A^2) of the
        input and of the output, as they stand (``input``, ``output``) and after superposition of the whole backbone
        (``input_fitted``, ``output_fitted``); ``closer``, 1 where ``output`` is below ``input``; ``one``, 1; ``chi1_n``
        and the hits within 20 degrees on either backbone (``chi1_input``, ``chi1_predicted``).
    """
    true, before = (sample["atom14"][:, :_FRAME_ATOMS].double().numpy() for sample in (truth, given))
    after = found.on_predicted[0][:, :_FRAME_ATOMS].astype(np.float64)
    columns: dict[str, np.ndarray] = {
        "contact": truth["contact"].numpy(),
        "one": np.ones(len(true), np.int64),
        "atoms": np.full(len(true), _FRAME_ATOMS),
    }
    for name, xyz in (("input", before), ("output", after)):
        columns[name] = _squared(xyz, true)
        columns[f"{name}_fitted"] = _squared(_superposed(xyz, true), true)
    columns["closer"] = (columns["output"] < columns["input"]).astype(np.int64)
    columns["chi1_n"] = truth["torsion_mask"][:, 3].numpy().astype(np.int64)
    for name, atoms in (("chi1_input", found.on_input), ("chi1_predicted", found.on_predicted)):
        # NaN, no chi1 in the truth, is no hit.
        columns[name] = (chi1_error(truth, atoms) < ACCURACY_DEG[0]).astype(np.int64)
    return pd.DataFrame(columns)


def _squared(xyz: np.ndarray, true: np.ndarray) -> np.ndarray:
    return np.asarray(((xyz - true) ** 2).sum((1, 2)))


def _superposed(xyz: np.ndarray, true: np.ndarray) -> np.ndarray:
    rotation, translation = kabsch_align(xyz.reshape(-1, 3), true.reshape(-1, 3))
    return np.asarray(xyz @ rotation.T + translation)
