"""What several test files share: tiny runs, data sets in their layouts, loops, processes."""
