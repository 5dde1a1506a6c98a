"""The checks of rows, messages and the ledger. Each yields descriptions of violations."""
