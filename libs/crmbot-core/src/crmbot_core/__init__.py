"""What the services share: the contracts, settings, telemetry and lifecycle."""
