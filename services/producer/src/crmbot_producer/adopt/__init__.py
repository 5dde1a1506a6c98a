"""Adopts the file of a third-party bot: checks it, then creates its `source` table."""
