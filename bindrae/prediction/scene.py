"""What side chains are built on, and what they must keep clear of."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bindrae.chem import residues as aa
from bindrae.data.batch import IPABatch, Sample, atom_radii
from bindrae.geometry.kinematics import torsions_to_atoms
from bindrae.geometry.rigid import Frames, build_frames_from_3_points
from bindrae.geometry.sidechain_frames import sidechain_frames
from bindrae.prediction.obstacles import Bond, Obstacles


@dataclass
class Scene:
    """What the side chains of N residues are built on and must keep clear of."""

    frames: Frames  # R [N, 3, 3], t [N, 3] angstrom; of a given backbone those that suit its side chains
    aatype: Tensor  # [N] int64
    linked: Tensor  # [N] bool, peptide bond to the next row
    ligand_xyz: Tensor  # [L, 3] angstrom
    ligand_radius: Tensor  # [L] angstrom, 0 for metals, which take no part
    backbone: Tensor | None = None  # [N, 4, 3] N, CA, C, O as they are to stay; None: as forward kinematics has them
    kept: Tensor | None = None  # [N] bool, residues whose side chain is given
    kept_xyz: Tensor | None = None  # [N, 14, 3] angstrom, read where `kept`
    kept_mask: Tensor | None = None  # [N, 14] bool
    others_xyz: Tensor | None = None  # [K, 3] angstrom, other molecules; None: there are none
    others_radius: Tensor | None = None  # [K] angstrom, 0 for metals
    bonds: tuple[Bond, ...] = ()  # of side chains with the ligand's atoms and, numbered on from these, the others'

    def build(self, circle: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Atoms of V candidates.

        Parameters
        ----------
        circle : Tensor
            [V, 7, 2] torsions.
        rows : Tensor
            [V] residue of each.

        Returns
        -------
        xyz, mask : Tensor
            [V, 14, 3] (A) and [V, 14] bool.
        """
        xyz, mask = torsions_to_atoms((self.frames[0][rows], self.frames[1][rows]), circle, self.aatype[rows])
        if self.backbone is not None:
            xyz = torch.cat([self.backbone[rows], xyz[:, aa.SLOT_CB :]], dim=1)
        if self.kept is not None and self.kept_xyz is not None and self.kept_mask is not None:
            given = self.kept[rows]
            xyz = torch.where(given[:, None, None], self.kept_xyz[rows], xyz)
            mask = torch.where(given[:, None], self.kept_mask[rows], mask)
        return xyz, mask

    @classmethod
    def of_sample(cls, sample: Sample, batch: IPABatch, circle: Tensor) -> Scene:
        """The true backbone of a complex of known structure, as `collate_ipa_batch` gives it alone.

        Parameters
        ----------
        sample : dict of str to Tensor
        batch : IPABatch
            Of this sample alone.
        circle : Tensor
            [N, 7, 2] predicted torsions; psi places a carbonyl oxygen that the crystal lacks.
        """
        backbone = sample["atom14"][:, : aa.SLOT_CB]
        scene = cls(
            frames=build_frames_from_3_points(*backbone[:, :3].unbind(1)),
            aatype=batch.aatype[0],
            linked=batch.linked[0],
            ligand_xyz=batch.ligand_xyz[0],
            ligand_radius=batch.ligand_radius[0],
            others_xyz=sample["context_xyz"],
            others_radius=atom_radii(sample["context_element"]),
        )
        scene.stand_on(backbone, sample["atom14_mask"][:, : aa.SLOT_CB], circle)
        return scene

    def stand_on(self, backbone: Tensor, there: Tensor, circle: Tensor) -> None:
        """Build on a backbone as it is.

        Parameters
        ----------
        backbone : Tensor
            [N, 4, 3] N, CA, C, O (A).
        there : Tensor
            [N, 4] bool, atoms that are given; an oxygen that is not follows from psi.
        circle : Tensor
            [N, 7, 2] torsions.
        """
        N, CA, C = backbone[:, : aa.SLOT_O].unbind(1)
        self.backbone, self.frames = None, build_frames_from_3_points(N, CA, C)
        built, _ = build_unrefined(self, circle)
        self.backbone = torch.where(there.unsqueeze(-1), backbone, built[:, : aa.SLOT_CB])
        self.frames = sidechain_frames(N, CA, C, self.aatype)

    @property
    def movable(self) -> Tensor:
        """[N] bool, residues with a chi that is not given."""
        has_chi = torch.as_tensor(aa.CHI_MASK)[self.aatype].any(-1)
        return has_chi if self.kept is None else has_chi & ~self.kept

    @property
    def obstacles(self) -> Obstacles:
        """The ligand, then the other molecules."""
        xyz, radius = self.ligand_xyz, self.ligand_radius
        if self.others_xyz is not None and self.others_radius is not None:
            xyz, radius = torch.cat([xyz, self.others_xyz]), torch.cat([radius, self.others_radius])
        return Obstacles(xyz.double().numpy(), radius.double().numpy(), self.bonds)


def build_unrefined(scene: Scene, circle: Tensor) -> tuple[Tensor, Tensor]:
    """Atoms of given torsions, [N, 14, 3] (A) and [N, 14] bool."""
    return scene.build(circle, torch.arange(len(circle)))
