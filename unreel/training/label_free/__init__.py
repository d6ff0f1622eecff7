"""What a run measures of its encoder without labels: clips of held-out videos, changed copies of them, tests."""
