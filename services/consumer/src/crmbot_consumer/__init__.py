"""Loads the transactions from Kafka into the warehouse, exactly once."""
