"""Molecules on paper: a projection, bonds as lines, atoms as points with names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from bindrae.reporting.svg import INK, MUTED, SOFT


def project(xyz: np.ndarray, along: np.ndarray | None = None) -> np.ndarray:
    """Coordinates in the plane in which points spread most, the same for the same points.

    Parameters
    ----------
    xyz : numpy.ndarray
        [M, 3] points (A).
    along : numpy.ndarray, optional
        [K, 3] the points that choose the plane; all by default.

    Returns
    -------
    numpy.ndarray
        [M, 2] (A), the larger spread along the first axis.
    """
    chosen = (xyz if along is None else along).astype(np.float64)
    centre = chosen.mean(axis=0)
    axes = np.linalg.svd(chosen - centre, full_matrices=False)[2][:2]
    # A singular vector has no sign of its own.
    axes *= np.sign(axes[np.arange(2), np.abs(axes).argmax(axis=1)])[:, None]
    return (xyz - centre) @ axes.T


def molecule(axes: Any, points: np.ndarray, bonds: Iterable[tuple[int, int]], colour: str = INK) -> None:
    """Draw bonds, and leave only the molecule on the axes.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    points : numpy.ndarray
        [M, 2].
    bonds : iterable of (int, int)
    colour : str
    """
    for i, j in bonds:
        axes.plot(*points[[i, j]].T, color=colour, linewidth=1.6, solid_capstyle="round", zorder=1)
    axes.set_aspect("equal")
    axes.set_axis_off()


def names(axes: Any, points: np.ndarray, labels: Sequence[str], offset: float = 8.0) -> None:
    """Write names beside points, away from the middle of the drawing.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    points : numpy.ndarray
        [M, 2].
    labels : sequence of str
        Empty for a point without a name.
    offset : float
        Distance from the point (pt).
    """
    centre = points.mean(axis=0)
    for point, label in zip(points, labels, strict=True):
        away = point - centre
        away = away / max(float(np.linalg.norm(away)), 1e-6)
        axes.annotate(label, point, xytext=offset * away, textcoords="offset points", ha="center", va="center",
                      fontsize=7.5, color=MUTED)  # fmt: skip


def beside(axes: Any, a: np.ndarray, b: np.ndarray, text: str, colour: str) -> None:
    """Write a text to the right of a bond: above one that falls, below one that rises."""
    along = b - a
    normal = np.array([-along[1], along[0]]) / np.linalg.norm(along)
    normal *= np.sign(normal[0])
    axes.annotate(text, (a + b) / 2, xytext=5.0 * normal, textcoords="offset points", ha="left",
                  va="bottom" if normal[1] > 0 else "top", fontsize=8, color=colour)  # fmt: skip


def scale_bar(axes: Any, points: np.ndarray, length: float = 2.0) -> None:
    """A bar of this many angstrom below the drawing."""
    x, y = points[:, 0].min(), points[:, 1].min() - 1.2
    axes.plot([x, x + length], [y, y], color=MUTED, linewidth=2.0)
    axes.annotate(f"{length:g} A", (x + length, y), xytext=(4, 0), textcoords="offset points", va="center",
                  fontsize=7.5, color=MUTED)  # fmt: skip


def dots(axes: Any, points: np.ndarray, colour: str, label: str, marker: str = "o", size: float = 36.0) -> None:
    """Atoms of one kind, with an entry in the legend; none, no entry."""
    if len(points):
        axes.scatter(*points.T, s=size, marker=marker, color=colour, edgecolors=SOFT, linewidths=0.5, label=label,
                     zorder=2)  # fmt: skip
