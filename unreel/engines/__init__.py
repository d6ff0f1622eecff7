"""Work on many files in other machines: engines that lend workers, and what becomes of a worker that is lost."""
