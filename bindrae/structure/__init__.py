"""Structure: the residue table, the pocket and the torsions of a complex."""
