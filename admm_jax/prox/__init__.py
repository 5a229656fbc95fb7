"""Convex functions with their proximal operators and conjugates."""
