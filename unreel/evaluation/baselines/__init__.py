"""What an encoder is compared with: trivial features and other people's frozen models."""
