"""How long a run trains where a person names neither minutes nor steps nor epochs: the one place of this rule."""

DEFAULT_STEPS = 6000
MIN_PASSES = 10


def choose_default_steps(steps_per_epoch: int) -> int:
    """Steps that a corpus needs: `DEFAULT_STEPS`, or `MIN_PASSES` passes over it if these are more.

    A small corpus is not finished sooner: on the 644 training videos of JHMDB 6,000 steps of 16 more than doubled
    the R@1 of 400 steps, which are 11 passes already. A corpus of more than 9,600 videos, in batches of 16, gets more
    steps, so that a network meets each video again with other clips; how many passes it needs has not been measured.

    The machine has no say: the same command is the same run everywhere. How long it takes is measured and told.

    >>> choose_default_steps(steps_per_epoch=40), choose_default_steps(steps_per_epoch=1000)
    (6000, 10000)
    """
    return max(DEFAULT_STEPS, MIN_PASSES * steps_per_epoch)
