"""Builds the marts of an MRF in the warehouse and saves them as Excel workbooks."""
