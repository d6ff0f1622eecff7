"""Networks: backbones, heads, teachers, and the encoder."""
