"""Fit the contact potential of a model: ``python -m bindrae.prediction.contact_fit DATA MODEL``.

Every residue whose candidates hold the true side chain says which of them it is, with all others arranged by the
model: the conditional likelihood (Besag, J. R. Stat. Soc. B 36, 192, 1974). The energy of a contact is a sum of steps,
one an edge, so that neighbouring bins differ little where there are few data, and has a part shared by all atoms of a
kind (the same both ways round) and one of the atom's own; a ridge pulls the steps towards 0.

The training side will do as long as the network knows it no better than the validation side, on which `tune` shows what
the potential is worth. It is written into the model file's metadata.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix, hstack, vstack

from bindrae.chem import residues as aa
from bindrae.evaluation.metrics import ACCURACY_DEG
from bindrae.model.export import rewrite_metadata
from bindrae.prediction.contacts import KINDS, N_MOVING, SHAPE, SIDE_KINDS, contacts, moving_kinds
from bindrae.prediction.potential import CONTACTS_KEY, ContactPotential
from bindrae.prediction.refine import OVERLAP_BESIDE_CONTACTS, Arrangements
from bindrae.prediction.side_parser import side_parser
from bindrae.prediction.side_pool import gather_side
from bindrae.prediction.tune import Trial

RIDGE = 30.0
"""Chosen by accuracy on the validation side (docs/prediction.md)."""
_TRUST_SCALE = 0.3  # how far trust goes from its mean, where an energy step is 1
_MOST_OVERLAP = 30.0  # a candidate that costs more is out of the question in any case (nats)
_ITERATIONS = 60


@dataclass
class Evidence:
    """V candidates of the residues of one complex that have a choice, the true side chain among them."""

    contacts: csr_matrix  # [V, M * K * B] how many of each
    surprise: np.ndarray  # [V] minus the logarithm of the network's probability
    overlap: np.ndarray  # [V] cost of overlaps with the arrangement (nats)
    kind: np.ndarray  # [V] residue type
    first: np.ndarray  # [R] first candidate of each residue
    right: np.ndarray  # [V] bool, all chis within 20 degrees of the truth


def gather_evidence(trial: Trial) -> Evidence:
    """What a complex of known structure says, its side chains arranged without contacts."""
    arrangement = Arrangements(trial.scene, trial.circle, trial.rotamers, polish_weight=0.0)
    row = arrangement.row
    kind = trial.scene.aatype.numpy()
    xyz, mask = arrangement.xyz.double().numpy(), arrangement.mask.numpy()
    surprise = arrangement.surprise
    overlap = np.clip(arrangement.costs() - surprise, -_MOST_OVERLAP, _MOST_OVERLAP)

    counts = csr_matrix((len(row), int(np.prod(SHAPE))), dtype=np.float32)
    for candidate, place in contacts(xyz, mask, row, kind, arrangement.surroundings()):
        ones = np.ones(len(place), dtype=np.float32)
        counts += csr_matrix((ones, (candidate, place)), shape=counts.shape)

    defined = trial.sample["torsion_mask"][:, 3:].numpy()
    error = trial.candidate_errors(arrangement.circle, row)
    right = ((error < ACCURACY_DEG[0]) | ~defined[row]).all(1)
    has_right = np.bincount(row, right, len(kind)) > 0
    asked = (has_right & (np.bincount(row, minlength=len(kind)) > 1) & defined[:, 0])[row]
    return Evidence(
        counts[asked], surprise[asked], overlap[asked], kind[row[asked]],
        np.flatnonzero(np.diff(row[asked], prepend=-1)), right[asked],
    )  # fmt: skip


def _steps() -> csr_matrix:
    """[M * K * B, P] how the flat table follows from the shared and the own steps."""
    atom, kind, place = (x.ravel() for x in np.indices(SHAPE))
    own_kind = moving_kinds()[atom]
    # Two kinds that both move are one pair, whichever of them is asked.
    both = kind < len(SIDE_KINDS)
    low, high = np.where(both, np.minimum(own_kind, kind), own_kind), np.where(both, np.maximum(own_kind, kind), kind)
    n_bins = SHAPE[2]
    blocks = []
    for pair, n_pairs in (
        (low * len(KINDS) + high, len(KINDS) ** 2),
        (atom * len(KINDS) + kind, N_MOVING * len(KINDS)),
    ):
        rows = [np.flatnonzero(place <= edge) for edge in range(n_bins)]
        columns = [pair[found] * n_bins + edge for edge, found in enumerate(rows)]
        flat = np.concatenate(rows)
        blocks.append(
            csr_matrix((np.ones(len(flat)), (flat, np.concatenate(columns))), shape=(len(atom), n_pairs * n_bins))
        )
    return hstack(blocks).tocsr()


def fit_potential(evidence: Sequence[Evidence], ridge: float = RIDGE) -> ContactPotential:
    """The potential under which the true side chains are the most likely ones.

    Parameters
    ----------
    evidence : list of Evidence
        Of complexes that the model knows no better than those it will be used on.
    ridge : float
        Weight of the squared steps, in residues.

    Raises
    ------
    ValueError
        When no residue has a choice with the truth in it.
    """
    sizes = [len(e.kind) for e in evidence]
    first = np.concatenate([e.first + start for e, start in zip(evidence, np.cumsum([0, *sizes]), strict=False)])
    if not len(first):
        raise ValueError("no residue has its true side chain among several candidates")
    counts = vstack([e.contacts for e in evidence]).tocsr()
    surprise, overlap, kind, right = (
        np.concatenate([getattr(e, name) for e in evidence]) for name in ("surprise", "overlap", "kind", "right")
    )
    given = OVERLAP_BESIDE_CONTACTS * overlap
    lengths = np.diff(first, append=len(kind))
    steps = _steps()
    back = steps.T.tocsr()
    n_steps, n_residues = steps.shape[1], len(first)
    # Steps, then how far the trust in each type is from the mean, then that.
    split = (n_steps, n_steps + aa.N_TYPES)

    def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
        step, trust, mean = np.split(x, split)
        # Sums over contacts in single precision: the matrix is large, and a copy of it a call would be larger.
        worth = counts @ (steps @ step).astype(np.float32)
        energy = worth + (mean[0] + _TRUST_SCALE * trust[kind]) * surprise + given
        p = np.exp(np.repeat(np.minimum.reduceat(energy, first), lengths) - energy)
        q = p * right
        total, true = np.add.reduceat(p, first), np.add.reduceat(q, first) + 1e-300
        slope = (q / np.repeat(true, lengths) - p / np.repeat(total, lengths)) / n_residues
        loss = float((np.log(total) - np.log(true)).mean())
        on_surprise = slope * surprise
        gradient = np.concatenate(
            [
                back @ (counts.T @ slope.astype(np.float32)).astype(np.float64),
                _TRUST_SCALE * np.bincount(kind, on_surprise, aa.N_TYPES),
                [on_surprise.sum()],
            ]
        )
        pulled = x[: split[1]]
        gradient[: split[1]] += 2 * ridge / n_residues * pulled
        return loss + ridge / n_residues * float(pulled @ pulled), gradient

    start = np.zeros(split[1] + 1)
    start[-1] = 1.0
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": _ITERATIONS}).x
    step, trust, mean = np.split(found, split)
    return ContactPotential((steps @ step).reshape(SHAPE), np.maximum(mean[0] + _TRUST_SCALE * trust, 0.0))


def store(path: Path, potential: ContactPotential, output: Path) -> None:
    """Write a model file again with a contact potential in its metadata."""
    rewrite_metadata(path, {CONTACTS_KEY: potential.to_json()}, output)


def main() -> None:
    """Fit, say how far the network is trusted, and write."""
    parser = side_parser(
        "bindrae.prediction.contact_fit", __doc__, "train", "; never the one that is tested on", 800, writes=True
    )
    parser.add_argument("--ridge", type=float, default=RIDGE, help="weight of the squared steps")
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args()
    evidence = gather_side(
        gather_evidence, given.data, given.model, given.side, given.max_complexes, given.processes, "contacts"
    )
    potential = fit_potential(evidence, given.ridge)
    residues = sum(len(e.first) for e in evidence)
    print(f"{len(evidence)} complexes, side {given.side}: {residues:,} residues chose among their candidates")
    letters = ", ".join(f"{aa.ONE_LETTER[t]} {potential.trust[t]:.2f}" for t in range(aa.UNKNOWN))
    print(f"factor of the network's log probabilities: {letters}")
    store(given.model, potential, given.output or given.model)


if __name__ == "__main__":
    main()
