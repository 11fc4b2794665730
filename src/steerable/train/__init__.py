"""Training generators: adversarially from pictures alone, or planted, with factors that are known."""
