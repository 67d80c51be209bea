"""Split: which part each record goes to, and the parts as data sets of their own."""
