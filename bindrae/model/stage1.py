"""Stage-1: backbone, sequence and ligand in; torsions, frames and every heavy atom out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bindrae.chem import residues as aa
from bindrae.chem.probes import N_TOKEN_TYPES, TYPE_NAMES
from bindrae.config import ModelSettings
from bindrae.data.batch import IPABatch
from bindrae.geometry.backbone_strain import backbone_strain
from bindrae.geometry.kinematics import angles_to_circle, torsions_to_atoms
from bindrae.geometry.rigid import Frames
from bindrae.model.context import GROUPS, KnownSidechains, SidechainContext, can_be_shown
from bindrae.model.edges import create_edge_embedder
from bindrae.model.features import Backbone, backbone_features, centre_batch
from bindrae.model.heads import MultimodalHead, TorsionHead, TorsionPrediction
from bindrae.model.ligand_condition import create_ligand_conditioner
from bindrae.model.local import Neighbours, ResidueEdges, TokenEdges, residue_neighbours, token_neighbours
from bindrae.model.strain import BackboneGeometry, Strained
from bindrae.model.trunk import Edges, TrunkLayer
from bindrae.structure.torsions import CHI1

N_TOKEN_FEATURES = N_TOKEN_TYPES + 1
"""What a token tells the network beside its place: its types, and whether it is context."""


class Tokens(NamedTuple):
    """Ligand tokens as the network takes them."""

    points: Tensor  # [B, M, 3] angstrom, centred
    features: Tensor  # [B, M, N_TOKEN_FEATURES]
    mask: Tensor  # [B, M] bool


class Placed(NamedTuple):
    """A batch's geometry about the mean CA of each complex, as all networks of one architecture see it."""

    backbone: Backbone
    tokens: Tokens
    residues: Neighbours | None  # of each residue; None where the model looks at none
    near_tokens: Neighbours | None
    strained: Strained | None  # None where the model reads no bond lengths and angles
    origin: Tensor  # [B, 1, 3] what was subtracted (angstrom)


class Embedded(NamedTuple):
    """What the layers of one pass are given."""

    s: Tensor  # [B, N, c_s]
    z: tuple[Tensor, Tensor]  # edge factors, [B, N, rank, c_z] each
    residue_edges: Edges | None
    token_edges: Edges | None
    chi1_gain: Tensor | None  # [B, N, bins] what the backbone's geometry adds to the logarithms of chi1's distribution


@dataclass
class Stage1Output:
    """Prediction for a batch, in the coordinates of its input."""

    torsions: TorsionPrediction
    frames: Frames  # R [B, N, 3, 3], t [B, N, 3] angstrom
    atom14: Tensor  # [B, N, 14, 3] angstrom
    atom14_mask: Tensor  # [B, N, 14] bool, slots of the residue's type


class ESMAdapter(nn.Module):
    """Language-model embedding to the residue width: LayerNorm and one linear layer.

    Parameters
    ----------
    d_plm, c_s : int
    """

    def __init__(self, d_plm: int, c_s: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d_plm)
        self.linear = nn.Linear(d_plm, c_s)

    def forward(self, esm: Tensor) -> Tensor:
        """[B, N, d_plm] to [B, N, c_s]."""
        out: Tensor = self.linear(self.norm(esm))
        return out


