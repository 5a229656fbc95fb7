"""The derivative of the solution: the optimality conditions, linearised at the solution, and one linear solve."""
