"""Parameters by description: axes crossed, zipped or drawn, blocks, conditions. Pure."""
