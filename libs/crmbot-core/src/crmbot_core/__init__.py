"""Shared by all services: contracts, settings, telemetry and lifecycle."""
