"""CVRL's networks as its release builds them: TensorFlow's padding and first weights."""
