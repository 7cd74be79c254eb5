"""The features that a flow decoder was trained on, and how far others are from them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SHRINK = 0.1  # see FeatureRange


class FeatureRange(nn.Module):
    """Mean and covariance, query by query, of training features; part of the decoder's weights, and never trained.

    A decoder is right where it was trained. Outside, nothing holds it, and KC-DPO moves features without asking it. The
    distance that says how far is Mahalanobis's: deviations count by the share of what was usual in their direction.
    Features of a few factors (what a caption can say) hardly vary in most directions, where any movement would look
    enormous. So the covariance is shrunk: a tenth of its mean variance is added to every direction, which is what a
    decoder is taken not to notice. What is correlated between queries is left out.

    Until it is measured the range is what layer norm alone says: mean 0, variance 1.
    """

    mean: Tensor  # [Q, D]
    covariance: Tensor  # [Q, D, D], not shrunk

    def __init__(self, queries: int, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(queries, features))
        self.register_buffer("covariance", torch.eye(features).repeat(queries, 1, 1))

    @torch.no_grad()
    def measure(self, feats_NQD: Tensor) -> None:
        """Take the range of these features, in place of any before."""
        feats = feats_NQD.double()
        mean = feats.mean(0)
        off_QND = (feats - mean).transpose(0, 1)
        self.mean.copy_(mean)
        self.covariance.copy_(off_QND.mT @ off_QND / len(feats))

    @torch.no_grad()
    def distance(self, feats_NQD: Tensor) -> Tensor:
        """Mean squared Mahalanobis distance per dimension, float64 `[N]`; its mean over the measured features is 1.

        A dimension counts by the share of its variance that shrinking leaves (variance / shrunk variance).
        """
        covariance = self.covariance.double()
        variances = covariance.diagonal(dim1=-2, dim2=-1)
        added = SHRINK * variances.mean(-1, keepdim=True).expand_as(variances)
        precision = torch.linalg.inv(covariance + torch.diag_embed(added))
        off_NQD = feats_NQD.double() - self.mean.double()
        squares_N = torch.einsum("nqd,qde,nqe->n", off_NQD, precision, off_NQD)
        return squares_N / torch.einsum("qde,qed->", precision, covariance)
