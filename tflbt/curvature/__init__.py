"""The shape of the loss: Hessian eigenvalues, trace, spectrum, products; radii, landscapes, margins of inputs."""

from __future__ import annotations

from tflbt.curvature.estimate import top_eigenvalue, top_eigenvalues
from tflbt.curvature.hutchinson import TraceResult
from tflbt.curvature.landscape import Cut, eigenvector_cut, filter_normalised, losses_at
from tflbt.curvature.margins import input_margins
from tflbt.curvature.measures import hessian_vector_product, spectral_density, trace
from tflbt.curvature.radii import exact_radii
from tflbt.curvature.result import EigenResult
from tflbt.curvature.spectrum import SpectralDensity

__all__ = [
    "Cut",
    "EigenResult",
    "SpectralDensity",
    "TraceResult",
    "eigenvector_cut",
    "exact_radii",
    "filter_normalised",
    "hessian_vector_product",
    "input_margins",
    "losses_at",
    "spectral_density",
    "top_eigenvalue",
    "top_eigenvalues",
    "trace",
]
