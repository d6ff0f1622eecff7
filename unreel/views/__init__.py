"""Operations on a batch of clips on any device; parameters are drawn once per clip."""
