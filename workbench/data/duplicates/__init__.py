"""Duplicates at any scale: texts stay in their partitions, only columns of fixed width meet.

The steps, each a function of a folder and a plain value, so that a run can make them durable:

    fingerprints.write_fingerprints  hashes of words, shingles and bands of one partition
    candidates.write_candidates      copies and candidate pairs of some ranges of keys
    edges.write_edges                pairs of some rows, verified by their exact Jaccard similarity
    groups.find_groups               the group, and a verified relative, of every row

``passages`` finds lines and paragraphs that many records share, ``contamination`` the overlap of
records with test texts.
"""

from workbench.data.duplicates.in_memory import NearDuplicates, near_duplicates, same_texts

__all__ = ["NearDuplicates", "near_duplicates", "same_texts"]
