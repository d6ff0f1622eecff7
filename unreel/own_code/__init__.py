"""Code of one's own, named by a file or a module: loaded, checked, and kept beside what was made with it."""
