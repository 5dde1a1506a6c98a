"""What the checker looks at: rows, messages, the ledger. Each check yields broken promises in words."""