class Stage1(nn.Module):
    """The decoder of side chains for a holo backbone.

    Parameters
    ----------
    settings : ModelSettings
        The architecture; `save_model` stores it with the weights.
    """

    step: Tensor

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.settings = settings
        c_s = settings.c_s
        self.residue_type = nn.Embedding(aa.N_TYPES, c_s)
        self.backbone_torsions = nn.Linear(9, c_s)
        self.geometry = BackboneGeometry(c_s) if settings.backbone_geometry else None
        self.adapter = ESMAdapter(settings.d_plm, c_s) if settings.d_plm else None
        self.edges = create_edge_embedder(
            c_s, settings.c_z, settings.z_rank, settings.num_rbf, settings.edge_neighbours
        )
        self.residue_edges = (
            ResidueEdges(settings.local_hidden, settings.num_rbf) if settings.local_neighbours else None
        )
        self.token_edges = (
            TokenEdges(settings.local_hidden, settings.num_rbf, N_TOKEN_FEATURES)
            if settings.ligand_neighbours
            else None
        )
        self.layers = nn.ModuleList(
            TrunkLayer(settings, last=number == settings.depth - 1) for number in range(settings.depth)
        )
        n_conditioners = 0 if not settings.ligand_film else 1 if settings.ligand_shared else settings.depth + 1
        self.conditioners = nn.ModuleList(
            create_ligand_conditioner(
                c_s,
                settings.d_lig,
                settings.ligand_heads,
                settings.ligand_warmup_steps,
                N_TOKEN_FEATURES,
                settings.ligand_reach_angstrom,
            )
            for _ in range(n_conditioners)
        )
        self.head = MultimodalHead(c_s, settings.chi_bins) if settings.chi_head == "bins" else TorsionHead(c_s)
        self.context = SidechainContext(c_s, settings.local_hidden, settings.num_rbf) if settings.recycles else None
        # Steps trained so far: lambda of the conditioners must be at prediction what it was in training.
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    @property
    def takes_sidechains(self) -> bool:
        """Whether `forward` takes known side chains."""
        return self.context is not None

    def forward(
        self,
        batch: IPABatch,
        teacher_forcing: bool = False,
        recycles: int | None = None,
        known: KnownSidechains | None = None,
    ) -> Stage1Output:
        """Predict a batch.

        The first pass sees no side chain but those that are known. Each sweep after it asks the residues again in
        `GROUPS` groups, one group a pass, which is shown the side chains of all others as they stand by then.

        Parameters
        ----------
        batch : IPABatch
            Only the input fields are read, and with `teacher_forcing` the true torsions.
        teacher_forcing : bool
            Condition each chi on the true ones before it; for training.
        recycles : int, optional
            Sweeps; by default ``settings.recycles``, and none in training mode, which shows true side chains instead.
        known : KnownSidechains, optional
            Side chains to show. What is predicted for residues that are shown means nothing.

        Raises
        ------
        ValueError
            When an input is not finite, or side chains are to be shown to a model that was built without ``recycles``.
        """
        sweeps = (0 if self.training else self.settings.recycles) if recycles is None else recycles
        placed = place(batch, self.settings)
        true_chi = angles_to_circle(batch.torsion_angles[..., CHI1:]) if teacher_forcing else None
        s, frames = self.represent(batch, placed, sweeps, known)
        return build_output(self.head(s, placed.backbone.torsions, batch.aatype, true_chi), frames, placed, batch)

    def represent(
        self, batch: IPABatch, placed: Placed, sweeps: int, known: KnownSidechains | None = None
    ) -> tuple[Tensor, Frames]:
        """All but the head's last answer; see `forward`.

        Parameters
        ----------
        batch : IPABatch
        placed : Placed
            From `place`, with settings of this architecture.
        sweeps : int
        known : KnownSidechains, optional

        Returns
        -------
        s : Tensor
            [B, N, c], what the head is to be given.
        frames : frames
            In centred coordinates.

        Raises
        ------
        ValueError
            When side chains are to be shown to a model that was built without ``recycles``.
        """
        if not self.takes_sidechains and (sweeps or known is not None):
            raise ValueError("side chains can be shown only to a model with settings.recycles of 1 or more")
        backbone, tokens = placed.backbone, placed.tokens
        seen = self._embed(batch, placed)
        s, frames = self._trunk(batch, backbone, tokens, self._shown(seen, known, batch, backbone))
        tell = can_be_shown(batch.aatype) & batch.node_mask
        for turn in range(sweeps * GROUPS):
            asked = (batch.residue_index + turn) % GROUPS == 0
            chi = self.head(s, backbone.torsions, batch.aatype, None).circle[..., CHI1:, :].detach()
            shown = tell & ~asked
            if known is not None:
                chi, shown = torch.where(known.shown[..., None, None], known.chi, chi), shown | known.shown
            others = self._shown(seen, KnownSidechains(chi, shown), batch, backbone)
            again, moved = self._trunk(batch, backbone, tokens, others)
            s = torch.where(asked.unsqueeze(-1), again, s)
            frames = (
                torch.where(asked[..., None, None], moved[0], frames[0]),
                torch.where(asked.unsqueeze(-1), moved[1], frames[1]),
            )
        return s, frames

    def _trunk(self, batch: IPABatch, backbone: Backbone, tokens: Tokens, seen: Embedded) -> tuple[Tensor, Frames]:
        """[B, N, c] as the head takes them, and frames in centred coordinates."""
        s, z, residue_edges, token_edges, gain = seen
        frames = backbone.frames
        step = int(self.step)

        def condition(s: Tensor, layer: int) -> Tensor:
            if not self.conditioners:
                return s
            conditioner = self.conditioners[0 if self.settings.ligand_shared else layer]
            out: Tensor = conditioner(s, frames, *tokens, step)
            return out

        s = condition(s, 0)
        for number, layer in enumerate(self.layers, start=1):
            s, frames, residue_edges = layer(s, frames, z, batch.node_mask, residue_edges, token_edges)
            s = condition(s, number)
        s = s + self.residue_type(batch.aatype)
        return s if gain is None else torch.cat([s, gain], dim=-1), frames

    def _embed(self, batch: IPABatch, placed: Placed) -> Embedded:
        """What does not change from pass to pass."""
        backbone = placed.backbone
        known = torch.cat([backbone.torsions.flatten(-2), backbone.defined.to(backbone.torsions.dtype)], dim=-1)
        s = self.residue_type(batch.aatype) + self.backbone_torsions(known)
        chi1_gain: Tensor | None = None
        if self.geometry is not None:
            assert placed.strained is not None
            gain = self.geometry.gain(placed.strained, batch.node_mask & batch.geometry.unsqueeze(-1))
            s = s + self.geometry(gain)
            if isinstance(self.head, MultimodalHead):
                chi1_gain = self.geometry.at(gain, self.head.centres)
        if self.adapter is not None:
            if batch.esm.shape[-1] != self.settings.d_plm:
                raise ValueError(
                    f"the model reads embeddings of width {self.settings.d_plm}, the batch has {batch.esm.shape[-1]}"
                )
            s = s + self.adapter(batch.esm)
        ca, cb = backbone.points[:, :, 1], backbone.points[:, :, 4]
        z_f1, z_f2, _ = self.edges(s, ca, cb, batch.node_mask, batch.residue_index)
        residue_edges: Edges | None = None
        token_edges: Edges | None = None
        if self.residue_edges is not None:
            residue_edges = self.residue_edges(placed.residues)
        if self.token_edges is not None and placed.near_tokens is not None:
            token_edges = self.token_edges(placed.near_tokens)
        return Embedded(s, (z_f1, z_f2), residue_edges, token_edges, chi1_gain)

    def _shown(self, seen: Embedded, known: KnownSidechains | None, batch: IPABatch, backbone: Backbone) -> Embedded:
        """What a pass is given when side chains are shown."""
        if self.context is None or known is None:
            return seen
        residue_edges = seen.residue_edges
        if residue_edges is not None:
            edge, index, weight = residue_edges
            residue_edges = (edge + self.context.edges(known, backbone, batch.aatype, index), index, weight)
        return seen._replace(s=seen.s + self.context.residues(known, batch.aatype), residue_edges=residue_edges)


