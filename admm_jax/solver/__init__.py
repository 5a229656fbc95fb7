"""ADMM: plan, state, step, certificate, polishing, and the loops that drive them."""
