"""From examples to hits: the query, its vector, and rows grouped into moments."""
