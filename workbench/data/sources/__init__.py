"""Where records come from: one file per kind of source, all behind ``source.Source``."""
