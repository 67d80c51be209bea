"""Data integration: sources, cleaning rules, deduplication, splits and samples."""
