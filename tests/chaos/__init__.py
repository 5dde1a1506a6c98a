"""The torture bench: a load, a nemesis that breaks things, and a checker that looks at what is left."""
