"""Choose, tune and learn the parameters of a model: with the true image or without, a number, a map or a network."""

from admm_jax.learn import kernels, plot
from admm_jax.learn.fit import fit
from admm_jax.learn.network import Network, lam_map, network, patches
from admm_jax.learn.noise import from_noise_units, noise_level, to_noise_units
from admm_jax.learn.outcome import Epoch, Fit
from admm_jax.learn.parameters import Between, Positive, Simplex, between, positive, simplex, values
from admm_jax.learn.path import Path, path
from admm_jax.learn.photons import HeldOutPhotons, thin
from admm_jax.learn.refine import Refined, refine
from admm_jax.learn.search import Found, search
from admm_jax.learn.supervised import MSE, PSNR, SSIM, mse, psnr, ssim
from admm_jax.learn.trial import Trial
from admm_jax.learn.unsupervised import (
    SUGAR,
    Discrepancy,
    HeldOut,
    NoiseWhiteness,
    Whiteness,
    autocorrelation,
    held_out_mask,
)

__all__ = [
    "MSE",
    "PSNR",
    "SSIM",
    "SUGAR",
    "Between",
    "Discrepancy",
    "Epoch",
    "Fit",
    "Found",
    "HeldOut",
    "HeldOutPhotons",
    "Network",
    "NoiseWhiteness",
    "Path",
    "Positive",
    "Refined",
    "Simplex",
    "Trial",
    "Whiteness",
    "autocorrelation",
    "between",
    "fit",
    "from_noise_units",
    "held_out_mask",
    "kernels",
    "lam_map",
    "mse",
    "network",
    "noise_level",
    "patches",
    "path",
    "plot",
    "positive",
    "psnr",
    "refine",
    "search",
    "simplex",
    "ssim",
    "thin",
    "to_noise_units",
    "values",
]
