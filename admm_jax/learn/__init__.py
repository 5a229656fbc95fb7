"""Choose, tune and learn the parameters of a model."""
