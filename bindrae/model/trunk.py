"""The trunk: FlashIPA layers that each update the residues, then their frames."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bindrae.config import ModelSettings
from bindrae.geometry.rigid import Frames, axis_angle_to_matrix, clip_update, compose
from bindrae.model.attention import InvariantPointAttention
from bindrae.model.messages import Messages, zero_linear

_NM = 0.1
Edges = tuple[Tensor, Tensor, Tensor]  # edge [B, N, K, width], index [B, N, K], weight [B, N, K]


class FrameUpdate(nn.Module):
    """A small rigid motion a residue, in its own frame: LayerNorm, Linear, GELU, Linear, clipped.

    Parameters
    ----------
    c_s : int
    max_deg, max_trans : float
        Bounds of `clip_update` (degrees, A).
    """

    def __init__(self, c_s: int, max_deg: float, max_trans: float) -> None:
        super().__init__()
        self.max_deg, self.max_trans = max_deg, max_trans
        # The input is close to the answer: begin by leaving it alone.
        self.net = nn.Sequential(nn.LayerNorm(c_s), nn.Linear(c_s, 128), nn.GELU(), zero_linear(128, 6))

    def forward(self, s: Tensor, frames: Frames) -> Frames:
        """Frames moved by the update read from `s` [B, N, c_s]."""
        rotation, translation = self.net(s).float().chunk(2, dim=-1)
        with torch.autocast(s.device.type, enabled=False):
            rotation, translation = clip_update(rotation, translation, self.max_deg, self.max_trans)
            return compose(frames, (axis_angle_to_matrix(rotation), translation))


class TrunkLayer(nn.Module):
    """Attention over all residues, messages from near residues and tokens, feed-forward, frame update.

    Parameters
    ----------
    settings : ModelSettings
    last : bool
        The last layer's edges go nowhere and are not updated.
    """

    def __init__(self, settings: ModelSettings, last: bool = False) -> None:
        super().__init__()
        c_s = settings.c_s
        self.norm = nn.LayerNorm(c_s)
        self.attention = InvariantPointAttention(
            c_s,
            settings.c_z,
            settings.c_hidden,
            settings.heads,
            settings.qk_points,
            settings.v_points,
            settings.z_rank,
            settings.attention,
        )
        updates = settings.local_edge_updates and not last
        self.local = (
            Messages(c_s, settings.local_hidden, True, settings.dropout, updates) if settings.local_neighbours else None
        )
        self.tokens = (
            Messages(c_s, settings.local_hidden, False, settings.dropout) if settings.ligand_neighbours else None
        )
        self.transition = nn.Sequential(
            nn.LayerNorm(c_s),
            nn.Linear(c_s, 4 * c_s),
            nn.GELU(),
            nn.Dropout(settings.dropout),
            zero_linear(4 * c_s, c_s),
        )
        self.dropout = nn.Dropout(settings.dropout)
        self.update = FrameUpdate(c_s, settings.max_rotation_deg, settings.max_translation_angstrom)

    def forward(
        self,
        s: Tensor,
        frames: Frames,
        z: tuple[Tensor, Tensor],
        mask: Tensor,
        residue_edges: Edges | None,
        token_edges: Edges | None,
    ) -> tuple[Tensor, Frames, Edges | None]:
        """New residues, frames and residue edges.

        Parameters
        ----------
        s : Tensor
            [B, N, c_s].
        frames : (R [B, N, 3, 3], t [B, N, 3])
            Angstrom, centred.
        z : (z_f1, z_f2)
            [B, N, rank, c_z] edge factors.
        mask : Tensor
            [B, N] bool.
        residue_edges : (edge, index, weight) or None
            From `ResidueEdges`.
        token_edges : (edge, index, weight) or None
            From `TokenEdges`.
        """
        s = s + self.dropout(self.attention(self.norm(s), *z, (frames[0], frames[1] * _NM), mask))
        if self.local is not None and residue_edges is not None:
            edge, index, weight = residue_edges
            s, edge = self.local(s, edge, weight, index)
            residue_edges = edge, index, weight
        if self.tokens is not None and token_edges is not None:
            edge, _, weight = token_edges
            s, _ = self.tokens(s, edge, weight)
        s = s + self.dropout(self.transition(s))
        return s, self.update(s, frames), residue_edges
