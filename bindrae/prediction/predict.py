"""Predict the side chains of one complex with a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from bindrae.chem import residues as aa
from bindrae.data.layout import SHIPPED
from bindrae.data.storage import sha256_file
from bindrae.errors import BindraeError
from bindrae.model.ensemble import Decoder
from bindrae.model.model_file import load_model
from bindrae.model.stage1 import Stage1Output
from bindrae.prediction.beside import OtherMolecules, other_molecules
from bindrae.prediction.confidence import Calibrations, read_calibrations
from bindrae.prediction.inputs import Complex, read_complex
from bindrae.prediction.keep import keep_far, keep_named, keep_unbuildable, kept_sidechains
from bindrae.prediction.links import note_unmade, stated_bonds
from bindrae.prediction.networks import RefinementNetworks, read_networks
from bindrae.prediction.obstacles import Bond
from bindrae.prediction.refine import Arrangements, Scene, draw_unrefined, unrefined
from bindrae.prediction.rotamers import HeadInputs, mass_around, propose_rotamers, run_model


@dataclass(frozen=True)
class PredictionOptions:
    """What a user may ask for."""

    samples: int = 1  # the first is the most likely combination, the others are drawn
    temperature: float = 1.0  # of the draws: 1 as the model says
    seed: int = 0
    refine: bool = True
    geometry: bool = True  # bonds and angles of the given backbone tell of chi1
    backbone: Literal["input", "predicted"] = "input"
    fix: tuple[str, ...] = ()  # residues that keep their side chain, as A:45 or B:12A
    only_pocket: float | None = None  # rebuild only residues this near the ligand (A)


@dataclass
class Predictor:
    """A trained model with its identity, its calibration and its networks of refinement."""

    model: Decoder
    path: Path
    sha256: str
    calibrations: Calibrations
    networks: RefinementNetworks | None = None

    @classmethod
    def load(cls, path: Path | None = None) -> Predictor:
        """Load a model file; without a path, the weights that ship with the package.

        Raises
        ------
        BindraeError
            When there is none, it is no Stage-1 model, or it reads a language model's embedding.
        """
        path = shipped_weights() if path is None else path
        model = load_model(path)
        if model.settings.d_plm:
            raise BindraeError(
                f"{path} reads embeddings of a protein language model, which `bindrae predict` does not make",
                "use a model that was trained with embed.plm: none",
            )
        return cls(model, path, sha256_file(path), read_calibrations(path), read_networks(path))


def shipped_weights() -> Path:
    """Where the package's own weights are.

    Raises
    ------
    BindraeError
        When this installation has none.
    """
    if not SHIPPED.is_file():
        raise BindraeError(
            f"this installation has no trained weights ({SHIPPED.name})",
            "name a model file: --model results/<dataset>/runs/<run>/model.safetensors",
        )
    return SHIPPED


@dataclass
class Sidechains:
    """One set of side chains for a complex of N residues."""

    xyz: np.ndarray  # [N, 14, 3] float32, angstrom
    mask: np.ndarray  # [N, 14] bool
    chi: np.ndarray  # [N, 4] radians
    mass: np.ndarray | None  # [N, 4] the model's probability within 20 degrees of each chi, given those before
    confidence: np.ndarray | None  # [N] in [0, 1]: probability that chi1 is within 20 degrees; 1 without a chi


@dataclass
class Prediction:
    """What was predicted for a complex."""

    complex: Complex
    samples: list[Sidechains]
    others: OtherMolecules  # what else the side chains keep clear of


def predict_complex(
    predictor: Predictor,
    protein: Path,
    ligand: str | Sequence[str] | None = None,
    options: PredictionOptions | None = None,
    identifier: str | None = None,
) -> Prediction:
    """Predict the side chains of a protein, bound to a ligand or alone.

    Of the protein N, CA, C and O are read, and the names of the residues; of side chains only those that
    ``options.fix`` and ``options.only_pocket`` ask to keep, which the network is shown, and those of residues that
    cannot be built.

    Parameters
    ----------
    predictor : Predictor
    protein : Path
        PDB or mmCIF file.
    ligand : str, sequence of str, or None
        SDF or MOL2 file, or ``hetatm:NAME/CHAIN/NUMBER``; several are files of the same ligand.
    options : PredictionOptions, optional
    identifier : str, optional
        For messages; by default the protein file's name.

    Raises
    ------
    RejectedComplex
        When a file cannot be used, see `read_complex`.
    BindraeError
        When the options do not fit the complex.
    """
    options = options or PredictionOptions()
    complex_ = read_complex(identifier or protein.name, protein, ligand)
    keep_unbuildable(complex_)
    if options.fix:
        keep_named(complex_, list(options.fix))
    if options.only_pocket is not None:
        keep_far(complex_, options.only_pocket)
    known = kept_sidechains(complex_) if predictor.model.takes_sidechains else None
    output, inputs = run_model(predictor.model, complex_.batch(), known, options.geometry)
    others = other_molecules(complex_)
    bonds = stated_bonds(complex_, others)
    scene = make_scene(complex_, output, options.backbone, others, [stated.bond for stated in bonds])
    samples = _samples(scene, output, inputs, options, predictor)
    if options.refine:
        note_unmade(complex_, bonds, others, samples[0].xyz)
    return Prediction(complex_, samples, others)


def _samples(
    scene: Scene, output: Stage1Output, inputs: HeadInputs, options: PredictionOptions, predictor: Predictor
) -> list[Sidechains]:
    calibrations = predictor.calibrations
    circle = output.torsions.circle[0]
    wanted = options.refine or options.samples > 1
    rotamers = propose_rotamers(output, inputs, scene.movable) if wanted else None
    arrangements = None
    if options.refine and rotamers is not None:
        arrangements = Arrangements(scene, circle, rotamers, seed=options.seed, networks=predictor.networks)
    samples = []
    for number in range(options.samples):
        rng = np.random.default_rng((options.seed, number))
        if arrangements is not None:
            found = arrangements.draw(rng, options.temperature) if number else arrangements.best()
        else:
            turned = circle
            if number and rotamers is not None:
                turned = draw_unrefined(circle, rotamers, rng, options.temperature)
            found = unrefined(scene, turned, inputs)
        chi = torch.atan2(*found.circle[:, 3:].unbind(-1))
        mass = mass_around(inputs, chi)
        confidence = None
        if found.chi1_probability is not None:
            calibration = calibrations.unrefined if arrangements is None else calibrations.refined
            calibrated = calibration(found.chi1_probability)
            confidence = np.where(aa.CHI_MASK[scene.aatype.numpy()][:, 0], calibrated, 1.0)
        samples.append(
            Sidechains(
                xyz=found.xyz.float().numpy(),
                mask=found.mask.numpy(),
                chi=chi.numpy(),
                mass=None if mass is None else mass.double().numpy(),
                confidence=confidence,
            )
        )
    return samples


def make_scene(
    complex_: Complex,
    output: Stage1Output,
    backbone: Literal["input", "predicted"],
    others: OtherMolecules,
    bonds: Sequence[Bond] = (),
) -> Scene:
    """What the side chains are built on: the input's own backbone, or the one that the model moved."""
    batch = complex_.batch()
    kept = torch.zeros(len(complex_.table), dtype=torch.bool)
    kept[list(complex_.kept)] = True
    scene = Scene(
        frames=(output.frames[0][0], output.frames[1][0]),
        aatype=batch.aatype[0],
        linked=batch.linked[0],
        ligand_xyz=batch.ligand_xyz[0],
        ligand_radius=batch.ligand_radius[0],
        kept=kept,
        kept_xyz=torch.as_tensor(complex_.kept_xyz),
        kept_mask=torch.as_tensor(complex_.kept_mask),
        others_xyz=torch.as_tensor(others.xyz),
        others_radius=torch.as_tensor(others.radius),
        bonds=tuple(bonds),
    )
    if backbone == "input":
        table = complex_.table
        given, there = torch.as_tensor(table.xyz[:, : aa.SLOT_CB]), torch.as_tensor(table.mask[:, : aa.SLOT_CB])
        scene.stand_on(given, there, output.torsions.circle[0])
    return scene
