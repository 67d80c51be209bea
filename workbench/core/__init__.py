"""What everything else stands on: Specs, the stage registry, run contexts, artifacts, errors."""
