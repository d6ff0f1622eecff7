"""Pure functions of tensors, and the memory banks beside them."""
