"""Using a trained model: reading a complex, proposing and refining side chains, confidence, writing the result."""
