"""scikit-image's `denoise_tv_chambolle`, for a problem without blur: its `weight` is our lam.

It minimises weight TV(U) + 1/2 ||U - B||^2 with isotropic TV, by dual ascent. It can stop when its objective hardly
moves; here it does a number of iterations, as it has no callback to watch it by.
"""

import time

from protocol import Peer, Problem, Snapshot, serve
from skimage.restoration import denoise_tv_chambolle


def prepare(problem: Problem, line: str, setting: None):
    """Nothing to prepare."""
    observed = problem.observed.astype(line)

    def run(iterations: int) -> list[Snapshot]:
        clock = time.perf_counter()
        image = denoise_tv_chambolle(observed, weight=problem.lam, eps=0.0, max_num_iter=iterations)
        return [Snapshot(time.perf_counter() - clock, iterations, image)]

    return run


if __name__ == "__main__":
    efforts = [round(10 * 2**k) for k in range(14)]
    serve(Peer(("scikit-image", "numpy"), prepare, efforts=lambda problem, line: efforts))
