"""Several networks as one: each represents the complex in its own way, their heads' probabilities are averaged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from bindrae.config import ModelSettings, differing_keys
from bindrae.data.batch import IPABatch
from bindrae.geometry.rigid import mean_frames
from bindrae.model.context import KnownSidechains
from bindrae.model.heads import EnsembleHead, MultimodalHead
from bindrae.model.stage1 import Stage1, Stage1Output, build_output, place

# What members may differ in, although their file keeps the settings of the first alone: it changes no prediction.
_FREE = {"preset", "dropout", "attention"}


class Ensemble(nn.Module):
    """Networks of one architecture, trained apart; for prediction, called as a `Stage1` is.

    Their chi distributions are averaged (Lakshminarayanan et al., Simple and scalable predictive uncertainty estimation
    using deep ensembles, NeurIPS 2017), the frames and the backbone torsions too.

    Parameters
    ----------
    members : sequence of Stage1
        With a head of bins.
    sweeps : int
        Sweeps that each makes, on its own answers. None costs a quarter; refinement makes up for most of it.

    Raises
    ------
    ValueError
        When there are no members, or they are of several architectures, or predict no distributions, or cannot make the
        sweeps.
    """

    def __init__(self, members: Sequence[Stage1], sweeps: int = 0) -> None:
        super().__init__()
        if not members:
            raise ValueError("an ensemble needs a member")
        # Without FiLM nothing warms up.
        free = _FREE if members[0].settings.ligand_film else _FREE | {"ligand_warmup_steps"}
        first, *others = (member.settings.model_dump(mode="json", exclude=free) for member in members)
        for number, other in enumerate(others, start=1):
            if different := differing_keys(first, other):
                raise ValueError(f"member {number} differs from member 0 in {'; '.join(different)}")
        heads = [member.head for member in members if isinstance(member.head, MultimodalHead)]
        if len(heads) < len(members):
            raise ValueError("members must have chi_head: bins, whose distributions can be averaged")
        if sweeps < 0:
            raise ValueError(f"{sweeps} sweeps cannot be made")
        if sweeps and not members[0].takes_sidechains:
            raise ValueError("sweeps need members with recycles of 1 or more, which can be shown side chains")
        self.members = nn.ModuleList(members)
        self.head = EnsembleHead(heads)
        self.sweeps = sweeps

    @property
    def settings(self) -> ModelSettings:
        """Of the first member."""
        return self.first.settings

    @property
    def first(self) -> Stage1:
        """The first member, a model of its own."""
        return next(iter(self))

    def __iter__(self) -> Iterator[Stage1]:
        return iter(self.members)  # type: ignore[arg-type]

    @property
    def takes_sidechains(self) -> bool:
        """Whether `forward` takes known side chains."""
        return self.first.takes_sidechains

    def forward(
        self, batch: IPABatch, recycles: int | None = None, known: KnownSidechains | None = None
    ) -> Stage1Output:
        """Predict a batch.

        Parameters
        ----------
        batch : IPABatch
        recycles : int, optional
            Sweeps; by default as many as the ensemble was made with.
        known : KnownSidechains, optional
            As for `Stage1.forward`.

        Raises
        ------
        ValueError
            As `Stage1.forward` does.
        """
        placed = place(batch, self.settings)
        sweeps = self.sweeps if recycles is None else recycles
        said = [member.represent(batch, placed, sweeps, known) for member in self]
        s = torch.cat([s for s, _ in said], dim=-1)
        with torch.autocast(s.device.type, enabled=False):
            frames = mean_frames([(R.float(), t.float()) for _, (R, t) in said])
        return build_output(self.head(s, placed.backbone.torsions, batch.aatype, None), frames, placed, batch)


Decoder = Stage1 | Ensemble
"""What predicts side chains."""
