"""Where it is written: the two files of the bot, and the state of the world in them."""
