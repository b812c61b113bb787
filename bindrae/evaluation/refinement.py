"""What choosing the side chains together changes: chis won and lost, and clashes removed, residue by residue."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bindrae.evaluation.metrics import ACCURACY_DEG

_MOVED_DEG = ACCURACY_DEG[1]
_HITS = {"chi1": "chi1_hit20", "all_chi": "all_chi_hit20"}


def refinement_figures(refined: pd.DataFrame, unrefined: pd.DataFrame) -> dict[str, Any]:
    """Residues before and after the refinement, over all of them and over the pocket.

    Parameters
    ----------
    refined, unrefined : pandas.DataFrame
        The same residues in the same order, as `score_dataset` gives them. Those of a failed prediction take no part.

    Returns
    -------
    dict
        ``overall`` and ``pocket``: ``n`` residues with a chi1, ``moved`` (chi1 turned by more than 40 degrees);
        ``chi1`` and ``all_chi`` (within 20 degrees): ``kept`` right, ``gained``, ``lost``, ``neither``; ``clashes`` and
        ``ligand_clashes``: ``atoms_before`` and ``atoms_after``, and residues ``freed`` of their clashes, ``left`` with
        some, and ``new`` among the clashing.
    """
    both = (refined["atoms"] > 0).to_numpy() & (unrefined["atoms"] > 0).to_numpy()
    inside = both & refined["contact"].to_numpy(bool)
    return {name: _figures(refined[part], unrefined[part]) for name, part in (("overall", both), ("pocket", inside))}


def _figures(after: pd.DataFrame, before: pd.DataFrame) -> dict[str, Any]:
    has_chi1 = after["chi1_n"].to_numpy() > 0
    turn = np.abs((after["chi1_pred"].to_numpy(float) - before["chi1_pred"].to_numpy(float) + 180.0) % 360.0 - 180.0)
    result: dict[str, Any] = {"n": int(has_chi1.sum()), "moved": int((turn[has_chi1] > _MOVED_DEG).sum())}
    for name, column in _HITS.items():
        now, then = (table.loc[has_chi1, column].to_numpy(bool) for table in (after, before))
        result[name] = {
            "kept": int((now & then).sum()),
            "gained": int((now & ~then).sum()),
            "lost": int((~now & then).sum()),
            "neither": int((~now & ~then).sum()),
        }
    for name, column in (("clashes", "clash_atoms"), ("ligand_clashes", "ligand_clash_atoms")):
        now, then = (table[column].to_numpy() for table in (after, before))
        result[name] = {
            "atoms_before": int(then.sum()),
            "atoms_after": int(now.sum()),
            "freed": int(((then > 0) & (now == 0)).sum()),
            "left": int(((then > 0) & (now > 0)).sum()),
            "new": int(((then == 0) & (now > 0)).sum()),
        }
    return result
