"""From queue to pool: starts attempts where placement says, watches them, heals what is lost."""
