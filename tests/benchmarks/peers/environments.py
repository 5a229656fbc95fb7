"""A virtual environment for each peer, so that none has to live with what another needs."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

# What to install for each; the library itself runs in the environment of the comparison, from the checkout.
PACKAGES = {
    "admm": ["admm"],
    "scico": ["scico"],
    "tuning": ["scico", "hyperopt", "setuptools<81"],  # HyperOpt imports pkg_resources
    "pyproximal": ["pyproximal"],
    "cvxpy": ["cvxpy", "scs", "clarabel", "osqp"],
    "skimage": ["scikit-image"],
}


def python_of(peer: str, folder: Path) -> str:
    """The Python that has the peer, made on the first call; what is complete is left as it is."""
    if peer not in PACKAGES:
        return sys.executable
    root = folder.expanduser() / peer
    python, complete = root / "bin" / "python", root / "complete"
    wanted = " ".join(PACKAGES[peer])
    if not complete.exists() or complete.read_text() != wanted:
        print(f"installing {wanted} in {root}", file=sys.stderr, flush=True)
        venv.create(root, clear=True, with_pip=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *PACKAGES[peer]], check=True)
        complete.write_text(wanted)
    return str(python)
