"""The Stage-1 network: features, edges, attention, local branch, ligand conditioning, heads."""
