"""What can be scored: the model, the no-learning row, and the two readings of the truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from bindrae.chem import residues as aa
from bindrae.data.batch import Sample, collate_ipa_batch
from bindrae.evaluation.rotamers import RotamerTable
from bindrae.geometry.kinematics import angles_to_circle, torsions_to_atoms
from bindrae.geometry.rigid import build_frames_from_3_points
from bindrae.model.ensemble import Decoder
from bindrae.prediction.confidence import Calibration
from bindrae.prediction.networks import RefinementNetworks
from bindrae.prediction.refine import Scene, refine_chis
from bindrae.prediction.rotamers import propose_rotamers, run_model

Atoms = tuple[np.ndarray, np.ndarray]
"""[N, 14, 3] atoms (A) and [N, 14] which of them are there."""
SureAtoms = tuple[np.ndarray, np.ndarray, np.ndarray]
"""The same, and [N] the confidence in chi1: probability that it is within 20 degrees; NaN for types without one."""
Predictor = Callable[[str, Sample], Atoms | SureAtoms]
"""Takes the id and the sample of a whole complex."""


def model_predictor(model: Decoder, device: torch.device) -> Predictor:
    """Prediction of one whole complex, uncropped."""

    @torch.inference_mode()
    def predict(identifier: str, sample: Sample) -> Atoms:
        out = model(collate_ipa_batch([(identifier, sample)]).to(device))
        return out.atom14[0].float().cpu().numpy(), out.atom14_mask[0].cpu().numpy()

    return predict


def refined_predictor(
    model: Decoder, calibration: Calibration, networks: RefinementNetworks | None, geometry: bool = True
) -> Predictor:
    """What `bindrae predict` gives by default: the backbone of the input, side chains refined together (on the CPU).

    With a head that predicts distributions, the confidence of each chi1 through `calibration` comes with the atoms.
    Without `geometry` it is what ``--no-geometry`` gives.
    """

    def predict(identifier: str, sample: Sample) -> Atoms | SureAtoms:
        batch = collate_ipa_batch([(identifier, sample)])
        output, inputs = run_model(model, batch, geometry=geometry)
        circle = output.torsions.circle[0]
        scene = Scene.of_sample(sample, batch, circle)
        refined = refine_chis(scene, circle, propose_rotamers(output, inputs, scene.movable), networks=networks)
        mask = refined.mask.numpy() & (sample["atom14_mask"].numpy() | (np.arange(aa.N_SLOTS) >= aa.SLOT_CB))
        if refined.chi1_probability is None:
            return refined.xyz.numpy(), mask
        confidence = calibration(refined.chi1_probability)
        return refined.xyz.numpy(), mask, np.where(aa.CHI_MASK[batch.aatype[0].numpy(), 0], confidence, np.nan)

    return predict


def rebuild(sample: Sample, chi: np.ndarray) -> Atoms:
    """Atoms of the true backbone with given chis, by forward kinematics."""
    x, kind = sample["atom14"], sample["aatype"].long()
    angles = sample["torsion_angles"].clone()
    angles[:, 3:] = torch.as_tensor(chi)
    atoms, mask = torsions_to_atoms(
        build_frames_from_3_points(x[:, 0], x[:, 1], x[:, 2]), angles_to_circle(angles), kind
    )
    return atoms.numpy(), mask.numpy()


def rotamer_predictor(table: RotamerTable) -> Predictor:
    """The no-learning row: true backbone and the most frequent rotamer."""

    def predict(identifier: str, sample: Sample) -> Atoms:
        arrays = (sample[name].numpy() for name in ("torsion_angles", "torsion_mask", "aatype"))
        angles, defined, kind = arrays
        return rebuild(sample, table.predict(angles, defined, kind.astype(np.int64)))

    return predict


def crystal_predictor(identifier: str, sample: Sample) -> Atoms:
    """The truth itself: what the metrics say of a perfect prediction."""
    return sample["atom14"].numpy(), sample["atom14_mask"].numpy()


def rebuilt_predictor(identifier: str, sample: Sample) -> Atoms:
    """The truth through forward kinematics: what ideal bond lengths and angles cost."""
    return rebuild(sample, sample["torsion_angles"][:, 3:].numpy())
