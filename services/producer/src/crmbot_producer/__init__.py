"""Sends new transactions of a bot to Kafka, exactly once, and audits what arrived in the warehouse."""
