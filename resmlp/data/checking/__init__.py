"""Check a tree of images before training: `check_data` and its report."""
