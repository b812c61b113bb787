"""Clusters of complexes: which chains are kin, and which complexes must therefore stay on one side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from bindrae.config import SplitSettings
from bindrae.data.mmseqs import Alignments

Pairs = np.ndarray  # [n, 2] int: pairs of chains


@dataclass(frozen=True)
class Kinship:
    """Pairs of chains that link their complexes, by the rule that found them.

    Attributes
    ----------
    clustered : numpy.ndarray
        [n, 2] similar over most of both chains: what clusters of chains are made of.
    contained : numpy.ndarray
        [n, 2] one chain is a stretch of the other, however short.
    searched : numpy.ndarray
        [n, 2] similar over most of the shorter chain: what clustering by both chains leaves across sides.
    linking : numpy.ndarray
        [n_chains] bool, chains that link all complexes that hold them.
    """

    clustered: Pairs
    contained: Pairs
    searched: Pairs
    linking: np.ndarray


def known_residues(sequence: str) -> int:
    """Residues of a known type: an unknown one (X) tells nothing of kinship."""
    return len(sequence) - sequence.count("X")


def contained_pairs(sequences: Sequence[str], linking: np.ndarray, seed_length: int) -> Pairs:
    """Pairs of chains of which one is a stretch of the other.

    Peptides are too short for an alignment to be significant; the same stretch of ten residues is.

    Parameters
    ----------
    sequences : list of str
        Distinct sequences.
    linking : numpy.ndarray
        [n] bool, chains to look at.
    seed_length : int
        Length that each of them has at least.

    Returns
    -------
    numpy.ndarray
        [m, 2] indices, the smaller first.
    """
    starts: dict[str, list[int]] = defaultdict(list)
    for i in np.flatnonzero(linking).tolist():
        starts[sequences[i][:seed_length]].append(i)
    found = set()
    for j in np.flatnonzero(linking).tolist():
        sequence = sequences[j]
        for at in range(len(sequence) - seed_length + 1):
            for i in starts.get(sequence[at : at + seed_length], ()):
                if i != j and sequence.startswith(sequences[i], at):
                    found.add((min(i, j), max(i, j)))
    return np.array(sorted(found), dtype=np.int64).reshape(-1, 2)


def linking_chains(sequences: Sequence[str], complexes: Collection[Sequence[int]], min_length: int) -> np.ndarray:
    """Chains that link the complexes that hold them.

    A chain with fewer known residues than `min_length` (a tag, a capped peptide) says nothing about the protein beside
    it and would chain strangers together; it links only where it is the longest chain of some complex, that is, all
    the protein there is.

    Returns
    -------
    numpy.ndarray
        [n_chains] bool.
    """
    lengths = np.array([known_residues(sequence) for sequence in sequences], dtype=np.int64)
    linking = lengths >= min_length
    for chains in complexes:
        if len(chains) and not linking[list(chains)].any():
            longest = lengths[list(chains)].max()
            linking[[c for c in chains if lengths[c] == longest]] = True
    return linking


def find_kin(
    sequences: Sequence[str], complexes: Collection[Sequence[int]], hits: Alignments, settings: SplitSettings
) -> Kinship:
    """Sort the pairs of similar chains by the rule that links them.

    Parameters
    ----------
    sequences : list of str
        Distinct sequences.
    complexes : collection of list of int
        Chains of each complex.
    hits : Alignments
    settings : SplitSettings
        ``min_identity``, ``coverage``, ``min_chain_length``.
    """
    linking = linking_chains(sequences, complexes, settings.min_chain_length)
    long = np.array([known_residues(s) >= settings.min_chain_length for s in sequences], dtype=bool)
    similar = (hits.identity >= settings.min_identity) & long[hits.first] & long[hits.second]
    pairs = np.column_stack([hits.first, hits.second]).astype(np.int64)
    both, shorter = (
        np.unique(pairs[similar & (coverage >= settings.coverage)], axis=0)
        for coverage in (hits.coverage_both, hits.coverage_shorter)
    )
    return Kinship(both, contained_pairs(sequences, long, settings.min_chain_length), shorter, linking)


def join_complexes(complexes: Sequence[Sequence[int]], linking: np.ndarray, pairs: Pairs) -> np.ndarray:
    """Clusters of complexes: two belong together when any of their chains are the same or linked (single linkage).

    Parameters
    ----------
    complexes : list of list of int
        Chains of each complex.
    linking : numpy.ndarray
        [n_chains] bool, chains that count.
    pairs : numpy.ndarray
        [m, 2] linked chains.

    Returns
    -------
    numpy.ndarray
        [n_complexes] label of each complex's cluster.
    """
    n = len(complexes)
    edges = [(i, n + c) for i, chains in enumerate(complexes) for c in chains if linking[c]]
    joined = np.concatenate([np.array(edges, dtype=np.int64).reshape(-1, 2), pairs + n])
    size = n + len(linking)
    graph = coo_matrix((np.ones(len(joined), dtype=np.int8), (joined[:, 0], joined[:, 1])), shape=(size, size))
    return np.asarray(connected_components(graph, directed=False)[1][:n])


def name_clusters(ids: Sequence[str], labels: np.ndarray, pinned: Mapping[str, str]) -> dict[str, str]:
    """Name of each complex's cluster: the one it had, else its first member.

    Parameters
    ----------
    ids : list of str
    labels : numpy.ndarray
        [n] label of each complex's cluster.
    pinned : mapping of str to str
        Cluster names given before, by complex.

    Returns
    -------
    dict of str to str
        Clusters that joined keep the smallest of their names; of one that fell apart, the part with the complex it
        was named after keeps the name.
    """
    members: dict[int, list[str]] = defaultdict(list)
    for identifier, label in zip(ids, labels.tolist(), strict=True):
        members[label].append(identifier)
    groups = sorted(sorted(group) for group in members.values())
    old = [sorted({pinned[i] for i in group if i in pinned}) for group in groups]
    name_of: list[str | None] = [min(set(names) & set(g), default=None) for names, g in zip(old, groups, strict=True)]
    taken = {name for name in name_of if name}
    for k, group in enumerate(groups):
        if name_of[k] is None:
            free = [name for name in (*old[k], *group) if name not in taken]
            name_of[k] = free[0] if free else f"{group[0]}~{len(taken)}"
            taken.add(str(name_of[k]))
    return {i: str(name) for name, group in zip(name_of, groups, strict=True) for i in group}
