"""Cleaning: rules repair texts and measure them, thresholds decide, a ledger says why."""
