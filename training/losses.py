"""What a student is marked by.

* relational distillation (Park et al., "Relational knowledge distillation", 2019): the cosines
  between vectors, in a batch and to those remembered, are those between their targets; near pairs
  count more, as in the neighbourhoods that are asked for later;
* the target itself, which fixes how the space lies;
* self-supervision: windows of one track find each other among all of other sources (InfoNCE, van
  den Oord et al. 2018), whatever happened to each; nothing of the same source is pushed away, and
  with `kin` it is drawn near a little (artist supervision, Park et al., ISMIR 2018);
* tags and moods: the teachers' logits, each label on its own scale;
* strangers: sounds that are no music are near none.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, normalize, smooth_l1_loss


def relational(
    vectors: Tensor, targets: Tensor, known: Tensor, known_targets: Tensor, temperature: float = 0.1
) -> Tensor:
    """Cosine matrices of rows (n, d) with all `known` (m, d), of which the first n are themselves.

    The squared difference, ten times, and the divergence of the neighbourhoods; means over rows.
    """
    mine, theirs = vectors @ known.T, targets @ known_targets.T
    itself = torch.eye(*mine.shape, dtype=torch.bool)
    apart = (mine - theirs).square()[~itself].mean()
    guess = log_softmax((mine / temperature).masked_fill(itself, -1e4), 1)
    truth = log_softmax((theirs / temperature).masked_fill(itself, -1e4), 1)
    return 10 * apart + (truth.exp() * (truth - guess)).sum(1).mean()


def direct(vectors: Tensor, targets: Tensor) -> Tensor:
    """One minus the mean cosine of rows."""
    return 1 - (vectors * targets).sum(1).mean()


def contrast(
    vectors: Tensor, track: Tensor, related: Tensor, kin: float, temperature: float = 0.1
) -> Tensor:
    """InfoNCE over unit rows (n, d).

    `track` (n,) is equal for windows of one track: each is to find the others. `related` (n, n) is
    true where two windows share a source: never pushed away, and found for `kin` (0...1) of a
    track's own.
    """
    logits = vectors @ vectors.T / temperature
    itself = torch.eye(len(vectors), dtype=torch.bool)
    twins = (track[:, None] == track) & ~itself
    cousins = related & ~twins & ~itself
    others = ~related & ~twins & ~itself
    away = torch.logsumexp(logits.masked_fill(~others, -1e4), 1, keepdim=True)
    # Each positive against the others alone: positives do not compete with each other.
    found = logits - torch.logaddexp(logits, away)
    weight = twins.float() / twins.sum(1, keepdim=True).clamp(min=1)
    if kin:
        weight = weight + kin * cousins.float() / cousins.sum(1, keepdim=True).clamp(min=1)
    return -(weight * found).sum() / weight.sum().clamp(min=1e-6)


def strangeness(strangers: Tensor, music: Tensor, nearest: int = 8) -> Tensor:
    """How near unit rows (k, d) that are no music are to the nearest of `music` (m, d).

    The mean square of the cosines above zero.
    """
    cosines = strangers @ music.T
    close = cosines.topk(min(nearest, cosines.shape[1]), 1).values
    return close.clamp(min=0).square().mean()


def labels(logits: Tensor, truth: Tensor, scale: Tensor, weight: Tensor) -> Tensor:
    """Smooth L1 of logits (n, labels), each label in units of its `scale`, by `weight` (labels,).

    Rows of NaN are those that nobody was asked about.
    """
    known = ~truth[:, :1].isnan().expand_as(truth)
    error = smooth_l1_loss(logits / scale, truth.nan_to_num() / scale, reduction="none")
    share = weight * known
    return (error * share).sum() / share.sum().clamp(min=1e-6)


def unit(vectors: Tensor, mean: Tensor) -> Tensor:
    """Centred rows of unit length."""
    return normalize(vectors - mean, dim=1)
