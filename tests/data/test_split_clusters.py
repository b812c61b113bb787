"""Which chains are kin, by each rule, and what they join."""

from __future__ import annotations

import numpy as np
import pytest
from split_cases import families, mutated, random_sequence

from bindrae.config import SplitSettings
from bindrae.data.clusters import contained_pairs, find_kin, join_complexes, linking_chains, name_clusters
from bindrae.data.mmseqs import align_all

NO_PAIRS = np.empty((0, 2), dtype=np.int64)


def clusters(complexes: list[list[str]], settings: SplitSettings | None = None) -> list[list[int]]:
    """Clusters of complexes given by their sequences, all rules together."""
    settings = settings or SplitSettings()
    index: dict[str, int] = {}
    chains = [[index.setdefault(s, len(index)) for s in sequences] for sequences in complexes]
    kin = find_kin(list(index), chains, align_all(list(index), settings), settings)
    labels = join_complexes(chains, kin.linking, np.concatenate([kin.clustered, kin.contained, kin.searched]))
    return sorted(np.flatnonzero(labels == label).tolist() for label in set(labels.tolist()))


@pytest.mark.parametrize("exhaustive_below", [0, 15000])
def test_families_are_found_and_strangers_stay_apart(exhaustive_below: int) -> None:
    complexes = list(families([4, 1, 3, 2]).values())
    found = clusters(complexes, SplitSettings(exhaustive_below=exhaustive_below))
    assert found == [[0, 1, 2, 3], [4], [5, 6, 7], [8, 9]]


def test_every_pair_is_aligned_and_identity_and_coverage_are_those_of_the_alignment() -> None:
    base = random_sequence(1, 200)
    swapped = list(base)
    for i in range(10, 190, 4):
        swapped[i] = "A" if base[i] != "A" else "C"
    hits = align_all([base, "".join(swapped), base[50:150], random_sequence(2)], SplitSettings())
    assert set(zip(hits.first.tolist(), hits.second.tolist(), strict=True)) == {(0, 1), (0, 2), (1, 2)}
    first = {(a, b): k for k, (a, b) in enumerate(zip(hits.first.tolist(), hits.second.tolist(), strict=True))}
    assert hits.identity[first[0, 1]] == pytest.approx(1 - 45 / 200, abs=1e-3)
    assert hits.coverage_both[first[0, 1]] == 1.0
    assert (hits.identity[first[0, 2]], hits.length[first[0, 2]]) == (1.0, 100)
    assert (hits.coverage_shorter[first[0, 2]], hits.coverage_both[first[0, 2]]) == (1.0, 0.5)


def test_threads_do_not_matter_and_few_chains_give_no_hits() -> None:
    sequences = [chains[0] for chains in families([5, 5]).values()]
    one, two = (align_all(sequences, SplitSettings(), threads) for threads in (1, 2))
    assert len(one) >= 40
    assert all(np.array_equal(a, b) for a, b in zip(vars(one).values(), vars(two).values(), strict=True))
    assert len(align_all([], SplitSettings())) == len(align_all(["ACDEF"], SplitSettings())) == 0
    assert len(align_all([random_sequence(1), random_sequence(2)], SplitSettings())) == 0


def test_a_domain_joins_the_protein_that_contains_it_only_by_the_final_search() -> None:
    whole = random_sequence(1, 300)
    domain = mutated(whole[100:200], 0.4, 7)
    kin = find_kin([whole, domain], [[0], [1]], align_all([whole, domain], SplitSettings()), SplitSettings())
    assert (len(kin.clustered), len(kin.contained)) == (0, 0)
    assert kin.searched.tolist() == [[0, 1]]
    assert clusters([[whole], [domain]]) == [[0, 1]]


def test_a_peptide_no_alignment_finds_joins_by_containment() -> None:
    whole = random_sequence(1, 300)
    peptide = whole[150:160]
    settings = SplitSettings(max_evalue=1e-9)
    assert len(align_all([whole, peptide], settings)) == 0
    assert contained_pairs([whole, peptide], np.array([True, True]), 10).tolist() == [[0, 1]]
    altered = ("A" if peptide[0] != "A" else "C") + peptide[1:]
    assert clusters([[whole], [peptide], [altered]], settings) == [[0, 1], [2]]


def test_complexes_join_through_any_chain() -> None:
    a, b, c, d = (random_sequence(seed) for seed in range(4))
    assert clusters([[a], [a, b], [b], [c], [d, d]]) == [[0, 1, 2], [3], [4]]


def test_a_common_tag_joins_nothing() -> None:
    tag = "GSHHHHHH"
    strangers = [[random_sequence(seed), tag] for seed in range(6)]
    assert clusters(strangers) == [[i] for i in range(6)]
    # With a chain long enough to tell kinship they do belong together.
    assert clusters([[chain, tag + "SSGLVPRGS"] for chain, _ in strangers]) == [list(range(6))]


def test_a_short_chain_links_where_it_is_all_the_protein_there_is() -> None:
    peptide, protein = "KVFGR", random_sequence(1)
    chains = [[0], [1, 0], [1], [2]]
    linking = linking_chains([peptide, protein, random_sequence(2)], chains, 10)
    assert linking.tolist() == [True, True, True]
    assert linking_chains([peptide, protein, random_sequence(2)], chains[1:], 10).tolist() == [False, True, True]
    assert clusters([[peptide], [protein, peptide], [protein], [random_sequence(2)]]) == [[0, 1, 2], [3]]


def test_unknown_residues_tell_nothing() -> None:
    unknown = "X" * 40
    assert clusters([[random_sequence(1), unknown], [random_sequence(2), unknown]]) == [[0], [1]]


def test_names_of_clusters_outlive_growth_merging_and_falling_apart() -> None:
    ids = ["a", "b", "c", "d"]
    assert name_clusters(ids, np.array([0, 0, 1, 1]), {}) == {"a": "a", "b": "a", "c": "c", "d": "c"}
    pinned = {"b": "b", "c": "b", "d": "d"}
    grown = name_clusters(ids, np.array([0, 0, 0, 1]), pinned)
    assert grown == {"a": "b", "b": "b", "c": "b", "d": "d"}
    merged = name_clusters(ids, np.array([0, 0, 0, 0]), pinned)
    assert set(merged.values()) == {"b"}
    apart = name_clusters(ids, np.array([2, 0, 1, 3]), pinned)
    assert apart == {"a": "a", "b": "b", "c": "c", "d": "d"}
    assert len(set(name_clusters(["a", "b"], np.array([0, 1]), {"a": "b", "b": "a"}).values())) == 2
