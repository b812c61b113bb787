from __future__ import annotations

import numpy as np

from bindrae.chem.residues import TYPE_OF_NAME
from bindrae.reporting.backbone import COLUMNS, ROWS, Backbone, hexagon_centres, hexagon_of


def test_every_point_falls_into_the_hexagon_with_the_nearest_centre_on_the_torus() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-180, 180, (2000, 2))
    centres = hexagon_centres()
    assert len(np.unique(centres, axis=0)) == 2 * ROWS * COLUMNS
    apart = np.abs(points[:, None] - centres[None])
    apart = np.minimum(apart, 360 - apart)
    distance = ((apart * (COLUMNS / 360, np.sqrt(3) * ROWS / 360)) ** 2).sum(-1)
    found = hexagon_of(*points.T)
    np.testing.assert_allclose(distance[np.arange(len(points)), found], distance.min(1), atol=1e-12)
    assert np.array_equal(hexagon_of(points[:, 0] + 360, points[:, 1] - 360), found)
    assert hexagon_of(np.array([180.0]), np.array([-180.0])) == hexagon_of(np.array([-180.0]), np.array([180.0]))


def test_bonds_are_told_apart_at_thirty_degrees() -> None:
    kind = np.array([TYPE_OF_NAME[name] for name in ("ALA", "PRO", "ALA", "GLY", "ALA", "ALA")])
    angles, defined = np.zeros((6, 7)), np.zeros((6, 7), dtype=bool)
    angles[:, 2] = np.radians([29.0, -29.0, 31.0, -151.0, 149.0, 0.0])
    defined[:5, 2] = True
    backbone = Backbone()
    assert backbone.add(kind, angles, defined).tolist() == [False, False, True, False, True, False]
    counts = backbone.summary()
    assert counts.pop("ramachandran") == {"general": [], "GLY": [], "PRO": []}
    assert counts == {"peptide_bonds": 5, "cis_before_proline": 1, "cis_before_others": 1, "twisted": 2}
