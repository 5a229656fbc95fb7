"""Linear operators, each with its exact adjoint."""
