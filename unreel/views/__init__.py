"""Operations on a batch of clips, on any device; random parameters are drawn once per clip."""
