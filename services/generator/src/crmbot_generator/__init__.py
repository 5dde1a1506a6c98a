"""A synthetic sales bot: writes the databases of one MRF the way managers' work fills them."""