def place(batch: IPABatch, settings: ModelSettings) -> Placed:
    """Centre a batch, find its backbone's features and everyone's neighbours, in full precision.

    Raises
    ------
    ValueError
        When an input is not finite.
    """
    N, CA, C, points, origin = centre_batch(batch)
    features = torch.cat([batch.lig_types, batch.lig_context.unsqueeze(-1).to(batch.lig_types.dtype)], dim=-1)
    tokens = Tokens(points, features, _tokens_read(batch, settings.ligand_tokens))
    residues: Neighbours | None = None
    near_tokens: Neighbours | None = None
    strained: Strained | None = None
    with torch.autocast(N.device.type, enabled=False):
        backbone = backbone_features(N, CA, C, batch.linked, batch.aatype)
        if settings.local_neighbours:
            residues = residue_neighbours(
                backbone, batch.residue_index, batch.chain_index, batch.node_mask, settings.local_neighbours
            )
        if settings.ligand_neighbours and points.shape[1]:
            near_tokens = token_neighbours(backbone, *tokens, settings.ligand_neighbours)
        if settings.backbone_geometry:
            strained = _strained(batch, N, CA, C, batch.oxygen - origin)
    return Placed(backbone, tokens, residues, near_tokens, strained, origin)


def _strained(batch: IPABatch, N: Tensor, CA: Tensor, C: Tensor, oxygen: Tensor) -> Strained:
    there = torch.stack([*[batch.node_mask] * 3, batch.node_mask & batch.has_oxygen], dim=-1)
    strain = backbone_strain(torch.stack([N, CA, C, oxygen], dim=-2).float(), there, batch.linked)
    return Strained.of(strain, batch.aatype, batch.linked)


def _tokens_read(batch: IPABatch, wanted: str) -> Tensor:
    """[B, M] bool, the tokens that ``ligand_tokens`` lets in."""
    if wanted == "none":
        return torch.zeros_like(batch.lig_mask)
    if wanted == "atoms":
        return batch.lig_mask & (batch.lig_types[..., TYPE_NAMES.index("probe")] == 0)
    return batch.lig_mask


def build_output(torsions: TorsionPrediction, frames: Frames, placed: Placed, batch: IPABatch) -> Stage1Output:
    """Torsions and centred frames as a prediction in the coordinates of the input."""
    origin = placed.origin
    with torch.autocast(origin.device.type, enabled=False):
        atoms, mask = torsions_to_atoms(frames, torsions.circle, batch.aatype)
    return Stage1Output(
        torsions, (frames[0], frames[1] + origin), atoms + origin.unsqueeze(2), mask & batch.node_mask.unsqueeze(-1)
    )


def count_parameters(model: nn.Module) -> int:
    """Trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
