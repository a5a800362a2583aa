"""The space that the student is to have: its teachers' spaces, each made fair, side by side.

A teacher's vectors are centred and half-whitened: divided along each principal axis by the
fourth root of its variance, so that no few axes speak for all. Where it is known how damage moves
them, the axes along which it does are weakened too (within-class covariance normalisation, Hatch &
Stolcke 2006): what a codec does to a teacher is not to be learnt from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize


@dataclass(frozen=True, slots=True)
class Space:
    """An affine map of one teacher's vectors: (x - mean) @ matrix, then unit length."""

    mean: Tensor
    matrix: Tensor

    def __call__(self, vectors: Tensor) -> Tensor:
        """(n, d) → (n, d) of unit length."""
        return normalize((vectors - self.mean) @ self.matrix, dim=1)


def fit_space(vectors: Tensor, nuisance: Tensor | None, power: float = 0.25) -> Space:
    """Centre and half-whiten vectors (n, d); `nuisance` (m, d) are moves that mean nothing."""
    mean = vectors.mean(0)
    total = _covariance(vectors - mean)
    matrix = torch.eye(len(total), dtype=torch.float64, device=vectors.device)
    if nuisance is not None:
        within = nuisance.double().T @ nuisance.double() / len(nuisance)
        # What damage moves less than a tenth of the mean variance is left as it is.
        floor = 0.1 * total.trace() / len(total)
        matrix = _power(within + floor * torch.eye(len(total)).to(total), -0.5)
        total = matrix @ total @ matrix
    matrix = matrix @ _power(total, -power)
    return Space(mean, matrix.to(vectors.dtype))


def _covariance(centred: Tensor) -> Tensor:
    x = centred.double()
    return x.T @ x / len(x)


def _power(covariance: Tensor, exponent: float) -> Tensor:
    """A symmetric matrix to a power; axes with next to no variance are held at a thousandth."""
    values, axes = torch.linalg.eigh(covariance)
    values = values.clamp(min=float(values[-1]) * 1e-3)
    raised: Tensor = (axes * values**exponent) @ axes.T
    return raised


@dataclass(frozen=True, slots=True)
class Geometry:
    """Several spaces side by side, each with a weight, turned so that 512 numbers hold the most."""

    spaces: Mapping[str, Space]
    weights: Mapping[str, float]
    mean: Tensor
    axes: Tensor

    def __call__(self, vectors: Mapping[str, Tensor]) -> Tensor:
        """Vectors (n, d) by teacher → targets (n, dim) of unit length."""
        return normalize((self.beside(vectors) - self.mean) @ self.axes, dim=1)

    def beside(self, vectors: Mapping[str, Tensor]) -> Tensor:
        """The spaces one after the other, before they are turned."""
        return _beside(self.spaces, self.weights, vectors)


def _beside(
    spaces: Mapping[str, Space], weights: Mapping[str, float], vectors: Mapping[str, Tensor]
) -> Tensor:
    return torch.cat([weights[name] * spaces[name](vectors[name]) for name in spaces], 1)


def fit_geometry(
    clean: Mapping[str, Tensor],
    moved: Mapping[str, Tensor],
    weights: Mapping[str, float],
    dim: int,
) -> Geometry:
    """From teachers' vectors (n, d) of clean windows, and how damage moved some (m, d)."""
    spaces = {name: fit_space(clean[name], moved.get(name)) for name in weights}
    side = _beside(spaces, weights, clean)
    mean = side.mean(0)
    _, axes = torch.linalg.eigh(_covariance(side - mean))
    # As many axes as there are; a student of more dimensions keeps the rest at zero.
    axes = axes.flip(1)[:, :dim].to(side.dtype)
    axes = torch.nn.functional.pad(axes, (0, dim - axes.shape[1]))
    return Geometry(spaces, weights, mean, axes)
