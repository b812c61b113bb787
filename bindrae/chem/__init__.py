"""Chemistry: the 20 amino acids, ligands and their probes."""
